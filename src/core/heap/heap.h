/* SPDX-License-Identifier: MIT
 *
 * The heaps behind IHostMalloc: blocks of any size, for any thread, in memory that is charged page by
 * page and comes straight from VirtualAlloc: no heap of the system is asked, so none of its locks can
 * be held by a thread that was ended.
 *
 *     heaps        what the heaps of one manager share: span table, budget, secret, sites
 *     heap         HEAP_SHARES shares, and one more: heap_share.h
 *     span         a reservation full of blocks of one size, or one large block: span.h
 *     block        the caller's bytes behind their header: block_header.h
 *
 * Alloc takes a share and pops a block: one locked instruction. Free finds the span by the address
 * alone, claims the block, which refuses a second free and whatever is no block, without looking at the
 * memory; then it checks the header and gives the block to its share: two locked instructions.
 *
 * A heap in which somebody else writes is no place to go on in, so damage is HM_BROKEN, and a line of
 * text says which block it was. The block is not given back: it can be looked at.
 *
 * Debug builds also look behind the end of a block, and keep the latest freed blocks for a while to see
 * whether anybody writes to them.
 */
#ifndef HOSTMEM_CORE_HEAP_H
#define HOSTMEM_CORE_HEAP_H

#include "core/heap/heap_share.h"
#include "core/heap/site_table.h"

#define HEAP_FREED_KEPT 64 /* debug builds: freed blocks that are kept, and their largest size */
#define HEAP_FREED_KEPT_BYTES 4096

struct heaps {
    struct span_source source;
    struct table_memory *memory;
    struct site_table *sites;
    uint64_t secret;                    /* of the process */
    void (*report)(const char *damage); /* told of damage, a line of text; may be NULL */
    struct os_lock lock;
    /* guarded by lock */
    size_t users; /* heaps that use the span table */
    struct heap *first;
    uint64_t allocs; /* of heaps that have gone */
    uint64_t frees;
};

struct heap {
    struct heaps *heaps;
    struct heap_owner owner;
    uint64_t secret;   /* that of the heaps, at hand */
    struct heap *next; /* guarded by heaps->lock */
    struct heap *previous;
    bool thread_safe;
    _Atomic bool entered;    /* of a heap that is not thread safe */
    _Atomic bool has_sites;  /* a block of it had one */
    struct os_lock last_one; /* who has it has the last share */
    struct heap_share shares[HEAP_SHARES + 1];
    /* Of blocks that were freed while their share was taken. */
    _Alignas(64) _Atomic uint64_t frees;
    _Atomic size_t freed_bytes;
#ifndef NDEBUG
    void *_Atomic freed[HEAP_FREED_KEPT]; /* a ring of the latest */
    atomic_uint next_freed;
#endif
};

struct heap_counts {
    uint64_t allocs; /* blocks, since the beginning */
    uint64_t frees;
    size_t blocks; /* live */
    size_t bytes;  /* of them: with header, rounded up to the alignment */
};

/* `budget`, `memory` and `sites` must stay. `report` may be NULL. */
void heaps_init(struct heaps *heaps, struct budget *budget, struct table_memory *memory,
                struct site_table *sites, void (*report)(const char *damage));

/* Give back what no live block needs, of all heaps but of shares that are taken at the moment. The
 * bytes of commit that were given back; 0 also while another thread does the same. */
size_t heaps_trim(struct heaps *heaps);

/* Exact when no call is under way. */
void heaps_count(struct heaps *heaps, struct heap_counts *counts);

/* `heap` is all zero. OS_NOT_ENOUGH_MEMORY: no room for tables. */
os_error heap_create(struct heap *heap, struct heaps *heaps, bool thread_safe, bool executable);

/* Live blocks go with their heap; no thread may be in any function of it. HM_BROKEN: damage was found,
 * or the system has refused to take memory back. */
os_error heap_destroy(struct heap *heap);

/* `site` is of the site table, 0 for none. OS_NOT_ENOUGH_MEMORY, HM_OVER_COMMIT and other errors of the
 * system: no block · HM_NOT_OWNER: a second thread in a heap for one · HM_BROKEN. */
os_error heap_alloc(struct heap *heap, size_t size, uint32_t site, enum budget_level level,
                    void **memory);

/* HM_FOREIGN: no live block of this heap · HM_NOT_OWNER · HM_BROKEN. */
os_error heap_free(struct heap *heap, void *memory);

/* The size that was asked for. HM_FOREIGN · HM_BROKEN. */
os_error heap_block_size(struct heap *heap, const void *memory, size_t *size);

/* ---- for heap_destroy ---- */

/* Check a block that goes with its heap, and take it off its site. HM_BROKEN: it is damaged. */
os_error heap_end_block(struct heap *heap, const void *memory);

/* Check the freed blocks that debug builds keep. */
os_error heap_check_freed(struct heap *heap);

#endif
