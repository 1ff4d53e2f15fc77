/* SPDX-License-Identifier: MIT
 *
 * One span: its memory from the system, and the blocks in it.
 *
 * Memory is committed from the start, in steps, and charged before the system is asked; what is
 * charged for heaps is the sum of `committed` over all spans, at every moment when no call is under
 * way. Block i begins at base + i · block_bytes with its header. To find i without a division the
 * offset is multiplied by the reciprocal, 2^32 / block_bytes rounded up: that is exact for every
 * multiple up to 2^32 / block_bytes blocks, and for what is no multiple the product does not give the
 * offset back. A large block has the reciprocal 0, so that its only index is 0.
 *
 * span_claim may be called by any thread, with any address. All else is for the holder of the span's
 * share (heap_share.h), or of a large block.
 */
#ifndef HOSTMEM_CORE_SPAN_H
#define HOSTMEM_CORE_SPAN_H

#include "core/heap/block_header.h"
#include "core/heap/span_table.h"
#include "core/limits/budget.h"
#include "core/status.h"

#define LARGE_CLASS UINT8_MAX

/* What spans come from. */
struct span_source {
    const struct os *os;
    struct budget *budget;
    struct span_table table;
    _Atomic uint64_t freed_behind;       /* spans whose memory somebody else has freed */
    _Atomic uint64_t freed_behind_bytes; /* of address space */
};

/* What a new span shall be. */
struct span_plan {
    struct heap *heap;
    uint8_t share;
    uint8_t size_class;
    uint32_t protect;
    uint32_t block_bytes; /* of a large block 0 */
    uint32_t count;
    size_t reserve; /* bytes, of whole slots */
    size_t commit;  /* bytes, of whole pages */
};

/* OS_OK, or why there is none: of the budget or the system. Nothing has changed then. */
os_error span_open(struct span_source *source, const struct span_plan *plan,
                   enum budget_level level, struct span **result);

/* Commit `bytes` more. The same errors. */
os_error span_grow(struct span_source *source, struct span *span, size_t bytes,
                   enum budget_level level);

/* Give back the pages that no block has had yet. HM_BROKEN: as span_close; nothing has changed. */
os_error span_shrink(struct span_source *source, struct span *span);

/* Give the span's memory back, live blocks included. HM_BROKEN: the system refuses to take what it
 * has; the memory stays charged, and the span its heap's. */
os_error span_close(struct span_source *source, struct span *span);

/* Whether the system says that it has not what we think it has. */
bool span_has_gone(const struct span_source *source, const struct span *span);

/* The caller's bytes of a block. */
static inline void *span_block(const struct span *span, uint32_t index)
{
    uintptr_t base = atomic_load_explicit(&span->base, memory_order_relaxed);
    size_t bytes = atomic_load_explicit(&span->block_bytes, memory_order_relaxed);
    return (void *)(base + index * bytes + BLOCK_FRONT_BYTES);
}

/* One that may be live. */
struct span_place {
    struct span *span;
    uint32_t index;
    uint8_t generation;
};

/* False: no block of this heap begins at `memory`, live or not. */
static inline bool span_locate(const struct span_source *source, const struct heap *heap,
                               const void *memory, struct span_place *place)
{
    struct span *span = span_table_find(&source->table, (uintptr_t)memory);
    if (span == NULL) {
        return false;
    }
    /* Acquire: pairs with the release in span_open. The generation first: if it is what it was, so
     * was all the rest; if not, no block has it. */
    uint8_t generation = atomic_load_explicit(&span->generation, memory_order_acquire);
    size_t offset = (uintptr_t)memory - BLOCK_FRONT_BYTES -
                    atomic_load_explicit(&span->base, memory_order_relaxed);
    uint64_t reciprocal = atomic_load_explicit(&span->reciprocal, memory_order_relaxed);
    size_t block_bytes = atomic_load_explicit(&span->block_bytes, memory_order_relaxed);
    uint32_t index = (uint32_t)((uint32_t)offset * reciprocal >> 32);
    *place = (struct span_place){.span = span, .index = index, .generation = generation};
    return index < span->capacity && index * block_bytes == offset &&
           atomic_load_explicit(&span->heap, memory_order_relaxed) == heap;
}

/* Whether a live block of this heap begins at `memory`. */
static inline bool span_find(const struct span_source *source, const struct heap *heap,
                             const void *memory)
{
    struct span_place place;
    return span_locate(source, heap, memory, &place) &&
           atomic_load_explicit(&span_live(place.span)[place.index], memory_order_relaxed) ==
               place.generation;
}

/* The same, and from now on it is no longer live, but the caller's alone. */
static inline bool span_claim(const struct span_source *source, const struct heap *heap,
                              const void *memory, struct span_place *place)
{
    if (!span_locate(source, heap, memory, place)) {
        return false;
    }
    uint8_t live = place->generation;
    /* Acquire: pairs with the release in span_set_live. */
    return atomic_compare_exchange_strong_explicit(&span_live(place->span)[place->index], &live, 0,
                                                   memory_order_acquire, memory_order_relaxed);
}

/* Make a block live that is the caller's. */
static inline void span_set_live(struct span *span, uint32_t index)
{
    uint8_t generation = atomic_load_explicit(&span->generation, memory_order_relaxed);
    /* Release: who claims it, and be it by mistake, finds its header. */
    atomic_store_explicit(&span_live(span)[index], generation, memory_order_release);
}

/* ---- blocks; for the owner ---- */

/* Take the block that was freed last; there is one. Its header is still that of the freed block. */
static inline uint32_t span_pop(struct span *span)
{
    uint32_t index = span->first_free - 1;
    span->first_free = span_links(span)[index];
    span->live++;
    return index;
}

/* Take a block that nobody has had; there is one in what is committed. Where the next one begins is
 * fetched meanwhile: a heap that grows in many sizes comes back late. */
static inline uint32_t span_touch(struct span *span)
{
    uint32_t index = span->untouched++;
    span->live++;
    __builtin_prefetch(block_header_of(span_block(span, index + 1)), 1);
    return index;
}

static inline void span_push(struct span *span, uint32_t index)
{
    span_links(span)[index] = (uint16_t)span->first_free;
    span->first_free = index + 1;
    span->live--;
}

/* ---- blocks; for anybody who has claimed one ---- */

/* Leave a block for the owner to collect. Whether it is the first: then the owner must be told. */
static inline bool span_push_remote(struct span *span, uint32_t index)
{
    uint32_t first = atomic_load_explicit(&span->remote, memory_order_relaxed);
    do {
        span_links(span)[index] = (uint16_t)first;
        /* Release: pairs with the acquire in span_collect. */
    } while (!atomic_compare_exchange_weak_explicit(&span->remote, &first, index + 1,
                                                    memory_order_release, memory_order_relaxed));
    return first == 0;
}

/* For the owner: make the blocks that others have left free. */
static inline void span_collect(struct span *span)
{
    uint32_t first = atomic_exchange_explicit(&span->remote, 0, memory_order_acquire);
    while (first != 0) {
        uint32_t index = first - 1;
        first = span_links(span)[index];
        span_push(span, index);
    }
}

#endif
