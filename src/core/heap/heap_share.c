/* SPDX-License-Identifier: MIT
 *
 * See heap_share.h.
 *
 * A span is in its bin while it has room: freed blocks, committed blocks that nobody has had, or pages
 * to commit. A full one is in no list; the next block of it that is freed brings it back, by itself or
 * from the pending list.
 *
 * A span is on the pending list once at most. Whoever leaves the first block on an empty remote list
 * puts it there; the holder takes the span off before it empties the remote list, and reads where the
 * pending list goes on before that, for from then on the span may be put there again. The block that
 * is left counts as live until it is collected, so a span that others are busy with is not closed.
 */
#include "core/heap/heap_share.h"

/* ---- lists ---- */

static void put_first(struct heap_bin *bin, struct span *span)
{
    span->previous = NULL;
    span->next = bin->first;
    if (span->next != NULL) {
        span->next->previous = span;
    }
    bin->first = span;
    span->listed = true;
}

static void take_off(struct heap_bin *bin, struct span *span)
{
    *(span->previous != NULL ? &span->previous->next : &bin->first) = span->next;
    if (span->next != NULL) {
        span->next->previous = span->previous;
    }
    span->listed = false;
}

void heap_share_leave_block(const struct heap_owner *owner, struct heap_share *share,
                            struct span *span, uint32_t index)
{
    if (!span_push_remote(span, index)) {
        return;
    }
    uint32_t first = atomic_load_explicit(&share->pending, memory_order_relaxed);
    do {
        atomic_store_explicit(&span->next_pending, first, memory_order_relaxed);
        /* Release: pairs with the acquire in collect_pending. */
    } while (!atomic_compare_exchange_weak_explicit(&share->pending, &first,
                                                    span_id(&owner->source->table, span),
                                                    memory_order_release, memory_order_relaxed));
}

/* ---- giving back ---- */

static os_error close_span(const struct heap_owner *owner, struct heap_share *share,
                           struct span *span)
{
    size_t committed = span->committed;
    if (span->size_class != LARGE_CLASS) {
        struct heap_bin *bin = &share->bins[span->size_class];
        take_off(bin, span);
        bin->step = 0;
    }
    os_error error = span_close(owner->source, span);
    share->given_back += error == OS_OK ? committed : 0;
    return error;
}

/* After blocks came back: keep the span, with room now, or give it back. */
static os_error settle(const struct heap_owner *owner, struct heap_share *share, struct span *span)
{
    if (!span->listed) {
        put_first(&share->bins[span->size_class], span);
    }
    if (span->live != 0) {
        return OS_OK;
    }
    if (span->committed > HEAP_KEPT_BYTES - share->kept) {
        return close_span(owner, share, span);
    }
    share->kept += span->committed;
    return OS_OK;
}

os_error heap_share_free(const struct heap_owner *owner, struct heap_share *share,
                         struct span *span, uint32_t index)
{
    span_push(span, index);
    return span->listed && span->live != 0 ? OS_OK : settle(owner, share, span);
}

/* HM_BROKEN: as span_close. */
static os_error collect_pending(const struct heap_owner *owner, struct heap_share *share)
{
    os_error error = OS_OK;
    uint32_t id = atomic_load_explicit(&share->pending, memory_order_relaxed);
    if (id != 0) {
        id = atomic_exchange_explicit(&share->pending, 0, memory_order_acquire);
    }
    while (id != 0) {
        struct span *span = span_at(&owner->source->table, id);
        id = atomic_load_explicit(&span->next_pending, memory_order_relaxed);
        span_collect(span);
        os_error settled = settle(owner, share, span);
        error = settled != OS_OK ? settled : error;
    }
    return error;
}

/* ---- small blocks ---- */

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) & ~(unit - 1);
}

static size_t at_most(size_t bytes, size_t most)
{
    return bytes < most ? bytes : most;
}

