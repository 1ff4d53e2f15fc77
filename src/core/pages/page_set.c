/* SPDX-License-Identifier: MIT
 *
 * Three forms, runs, bits and a tree, behind one interface; see page_set.h for when which is used. A
 * change to the runs is computed in a copy with room for one more (a mark adds one run at most, a
 * clear splits one at most): if it fits, the copy is what apply stores.
 */
#include "core/pages/page_set.h"

#include "core/pages/page_tree.h"

#include <string.h>

_Static_assert(sizeof(struct page_set) == 32, "half a cache line");

/* ---- runs ---- */

/* Add [first, end) behind `count` runs, the last of which it may touch; returns how many there are. */
static size_t append_run(struct page_run *runs, size_t count, size_t first, size_t end)
{
    if (first >= end) {
        return count;
    }
    if (count > 0 && runs[count - 1].end == first) {
        runs[count - 1].end = (uint32_t)end; /* touching runs are one run */
        return count;
    }
    runs[count] = (struct page_run){(uint32_t)first, (uint32_t)end};
    return count + 1;
}

/* How many nodes a tree of these runs has. */
static size_t nodes_for(const struct page_run *runs, size_t pages)
{
    unsigned level = page_tree_level(pages);
    size_t nodes = 0;
    for (size_t i = 0; i < PAGE_SET_RUNS && runs[i].end != 0; i++) {
        nodes += page_tree_missing(NULL, level, runs[i].first, runs[i].end);
        nodes -= i > 0 ? page_tree_shared(level, runs[i - 1].end - 1, runs[i].first) : 0;
    }
    return nodes;
}

/* What the runs of `set` become by `change`, in change->runs, or that they are too many. What a
 * run has before and behind the range stays; a marked range takes all that lies between, touching runs
 * included. */
static void change_runs(const struct page_set *set, size_t pages, struct page_change *change)
{
    size_t first = change->first, end = change->end, count = 0;
    bool placed = !change->mark;
    if (change->mark && end > PAGE_SET_MOST) {
        change->grows_tree = true;
        return;
    }
    for (size_t i = 0; i < PAGE_SET_RUNS && set->runs[i].end != 0; i++) {
        struct page_run run = set->runs[i];
        count = append_run(change->runs, count, run.first, run.end < first ? run.end : first);
        if (!placed && run.end > first) {
            count = append_run(change->runs, count, first, end);
            placed = true;
        }
        count = append_run(change->runs, count, run.first > end ? run.first : end, run.end);
    }
    count = placed ? count : append_run(change->runs, count, first, end);
    change->grows_tree = count > PAGE_SET_RUNS;
    change->nodes = change->grows_tree ? 0 : nodes_for(change->runs, pages);
}

/* ---- the set ---- */

static void make_empty(struct page_set *set, size_t pages)
{
    memset(set, 0, sizeof(*set));
    set->form = pages <= PAGE_SET_INLINE_PAGES ? PAGE_SET_IS_BITS : PAGE_SET_KEEPS_RUNS;
}

bool page_set_init(struct page_set *set, size_t pages, bool all, struct page_pool *pool)
{
    struct page_change change;
    make_empty(set, pages);
    if (!all) {
        return true;
    }
    if (!page_set_prepare_mark(set, pages, 0, pages, pool, &change)) {
        return false;
    }
    page_set_apply(set, pages, &change, pool);
    return true;
}

void page_set_dispose(struct page_set *set, size_t pages, struct page_pool *pool)
{
    if (set->form == PAGE_SET_IS_TREE) {
        page_tree_clear(&set->root, page_tree_level(pages), 0, pages, pool);
    }
    page_pool_excuse(pool, set->promised);
    make_empty(set, pages);
}

size_t page_set_count(const struct page_set *set, size_t pages, size_t first, size_t end)
{
    size_t count = 0;
    if (set->form == PAGE_SET_IS_BITS) {
        return page_bits_count(set->inline_bits, first, end);
    }
    if (set->form == PAGE_SET_IS_TREE) {
        return page_tree_count(set->root, page_tree_level(pages), first, end);
    }
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        size_t from = set->runs[i].first > first ? set->runs[i].first : first;
        size_t to = set->runs[i].end < end ? set->runs[i].end : end;
        count += from < to ? to - from : 0;
    }
    return count;
}

bool page_set_prepare_mark(const struct page_set *set, size_t pages, size_t first, size_t end,
                           struct page_pool *pool, struct page_change *change)
{
    *change = (struct page_change){.first = first, .end = end, .mark = true};
    change->pages = end - first - page_set_count(set, pages, first, end);
    if (change->pages > PAGE_SET_MOST - set->committed) {
        return false;
    }
    if (change->pages == 0 || set->form == PAGE_SET_IS_BITS) {
        return true;
    }
    if (set->form == PAGE_SET_KEEPS_RUNS) {
        change_runs(set, pages, change);
    }
    if (set->form == PAGE_SET_KEEPS_RUNS && !change->grows_tree) {
        change->promised = change->nodes > set->promised ? change->nodes - set->promised : 0;
    } else {
        const struct page_node *root = set->form == PAGE_SET_IS_TREE ? set->root : NULL;
        change->promised = page_tree_missing(root, page_tree_level(pages), first, end);
    }
    return page_pool_promise(pool, change->promised);
}

