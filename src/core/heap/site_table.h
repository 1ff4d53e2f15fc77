/* SPDX-License-Identifier: MIT
 *
 * Where live heap blocks came from: file and line as DebugAlloc was told, with the blocks and bytes
 * that are alive. For people who look for a leak, not for the fast path: a lookup takes a lock.
 *
 * A site is made once and stays; blocks know it by its number, 1 to 65,535, which fits into their
 * header. Sites lie one after the other in a reservation of 4 MiB (2 on 32-bit), their names in one
 * of 12 MiB, both committed as they fill. When either is full, or there is no memory, further blocks
 * have no site, and nothing else is lost.
 */
#ifndef HOSTMEM_CORE_SITE_TABLE_H
#define HOSTMEM_CORE_SITE_TABLE_H

#include "core/pages/table_memory.h"
#include "os/os_lock.h"

#define SITE_BUCKETS 256

struct alloc_site {
    const char *file;
    uint64_t line;
    _Atomic size_t blocks; /* live */
    _Atomic size_t bytes;
    uint32_t next_in_bucket; /* number of a site, 0: none */
};

/* Storage that is committed as it fills. */
struct site_storage {
    char *base; /* NULL until it is needed */
    size_t used;
    size_t committed;
};

struct site_table {
    struct table_memory *memory;
    struct os_lock lock;
    struct site_storage
        sites; /* this and all below guarded by lock, but the sites that there are */
    struct site_storage names;
    uint32_t buckets[SITE_BUCKETS];
    _Atomic uint32_t count;
};

void site_table_init(struct site_table *table, struct table_memory *memory);
void site_table_destroy(struct site_table *table);

/* The number of the site of `file` (copied; NULL is taken as "?") and `line`, made if it is new.
 * 0: no room. */
uint32_t site_table_get(struct site_table *table, const char *file, uint64_t line);

/* The site of a number; in the order they were made. NULL: there is none. */
struct alloc_site *site_table_at(struct site_table *table, uint32_t number);

#endif
