/* SPDX-License-Identifier: MIT
 *
 * See span.h.
 *
 * A span is opened in the order record, charge, reservation, commit, slots, and undone backwards.
 * It is closed in the order slots, reservation, charge, record: the slots before the reservation,
 * because afterwards another thread may have the same addresses.
 *
 * Others may free with the system's own functions what is ours. It shows when the system refuses to
 * release a span that is not there any more, or when it gives us a new reservation where by our
 * slots a span lies: that one is marked, and later dropped without asking the system.
 */
#include "core/heap/span.h"

static uintptr_t base_of(const struct span *span)
{
    return atomic_load_explicit(&span->base, memory_order_relaxed);
}

/* Spans that lay where the system has just given us a reservation. */
static __attribute__((noinline)) void mark_as_gone(struct span_source *source, uintptr_t base,
                                                   size_t size)
{
    for (uintptr_t at = base; at - base < size; at += (size_t)1 << SLOT_SHIFT) {
        struct span *span = span_table_find(&source->table, at);
        if (span != NULL && at - base_of(span) < span->reserved) {
            atomic_store_explicit(&span->gone, true, memory_order_relaxed);
        }
    }
}

static uint32_t usable_blocks(const struct span *span)
{
    size_t bytes = atomic_load_explicit(&span->block_bytes, memory_order_relaxed);
    size_t blocks = span->size_class == LARGE_CLASS ? 1 : span->committed / bytes;
    return blocks < span->count ? (uint32_t)blocks : span->count;
}

/* Everything but the life of its blocks, which are all 0. */
static void fill_in(struct span *span, const struct span_plan *plan, uintptr_t base)
{
    bool large = plan->size_class == LARGE_CLASS;
    uint8_t generation = atomic_load_explicit(&span->generation, memory_order_relaxed);
    atomic_store_explicit(&span->base, base, memory_order_relaxed);
    atomic_store_explicit(&span->block_bytes, plan->block_bytes, memory_order_relaxed);
    atomic_store_explicit(&span->reciprocal, large ? 0 : UINT32_MAX / plan->block_bytes + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&span->heap, plan->heap, memory_order_relaxed);
    atomic_store_explicit(&span->gone, false, memory_order_relaxed);
    span->size_class = plan->size_class;
    span->share = plan->share;
    span->count = plan->count;
    span->protect = plan->protect;
    span->reserved = plan->reserve;
    span->committed = plan->commit;
    span->first_free = 0;
    span->untouched = 0;
    span->usable = usable_blocks(span);
    span->live = 0;
    span->next = NULL;
    span->previous = NULL;
    span->listed = false;
    atomic_store_explicit(&span->remote, 0, memory_order_relaxed);
    atomic_store_explicit(&span->next_pending, 0, memory_order_relaxed);
    /* Release: pairs with the acquire in span_locate. */
    atomic_store_explicit(&span->generation, generation % UINT8_MAX + 1, memory_order_release);
}

/* What could not be used. The error it was for, or HM_BROKEN. */
static os_error release(const struct os *os, uintptr_t base, os_error error)
{
    return os->virtual_free(os, base, 0, OS_MEM_RELEASE) == OS_OK ? error : HM_BROKEN;
}

/* Not inlined: its frame is gone when the slots, which go deeper, are written. */
static __attribute__((noinline)) os_error get_memory(const struct os *os,
                                                     const struct span_plan *plan, uintptr_t *base)
{
    uintptr_t committed;
    os_error error = os->virtual_alloc(os, 0, plan->reserve, OS_MEM_RESERVE, plan->protect, base);
    if (error == OS_OK) {
        error =
            os->virtual_alloc(os, *base, plan->commit, OS_MEM_COMMIT, plan->protect, &committed);
        error = error != OS_OK ? release(os, *base, error) : OS_OK;
    }
    return error;
}

