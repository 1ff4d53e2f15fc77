/* SPDX-License-Identifier: MIT
 *
 * Where live heap blocks came from: file and line as DebugAlloc was told, with the blocks and bytes
 * that are alive. For people who look for a leak, not for the fast path: a lookup takes a lock.
 *
 * A site is made once and stays, so a block can point to it. Sites and their file names lie in one
 * reservation of 16 MiB that is committed as it fills; when it is full, or there is no memory,
 * further blocks have no site, and nothing else is lost.
 */
#ifndef HOSTMEM_CORE_SITE_TABLE_H
#define HOSTMEM_CORE_SITE_TABLE_H

#include "core/pages/table_memory.h"
#include "os/os_lock.h"

#define SITE_BUCKETS 256

struct alloc_site {
    struct alloc_site *next_in_bucket;
    struct alloc_site *next; /* in the order they were made */
    const char *file;
    uint64_t line;
    struct usage blocks;
    struct usage bytes;
};

struct site_table {
    struct table_memory *memory;
    struct os_lock lock;
    char *storage; /* NULL until the first site; this and all below guarded by lock */
    size_t used_bytes;
    size_t committed_bytes;
    struct alloc_site *first;
    struct alloc_site *last;
    struct alloc_site *buckets[SITE_BUCKETS];
};

void site_table_init(struct site_table *table, struct table_memory *memory);
void site_table_destroy(struct site_table *table);

/* The site of `file` (copied; NULL is taken as "?") and `line`, made if it is new. NULL: no room. */
struct alloc_site *site_table_get(struct site_table *table, const char *file, uint64_t line);

/* The site made after `site`, or the first one for NULL; NULL behind the last. */
struct alloc_site *site_table_next(struct site_table *table, const struct alloc_site *site);

#endif
