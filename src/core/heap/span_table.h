/* SPDX-License-Identifier: MIT
 *
 * The spans of all heaps of a manager, and from any address to the span that it lies in.
 *
 * A span is one reservation: of blocks of one size, or a single large block. All that is known of it
 * is in table memory, none of it in the span: whoever writes beyond a block hits other blocks and
 * their headers, never a list of ours.
 *
 * A record is a descriptor of two cache lines, and for each block it has room for a byte and a link:
 *
 *     | struct span | live[capacity] | links[capacity] |
 *
 * live[i] is the span's generation while block i is somebody's, and 0 while it is not. Free turns it
 * to 0 by compare-and-swap: of two threads that free a block one is refused. A record is recycled for
 * spans of no more blocks, with the next generation, and stays where it is until the last heap has
 * gone. So a thread that found a record may use it however late: when the span has gone meanwhile, and
 * another has its record, the generation does not fit and the answer is "no block", as it should be.
 * (A thread that sleeps between two instructions while its span and 254 others have the same record
 * after each other would be mistaken, if it frees a block that was freed already.)
 *
 * Records of 192 bytes for a large block, 128 + 3 a block for others, 4 % for blocks of 80 bytes, are
 * carved from one reservation that is committed as it is used; a span's id is its place there in
 * lines of 64 bytes. 4 GiB are enough for 100 GiB of such blocks, 16 MiB for 0.4 GiB on 32-bit.
 */
#ifndef HOSTMEM_CORE_SPAN_TABLE_H
#define HOSTMEM_CORE_SPAN_TABLE_H

#include "core/pages/slot_map.h"
#include "os/os_lock.h"

#define SPAN_LINE 64
#define SPAN_MIN_CAPACITY 16
#define SPAN_CAPACITIES 13 /* 16, 32, … 65,536 */
#define SPAN_MAX_BLOCKS ((size_t)UINT16_MAX)

struct heap;

struct span {
    /* What a free looks at, from any thread; written while nobody has a block of the span. */
    _Alignas(SPAN_LINE) _Atomic uintptr_t base;
    struct heap *_Atomic heap; /* whose it is; NULL: the record is free */
    _Atomic uint32_t block_bytes;
    _Atomic uint32_t reciprocal; /* of block_bytes, of 32 bits; 0 for a large block */
    _Atomic uint8_t generation;  /* 1 … 255 */
    uint8_t size_class;          /* LARGE_CLASS: a large block */
    uint8_t share;               /* of the heap, of a small span */
    _Atomic bool gone;           /* somebody else has freed its memory */
    uint32_t capacity;           /* of the record, for ever */
    uint32_t count;              /* blocks when all is committed */
    uint32_t protect;            /* PAGE_* */
    size_t reserved;             /* bytes */
    size_t committed;            /* bytes, from the start; charged */

    /* The owner's: who holds the share. */
    _Alignas(SPAN_LINE) uint32_t first_free; /* index + 1 of a block that was freed, 0: none */
    uint32_t untouched;                      /* blocks from here on were never handed out */
    uint32_t usable;                         /* blocks in what is committed */
    uint32_t live;                           /* blocks that are somebody's, or on the remote list */
    struct span *next;                       /* of the spans of its class with room */
    struct span *previous;
    bool listed;
    /* Anybody's: blocks that were freed while the share was taken; see heap_share.h. */
    _Atomic uint32_t remote;       /* index + 1 of the latest, 0: none */
    _Atomic uint32_t next_pending; /* id of a span, 0: none; also of the next free record */
};

_Static_assert(sizeof(struct span) == 2 * SPAN_LINE, "a record begins with two lines");

struct span_table {
    struct table_memory *memory;
    struct slot_map map; /* from addresses to ids */
    char *storage;       /* NULL: there is no table */
    struct os_lock lock;
    /* guarded by lock */
    size_t used;
    size_t committed;
    uint32_t free[SPAN_CAPACITIES]; /* ids of free records, by capacity */
};

static inline struct span *span_at(const struct span_table *table, uint32_t id)
{
    return (struct span *)(void *)(table->storage + (size_t)id * SPAN_LINE);
}

static inline uint32_t span_id(const struct span_table *table, const struct span *span)
{
    return (uint32_t)((size_t)((const char *)span - table->storage) / SPAN_LINE);
}

static inline _Atomic uint8_t *span_live(struct span *span)
{
    return (_Atomic uint8_t *)(span + 1);
}

static inline uint16_t *span_links(struct span *span)
{
    return (uint16_t *)(void *)((char *)(span + 1) + span->capacity);
}

/* OS_NOT_ENOUGH_MEMORY on failure. */
os_error span_table_create(struct span_table *table, struct table_memory *memory);
/* No thread may be in any function. All zero is a table that was never created. */
void span_table_destroy(struct span_table *table);

/* A record for a span of `count` blocks, with no block live; `heap` is NULL still. NULL: no memory. */
struct span *span_table_take(struct span_table *table, uint32_t count);
void span_table_put(struct span_table *table, struct span *span);

/* All records one after the other, free ones included: the one behind `span`, or the first for NULL.
 * NULL behind the last. */
struct span *span_table_next(struct span_table *table, struct span *span);

/* The only span whose memory `address`, any value, may lie in; NULL: it lies in none. */
static inline struct span *span_table_find(const struct span_table *table, uintptr_t address)
{
    uint32_t id = slot_map_get(&table->map, address);
    return id != 0 ? span_at(table, id) : NULL;
}

#endif
