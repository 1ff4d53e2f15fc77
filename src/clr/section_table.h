/* SPDX-License-Identifier: MIT
 *
 * The sections without a file that the bound runtime has made, and what they commit. From .NET 7 on
 * code lives in one: mapped once to execute and, while it is written, a second time to write.
 *
 * A section's pages are commit of the process, however often they are mapped: all of them from its
 * creation on, or, when it was made with SEC_RESERVE, each from the first time that it is committed
 * through a view. There is no way to decommit them; they go when the last view is unmapped and the
 * last handle is closed. So a section knows its committed pages, and a view where in the section it
 * is. A section may be larger than the address space, so its sizes have 64 bits on x86 too.
 *
 * What others do with a section is not seen: map it, open it by its name, duplicate its handle into
 * another process, or close a handle without the bound CloseHandle. Then a section is taken for gone
 * while it is not, or the other way round; the latter until the handle's value comes again.
 */
#ifndef CLR_SECTION_TABLE_H
#define CLR_SECTION_TABLE_H

#include <hostmem/hostmem.h>

/* The bytes of the whole pages of a section of `size` bytes: what it commits. */
UINT64 section_table_commit(UINT64 size);

/* A new section. `charged`: all of `size` has been charged; if not, its pages will be. FALSE: it is
 * not recorded, for lack of memory. */
BOOL section_table_add(HANDLE section, UINT64 size, BOOL charged);

/* Whether `section` is a handle of one of ours. If so, the table is locked until section_table_end,
 * so that the system's call and the record of it are one step: the moment after a handle is closed,
 * another thread can be given its value for a section of its own. */
BOOL section_table_begin(HANDLE section);
void section_table_end(void);

/* In between. What is not a handle of ours is passed over; a duplicate for which there is no memory
 * is not recorded. section_table_closed returns how many bytes of commit are gone with the handle. */
void section_table_duplicated(HANDLE section, HANDLE duplicate);
UINT64 section_table_closed(HANDLE section);

/* `size` bytes of the section, if it is one of ours, are mapped at `view` from `offset` on. */
void section_table_mapped(HANDLE section, const void *view, SIZE_T size, UINT64 offset);

/* As section_table_begin and section_table_closed, of a view. */
BOOL section_table_begin_unmap(const void *view);
UINT64 section_table_unmapped(const void *view);

/* Whether `address` is in a view of a section whose pages are charged one by one. If so, *added is
 * what a commit of these bytes adds, and *whole says whether they are all of the view. */
BOOL section_table_commits(const void *address, SIZE_T size, UINT64 *added, BOOL *whole);

/* Locks the table until section_table_commit_end; *added is what the commit adds now. FALSE, and not
 * locked: it is more than `charged`, since another section is there by now. Of one and the same it can
 * only be less, for no page of a section is ever decommitted. */
BOOL section_table_commit_begin(const void *address, SIZE_T size, UINT64 charged, UINT64 *added);
void section_table_commit_end(const void *address, SIZE_T size, BOOL done);

#endif
