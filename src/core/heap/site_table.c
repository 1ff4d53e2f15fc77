/* SPDX-License-Identifier: MIT
 *
 * See site_table.h.
 */
#include "core/heap/site_table.h"

#include <string.h>

#define MAX_SITES ((size_t)UINT16_MAX)
#define SITES_BYTES ((MAX_SITES + 1) * sizeof(struct alloc_site))
#define NAMES_BYTES ((size_t)12 << 20)
#define COMMIT_BYTES ((size_t)64 << 10)

void site_table_init(struct site_table *table, struct table_memory *memory)
{
    *table = (struct site_table){.memory = memory};
}

void site_table_destroy(struct site_table *table)
{
    struct site_storage *storages[] = {&table->sites, &table->names};
    for (size_t i = 0; i < 2; i++) {
        if (storages[i]->base != NULL) {
            table_memory_release(table->memory, storages[i]->base, storages[i]->committed);
        }
    }
}

/* FNV-1a over the name, then the line. */
static size_t bucket_of(const char *file, uint64_t line)
{
    uint32_t hash = 2166136261u;
    for (const char *c = file; *c != '\0'; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    }
    return (size_t)((hash ^ (uint32_t)line) * 16777619u >> 16) % SITE_BUCKETS;
}

/* See that `bytes` more of a storage of `size` are there, zeroed. */
static bool make_room_locked(struct site_table *table, struct site_storage *storage, size_t size,
                             size_t bytes)
{
    if (storage->base == NULL) {
        storage->base = table_memory_reserve(table->memory, size);
    }
    if (storage->base == NULL || bytes > size - storage->used) {
        return false;
    }
    while (storage->used + bytes > storage->committed) {
        if (!table_memory_commit(table->memory, storage->base + storage->committed, COMMIT_BYTES)) {
            return false;
        }
        storage->committed += COMMIT_BYTES;
    }
    return true;
}

static uint32_t make_locked(struct site_table *table, const char *file, uint64_t line,
                            uint32_t *bucket)
{
    size_t name_bytes = strlen(file) + 1;
    uint32_t number = atomic_load_explicit(&table->count, memory_order_relaxed) + 1;
    if (number > MAX_SITES ||
        !make_room_locked(table, &table->sites, SITES_BYTES, sizeof(struct alloc_site)) ||
        !make_room_locked(table, &table->names, NAMES_BYTES, name_bytes)) {
        return 0;
    }
    struct alloc_site *site = (struct alloc_site *)(void *)table->sites.base + (number - 1);
    char *name = table->names.base + table->names.used;
    memcpy(name, file, name_bytes);
    site->file = name;
    site->line = line;
    site->next_in_bucket = *bucket;
    *bucket = number;
    table->sites.used += sizeof(*site);
    table->names.used += name_bytes;
    /* Release: pairs with the acquire in site_table_at. */
    atomic_store_explicit(&table->count, number, memory_order_release);
    return number;
}

uint32_t site_table_get(struct site_table *table, const char *file, uint64_t line)
{
    file = file != NULL ? file : "?";
    uint32_t *bucket = &table->buckets[bucket_of(file, line)];
    os_lock_acquire(&table->lock);
    uint32_t number = *bucket;
    while (number != 0) {
        const struct alloc_site *site = site_table_at(table, number);
        if (site->line == line && strcmp(site->file, file) == 0) {
            break;
        }
        number = site->next_in_bucket;
    }
    if (number == 0) {
        number = make_locked(table, file, line, bucket);
    }
    os_lock_release(&table->lock);
    return number;
}

struct alloc_site *site_table_at(struct site_table *table, uint32_t number)
{
    uint32_t count = atomic_load_explicit(&table->count, memory_order_acquire);
    return number == 0 || number > count
               ? NULL
               : (struct alloc_site *)(void *)table->sites.base + (number - 1);
}
