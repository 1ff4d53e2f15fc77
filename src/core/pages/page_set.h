/* SPDX-License-Identifier: MIT
 *
 * Which pages of one region are committed, exactly.
 *
 * A runtime commits its regions from the front, so a large region is usually one to three runs of
 * pages; those are kept in place. A region of at most 192 pages (768 KiB) is a bitmap in place
 * instead, which costs the same 24 bytes and never needs anything else. Only a larger region with a
 * fourth run becomes a tree of small bitmaps (page_tree.h), as large as what is committed; it goes
 * when the region has no committed page left.
 *
 * Giving memory back never needs memory: whatever is cleared, in whatever order, while the system has
 * nothing left. A tree has a bit for every page that is in it, so a clear only takes away. Runs can
 * fall into pieces, at worst into every second page; so a set that keeps runs has been promised all
 * the nodes that a tree of these runs has, and any part of them has no more. A mark gets what it adds
 * before it adds it, or fails. The price is 136 bytes of table memory, untouched, for each 4 MiB of a
 * run, and at most seven times as much for the path to it.
 *
 * A set is 32 bytes, so that it shares a cache line with what else is known of its region, whose lock
 * guards it. Runs have numbers of 32 bits: pages behind the first 16 TiB of a region take a tree,
 * and no region has more than 16 TiB committed. Ranges are half open, in pages from the region's base.
 *
 * Prepare, ask the OS, apply or cancel: only the first step can fail for lack of memory, and it has
 * done the arithmetic for the last.
 */
#ifndef HOSTMEM_CORE_PAGE_SET_H
#define HOSTMEM_CORE_PAGE_SET_H

#include "core/pages/page_pool.h"

#define PAGE_SET_RUNS 3
#define PAGE_SET_INLINE_PAGES (PAGE_SET_RUNS * sizeof(struct page_run) * 8)
#define PAGE_SET_MOST UINT32_MAX /* pages in a set, and page numbers in runs */

struct page_run {
    uint32_t first;
    uint32_t end;
};

/* What a set can be promised: a tree of all 2^32 pages takes fewer nodes. */
#define PAGE_SET_NODE_MASK (((uint32_t)1 << 30) - 1)

enum page_set_form { PAGE_SET_KEEPS_RUNS, PAGE_SET_IS_BITS, PAGE_SET_IS_TREE };

struct page_set {
    uint32_t committed;     /* pages in the set */
    uint32_t form : 2;      /* enum page_set_form */
    uint32_t promised : 30; /* nodes, for a tree of these runs; 0 in the other forms */
    union {
        struct page_run
            runs[PAGE_SET_RUNS]; /* ascending, apart; unused ones are empty, at the end */
        uint64_t inline_bits[PAGE_SET_INLINE_PAGES / 64];
        struct page_node *root;
    };
};

/* A prepared change. */
struct page_change {
    size_t pages; /* how many it adds, or takes away */
    size_t first; /* of [first, end) */
    size_t end;
    size_t promised;                         /* nodes, beside those of the set */
    bool mark;                               /* or clear */
    bool grows_tree;                         /* the runs do not hold it, */
    size_t nodes;                            /* or this is what a tree of them would have */
    struct page_run runs[PAGE_SET_RUNS + 1]; /* what the runs become, where runs count */
};

/* A set of no page, or of all of them, for a region of `pages` pages. The same `pages` and `pool` go
 * with every later call. False: no memory, or more than a set can have; the set has no page then. */
bool page_set_init(struct page_set *set, size_t pages, bool all, struct page_pool *pool);

/* Give back what the set has from the pool, and all its pages. */
void page_set_dispose(struct page_set *set, size_t pages, struct page_pool *pool);

/* How many pages of [first, end) are in the set. */
size_t page_set_count(const struct page_set *set, size_t pages, size_t first, size_t end);

/* Find out what it takes to mark, or to clear, [first, end), and get the memory for it. The set does
 * not change. False, and only for a mark: no memory, or more than a set can have. */
bool page_set_prepare_mark(const struct page_set *set, size_t pages, size_t first, size_t end,
                           struct page_pool *pool, struct page_change *change);
void page_set_prepare_clear(const struct page_set *set, size_t pages, size_t first, size_t end,
                            struct page_change *change);

/* Do it. Nothing else has changed the set since it was prepared. */
void page_set_apply(struct page_set *set, size_t pages, const struct page_change *change,
                    struct page_pool *pool);

/* Or do it not, and give back what was got for it. */
void page_set_cancel(const struct page_change *change, struct page_pool *pool);

/* The next run of committed pages at or after *end, as [*first, *end); false when there is none.
 * Start with *end = 0. */
bool page_set_next_run(const struct page_set *set, size_t pages, size_t *first, size_t *end);

/* NULL, or what is wrong with the set. */
const char *page_set_check(const struct page_set *set, size_t pages);

#endif
