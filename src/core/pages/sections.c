/* SPDX-License-Identifier: MIT */
#include "core/pages/sections.h"

#include <string.h>

#define NONE UINT32_MAX

struct section {
    struct page_set pages; /* that were committed and charged; not used if all were at once */
    uint64_t page_count;
    uint32_t names;     /* 0: the section is free */
    uint32_t next_free; /* or NONE */
    bool charged;       /* all pages, when it was made */
};

static uint64_t pages_of(const struct sections *sections, uint64_t bytes)
{
    size_t page = sections->memory.os->page_size;
    return bytes / page + (bytes % page != 0);
}

void sections_init(struct sections *sections, const struct os *os)
{
    *sections = (struct sections){.memory = {.os = os}, .first_free = NONE};
}

/* Twice as much table memory for a list; NULL, and it stays as it is: there is none. */
static void *grow(struct table_memory *memory, void *items, size_t *bytes)
{
    size_t more = *bytes != 0 ? 2 * *bytes : memory->os->page_size;
    void *larger = table_memory_map(memory, more);
    if (larger == NULL) {
        return NULL;
    }
    if (items != NULL) {
        memcpy(larger, items, *bytes);
        table_memory_release(memory, items, *bytes);
    }
    *bytes = more;
    return larger;
}

/* ---- Names ---- */

/* The last name that begins at `value` or below, or NULL. */
static struct section_name *last_up_to(const struct section_names *names, uintptr_t value)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (names->items[middle].begin <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? &names->items[low - 1] : NULL;
}

static struct section_name *find(const struct section_names *names, uintptr_t value)
{
    struct section_name *name = last_up_to(names, value);
    return name != NULL && value - name->begin < name->size ? name : NULL;
}

static bool add_name(struct sections *sections, struct section_names *names,
                     struct section_name name)
{
    if ((names->count + 1) * sizeof(name) > names->bytes) {
        void *larger = grow(&sections->memory, names->items, &names->bytes);
        if (larger == NULL) {
            return false;
        }
        names->items = larger;
    }
    const struct section_name *before = last_up_to(names, name.begin);
    size_t i = before != NULL ? (size_t)(before - names->items) + 1 : 0;
    memmove(&names->items[i + 1], &names->items[i], (names->count - i) * sizeof(name));
    names->items[i] = name;
    names->count++;
    sections->items[name.section].names++;
    return true;
}

static void free_section(struct sections *sections, uint32_t index)
{
    struct section *section = &sections->items[index];
    if (!section->charged) {
        page_set_dispose(&section->pages, (size_t)section->page_count, &sections->pool);
    }
    section->next_free = sections->first_free;
    sections->first_free = index;
    atomic_fetch_sub_explicit(&sections->in_use, 1, memory_order_relaxed);
}

static uint64_t committed_pages(const struct section *section)
{
    return section->charged ? section->page_count : section->pages.committed;
}

/* The bytes of commit that are gone, if it was the section's last name. */
static uint64_t drop_name(struct sections *sections, struct section_names *names,
                          struct section_name *name, bool behind)
{
    uint32_t index = name->section;
    struct section *section = &sections->items[index];
    memmove(name, name + 1, (size_t)(&names->items[--names->count] - name) * sizeof(*name));
    if (behind) {
        atomic_fetch_add_explicit(&sections->freed_behind, 1, memory_order_relaxed);
    }
    if (--section->names != 0) {
        return 0;
    }
    uint64_t bytes = committed_pages(section) * sections->memory.os->page_size;
    free_section(sections, index);
    return bytes;
}

static struct section_gone drop_view(struct sections *sections, struct section_name *view,
                                     bool behind)
{
    struct section_gone gone = {.view = view->begin};
    gone.bytes = drop_name(sections, &sections->views, view, behind);
    return gone;
}

/* ---- Sections and handles ---- */

static bool has_pool(struct sections *sections)
{
    return sections->pool.memory != NULL ||
           page_pool_create(&sections->pool, &sections->memory) == OS_OK;
}

/* A section without a name, or NONE. */
static uint32_t new_section(struct sections *sections, uint64_t page_count, bool charged)
{
    uint32_t index = sections->first_free;
    if (!charged && (page_count > SIZE_MAX || !has_pool(sections))) {
        return NONE;
    }
    if (index == NONE) {
        if ((sections->count + 1) * sizeof(struct section) > sections->bytes) {
            void *larger = grow(&sections->memory, sections->items, &sections->bytes);
            if (larger == NULL) {
                return NONE;
            }
            sections->items = larger;
        }
        index = (uint32_t)sections->count++;
        sections->items[index].next_free = NONE;
    }
    struct section *section = &sections->items[index];
    sections->first_free = section->next_free;
    *section = (struct section){.page_count = page_count, .charged = charged};
    page_set_init(&section->pages, charged ? 0 : (size_t)page_count, false, &sections->pool);
    atomic_fetch_add_explicit(&sections->in_use, 1, memory_order_relaxed);
    return index;
}

