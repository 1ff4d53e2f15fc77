/* SPDX-License-Identifier: MIT */
#include "section_table.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((SIZE_T)4096)

struct section {
    HANDLE handle; /* NULL: closed, or the place is free */
    SIZE_T views;
    SIZE_T page_count;
    SIZE_T committed; /* pages */
    BYTE *pages;      /* a bit for each; NULL: all were charged */
};

struct view {
    const BYTE *base;
    SIZE_T size;
    SIZE_T first_page;
    struct section *section;
};

#define SECTIONS 64
static struct section sections[SECTIONS];
static struct view *views; /* ascending by base */
static SIZE_T view_count, view_capacity;
static atomic_long in_use; /* sections; 0: nobody need take the lock */
static SRWLOCK lock = SRWLOCK_INIT;

static SIZE_T pages_of(SIZE_T bytes)
{
    return bytes / PAGE + (bytes % PAGE != 0);
}

/* Relaxed: who has a section's handle or view has it from the thread that made it. */
static BOOL nothing_to_do(void)
{
    return atomic_load_explicit(&in_use, memory_order_relaxed) == 0;
}

static BOOL is_free(const struct section *section)
{
    return !section->handle && section->views == 0;
}

static struct section *find_section(HANDLE handle)
{
    for (SIZE_T i = 0; i < SECTIONS; i++) {
        if (sections[i].handle == handle) {
            return &sections[i];
        }
    }
    return NULL;
}

/* The index of the first view above `address`. */
static SIZE_T view_above(const void *address)
{
    SIZE_T low = 0, high = view_count;
    while (low < high) {
        SIZE_T middle = low + (high - low) / 2;
        if (views[middle].base <= (const BYTE *)address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct view *view_of(const void *address)
{
    SIZE_T i = view_above(address);
    struct view *view = i > 0 ? &views[i - 1] : NULL;
    return view && (SIZE_T)((const BYTE *)address - view->base) < view->size ? view : NULL;
}

/* What is gone with a section that has lost its handle or a view; nothing while it has another. */
static SIZE_T gone_with(struct section *section)
{
    if (!is_free(section)) {
        return 0;
    }
    SIZE_T bytes = section->committed * PAGE;
    free(section->pages);
    memset(section, 0, sizeof(*section));
    atomic_fetch_sub(&in_use, 1);
    return bytes;
}

BOOL section_table_add(HANDLE handle, SIZE_T size, BOOL charged)
{
    SIZE_T count = pages_of(size);
    BYTE *pages = charged ? NULL : calloc(count / 8 + 1, 1);
    BOOL added = FALSE;
    AcquireSRWLockExclusive(&lock);
    for (SIZE_T i = 0; i < SECTIONS && !added && (charged || pages); i++) {
        if (is_free(&sections[i])) {
            sections[i] = (struct section){
                .handle = handle,
                .page_count = count,
                .committed = charged ? count : 0,
                .pages = pages,
            };
            atomic_fetch_add(&in_use, 1);
            added = TRUE;
        }
    }
    ReleaseSRWLockExclusive(&lock);
    if (!added) {
        free(pages);
    }
    return added;
}

static BOOL make_room_for_view(void)
{
    if (view_count < view_capacity) {
        return TRUE;
    }
    SIZE_T capacity = 2 * view_capacity + 64;
    struct view *larger = realloc(views, capacity * sizeof(*views));
    if (larger) {
        views = larger;
        view_capacity = capacity;
    }
    return larger != NULL;
}

void section_table_mapped(HANDLE handle, const void *base, SIZE_T size, ULONG64 offset)
{
    if (nothing_to_do() || !handle) {
        return;
    }
    AcquireSRWLockExclusive(&lock);
    struct section *section = find_section(handle);
    if (section && offset / PAGE < section->page_count && make_room_for_view()) {
        SIZE_T i = view_above(base);
        memmove(&views[i + 1], &views[i], (view_count - i) * sizeof(*views));
        views[i] = (struct view){base, size, (SIZE_T)(offset / PAGE), section};
        view_count++;
        section->views++;
    }
    ReleaseSRWLockExclusive(&lock);
}

SIZE_T section_table_unmapped(const void *address)
{
    SIZE_T bytes = 0;
    if (nothing_to_do()) {
        return 0;
    }
    AcquireSRWLockExclusive(&lock);
    struct view *view = view_of(address);
    if (view) {
        struct section *section = view->section;
        SIZE_T i = (SIZE_T)(view - views);
        memmove(view, view + 1, (--view_count - i) * sizeof(*views));
        section->views--;
        bytes = gone_with(section);
    }
    ReleaseSRWLockExclusive(&lock);
    return bytes;
}

SIZE_T section_table_closed(HANDLE handle)
{
    SIZE_T bytes = 0;
    if (nothing_to_do() || !handle) {
        return 0;
    }
    AcquireSRWLockExclusive(&lock);
    struct section *section = find_section(handle);
    if (section) {
        section->handle = NULL;
        bytes = gone_with(section);
    }
    ReleaseSRWLockExclusive(&lock);
    return bytes;
}

/* The pages of a view that [address, address + size) touches, as pages of its section. */
static void range_of(const struct view *view, const void *address, SIZE_T size, SIZE_T *first,
                     SIZE_T *end)
{
    SIZE_T from = (SIZE_T)((const BYTE *)address - view->base);
    SIZE_T room = view->size - from;
    *first = view->first_page + from / PAGE;
    *end = view->first_page + pages_of(from + (size < room ? size : room));
    if (*end > view->section->page_count) {
        *end = view->section->page_count;
    }
}

BOOL section_table_commit_begin(const void *address, SIZE_T size, SIZE_T *added, BOOL *whole)
{
    if (nothing_to_do()) {
        return FALSE;
    }
    AcquireSRWLockExclusive(&lock);
    const struct view *view = view_of(address);
    if (!view || !view->section->pages) {
        ReleaseSRWLockExclusive(&lock);
        return FALSE;
    }
    SIZE_T first, end;
    range_of(view, address, size, &first, &end);
    *whole = (const BYTE *)address == view->base && size >= view->size;
    *added = 0;
    for (SIZE_T page = first; page < end; page++) {
        *added += (view->section->pages[page / 8] >> page % 8 & 1) ? 0 : PAGE;
    }
    return TRUE;
}

void section_table_commit_end(const void *address, SIZE_T size, BOOL done)
{
    const struct view *view = view_of(address);
    struct section *section = view->section;
    SIZE_T first, end;
    range_of(view, address, size, &first, &end);
    for (SIZE_T page = first; done && page < end; page++) {
        BYTE bit = (BYTE)(1 << page % 8);
        section->committed += !(section->pages[page / 8] & bit);
        section->pages[page / 8] |= bit;
    }
    ReleaseSRWLockExclusive(&lock);
}