/* How much the class commits next, with room for a block at least. */
static size_t next_step(const struct heap_owner *owner, const struct heap_bin *bin,
                        size_t block_bytes)
{
    size_t page = owner->source->os->page_size;
    size_t step = at_most(2 * bin->step, HEAP_STEP_BYTES);
    return round_up(step > block_bytes ? step : block_bytes, page);
}

static os_error grow(const struct heap_owner *owner, struct heap_bin *bin, struct span *span,
                     enum budget_level level)
{
    size_t bytes = atomic_load_explicit(&span->block_bytes, memory_order_relaxed);
    size_t least = round_up(bytes, owner->source->os->page_size);
    size_t rest = span->reserved - span->committed, step = next_step(owner, bin, bytes);
    os_error error = span_grow(owner->source, span, at_most(step, rest), level);
    if (error == HM_OVER_COMMIT && step > least) { /* what one block needs may be there */
        step = least;
        error = span_grow(owner->source, span, at_most(step, rest), level);
    }
    bin->step = error == OS_OK ? step : 0;
    return error;
}

static os_error open_span(const struct heap_owner *owner, struct heap_share *share,
                          unsigned size_class, enum budget_level level)
{
    struct heap_bin *bin = &share->bins[size_class];
    size_t bytes = size_class_bytes(size_class), slot = (size_t)1 << SLOT_SHIFT;
    size_t least = round_up(bytes, owner->source->os->page_size);
    size_t step = next_step(owner, bin, bytes);
    size_t reserve = HEAP_SPAN_BYTES;
    if (step < HEAP_STEP_BYTES) {
        reserve = at_most(round_up(HEAP_FIRST_BLOCKS * bytes, slot), HEAP_SPAN_BYTES);
    }
    struct span *span;
    struct span_plan plan = {
        .heap = owner->heap,
        .share = share->number,
        .size_class = (uint8_t)size_class,
        .block_bytes = (uint32_t)bytes,
        .count = (uint32_t)at_most(reserve / bytes, SPAN_MAX_BLOCKS),
        .reserve = reserve,
        .commit = at_most(step, reserve),
        .protect = owner->protect,
    };
    os_error error = span_open(owner->source, &plan, level, &span);
    if (error == HM_OVER_COMMIT && plan.commit > least) {
        plan.commit = least;
        error = span_open(owner->source, &plan, level, &span);
    }
    if (error == OS_OK) {
        bin->step = plan.commit;
        share->kept += plan.commit; /* it is empty, for the moment */
        put_first(bin, span);
    }
    return error;
}

static bool has_block(const struct span *span)
{
    return span->first_free != 0 || span->untouched < span->usable;
}

/* A span of the bin that has a block, or else the last that has pages to commit; NULL: none. Those
 * that have neither go off the list. */
static struct span *look_for_room(struct heap_bin *bin)
{
    struct span *growable = NULL, *next;
    for (struct span *span = bin->first; span != NULL; span = next) {
        next = span->next;
        if (has_block(span)) {
            return span;
        }
        if (span->usable < span->count) {
            growable = span;
        } else {
            take_off(bin, span);
        }
    }
    return growable;
}

/* See that the first span of the bin has a block. */
static os_error find_room(const struct heap_owner *owner, struct heap_share *share,
                          unsigned size_class, enum budget_level level)
{
    struct heap_bin *bin = &share->bins[size_class];
    os_error error = collect_pending(owner, share);
    struct span *span = NULL;
    while (error == OS_OK && (span = look_for_room(bin)) != NULL && !has_block(span)) {
        error = grow(owner, bin, span, level);
        if (error != OS_OK && span_has_gone(owner->source, span)) {
            /* Somebody else has freed it: go on without it. */
            atomic_store_explicit(&span->gone, true, memory_order_relaxed);
            take_off(bin, span);
            error = OS_OK;
        }
    }
    if (error == OS_OK && span == NULL) {
        return open_span(owner, share, size_class, level);
    }
    if (error == OS_OK && span != bin->first) {
        take_off(bin, span);
        put_first(bin, span);
    }
    return error;
}

