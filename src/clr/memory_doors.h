/* SPDX-License-Identifier: MIT
 *
 * The doors of the bound module: every function for memory that it can reach, by an import or by
 * asking GetProcAddress, and whether it leads to the manager. What does not is one of those that we
 * know and let pass, or unknown: a function that looks as if memory came from it. A runtime of a
 * later version that uses one shows here before it shows in the figures.
 */
#ifndef CLR_MEMORY_DOORS_H
#define CLR_MEMORY_DOORS_H

#include <hostmem/hostmem.h>

/* Any thread. Notes `name` once for each kind; ignores what has nothing to do with memory. */
void memory_doors_note(const char *name, HOSTMEM_DOOR_KIND kind, BOOL bound);

/* Forget them all, for a binding that comes to nothing. */
void memory_doors_forget(void);

/* Up to `capacity` doors from the first-th on; how many. */
UINT32 memory_doors_get(UINT32 first, UINT32 capacity, HOSTMEM_DOOR *doors);

void memory_doors_count(HOSTMEM_BINDING *binding);

#endif
