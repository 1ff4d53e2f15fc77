/* SPDX-License-Identifier: MIT
 *
 * See view_list.h.
 */
#include "core/pages/view_list.h"

#include <string.h>

#define MAX_VIEWS ((size_t)65536)

os_error view_list_create(struct view_list *list, struct table_memory *memory)
{
    *list = (struct view_list){.memory = memory};
    list->views = table_memory_reserve(memory, MAX_VIEWS * sizeof(*list->views));
    return list->views != NULL ? OS_OK : OS_NOT_ENOUGH_MEMORY;
}

void view_list_destroy(struct view_list *list)
{
    if (list->views != NULL) {
        table_memory_release(list->memory, list->views, list->committed_bytes);
    }
}

/* The bytes from `base` to the end of the OS allocation that contains it. */
static size_t allocation_size(const struct os *os, uintptr_t base)
{
    struct os_memory_info info;
    uintptr_t at = base, allocation = 0;
    size_t written;
    while (os->virtual_query(os, at, &info, sizeof(info), &written) == OS_OK &&
           info.state != OS_MEM_FREE && (at == base || info.allocation_base == allocation)) {
        allocation = info.allocation_base;
        at = info.base + info.size;
    }
    return at - base;
}

/* The index of the first view at or above `base`. */
static size_t lower_bound_locked(const struct view_list *list, uintptr_t base)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->views[middle].base < base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool has_room_locked(struct view_list *list)
{
    size_t page = list->memory->os->page_size;
    if ((list->count + 1) * sizeof(*list->views) <= list->committed_bytes) {
        return true;
    }
    if (list->count == MAX_VIEWS ||
        !table_memory_commit(list->memory, (char *)list->views + list->committed_bytes, page)) {
        return false;
    }
    list->committed_bytes += page;
    return true;
}

void view_list_add(struct view_list *list, uintptr_t base, size_t size)
{
    if (size == 0) {
        size = allocation_size(list->memory->os, base);
    }
    os_lock_acquire(&list->lock);
    size_t at = lower_bound_locked(list, base);
    struct view *view = &list->views[at];
    if (at < list->count && view->base == base) {
        list->total_bytes -= view->size;
    } else if (has_room_locked(list)) {
        memmove(view + 1, view, (list->count - at) * sizeof(*view));
        list->count++;
    } else {
        view = NULL;
    }
    if (view != NULL) {
        *view = (struct view){base, size};
        list->total_bytes += size;
    }
    os_lock_release(&list->lock);
}

void view_list_remove(struct view_list *list, uintptr_t base)
{
    os_lock_acquire(&list->lock);
    size_t at = lower_bound_locked(list, base);
    if (at < list->count && list->views[at].base == base) {
        struct view *view = &list->views[at];
        list->total_bytes -= view->size;
        list->count--;
        memmove(view, view + 1, (list->count - at) * sizeof(*view));
    }
    os_lock_release(&list->lock);
}

void view_list_total(struct view_list *list, size_t *count, size_t *bytes)
{
    os_lock_acquire(&list->lock);
    *count = list->count;
    *bytes = list->total_bytes;
    os_lock_release(&list->lock);
}
