/* SPDX-License-Identifier: MIT
 *
 * The life of heaps, and what is done to all of a manager at once. See heap.h.
 *
 * The span table is made with the first heap and goes with the last: until then records stay, so that
 * a free with a wild pointer may look at any of them. It needs a heap, and so there is a table.
 */
#include "core/heap/heap.h"

void heaps_init(struct heaps *heaps, struct budget *budget, struct table_memory *memory,
                struct site_table *sites, void (*report)(const char *damage))
{
    *heaps = (struct heaps){
        .source = {.os = memory->os, .budget = budget},
        .memory = memory,
        .sites = sites,
        .secret = os_secret(),
        .report = report,
    };
}

os_error heap_create(struct heap *heap, struct heaps *heaps, bool thread_safe, bool executable)
{
    os_error error = OS_OK;
    heap->heaps = heaps;
    heap->secret = heaps->secret;
    heap->thread_safe = thread_safe;
    heap->owner = (struct heap_owner){
        .source = &heaps->source,
        .heap = heap,
        .protect = executable ? OS_PAGE_EXECUTE_READWRITE : OS_PAGE_READWRITE,
    };
    for (uint8_t i = 0; i <= HEAP_SHARES; i++) {
        heap->shares[i].number = i;
    }
    /* For all but who has the lock it is always taken. */
    atomic_store_explicit(&heap->shares[HEAP_SHARES].taken, true, memory_order_relaxed);
    os_lock_acquire(&heaps->lock);
    if (heaps->users == 0) {
        error = span_table_create(&heaps->source.table, heaps->memory);
    }
    if (error == OS_OK) {
        heaps->users++;
        heap->next = heaps->first;
        if (heap->next != NULL) {
            heap->next->previous = heap;
        }
        heaps->first = heap;
    }
    os_lock_release(&heaps->lock);
    return error;
}

/* Add what was done in a heap. */
static void count_heap(struct heap *heap, struct heap_counts *counts)
{
    uint64_t allocs = 0, frees = atomic_load_explicit(&heap->frees, memory_order_relaxed);
    size_t bytes = 0 - atomic_load_explicit(&heap->freed_bytes, memory_order_relaxed);
    for (size_t i = 0; i <= HEAP_SHARES; i++) {
        allocs += atomic_load_explicit(&heap->shares[i].allocs, memory_order_relaxed);
        frees += atomic_load_explicit(&heap->shares[i].frees, memory_order_relaxed);
        bytes += atomic_load_explicit(&heap->shares[i].bytes, memory_order_relaxed);
    }
    counts->allocs += allocs;
    counts->frees += frees;
    /* None rather than less, if one was freed while the shares were read. */
    counts->blocks += allocs > frees ? (size_t)(allocs - frees) : 0;
    counts->bytes += bytes <= SIZE_MAX / 2 ? bytes : 0;
}

void heaps_count(struct heaps *heaps, struct heap_counts *counts)
{
    os_lock_acquire(&heaps->lock);
    *counts = (struct heap_counts){.allocs = heaps->allocs, .frees = heaps->frees};
    for (struct heap *heap = heaps->first; heap != NULL; heap = heap->next) {
        count_heap(heap, counts);
    }
    os_lock_release(&heaps->lock);
}

static size_t trim_share(struct heap *heap, struct heap_share *share)
{
    size_t given = 0;
    heap_share_trim(&heap->owner, share, &given);
    return given;
}

size_t heaps_trim(struct heaps *heaps)
{
    size_t given = 0;
    /* Tried only: whoever has it may be suspended, or be ourselves in a callback of the system. */
    if (!os_lock_try(&heaps->lock)) {
        return 0;
    }
    for (struct heap *heap = heaps->first; heap != NULL; heap = heap->next) {
        for (size_t i = 0; i < HEAP_SHARES; i++) {
            if (heap_share_try(&heap->shares[i])) {
                given += trim_share(heap, &heap->shares[i]);
                heap_share_leave(&heap->shares[i]);
            }
        }
        if (os_lock_try(&heap->last_one)) {
            given += trim_share(heap, &heap->shares[HEAP_SHARES]);
            os_lock_release(&heap->last_one);
        }
    }
    os_lock_release(&heaps->lock);
    return given;
}

/* ---- destroy ---- */

/* Off the list; what was done in it stays counted. */
static void unlink_heap(struct heap *heap)
{
    struct heaps *heaps = heap->heaps;
    struct heap_counts counts = {0};
    os_lock_acquire(&heaps->lock);
    *(heap->previous != NULL ? &heap->previous->next : &heaps->first) = heap->next;
    if (heap->next != NULL) {
        heap->next->previous = heap->previous;
    }
    count_heap(heap, &counts);
    heaps->allocs += counts.allocs;
    heaps->frees += counts.frees;
    os_lock_release(&heaps->lock);
}

/* Look at the live blocks of a span a last time, and make them dead. */
static os_error end_blocks(struct heap *heap, struct span *span)
{
    bool look = atomic_load_explicit(&heap->has_sites, memory_order_relaxed);
    uint8_t generation = atomic_load_explicit(&span->generation, memory_order_relaxed);
    uint32_t count = span->size_class == LARGE_CLASS ? 1 : span->untouched;
    os_error error = OS_OK;
#ifndef NDEBUG
    look = true;
#endif
    look = look && !span_has_gone(&heap->heaps->source, span);
    for (uint32_t i = 0; i < count; i++) {
        _Atomic uint8_t *live = &span_live(span)[i];
        if (atomic_load_explicit(live, memory_order_relaxed) == generation) {
            os_error damage = look ? heap_end_block(heap, span_block(span, i)) : OS_OK;
            error = damage != OS_OK ? damage : error;
        }
        atomic_store_explicit(live, 0, memory_order_relaxed);
    }
    return error;
}

os_error heap_destroy(struct heap *heap)
{
    struct heaps *heaps = heap->heaps;
    struct span_table *table = &heaps->source.table;
    unlink_heap(heap);
    os_error error = heap_check_freed(heap);
    for (struct span *span = span_table_next(table, NULL); span != NULL;
         span = span_table_next(table, span)) {
        if (atomic_load_explicit(&span->heap, memory_order_relaxed) == heap) {
            os_error damage = end_blocks(heap, span);
            os_error closed = span_close(&heaps->source, span);
            error = closed != OS_OK ? closed : damage != OS_OK ? damage : error;
        }
    }
    os_lock_acquire(&heaps->lock);
    if (--heaps->users == 0) {
        span_table_destroy(table);
    }
    os_lock_release(&heaps->lock);
    return error;
}
