/* SPDX-License-Identifier: MIT
 *
 * Sections without a file, and what they commit. From .NET 7 on code lives in one of 2 TiB: mapped
 * once to execute and, while it is written, a second time to write.
 *
 * A section's pages are commit of the process, however often they are mapped: all of them from its
 * creation on, or, when it was made with SEC_RESERVE, each from the first time that it is committed
 * through a view. There is no way to decommit them; they go when the last view is unmapped and the
 * last handle is closed. So handles and views are both names of a section, which lives as long as it
 * has one: two lists in ascending order, 32 bytes a name. A section is 64 bytes with its page set
 * (page_set.h), so that one of 2 TiB costs as much as what is committed in it. Sizes have 64 bits on
 * 32-bit systems too: a section may be larger than the address space. All of it is table memory.
 *
 * The table is told what the system has answered, and says what is to be charged and refunded. Where
 * the system must not get ahead of the table it is locked in between: the moment after a handle is
 * closed, another thread can be given its value for a section of its own.
 *
 * What others do with a section is not seen: map it, open it by its name, or duplicate its handle
 * into another process. But a handle or a view that they closed or unmapped is found when the table
 * comes upon it: the system refuses to close or unmap it, gives its value or address out again, or
 * says that something else is there now. Then the name is dropped, refunded and counted.
 */
#ifndef HOSTMEM_CORE_SECTIONS_H
#define HOSTMEM_CORE_SECTIONS_H

#include "core/pages/page_set.h"
#include "os/os_lock.h"

struct section;

struct section_name {
    uintptr_t begin; /* of a view; or a handle's value */
    size_t size;     /* of a handle: 1 */
    uint64_t first_page;
    uint32_t section; /* its place among all */
};

struct section_names {
    struct section_name *items; /* ascending by where they begin */
    size_t count;
    size_t bytes; /* of table memory */
};

struct sections {
    struct table_memory memory;
    struct os_lock lock;
    struct page_pool pool; /* from the first section on whose pages are charged one by one; */
    struct section_names handles; /* guarded by lock, as is all that follows but the atomics */
    struct section_names views;   /* no two overlap */
    struct section *items;
    size_t count; /* of them, those that are free too */
    size_t bytes;
    uint32_t first_free;
    _Atomic uint32_t in_use;       /* 0: nobody need take the lock */
    _Atomic uint32_t freed_behind; /* handles and views that were found gone */
};

/* What a name takes along. */
struct section_gone {
    uintptr_t view; /* its base; 0: no view is gone */
    uint64_t bytes; /* of commit, to be refunded: it was the section's last name */
};

void sections_init(struct sections *sections, const struct os *os);
void sections_destroy(struct sections *sections);

/* Who has a section's handle or view has it from the thread that made it. */
static inline bool sections_are_none(const struct sections *sections)
{
    return atomic_load_explicit(&sections->in_use, memory_order_relaxed) == 0;
}

/* The bytes of the whole pages of a section of `size` bytes: what it commits. */
uint64_t sections_commit(const struct sections *sections, uint64_t size);

/* ---- Handles ---- */

/* The system has given out `handle`, of whatever: a section of that value was closed by others. The
 * bytes to be refunded. */
uint64_t sections_handle_given(struct sections *sections, uintptr_t handle);

/* A new section. `charged`: all of `size` has been charged; if not, its pages will be. False: it is
 * not recorded, for lack of memory. */
bool sections_add(struct sections *sections, uintptr_t handle, uint64_t size, bool charged);

/* Whether `handle` is one of a section's. If so, the table is locked until sections_unlock. */
bool sections_lock_handle(struct sections *sections, uintptr_t handle);
void sections_unlock(struct sections *sections);

/* In between. `behind`: by others. What is not a handle of ours is passed over; a duplicate for which
 * there is no memory is not recorded. The bytes to be refunded. */
uint64_t sections_duplicated(struct sections *sections, uintptr_t handle, uintptr_t duplicate);
uint64_t sections_closed(struct sections *sections, uintptr_t handle, bool behind);

/* ---- Views ---- */

/* The system has given out [base, base + size), for whatever: a view there was unmapped by others. One
 * at a time, until there is none: false. */
bool sections_range_given(struct sections *sections, uintptr_t base, size_t size,
                          struct section_gone *gone);

/* The section, if it is one of ours, is mapped there from `offset` on; after the call above. */
void sections_mapped(struct sections *sections, uintptr_t handle, uintptr_t base, size_t size,
                     uint64_t offset);

/* Whether `address` is in a view of ours. If so, the table is locked until sections_unlock. In
 * between: the system has unmapped it, or refused to. */
bool sections_lock_view(struct sections *sections, uintptr_t address);
struct section_gone sections_unmapped(struct sections *sections, uintptr_t address, bool done);

/* ---- Commit, page by page ---- */

/* Whether `address` is in a view of a section whose pages are charged one by one. If so, *bytes is
 * what a commit of [address, address + size) adds, and *whole says whether that is all of the view.
 * *gone, in any case: a view that others have unmapped. */
bool sections_commit_size(struct sections *sections, uintptr_t address, size_t size,
                          uint64_t *bytes, bool *whole, struct section_gone *gone);

enum section_answer { SECTION_READY, SECTION_CHARGE_MORE, SECTION_NO_MEMORY };

struct section_commit {
    uint64_t bytes; /* that it adds */
    struct section *section;
    struct page_change change;
};

/* SECTION_READY: the table is locked until sections_commit_end. Any other answer, and not locked: it
 * adds more than `charged`, since another section is there by now (of one and the same it can only be
 * less), or there is no table memory. */
enum section_answer sections_commit_begin(struct sections *sections, uintptr_t address, size_t size,
                                          uint64_t charged, struct section_commit *commit);
void sections_commit_end(struct sections *sections, const struct section_commit *commit, bool done);

/* NULL, or what is wrong with the table. */
const char *sections_check(const struct sections *sections);

#endif
