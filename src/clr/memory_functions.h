/* SPDX-License-Identifier: MIT
 *
 * Every function for memory that the bound module can reach, by an import or by asking
 * GetProcAddress, and whether it leads to the manager. What does not is one of those that we know and
 * let pass, or unknown: a function that looks as if memory came from it. A runtime of a later version
 * that uses one shows here before it shows in the figures.
 */
#ifndef CLR_MEMORY_FUNCTIONS_H
#define CLR_MEMORY_FUNCTIONS_H

#include <hostmem/hostmem.h>

/* Any thread. Notes `name` once for each kind; ignores what has nothing to do with memory. */
void memory_functions_note(const char *name, HOSTMEM_FUNCTION_KIND kind, BOOL bound);

/* Forget them all, for a binding that comes to nothing. */
void memory_functions_forget(void);

/* Up to `capacity` functions from the first-th on; how many. */
UINT32 memory_functions_get(UINT32 first, UINT32 capacity, HOSTMEM_FUNCTION *functions);

void memory_functions_count(HOSTMEM_BINDING *binding);

#endif