os_error heap_share_alloc(const struct heap_owner *owner, struct heap_share *share,
                          size_t block_bytes, enum budget_level level, struct new_block *block)
{
    unsigned size_class = size_class_of(block_bytes);
    struct span *span = share->bins[size_class].first;
    if (span == NULL || !has_block(span)) {
        os_error error = find_room(owner, share, size_class, level);
        if (error != OS_OK) {
            return error;
        }
        span = share->bins[size_class].first;
    }
    if (span->live == 0) {
        share->kept -= span->committed;
    }
    block->span = span;
    block->recycled = span->first_free != 0;
    block->index = block->recycled ? span_pop(span) : span_touch(span);
    return OS_OK;
}

/* ---- large blocks ---- */

/* The latest that is large enough and not much too large. NULL: none. */
static struct span *take_kept(struct heap_share *share, size_t commit)
{
    for (uint32_t i = share->large_count; i-- > 0;) {
        struct span *span = share->large[i];
        if (span->committed >= commit && span->committed <= commit + commit / 4) {
            share->large[i] = share->large[--share->large_count];
            share->kept -= span->committed;
            return span;
        }
    }
    return NULL;
}

static os_error open_large(const struct heap_owner *owner, size_t block_bytes, size_t commit,
                           enum budget_level level, struct span **span)
{
    const struct span_plan plan = {
        .heap = owner->heap,
        .size_class = LARGE_CLASS,
        .count = 1,
        .reserve = round_up(block_bytes, (size_t)1 << SLOT_SHIFT),
        .commit = commit,
        .protect = owner->protect,
    };
    return span_open(owner->source, &plan, level, span);
}

os_error heap_share_alloc_large(const struct heap_owner *owner, struct heap_share *share,
                                size_t block_bytes, enum budget_level level,
                                struct new_block *block)
{
    size_t commit = round_up(block_bytes, owner->source->os->page_size);
    block->span = take_kept(share, commit);
    block->recycled = block->span != NULL;
    block->index = 0;
    return block->recycled ? OS_OK : open_large(owner, block_bytes, commit, level, &block->span);
}

os_error heap_share_free_large(const struct heap_owner *owner, struct heap_share *share,
                               struct span *span)
{
    if (share->large_count < HEAP_LARGE_KEPT && span->committed <= HEAP_KEPT_BYTES - share->kept) {
        share->large[share->large_count++] = span;
        share->kept += span->committed;
        return OS_OK;
    }
    return close_span(owner, share, span);
}

/* ---- trim ---- */

static os_error close_kept(const struct heap_owner *owner, struct heap_share *share,
                           struct span *span)
{
    share->kept -= span->committed;
    return close_span(owner, share, span);
}

static os_error trim_span(const struct heap_owner *owner, struct heap_share *share,
                          struct span *span)
{
    if (span->live == 0) {
        return close_kept(owner, share, span);
    }
    size_t committed = span->committed;
    os_error error = span_shrink(owner->source, span);
    share->given_back += committed - span->committed;
    share->bins[span->size_class].step = 0;
    return error;
}

os_error heap_share_trim(const struct heap_owner *owner, struct heap_share *share, size_t *given)
{
    size_t before = share->given_back;
    os_error trimmed, error = collect_pending(owner, share);
    for (unsigned i = 0; i < SIZE_CLASSES; i++) {
        struct span *next;
        for (struct span *span = share->bins[i].first; span != NULL; span = next) {
            next = span->next;
            trimmed = trim_span(owner, share, span);
            error = trimmed != OS_OK ? trimmed : error;
        }
    }
    while (share->large_count > 0) {
        trimmed = close_kept(owner, share, share->large[--share->large_count]);
        error = trimmed != OS_OK ? trimmed : error;
    }
    *given = share->given_back - before;
    return error;
}
