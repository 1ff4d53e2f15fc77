/* SPDX-License-Identifier: MIT
 *
 * Which pages of one region are committed, exactly.
 *
 * A runtime commits its regions from the front, so a large region is usually one to three runs of
 * pages; those are kept in place. A region of at most 192 pages (768 KiB) is a bitmap in place
 * instead, which costs the same 24 bytes and never needs anything else. Only a larger region with a
 * fourth run gets a bitmap of its own, one bit a page from table memory: 12 KiB for 384 MiB, 8 MiB
 * for 256 GiB, touched where it is used; it goes when the region has no committed page left.
 *
 * A set is 32 bytes, so that it shares a cache line with what else is known of its region, whose lock
 * guards it. Runs have numbers of 32 bits: pages behind the first 16 TiB of a region take a bitmap,
 * and no region has more than 16 TiB committed. Ranges are half open, in pages from the region's base.
 *
 * Prepare, ask the OS, apply: only the first step can fail for lack of memory, and it has done the
 * arithmetic for the last.
 */
#ifndef HOSTMEM_CORE_PAGE_SET_H
#define HOSTMEM_CORE_PAGE_SET_H

#include "core/pages/table_memory.h"

#define PAGE_SET_RUNS 3
#define PAGE_SET_INLINE_PAGES (PAGE_SET_RUNS * sizeof(struct page_run) * 8)
#define PAGE_SET_MOST UINT32_MAX /* pages in a set, and page numbers in runs */

struct page_run {
    uint32_t first;
    uint32_t end;
};

enum page_set_form { PAGE_SET_KEEPS_RUNS, PAGE_SET_IS_BITS, PAGE_SET_HAS_BITMAP };

struct page_set {
    uint32_t committed; /* pages in the set */
    uint32_t form;      /* enum page_set_form */
    union {
        struct page_run
            runs[PAGE_SET_RUNS]; /* ascending, apart; unused ones are empty, at the end */
        uint64_t inline_bits[PAGE_SET_INLINE_PAGES / 64];
        uint64_t *bitmap; /* one bit per page */
    };
};

/* A prepared change. */
struct page_change {
    size_t pages; /* how many it adds, or takes away */
    size_t first; /* of [first, end) */
    size_t end;
    bool mark;                               /* or clear */
    struct page_run runs[PAGE_SET_RUNS + 1]; /* what the runs become, where runs count */
};

/* A set of no page, or of all of them, for a region of `pages` pages. The same `pages` goes with
 * every later call. False: more than a set can have. */
bool page_set_init(struct page_set *set, size_t pages, bool all);

/* Give the bitmap back. The set is to be initialised before it is used again. */
void page_set_dispose(struct page_set *set, size_t pages, struct table_memory *memory);

/* How many pages of [first, end) are in the set. */
size_t page_set_count(const struct page_set *set, size_t first, size_t end);

/* Find out what it takes to mark, or to clear, [first, end), and get the memory for it. No page
 * changes. False: no memory, or more than a set can have. */
bool page_set_prepare(struct page_set *set, size_t pages, size_t first, size_t end, bool mark,
                      struct table_memory *memory, struct page_change *change);

/* Do it. Nothing else has changed the set since it was prepared. */
void page_set_apply(struct page_set *set, size_t pages, const struct page_change *change,
                    struct table_memory *memory);

/* The next run of committed pages at or after *end, as [*first, *end); false when there is none.
 * Start with *end = 0. */
bool page_set_next_run(const struct page_set *set, size_t pages, size_t *first, size_t *end);

/* NULL, or what is wrong with the set. */
const char *page_set_check(const struct page_set *set, size_t pages);

#endif
