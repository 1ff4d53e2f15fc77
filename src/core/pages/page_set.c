/* SPDX-License-Identifier: MIT
 *
 * Two forms, runs and bits, behind one interface; see page_set.h for when which is used. A change
 * to the runs is computed in a copy with room for one more (a mark adds one run at most, a clear
 * splits one at most): if it fits, the copy is what apply stores.
 */
#include "core/pages/page_set.h"

#include <string.h>

_Static_assert(sizeof(struct page_set) == 32, "half a cache line");

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
        runs[count - 1].end = (uint32_t)end; /* touching runs are one run */
        return count;
    }
    runs[count] = (struct page_run){(uint32_t)first, (uint32_t)end};
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

/* NULL: the runs count. */
static uint64_t *bits_of(const struct page_set *set)
{
    switch (set->form) {
    case PAGE_SET_IS_BITS:
        return (uint64_t *)(uintptr_t)set->inline_bits;
    case PAGE_SET_HAS_BITMAP:
        return set->bitmap;
    default:
        return NULL;
    }
}

bool page_set_init(struct page_set *set, size_t pages, bool all)
{
    memset(set, 0, sizeof(*set));
    if (pages <= PAGE_SET_INLINE_PAGES) {
        set->form = PAGE_SET_IS_BITS;
    }
    if (!all) {
        return true;
    }
    if (pages > PAGE_SET_MOST) {
        return false;
    }
    if (set->form == PAGE_SET_IS_BITS) {
        bits_mark(set->inline_bits, 0, pages);
    } else {
        set->runs[0].end = (uint32_t)pages;
    }
    set->committed = (uint32_t)pages;
    return true;
}

void page_set_dispose(struct page_set *set, size_t pages, struct table_memory *memory)
{
    if (set->form == PAGE_SET_HAS_BITMAP) {
        table_memory_release(memory, set->bitmap, bitmap_bytes(pages, memory));
        set->form = PAGE_SET_KEEPS_RUNS;
    }
}

size_t page_set_count(const struct page_set *set, size_t first, size_t end)
{
    const uint64_t *bits = bits_of(set);
    size_t count = 0;
    if (bits != NULL) {
        return bits_count(bits, first, end);
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
    if (mark && change->pages > PAGE_SET_MOST - set->committed) {
        return false;
    }
    bool fits = !mark || end <= PAGE_SET_MOST;
    if (change->pages == 0 || set->form != PAGE_SET_KEEPS_RUNS ||
        (fits && change_runs(set, change) <= PAGE_SET_RUNS)) {
        return true;
    }
    uint64_t *bits = table_memory_map(memory, bitmap_bytes(pages, memory));
    if (bits == NULL) {
        return false;
    }
    for (size_t i = 0; i < PAGE_SET_RUNS; i++) {
        bits_mark(bits, set->runs[i].first, set->runs[i].end);
    }
    set->form = PAGE_SET_HAS_BITMAP;
    set->bitmap = bits;
    return true;
}

void page_set_apply(struct page_set *set, size_t pages, const struct page_change *change,
                    struct table_memory *memory)
{
    if (change->pages == 0) {
        return;
    }
    uint32_t by = (uint32_t)change->pages;
    set->committed += change->mark ? by : 0 - by;
    if (set->committed == 0) {
        page_set_dispose(set, pages, memory);
        page_set_init(set, pages, false);
    } else if (set->form == PAGE_SET_KEEPS_RUNS) {
        memcpy(set->runs, change->runs, sizeof(set->runs));
    } else if (change->mark) {
        bits_mark(bits_of(set), change->first, change->end);
    } else {
        bits_clear(bits_of(set), change->first, change->end);
    }
}

bool page_set_next_run(const struct page_set *set, size_t pages, size_t *first, size_t *end)
{
    const uint64_t *bits = bits_of(set);
    size_t from = *end;
    if (bits != NULL) {
        *first = bits_find(bits, from, pages, true);
        *end = bits_find(bits, *first, pages, false);
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
    if (set->form == PAGE_SET_KEEPS_RUNS) {
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