void page_set_prepare_clear(const struct page_set *set, size_t pages, size_t first, size_t end,
                            struct page_change *change)
{
    *change = (struct page_change){.first = first, .end = end, .mark = false};
    change->pages = page_set_count(set, pages, first, end);
    if (change->pages != 0 && set->form == PAGE_SET_KEEPS_RUNS) {
        change_runs(set, pages, change);
    }
}

void page_set_cancel(const struct page_change *change, struct page_pool *pool)
{
    page_pool_excuse(pool, change->promised);
}

/* From runs to a tree of them, out of the nodes that were promised for it. */
static void grow_tree(struct page_set *set, size_t pages, struct page_pool *pool)
{
    struct page_node *root = NULL;
    for (size_t i = 0; i < PAGE_SET_RUNS && set->runs[i].end != 0; i++) {
        page_tree_mark(&root, page_tree_level(pages), set->runs[i].first, set->runs[i].end, pool);
    }
    set->promised = 0;
    set->root = root;
    set->form = PAGE_SET_IS_TREE;
}

static void change_tree(struct page_set *set, size_t pages, const struct page_change *change,
                        struct page_pool *pool)
{
    unsigned level = page_tree_level(pages);
    if (change->mark) {
        size_t missing = change->promised;
        if (change->grows_tree) { /* some are in the tree of the runs */
            missing = page_tree_missing(set->root, level, change->first, change->end);
        }
        page_tree_mark(&set->root, level, change->first, change->end, pool);
        page_pool_excuse(pool, change->promised - missing);
        return;
    }
    page_tree_clear(&set->root, level, change->first, change->end, pool);
    if (set->root == NULL) {
        make_empty(set, pages);
    }
}

void page_set_apply(struct page_set *set, size_t pages, const struct page_change *change,
                    struct page_pool *pool)
{
    if (change->pages == 0) {
        return;
    }
    uint32_t by = (uint32_t)change->pages;
    set->committed += change->mark ? by : 0 - by;
    if (set->form == PAGE_SET_IS_BITS) {
        page_bits_set(set->inline_bits, change->first, change->end, change->mark);
        return;
    }
    if (set->form == PAGE_SET_KEEPS_RUNS && !change->grows_tree) {
        size_t promised = set->promised + change->promised;
        memcpy(set->runs, change->runs, sizeof(set->runs));
        set->promised = (uint32_t)change->nodes & PAGE_SET_NODE_MASK;
        page_pool_excuse(pool, promised - set->promised);
        return;
    }
    if (change->grows_tree) {
        grow_tree(set, pages, pool);
    }
    change_tree(set, pages, change, pool);
}

bool page_set_next_run(const struct page_set *set, size_t pages, size_t *first, size_t *end)
{
    size_t from = *end;
    if (set->form == PAGE_SET_IS_BITS) {
        *first = page_bits_find(set->inline_bits, from, pages, true);
        *end = page_bits_find(set->inline_bits, *first, pages, false);
        return *first < pages;
    }
    if (set->form == PAGE_SET_IS_TREE) {
        unsigned level = page_tree_level(pages);
        *first = page_tree_find(set->root, level, from, true);
        *end = page_tree_find(set->root, level, *first, false);
        return *first < pages;
    }
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        if (set->runs[i].end > from) {
            *first = set->runs[i].first > from ? set->runs[i].first : from;
            *end = set->runs[i].end;
            return true;
        }
    }
    return false;
}

/* What only one of the forms can get wrong. */
static const char *check_form(const struct page_set *set, size_t pages)
{
    if (set->form == PAGE_SET_IS_TREE) {
        return set->root != NULL && page_tree_is_sound(set->root, page_tree_level(pages))
                   ? NULL
                   : "a tree of pages has a wrong count or an empty node";
    }
    if (set->form != PAGE_SET_KEEPS_RUNS) {
        return NULL;
    }
    if (pages <= PAGE_SET_INLINE_PAGES) {
        return "a small region keeps runs";
    }
    for (size_t i = 1; i < PAGE_SET_RUNS; i++) {
        if (set->runs[i].end != 0 && set->runs[i].first <= set->runs[i - 1].end) {
            return "the runs of a region are not in order";
        }
    }
    return set->promised == nodes_for(set->runs, pages)
               ? NULL
               : "a decommit could need memory that was not set aside";
}

const char *page_set_check(const struct page_set *set, size_t pages)
{
    size_t first, end = 0, previous_end = 0, count = 0, runs = 0;
    while (page_set_next_run(set, pages, &first, &end)) {
        if (first >= end || end > pages) {
            return "a run of pages is empty or leaves its region";
        }
        if (runs++ > 0 && first <= previous_end) {
            return "two runs of pages touch";
        }
        count += end - first;
        previous_end = end;
    }
    const char *fault = check_form(set, pages);
    if (fault != NULL) {
        return fault;
    }
    return count == set->committed ? NULL : "the count of committed pages is not their number";
}
