/* SPDX-License-Identifier: MIT
 *
 * See site_table.h.
 */
#include "core/heap/site_table.h"

#include <string.h>

#define STORAGE_BYTES ((size_t)16 << 20)
#define COMMIT_BYTES ((size_t)64 << 10)

void site_table_init(struct site_table *table, struct table_memory *memory)
{
    *table = (struct site_table){.memory = memory};
}

void site_table_destroy(struct site_table *table)
{
    if (table->storage != NULL) {
        table_memory_release(table->memory, table->storage, table->committed_bytes);
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

/* `bytes` of zeroed storage, aligned for any object. NULL: no room. */
static void *take_locked(struct site_table *table, size_t bytes)
{
    size_t aligned = (bytes + 15) & ~(size_t)15;
    if (table->storage == NULL) {
        table->storage = table_memory_reserve(table->memory, STORAGE_BYTES);
    }
    if (table->storage == NULL || aligned > STORAGE_BYTES - table->used_bytes) {
        return NULL;
    }
    while (table->used_bytes + aligned > table->committed_bytes) {
        if (!table_memory_commit(table->memory, table->storage + table->committed_bytes,
                                 COMMIT_BYTES)) {
            return NULL;
        }
        table->committed_bytes += COMMIT_BYTES;
    }
    void *taken = table->storage + table->used_bytes;
    table->used_bytes += aligned;
    return taken;
}

static struct alloc_site *make_locked(struct site_table *table, const char *file, uint64_t line,
                                      struct alloc_site **bucket)
{
    size_t name_bytes = strlen(file) + 1;
    struct alloc_site *site = take_locked(table, sizeof(*site) + name_bytes);
    if (site == NULL) {
        return NULL;
    }
    char *name = (char *)(site + 1);
    memcpy(name, file, name_bytes);
    site->file = name;
    site->line = line;
    site->next_in_bucket = *bucket;
    *bucket = site;
    *(table->last != NULL ? &table->last->next : &table->first) = site;
    table->last = site;
    return site;
}

struct alloc_site *site_table_get(struct site_table *table, const char *file, uint64_t line)
{
    file = file != NULL ? file : "?";
    struct alloc_site **bucket = &table->buckets[bucket_of(file, line)];
    os_lock_acquire(&table->lock);
    struct alloc_site *site = *bucket;
    while (site != NULL && (site->line != line || strcmp(site->file, file) != 0)) {
        site = site->next_in_bucket;
    }
    if (site == NULL) {
        site = make_locked(table, file, line, bucket);
    }
    os_lock_release(&table->lock);
    return site;
}

struct alloc_site *site_table_next(struct site_table *table, const struct alloc_site *site)
{
    os_lock_acquire(&table->lock);
    struct alloc_site *next = site != NULL ? site->next : table->first;
    os_lock_release(&table->lock);
    return next;
}