uint64_t sections_commit(const struct sections *sections, uint64_t size)
{
    return pages_of(sections, size) * sections->memory.os->page_size;
}

uint64_t sections_handle_given(struct sections *sections, uintptr_t handle)
{
    if (sections_are_none(sections)) {
        return 0;
    }
    os_lock_acquire(&sections->lock);
    uint64_t bytes = sections_closed(sections, handle, true);
    os_lock_release(&sections->lock);
    return bytes;
}

bool sections_add(struct sections *sections, uintptr_t handle, uint64_t size, bool charged)
{
    os_lock_acquire(&sections->lock);
    uint32_t index = new_section(sections, pages_of(sections, size), charged);
    bool added = index != NONE &&
                 add_name(sections, &sections->handles,
                          (struct section_name){.begin = handle, .size = 1, .section = index});
    if (index != NONE && !added) {
        free_section(sections, index);
    }
    os_lock_release(&sections->lock);
    return added;
}

static bool lock_if_found(struct sections *sections, const struct section_names *names,
                          uintptr_t value)
{
    if (sections_are_none(sections)) {
        return false;
    }
    os_lock_acquire(&sections->lock);
    bool found = find(names, value) != NULL;
    if (!found) {
        os_lock_release(&sections->lock);
    }
    return found;
}

bool sections_lock_handle(struct sections *sections, uintptr_t handle)
{
    return lock_if_found(sections, &sections->handles, handle);
}

void sections_unlock(struct sections *sections)
{
    os_lock_release(&sections->lock);
}

uint64_t sections_duplicated(struct sections *sections, uintptr_t handle, uintptr_t duplicate)
{
    uint64_t bytes = sections_closed(sections, duplicate, true);
    const struct section_name *name = find(&sections->handles, handle);
    if (name != NULL) {
        add_name(sections, &sections->handles,
                 (struct section_name){.begin = duplicate, .size = 1, .section = name->section});
    }
    return bytes;
}

uint64_t sections_closed(struct sections *sections, uintptr_t handle, bool behind)
{
    struct section_name *name = find(&sections->handles, handle);
    return name != NULL ? drop_name(sections, &sections->handles, name, behind) : 0;
}

/* ---- Views ---- */

bool sections_range_given(struct sections *sections, uintptr_t base, size_t size,
                          struct section_gone *gone)
{
    if (size == 0 || sections_are_none(sections)) {
        return false;
    }
    os_lock_acquire(&sections->lock);
    struct section_name *view = last_up_to(&sections->views, base + (size - 1));
    bool overlaps = view != NULL && (view->begin >= base || base - view->begin < view->size);
    if (overlaps) {
        *gone = drop_view(sections, view, true);
    }
    os_lock_release(&sections->lock);
    return overlaps;
}

void sections_mapped(struct sections *sections, uintptr_t handle, uintptr_t base, size_t size,
                     uint64_t offset)
{
    if (size == 0 || sections_are_none(sections)) {
        return;
    }
    os_lock_acquire(&sections->lock);
    const struct section_name *name = find(&sections->handles, handle);
    uint64_t first = offset / sections->memory.os->page_size;
    if (name != NULL && first < sections->items[name->section].page_count) {
        add_name(sections, &sections->views,
                 (struct section_name){base, size, first, name->section});
    }
    os_lock_release(&sections->lock);
}

bool sections_lock_view(struct sections *sections, uintptr_t address)
{
    return lock_if_found(sections, &sections->views, address);
}

/* Another view at the same address, of the same section or not, looks the same. */
static bool is_there(const struct sections *sections, const struct section_name *view)
{
    const struct os *os = sections->memory.os;
    struct os_memory_info info;
    size_t written;
    return os->virtual_query(os, view->begin, &info, sizeof(info), &written) == OS_OK &&
           info.state != OS_MEM_FREE && info.type == OS_MEM_MAPPED &&
           info.allocation_base == view->begin;
}

struct section_gone sections_unmapped(struct sections *sections, uintptr_t address, bool done)
{
    struct section_name *view = find(&sections->views, address);
    if (view == NULL || (!done && is_there(sections, view))) {
        return (struct section_gone){0};
    }
    return drop_view(sections, view, !done);
}

/* ---- Commit, page by page ---- */

/* The pages of a section that [address, address + size) touches in a view; none, if they are in no
 * view of a section whose pages are charged one by one. */
struct range {
    struct section *section;
    size_t first, end;
    bool whole;
};

