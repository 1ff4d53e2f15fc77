/* SPDX-License-Identifier: MIT
 *
 * See heap.h.
 */
#include "core/heap/heap.h"

#include <stdio.h>

static size_t counted_bytes(size_t size)
{
    size_t bytes = sizeof(struct block_header) + size;
    return (bytes + BLOCK_ALIGNMENT - 1) & ~(BLOCK_ALIGNMENT - 1);
}

/* ---- damage ---- */

/* HM_BROKEN, and say what has happened to a block: NULL for one that is not known. Out of the way, for
 * its lines of text would be in every stack frame. */
static __attribute__((noinline, cold)) os_error
broken(const struct heap *heap, const void *memory, const struct block *block, const char *damage)
{
    char of[160] = "", line[256];
    if (heap->heaps->report == NULL) {
        return HM_BROKEN;
    }
    if (block != NULL) {
        const struct alloc_site *site = site_table_at(heap->heaps->sites, block->site);
        int length = snprintf(of, sizeof(of), " of %llu bytes", (unsigned long long)block->size);
        if (site != NULL) {
            snprintf(of + length, sizeof(of) - (size_t)length, " from %.100s:%llu", site->file,
                     (unsigned long long)site->line);
        }
    }
    snprintf(line, sizeof(line), "hostmem: the block at %p%s %s\n", memory, of, damage);
    heap->heaps->report(line);
    return HM_BROKEN;
}

/* What the header of a block that was allocated says; HM_BROKEN if it is damaged. */
static os_error check_block(const struct heap *heap, const void *memory, struct block *block)
{
    if (!block_read(memory, heap->secret, block)) {
        return broken(heap, memory, NULL, "was written in front of its beginning");
    }
    if (!block_end_is_intact(memory, heap->secret, *block)) {
        return broken(heap, memory, block, "was written behind its end");
    }
    return OS_OK;
}

/* The same for one that was freed. */
static os_error check_freed(const struct heap *heap, const void *memory)
{
    struct block block;
    bool intact = block_read(memory, heap->secret, &block);
    if (!intact || !block_end_is_intact(memory, heap->secret, block)) {
        return broken(heap, memory, intact ? &block : NULL,
                      "was written around after it had been freed");
    }
#ifndef NDEBUG
    for (size_t i = 0; i < block.size; i++) {
        if (((const unsigned char *)memory)[i] != FREED_BYTE) {
            return broken(heap, memory, &block, "was written after it had been freed");
        }
    }
#endif
    return OS_OK;
}

/* ---- shares ---- */

static struct heap_share *take_share(struct heap *heap)
{
    unsigned thread = os_thread_number();
    for (unsigned i = 0; i < HEAP_SHARES; i++) {
        struct heap_share *share = &heap->shares[(thread + i) % HEAP_SHARES];
        if (heap_share_try(share)) {
            return share;
        }
    }
    os_lock_acquire(&heap->last_one);
    return &heap->shares[HEAP_SHARES];
}

static void leave_share(struct heap *heap, struct heap_share *share)
{
    if (share == &heap->shares[HEAP_SHARES]) {
        os_lock_release(&heap->last_one);
    } else {
        heap_share_leave(share);
    }
}

/* A heap that is not thread safe is for one thread at a time; a second one is told so. */
static bool enter(struct heap *heap)
{
    return heap->thread_safe ||
           !atomic_exchange_explicit(&heap->entered, true, memory_order_acquire);
}

static void leave(struct heap *heap)
{
    if (!heap->thread_safe) {
        atomic_store_explicit(&heap->entered, false, memory_order_release);
    }
}

/* ---- allocate ---- */

static os_error allocate(struct heap *heap, size_t size, uint32_t site, enum budget_level level,
                         void **memory)
{
    size_t bytes = BLOCK_FRONT_BYTES + size + BLOCK_TAIL_BYTES;
    struct new_block new;
    struct heap_share *share = take_share(heap);
    os_error error = bytes <= SMALL_BYTES
                         ? heap_share_alloc(&heap->owner, share, bytes, level, &new)
                         : heap_share_alloc_large(&heap->owner, share, bytes, level, &new);
    if (error == OS_OK) {
        void *block = span_block(new.span, new.index);
        error = new.recycled ? check_freed(heap, block) : OS_OK;
        if (error == OS_OK) {
            block_write(block, heap->secret, (struct block){.size = size, .site = site});
            span_set_live(new.span, new.index); /* now whoever frees it finds its header */
            heap_share_count(&share->allocs, &share->bytes, counted_bytes(size));
            *memory = block;
        }
    }
    leave_share(heap, share);
    return error;
}

static __attribute__((noinline)) void count_site(struct heap *heap, struct block block, bool more)
{
    struct alloc_site *site = site_table_at(heap->heaps->sites, block.site);
    size_t bytes = counted_bytes(block.size);
    if (site != NULL) {
        atomic_fetch_add_explicit(&site->blocks, more ? 1 : (size_t)-1, memory_order_relaxed);
        atomic_fetch_add_explicit(&site->bytes, more ? bytes : 0 - bytes, memory_order_relaxed);
    }
}

