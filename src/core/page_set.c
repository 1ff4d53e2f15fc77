/* SPDX-License-Identifier: MIT
 *
 * Two forms, runs and bits, behind one interface; see page_set.h for when which is used. A change
 * to the runs is computed in a copy with room for one more (a mark adds one run at most, a clear
 * splits one at most): if it fits, the copy is what apply stores.
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

/* Add [first, end) behind `count` runs, the last of which it may touch; returns how many there are. */
static size_t append_run(struct page_run *runs, size_t count, size_t first, size_t end)
{
    if (first >= end) {
        return count;
    }
    if (count > 0 && runs[count - 1].end == first) {
        runs[count - 1].end = end; /* touching runs are one run */
        return count;
    }
    runs[count] = (struct page_run){first, end};
    return count + 1;
}

/* What the runs of `set` become by `change`, in change->runs; returns how many there are. What a run
 * has before and behind the range stays; a marked range takes all that lies between, touching runs
 * included. */
static size_t change_runs(const struct page_set *set, struct page_change *change)
{
    size_t first = change->first, end = change->end, count = 0;
    bool placed = !change->mark;
    memset(change->runs, 0, sizeof(change->runs));
    for (size_t i = 0; i < PAGE_SET_RUNS && set->runs[i].end != 0; i++) {
        struct page_run run = set->runs[i];
        count = append_run(change->runs, count, run.first, run.end < first ? run.end : first);
        if (!placed && run.end > first) {
            count = append_run(change->runs, count, first, end);
            placed = true;
        }
        count = append_run(change->runs, count, run.first > end ? run.first : end, run.end);
    }
    return placed ? count : append_run(change->runs, count, first, end);
}

/* ---- the set ---- */

static size_t bitmap_bytes(size_t pages, const struct table_memory *memory)
{
    size_t page = memory->os->page_size;
    return ((pages + 7) / 8 + page - 1) & ~(page - 1);
}

void page_set_init(struct page_set *set, size_t pages, bool all)
{
    memset(set, 0, sizeof(*set));
    if (pages <= PAGE_SET_INLINE_PAGES) {
        set->bits = set->inline_bits;
    }
    if (all && set->bits != NULL) {
        bits_mark(set->bits, 0, pages);
    } else if (all) {
        set->runs[0].end = pages;
    }
    set->committed = all ? pages : 0;
}

void page_set_dispose(struct page_set *set, size_t pages, struct table_memory *memory)
{
    if (set->bits != NULL && set->bits != set->inline_bits) {
        table_memory_release(memory, set->bits, bitmap_bytes(pages, memory));
    }
    set->bits = NULL;
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
                      struct table_memory *memory, struct page_change *change)
{
    size_t count = page_set_count(set, first, end);
    change->pages = mark ? end - first - count : count;
    change->first = first;
    change->end = end;
    change->mark = mark;
    if (change->pages == 0 || set->bits != NULL || change_runs(set, change) <= PAGE_SET_RUNS) {
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

void page_set_apply(struct page_set *set, size_t pages, const struct page_change *change,
                    struct table_memory *memory)
{
    if (change->pages == 0) {
        return;
    }
    set->committed += change->mark ? change->pages : (size_t)0 - change->pages;
    if (set->committed == 0) {
        page_set_dispose(set, pages, memory);
        page_set_init(set, pages, false);
    } else if (set->bits == NULL) {
        memcpy(set->runs, change->runs, sizeof(set->runs));
    } else if (change->mark) {
        bits_mark(set->bits, change->first, change->end);
    } else {
        bits_clear(set->bits, change->first, change->end);
    }
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