static struct range range_of(const struct sections *sections, uintptr_t address, size_t size)
{
    const struct section_name *view = find(&sections->views, address);
    if (view == NULL || sections->items[view->section].charged) {
        return (struct range){0};
    }
    struct section *section = &sections->items[view->section];
    size_t from = address - view->begin, room = view->size - from;
    uint64_t first = view->first_page + from / sections->memory.os->page_size;
    uint64_t end =
        view->first_page + pages_of(sections, (uint64_t)from + (size < room ? size : room));
    end = end < section->page_count ? end : section->page_count;
    return (struct range){
        .section = section,
        .first = (size_t)(first < end ? first : end),
        .end = (size_t)end,
        .whole = from == 0 && size >= view->size,
    };
}

static uint64_t bytes_to_commit(const struct sections *sections, const struct range *range)
{
    if (range->section == NULL) {
        return 0;
    }
    uint64_t pages = range->end - range->first -
                     page_set_count(&range->section->pages, (size_t)range->section->page_count,
                                    range->first, range->end);
    return pages * sections->memory.os->page_size;
}

bool sections_commit_size(struct sections *sections, uintptr_t address, size_t size,
                          uint64_t *bytes, bool *whole, struct section_gone *gone)
{
    *gone = (struct section_gone){0};
    if (!sections_lock_view(sections, address)) {
        return false;
    }
    *gone = sections_unmapped(sections, address, false);
    struct range range = range_of(sections, address, size);
    *bytes = bytes_to_commit(sections, &range);
    *whole = range.whole;
    os_lock_release(&sections->lock);
    return range.section != NULL;
}

enum section_answer sections_commit_begin(struct sections *sections, uintptr_t address, size_t size,
                                          uint64_t charged, struct section_commit *commit)
{
    enum section_answer answer = SECTION_READY;
    os_lock_acquire(&sections->lock);
    struct range range = range_of(sections, address, size);
    *commit = (struct section_commit){.section = range.section};
    commit->bytes = bytes_to_commit(sections, &range);
    if (commit->bytes > charged) {
        answer = SECTION_CHARGE_MORE;
    } else if (range.section != NULL &&
               !page_set_prepare_mark(&range.section->pages, (size_t)range.section->page_count,
                                      range.first, range.end, &sections->pool, &commit->change)) {
        answer = SECTION_NO_MEMORY;
    }
    if (answer != SECTION_READY) {
        os_lock_release(&sections->lock);
    }
    return answer;
}

void sections_commit_end(struct sections *sections, const struct section_commit *commit, bool done)
{
    struct section *section = commit->section;
    if (section != NULL && done) {
        page_set_apply(&section->pages, (size_t)section->page_count, &commit->change,
                       &sections->pool);
    } else if (section != NULL) {
        page_set_cancel(&commit->change, &sections->pool);
    }
    os_lock_release(&sections->lock);
}

/* ---- Check ---- */

static const char *check_names(const struct sections *sections, const struct section_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct section_name *name = &names->items[i];
        if (name->size == 0 || name->section >= sections->count) {
            return "a name is of no section";
        }
        if (i > 0 && name->begin - name[-1].begin < name[-1].size) {
            return "two names overlap, or are not in order";
        }
    }
    return NULL;
}

static uint32_t names_of(const struct section_names *names, size_t section)
{
    uint32_t count = 0;
    for (size_t i = 0; i < names->count; i++) {
        count += names->items[i].section == section;
    }
    return count;
}

const char *sections_check(const struct sections *sections)
{
    const char *fault = check_names(sections, &sections->handles);
    fault = fault != NULL ? fault : check_names(sections, &sections->views);
    uint32_t in_use = 0;
    for (size_t i = 0; fault == NULL && i < sections->count; i++) {
        const struct section *section = &sections->items[i];
        in_use += section->names != 0;
        if (section->names != names_of(&sections->handles, i) + names_of(&sections->views, i)) {
            fault = "the count of names is not their number";
        } else if (section->names != 0 && !section->charged) {
            fault = page_set_check(&section->pages, (size_t)section->page_count);
        }
    }
    return fault == NULL && in_use != sections->in_use ? "the count of sections is not their number"
                                                       : fault;
}

void sections_destroy(struct sections *sections)
{
    struct table_memory *memory = &sections->memory;
    for (size_t i = 0; i < sections->count; i++) {
        struct section *section = &sections->items[i];
        if (section->names != 0 && !section->charged) {
            page_set_dispose(&section->pages, (size_t)section->page_count, &sections->pool);
        }
    }
    if (sections->pool.memory != NULL) {
        page_pool_destroy(&sections->pool);
    }
    struct {
        void *items;
        size_t bytes;
    } lists[] = {{sections->items, sections->bytes},
                 {sections->handles.items, sections->handles.bytes},
                 {sections->views.items, sections->views.bytes}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (lists[i].items != NULL) {
            table_memory_release(memory, lists[i].items, lists[i].bytes);
        }
    }
}
