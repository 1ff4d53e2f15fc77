/* SPDX-License-Identifier: MIT
 *
 * Handles and views are both names of a section: two lists of them, each in ascending order. A
 * section lives as long as it has a name.
 */
#include "section_table.h"
#include "os/os_lock.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096

struct section {
    SIZE_T names;
    UINT64 page_count;
    UINT64 committed; /* pages */
    BYTE *pages;      /* a bit for each; NULL: all were charged */
};

/* A handle's value is `begin`, and nothing else is set. */
struct name {
    UINT_PTR begin;
    SIZE_T size;
    UINT64 first_page;
    struct section *section;
};

struct names {
    struct name *items; /* ascending by begin */
    SIZE_T count, capacity;
};

static struct names handles, views;
static atomic_long in_use; /* sections; 0: nobody need take the lock */
static struct os_lock lock;

static UINT64 pages_of(UINT64 bytes)
{
    return bytes / PAGE + (bytes % PAGE != 0);
}

/* Relaxed: who has a section's handle or view has it from the thread that made it. */
static BOOL nothing_to_do(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed) == 0;
}

/* ---- Names ---- */

/* The index of the first name above `value`. */
static SIZE_T above(const struct names *names, UINT_PTR value)
{
    SIZE_T low = 0, high = names->count;
    while (low < high) {
        SIZE_T middle = low + (high - low) / 2;
        if (names->items[middle].begin <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct name *last_up_to(const struct names *names, UINT_PTR value)
{
    SIZE_T i = above(names, value);
    return i > 0 ? &names->items[i - 1] : NULL;
}

static struct name *handle_of(HANDLE handle)
{
    struct name *name = last_up_to(&handles, (UINT_PTR)handle);
    return name && name->begin == (UINT_PTR)handle ? name : NULL;
}

static struct name *view_of(const void *address)
{
    struct name *name = last_up_to(&views, (UINT_PTR)address);
    return name && (UINT_PTR)address - name->begin < name->size ? name : NULL;
}

static BOOL add_name(struct names *names, struct name name)
{
    if (names->count == names->capacity) {
        SIZE_T capacity = 2 * names->capacity + 64;
        struct name *larger = realloc(names->items, capacity * sizeof(*larger));
        if (!larger) {
            return FALSE;
        }
        names->items = larger;
        names->capacity = capacity;
    }
    SIZE_T i = above(names, name.begin);
    memmove(&names->items[i + 1], &names->items[i], (names->count - i) * sizeof(name));
    names->items[i] = name;
    names->count++;
    name.section->names++;
    return TRUE;
}

/* Returns the bytes of commit that are gone, since it was the section's last name. */
static UINT64 remove_name(struct names *names, struct name *name)
{
    struct section *section = name->section;
    SIZE_T i = (SIZE_T)(name - names->items);
    memmove(name, name + 1, (--names->count - i) * sizeof(*name));
    if (--section->names != 0) {
        return 0;
    }
    UINT64 bytes = section->committed * PAGE;
    free(section->pages);
    free(section);
    atomic_fetch_sub(&in_use, 1);
    return bytes;
}

/* ---- Sections and handles ---- */

static struct section *new_section(UINT64 size, BOOL charged)
{
    UINT64 count = pages_of(size);
    struct section *section = calloc(1, sizeof(*section));
    if (!section) {
        return NULL;
    }
    section->page_count = count;
    section->committed = charged ? count : 0;
    if (!charged) {
        section->pages = count / 8 < SIZE_MAX ? calloc((SIZE_T)(count / 8) + 1, 1) : NULL;
        if (!section->pages) {
            free(section);
            return NULL;
        }
    }
    return section;
}

UINT64 section_table_commit(UINT64 size)
{
    return pages_of(size) * PAGE;
}

BOOL section_table_add(HANDLE handle, UINT64 size, BOOL charged)
{
    struct section *section = new_section(size, charged);
    if (!section) {
        return FALSE;
    }
    os_lock_acquire(&lock);
    BOOL added = add_name(&handles, (struct name){.begin = (UINT_PTR)handle, .section = section});
    if (added) {
        atomic_fetch_add(&in_use, 1);
    }
    os_lock_release(&lock);
    if (!added) {
        free(section->pages);
        free(section);
    }
    return added;
}

BOOL section_table_begin(HANDLE handle)
{
    if (nothing_to_do()) {
        return FALSE;
    }
    os_lock_acquire(&lock);
    BOOL ours = handle_of(handle) != NULL;
    if (!ours) {
        os_lock_release(&lock);
    }
    return ours;
}

void section_table_end(void)
{
    os_lock_release(&lock);
}

void section_table_duplicated(HANDLE handle, HANDLE duplicate)
{
    const struct name *name = handle_of(handle);
    if (name) {
        add_name(&handles, (struct name){.begin = (UINT_PTR)duplicate, .section = name->section});
    }
}

UINT64 section_table_closed(HANDLE handle)
{
    struct name *name = handle_of(handle);
    return name ? remove_name(&handles, name) : 0;
}

/* ---- Views ---- */

void section_table_mapped(HANDLE handle, const void *base, SIZE_T size, UINT64 offset)
{
    if (nothing_to_do()) {
        return;
    }
    os_lock_acquire(&lock);
    const struct name *name = handle_of(handle);
    if (name && offset / PAGE < name->section->page_count) {
        add_name(&views, (struct name){(UINT_PTR)base, size, offset / PAGE, name->section});
    }
    os_lock_release(&lock);
}

BOOL section_table_begin_unmap(const void *address)
{
    if (nothing_to_do()) {
        return FALSE;
    }
    os_lock_acquire(&lock);
    BOOL ours = view_of(address) != NULL;
    if (!ours) {
        os_lock_release(&lock);
    }
    return ours;
}

UINT64 section_table_unmapped(const void *address)
{
    struct name *view = view_of(address);
    return view ? remove_name(&views, view) : 0;
}

/* ---- Commit, page by page ---- */

/* The pages of a section that [address, address + size) touches in a view; none, if they are in no
 * view of a section whose pages are charged one by one. */
struct range {
    struct section *section;
    UINT64 first, end;
    BOOL whole;
};

static struct range range_of(const void *address, SIZE_T size)
{
    const struct name *view = view_of(address);
    if (!view || !view->section->pages) {
        return (struct range){0};
    }
    SIZE_T from = (UINT_PTR)address - view->begin;
    SIZE_T room = view->size - from;
    UINT64 end = view->first_page + pages_of(from + (size < room ? size : room));
    return (struct range){
        .section = view->section,
        .first = view->first_page + from / PAGE,
        .end = end < view->section->page_count ? end : view->section->page_count,
        .whole = from == 0 && size >= view->size,
    };
}

static BOOL is_committed(const struct section *section, UINT64 page)
{
    return section->pages[page / 8] >> page % 8 & 1;
}

static UINT64 bytes_to_commit(const struct range *range)
{
    UINT64 pages = 0;
    for (UINT64 page = range->first; page < range->end; page++) {
        pages += !is_committed(range->section, page);
    }
    return pages * PAGE;
}

BOOL section_table_commits(const void *address, SIZE_T size, UINT64 *added, BOOL *whole)
{
    if (nothing_to_do()) {
        return FALSE;
    }
    os_lock_acquire(&lock);
    struct range range = range_of(address, size);
    *added = bytes_to_commit(&range);
    *whole = range.whole;
    os_lock_release(&lock);
    return range.section != NULL;
}

BOOL section_table_commit_begin(const void *address, SIZE_T size, UINT64 charged, UINT64 *added)
{
    os_lock_acquire(&lock);
    struct range range = range_of(address, size);
    *added = bytes_to_commit(&range);
    if (*added > charged) {
        os_lock_release(&lock);
        return FALSE;
    }
    return TRUE;
}

void section_table_commit_end(const void *address, SIZE_T size, BOOL done)
{
    struct range range = range_of(address, size);
    for (UINT64 page = range.first; done && page < range.end; page++) {
        if (!is_committed(range.section, page)) {
            range.section->pages[page / 8] |= (BYTE)(1 << page % 8);
            range.section->committed++;
        }
    }
    os_lock_release(&lock);
}
