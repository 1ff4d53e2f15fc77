/* SPDX-License-Identifier: MIT
 *
 * The sections without a file that the bound runtime has made, and what they commit. From .NET 7 on
 * code lives in one: mapped once to execute and, while it is written, a second time to write.
 *
 * A section's pages are commit of the process, however often they are mapped: all of them from its
 * creation on, or, when it was made with SEC_RESERVE, each from the first time that it is committed
 * through a view. There is no way to decommit them; they go when the last view is unmapped and the
 * handle is closed. So a section knows its committed pages, and a view where in the section it is.
 *
 * A view that was mapped by others, or through a duplicate of the handle, is not seen; then a
 * section may be taken for gone while it is not. Runtimes are not known to do either; DuplicateHandle,
 * which all import, is not bound, so it would not be seen.
 */
#ifndef CLR_SECTION_TABLE_H
#define CLR_SECTION_TABLE_H

#include <hostmem/hostmem.h>

/* A new section. `charged`: all of `size` has been charged; if not, its pages will be. FALSE: it is
 * not recorded, for lack of memory. */
BOOL section_table_add(HANDLE section, SIZE_T size, BOOL charged);

/* `size` bytes of the section, if it is one of ours, are mapped at `view` from `offset` on. */
void section_table_mapped(HANDLE section, const void *view, SIZE_T size, ULONG64 offset);

/* Both return how many bytes of commit are gone with it. */
SIZE_T section_table_unmapped(const void *view);
SIZE_T section_table_closed(HANDLE section);

/* Whether `address` is in a view of a section whose pages are charged one by one. If so, the table
 * is locked until section_table_commit_end, *added is what a commit of these bytes adds, and *whole
 * says whether they are all of the view. */
BOOL section_table_commit_begin(const void *address, SIZE_T size, SIZE_T *added, BOOL *whole);
void section_table_commit_end(const void *address, SIZE_T size, BOOL done);

#endif