/* Let the slots lead to the span. */
static os_error publish(struct span_source *source, const struct span_plan *plan, uintptr_t base,
                        struct span *span)
{
    mark_as_gone(source, base, plan->reserve);
    fill_in(span, plan, base);
    os_error error =
        slot_map_set(&source->table.map, base, plan->reserve, span_id(&source->table, span));
    if (error != OS_OK) {
        atomic_store_explicit(&span->heap, NULL, memory_order_relaxed);
        error = release(source->os, base, error);
    }
    return error;
}

os_error span_open(struct span_source *source, const struct span_plan *plan,
                   enum budget_level level, struct span **result)
{
    uintptr_t base;
    struct span *span = span_table_take(&source->table, plan->count);
    if (span == NULL) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    os_error error = budget_take(source->budget, 0, plan->commit, level);
    if (error == OS_OK) {
        error = get_memory(source->os, plan, &base);
        error = error == OS_OK ? publish(source, plan, base, span) : error;
        if (error != OS_OK) {
            budget_give_back(source->budget, 0, plan->commit);
        }
    }
    if (error != OS_OK) {
        span_table_put(&source->table, span);
        return error;
    }
    budget_added(source->budget, BUDGET_HEAP, 0, plan->commit);
    *result = span;
    return OS_OK;
}

os_error span_grow(struct span_source *source, struct span *span, size_t bytes,
                   enum budget_level level)
{
    const struct os *os = source->os;
    uintptr_t committed;
    os_error error = budget_take(source->budget, 0, bytes, level);
    if (error != OS_OK) {
        return error;
    }
    error = os->virtual_alloc(os, base_of(span) + span->committed, bytes, OS_MEM_COMMIT,
                              span->protect, &committed);
    if (error != OS_OK) {
        budget_give_back(source->budget, 0, bytes);
        return error;
    }
    budget_added(source->budget, BUDGET_HEAP, 0, bytes);
    span->committed += bytes;
    span->usable = usable_blocks(span);
    return OS_OK;
}

bool span_has_gone(const struct span_source *source, const struct span *span)
{
    struct os_memory_info info;
    size_t written;
    return atomic_load_explicit(&span->gone, memory_order_relaxed) ||
           (source->os->virtual_query(source->os, base_of(span), &info, sizeof(info), &written) ==
                OS_OK &&
            (info.state != OS_MEM_COMMIT || info.allocation_base != base_of(span)));
}

os_error span_shrink(struct span_source *source, struct span *span)
{
    const struct os *os = source->os;
    size_t bytes = atomic_load_explicit(&span->block_bytes, memory_order_relaxed);
    size_t used = (span->untouched * bytes + os->page_size - 1) & ~(os->page_size - 1);
    size_t rest = span->committed - used;
    if (rest == 0 || span_has_gone(source, span)) {
        return OS_OK;
    }
    if (os->virtual_free(os, base_of(span) + used, rest, OS_MEM_DECOMMIT) != OS_OK) {
        return HM_BROKEN;
    }
    budget_removed(source->budget, BUDGET_HEAP, 0, rest);
    span->committed = used;
    span->usable = usable_blocks(span);
    return OS_OK;
}

os_error span_close(struct span_source *source, struct span *span)
{
    const struct os *os = source->os;
    bool gone = atomic_load_explicit(&span->gone, memory_order_relaxed);
    slot_map_clear(&source->table.map, base_of(span), span->reserved,
                   span_id(&source->table, span));
    if (!gone && os->virtual_free(os, base_of(span), 0, OS_MEM_RELEASE) != OS_OK) {
        if (!span_has_gone(source, span)) {
            return HM_BROKEN; /* the heap's end tries again */
        }
        gone = true;
    }
    if (gone) {
        atomic_fetch_add_explicit(&source->freed_behind, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&source->freed_behind_bytes, span->reserved,
                                  memory_order_relaxed);
    }
    budget_removed(source->budget, BUDGET_HEAP, 0, span->committed);
    atomic_store_explicit(&span->heap, NULL, memory_order_relaxed);
    span_table_put(&source->table, span);
    return budget_broken(source->budget) != NULL ? HM_BROKEN : OS_OK;
}
