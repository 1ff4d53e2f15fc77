/* SPDX-License-Identifier: MIT
 *
 * Two forms, runs and bits, behind one interface; see page_set.h for when which is used. A change
 * to the runs is always computed in a copy with room for one more (a mark adds one run at most, a
 * clear splits one at most), so that "does it still fit?" and "do it" are the same code.
 */
#include "core/page_set.h"

#include <string.h>

#if UINTPTR_MAX > UINT32_MAX
_Static_assert(sizeof(struct page_set) == 64, "one cache line per region");
#endif

/* ---- bits ---- */

/* The bits of word `index` that lie in [first, end), which touches that word. */
static uint64_t word_mask(size_t index, size_t first, size_t end)
{
    uint64_t mask = ~(uint64_t)0;
    if (index == first / 64) {
        mask &= ~(uint64_t)0 << (first % 64);
    }
    if (index == (end - 1) / 64) {
        mask &= ~(uint64_t)0 >> (63 - (end - 1) % 64);
    }
    return mask;
}

static size_t bits_count(const uint64_t *bits, size_t first, size_t end)
{
    size_t count = 0;
    if (first >= end) {
        return 0;
    }
    for (size_t i = first / 64; i <= (end - 1) / 64; i++) {
        count += (size_t)__builtin_popcountll(bits[i] & word_mask(i, first, end));
    }
    return count;
}

static void bits_mark(uint64_t *bits, size_t first, size_t end)
{
    for (size_t i = first / 64; first < end && i <= (end - 1) / 64; i++) {
        bits[i] |= word_mask(i, first, end);
    }
}

static void bits_clear(uint64_t *bits, size_t first, size_t end)
{
    for (size_t i = first / 64; first < end && i <= (end - 1) / 64; i++) {
        bits[i] &= ~word_mask(i, first, end);
    }
}

/* The first page at or after `from` whose bit is `value`; `pages` when there is none. */
static size_t bits_find(const uint64_t *bits, size_t from, size_t pages, bool value)
{
    while (from < pages) {
        uint64_t word = (value ? bits[from / 64] : ~bits[from / 64]) >> (from % 64);
        if (word != 0) {
            size_t found = from + (size_t)__builtin_ctzll(word);
            return found < pages ? found : pages;
        }
        from = (from / 64 + 1) * 64;
    }
    return pages;
}

/* ---- runs ---- */

struct run_list {
    size_t count;
    struct page_run runs[PAGE_SET_RUNS + 1];
};

static void append_run(struct run_list *list, size_t first, size_t end)
{
    if (first >= end) {
        return;
    }
    if (list->count > 0 && list->runs[list->count - 1].end == first) {
        list->runs[list->count - 1].end = end; /* touching runs are one run */
        return;
    }
    list->runs[list->count++] = (struct page_run){first, end};
}

/* The runs of `set` after [first, end) has been marked or cleared. What a run has before and
 * behind the range stays; a marked range takes all that lies between, touching runs included. */
static struct run_list changed_runs(const struct page_set *set, size_t first, size_t end, bool mark)
{
    struct run_list list = {0};
    bool placed = !mark;
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        struct page_run run = set->runs[i];
        size_t head_end = run.end < first ? run.end : first;
        append_run(&list, run.first, head_end);
        if (!placed && run.end > first) {
            append_run(&list, first, end);
            placed = true;
        }
        append_run(&list, run.first > end ? run.first : end, run.end);
    }
    if (!placed) {
        append_run(&list, first, end);
    }
    return list;
}

static void store_runs(struct page_set *set, const struct run_list *list)
{
    memset(set->runs, 0, sizeof(set->runs));
    memcpy(set->runs, list->runs, list->count * sizeof(list->runs[0]));
}

/* ---- the set ---- */

static size_t bitmap_bytes(size_t pages, const struct table_memory *memory)
{
    size_t page = memory->os->page_size;
    return ((pages + 7) / 8 + page - 1) & ~(page - 1);
}

void page_set_init(struct page_set *set, size_t pages)
{
    memset(set, 0, sizeof(*set));
    if (pages <= PAGE_SET_INLINE_PAGES) {
        set->bits = set->inline_bits;
    }
}

void page_set_dispose(struct page_set *set, size_t pages, struct table_memory *memory)
{
    if (set->bits != NULL && set->bits != set->inline_bits) {
        table_memory_release(memory, set->bits, bitmap_bytes(pages, memory));
    }
    page_set_init(set, pages);
}

size_t page_set_count(const struct page_set *set, size_t first, size_t end)
{
    size_t count = 0;
    if (set->bits != NULL) {
        return bits_count(set->bits, first, end);
    }
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        size_t from = set->runs[i].first > first ? set->runs[i].first : first;
        size_t to = set->runs[i].end < end ? set->runs[i].end : end;
        count += from < to ? to - from : 0;
    }
    return count;
}

bool page_set_prepare(struct page_set *set, size_t pages, size_t first, size_t end, bool mark,
                      struct table_memory *memory)
{
    if (set->bits != NULL || changed_runs(set, first, end, mark).count <= PAGE_SET_RUNS) {
        return true;
    }
    uint64_t *bits = table_memory_map(memory, bitmap_bytes(pages, memory));
    if (bits == NULL) {
        return false;
    }
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        bits_mark(bits, set->runs[i].first, set->runs[i].end);
    }
    set->bits = bits;
    return true;
}

void page_set_mark(struct page_set *set, size_t first, size_t end)
{
    set->committed += (end - first) - page_set_count(set, first, end);
    if (set->bits != NULL) {
        bits_mark(set->bits, first, end);
        return;
    }
    struct run_list list = changed_runs(set, first, end, true);
    store_runs(set, &list);
}

void page_set_clear(struct page_set *set, size_t pages, size_t first, size_t end,
                    struct table_memory *memory)
{
    set->committed -= page_set_count(set, first, end);
    if (set->committed == 0) {
        page_set_dispose(set, pages, memory);
        return;
    }
    if (set->bits != NULL) {
        bits_clear(set->bits, first, end);
        return;
    }
    struct run_list list = changed_runs(set, first, end, false);
    store_runs(set, &list);
}

bool page_set_next_run(const struct page_set *set, size_t pages, size_t *first, size_t *end)
{
    size_t from = *end;
    if (set->bits != NULL) {
        *first = bits_find(set->bits, from, pages, true);
        *end = bits_find(set->bits, *first, pages, false);
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
    if (set->bits == NULL) {
        if (pages <= PAGE_SET_INLINE_PAGES) {
            return "a small region keeps runs";
        }
        for (size_t i = 1; i < PAGE_SET_RUNS; i++) {
            if (set->runs[i].end != 0 && set->runs[i].first <= set->runs[i - 1].end) {
                return "the runs of a region are not in order";
            }
        }
    }
    return count == set->committed ? NULL : "the count of committed pages is not their number";
}
