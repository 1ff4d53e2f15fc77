/* SPDX-License-Identifier: MIT
 *
 * The address space that the runtime says it took from the OS by itself: views of files, which it
 * reports when they are mapped and when they are unmapped. A record, nothing more: the figures are
 * shown, no memory is managed through it.
 *
 * A sorted array, because there are tens to hundreds of views, each reported once. It has room for
 * 65,536 (1 MiB of reserved address space on 64-bit systems); what does not fit is not recorded.
 */
#ifndef HOSTMEM_CORE_VIEW_LIST_H
#define HOSTMEM_CORE_VIEW_LIST_H

#include "core/pages/table_memory.h"
#include "os/os_lock.h"

struct view {
    uintptr_t base;
    size_t size; /* bytes */
};

struct view_list {
    struct table_memory *memory;
    struct os_lock lock;
    struct view *views; /* ascending by base; guarded by lock, as are the counts */
    size_t count;
    size_t committed_bytes;
    size_t total_bytes;
};

/* OS_NOT_ENOUGH_MEMORY on failure. */
os_error view_list_create(struct view_list *list, struct table_memory *memory);
void view_list_destroy(struct view_list *list);

/* Any thread. A second report of the same base replaces the first. Size 0: as far as the OS says
 * that the allocation which contains `base` goes (CLR 2.0 reports no sizes). */
void view_list_add(struct view_list *list, uintptr_t base, size_t size);

/* Any thread. A base that was never reported is ignored. */
void view_list_remove(struct view_list *list, uintptr_t base);

void view_list_total(struct view_list *list, size_t *count, size_t *bytes);

#endif
