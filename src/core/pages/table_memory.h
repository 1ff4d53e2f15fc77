/* SPDX-License-Identifier: MIT
 *
 * Memory for hostmem's own tables, straight from the seam and counted: it never passes through the
 * COM methods, is never part of the runtime's figures, and never enters the region table.
 *
 * In debug builds a page that nobody can touch follows every table: a write past the end of one
 * stops there and then.
 */
#ifndef HOSTMEM_CORE_TABLE_MEMORY_H
#define HOSTMEM_CORE_TABLE_MEMORY_H

#include "core/limits/usage.h"
#include "os/os.h"

struct table_memory {
    const struct os *os;
    struct usage committed; /* bytes */
};

/* `size` in whole pages. */
static inline size_t table_memory_round(const struct table_memory *memory, size_t size)
{
    size_t page = memory->os->page_size;
    return (size + page - 1) & ~(page - 1);
}

/* Reserve `size` bytes of address space, nothing of it usable yet. NULL when there is none. */
static inline void *table_memory_reserve(struct table_memory *memory, size_t size)
{
#ifndef NDEBUG
    size += memory->os->page_size;
#endif
    return memory->os->table_reserve(memory->os, size);
}

/* Make `size` bytes at `address` usable and zero. Whole pages that were not committed before. */
static inline bool table_memory_commit(struct table_memory *memory, void *address, size_t size)
{
    if (!memory->os->table_commit(memory->os, address, size)) {
        return false;
    }
    usage_add(&memory->committed, size);
    return true;
}

/* Give back a whole reservation, `committed` bytes of which had been committed. */
static inline void table_memory_release(struct table_memory *memory, void *address,
                                        size_t committed)
{
    memory->os->table_release(memory->os, address);
    usage_subtract(&memory->committed, committed);
}

/* Reserve and commit in one step; undo with table_memory_release(…, size). */
static inline void *table_memory_map(struct table_memory *memory, size_t size)
{
    void *address = table_memory_reserve(memory, size);
    if (address != NULL && !table_memory_commit(memory, address, size)) {
        memory->os->table_release(memory->os, address);
        return NULL;
    }
    return address;
}

#endif
