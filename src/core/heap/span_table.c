/* SPDX-License-Identifier: MIT
 *
 * See span_table.h. The lock is held for a moment: a record off a list, and once in a while one call
 * that commits more of the storage.
 */
#include "core/heap/span_table.h"

#if UINTPTR_MAX > UINT32_MAX
#define STORAGE_BYTES ((size_t)4 << 30)
#else
#define STORAGE_BYTES ((size_t)16 << 20)
#endif
#define COMMIT_BYTES ((size_t)64 << 10)

static void range_of(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last)
{
    const struct span *span = span_at(owner, id);
    *first = atomic_load_explicit(&span->base, memory_order_relaxed);
    *last = *first + span->reserved - 1;
}

os_error span_table_create(struct span_table *table, struct table_memory *memory)
{
    *table = (struct span_table){.memory = memory, .used = SPAN_LINE /* no record has the id 0 */};
    os_error error = slot_map_create(&table->map, memory, range_of, table);
    if (error != OS_OK) {
        return error;
    }
    table->storage = table_memory_reserve(memory, STORAGE_BYTES);
    if (table->storage == NULL) {
        slot_map_destroy(&table->map);
        return OS_NOT_ENOUGH_MEMORY;
    }
    return OS_OK;
}

void span_table_destroy(struct span_table *table)
{
    if (table->storage != NULL) {
        table_memory_release(table->memory, table->storage, table->committed);
        slot_map_destroy(&table->map);
        *table = (struct span_table){0};
    }
}

static size_t record_bytes(size_t capacity)
{
    size_t bytes = sizeof(struct span) + capacity * (sizeof(uint8_t) + sizeof(uint16_t));
    return (bytes + SPAN_LINE - 1) & ~(size_t)(SPAN_LINE - 1);
}

static unsigned capacity_class(uint32_t count)
{
    return count <= SPAN_MIN_CAPACITY ? 0 : 28 - (unsigned)__builtin_clz(count - 1);
}

/* A new record of zeros. NULL: no memory. */
static struct span *carve_locked(struct span_table *table, uint32_t capacity)
{
    size_t bytes = record_bytes(capacity);
    if (bytes > STORAGE_BYTES - table->used) {
        return NULL;
    }
    while (table->used + bytes > table->committed) {
        if (!table_memory_commit(table->memory, table->storage + table->committed, COMMIT_BYTES)) {
            return NULL;
        }
        table->committed += COMMIT_BYTES;
    }
    struct span *span = (struct span *)(void *)(table->storage + table->used);
    table->used += bytes;
    span->capacity = capacity;
    return span;
}

struct span *span_table_take(struct span_table *table, uint32_t count)
{
    unsigned class = capacity_class(count);
    os_lock_acquire(&table->lock);
    uint32_t id = table->free[class];
    struct span *span = NULL;
    if (id != 0) {
        span = span_at(table, id);
        table->free[class] = atomic_load_explicit(&span->next_pending, memory_order_relaxed);
    } else {
        span = carve_locked(table, (uint32_t)SPAN_MIN_CAPACITY << class);
    }
    os_lock_release(&table->lock);
    return span;
}

void span_table_put(struct span_table *table, struct span *span)
{
    unsigned class = capacity_class(span->capacity);
    os_lock_acquire(&table->lock);
    atomic_store_explicit(&span->next_pending, table->free[class], memory_order_relaxed);
    table->free[class] = span_id(table, span);
    os_lock_release(&table->lock);
}

struct span *span_table_next(struct span_table *table, struct span *span)
{
    os_lock_acquire(&table->lock);
    size_t at = SPAN_LINE;
    if (span != NULL) {
        at = (size_t)((char *)span - table->storage) + record_bytes(span->capacity);
    }
    struct span *next = at < table->used ? (struct span *)(void *)(table->storage + at) : NULL;
    os_lock_release(&table->lock);
    return next;
}