os_error heap_alloc(struct heap *heap, size_t size, uint32_t site, enum budget_level level,
                    void **memory)
{
    if (size >= BLOCK_MAX_SIZE || size >= heap->owner.source->os->max_address - HEAP_SPAN_BYTES) {
        return OS_NOT_ENOUGH_MEMORY; /* the system would call it an invalid parameter */
    }
    if (!enter(heap)) {
        return HM_NOT_OWNER;
    }
    os_error error;
    bool trimmed = false;
    do {
        error = allocate(heap, size, site, level, memory);
        trimmed = error == HM_OVER_COMMIT && !trimmed && heaps_trim(heap->heaps) != 0;
    } while (trimmed);
    if (error == OS_OK && site != 0) {
        atomic_store_explicit(&heap->has_sites, true, memory_order_relaxed);
        count_site(heap, (struct block){.size = size, .site = site}, true);
    }
    leave(heap);
    return error;
}

/* ---- free ---- */

/* Give a claimed block back to where it came from, and count it by the way, unless that was done. */
static os_error give_back(struct heap *heap, struct span *span, uint32_t index, size_t bytes,
                          bool counted)
{
    bool large = span->size_class == LARGE_CLASS;
    struct heap_share *share = &heap->shares[span->share];
    os_error error = OS_OK;
    if (large) {
        unsigned thread = os_thread_number();
        share = &heap->shares[thread % HEAP_SHARES];
    }
    if (!heap_share_try(share)) {
        if (large) {
            error = span_close(heap->owner.source, span);
        } else {
            heap_share_leave_block(&heap->owner, share, span, index);
        }
        if (!counted) {
            atomic_fetch_add_explicit(&heap->frees, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&heap->freed_bytes, bytes, memory_order_relaxed);
        }
        return error;
    }
    error = large ? heap_share_free_large(&heap->owner, share, span)
                  : heap_share_free(&heap->owner, share, span, index);
    if (!counted) {
        heap_share_count(&share->frees, &share->bytes, 0 - bytes);
    }
    heap_share_leave(share);
    return error;
}

#ifndef NDEBUG

/* Debug builds: put a claimed block into the ring, and give back the one that comes out. */
static os_error keep_freed(struct heap *heap, void *memory, struct block block, bool *kept)
{
    memset(memory, FREED_BYTE, block.size);
    *kept = block.size <= HEAP_FREED_KEPT_BYTES;
    if (!*kept) {
        return OS_OK;
    }
    atomic_fetch_add_explicit(&heap->frees, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&heap->freed_bytes, counted_bytes(block.size), memory_order_relaxed);
    unsigned next = atomic_fetch_add_explicit(&heap->next_freed, 1, memory_order_relaxed);
    /* Release and acquire: the block as its thread left it. */
    void *old = atomic_exchange_explicit(&heap->freed[next % HEAP_FREED_KEPT], memory,
                                         memory_order_acq_rel);
    struct span_place place;
    if (old == NULL) {
        return OS_OK;
    }
    os_error error = check_freed(heap, old);
    if (error == OS_OK && span_locate(heap->owner.source, heap, old, &place)) {
        error = give_back(heap, place.span, place.index, 0, true);
    }
    return error;
}

#endif

os_error heap_free(struct heap *heap, void *memory)
{
    struct span_place place;
    struct block block;
    /* Where many blocks are freed no cache has the header: it comes while the span is found. Any address
     * is good for a hint. */
    __builtin_prefetch(block_header_of(memory));
    if (!enter(heap)) {
        return HM_NOT_OWNER;
    }
    os_error error = HM_FOREIGN;
    if (span_claim(heap->owner.source, heap, memory, &place)) {
        error = check_block(heap, memory, &block);
        if (error == OS_OK) {
            bool kept = false;
            if (block.site != 0) {
                count_site(heap, block, false);
            }
#ifndef NDEBUG
            error = keep_freed(heap, memory, block, &kept);
#endif
            if (!kept) {
                error = give_back(heap, place.span, place.index, counted_bytes(block.size), false);
            }
        }
    }
    leave(heap);
    return error;
}

os_error heap_block_size(struct heap *heap, const void *memory, size_t *size)
{
    struct block block;
    if (!span_find(heap->owner.source, heap, memory)) {
        return HM_FOREIGN;
    }
    os_error error = check_block(heap, memory, &block);
    if (error == OS_OK) {
        *size = block.size;
    }
    return error;
}

/* ---- a last look ---- */

os_error heap_end_block(struct heap *heap, const void *memory)
{
    struct block block;
    os_error error = check_block(heap, memory, &block);
    if (error == OS_OK) {
        count_site(heap, block, false);
    }
    return error;
}

os_error heap_check_freed(struct heap *heap)
{
    os_error error = OS_OK;
    (void)heap;
#ifndef NDEBUG
    for (size_t i = 0; i < HEAP_FREED_KEPT; i++) {
        void *block = atomic_load_explicit(&heap->freed[i], memory_order_acquire);
        if (block != NULL && check_freed(heap, block) != OS_OK) {
            error = HM_BROKEN;
        }
    }
#endif
    return error;
}
