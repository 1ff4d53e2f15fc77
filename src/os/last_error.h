/* SPDX-License-Identifier: MIT
 *
 * Windows only: why a call has failed. Some calls fail without saying so, hooks of other programs
 * above all, and 0 would be taken for a success all the way up.
 */
#ifndef HOSTMEM_OS_LAST_ERROR_H
#define HOSTMEM_OS_LAST_ERROR_H

#include <windows.h>

/* The LastError of a call that has failed; never ERROR_SUCCESS. */
static inline DWORD last_error_of_failure(void)
{
    DWORD error = GetLastError();
    return error != ERROR_SUCCESS ? error : ERROR_GEN_FAILURE;
}

#endif
