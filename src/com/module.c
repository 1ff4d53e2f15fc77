/* SPDX-License-Identifier: MIT
 *
 * How long the code stays loaded. Objects and class factory locks are counted for DllCanUnloadNow;
 * a module that a CLR uses is pinned. In a program linked with the static library both do no harm.
 */
#include "com/com_private.h"

static LONG users; /* Interlocked only */

void module_add_ref(void)
{
    InterlockedIncrement(&users);
}

void module_release(void)
{
    InterlockedDecrement(&users);
}

bool module_in_use(void)
{
    return InterlockedCompareExchange(&users, 0, 0) != 0;
}

void module_pin(void)
{
    HMODULE module;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       (const WCHAR *)(const void *)&users, &module);
}
