/* SPDX-License-Identifier: MIT
 *
 * What the CLR does when its process ends it does in the DllMain of clr.dll: under the loader lock,
 * when Windows has killed all other threads. This DLL stands for that; what it is to do then is told
 * by the program. Whether it goes before hostmem.dll or after is as the program loaded them.
 */
#include <windows.h>

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID ending);
void __cdecl framework_dll_at_detach(void(__cdecl *function)(void));

static void(__cdecl *at_detach)(void);

void __cdecl framework_dll_at_detach(void(__cdecl *function)(void))
{
    at_detach = function;
}

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID ending)
{
    (void)instance;
    if (reason == DLL_PROCESS_DETACH && ending != NULL && at_detach != NULL) {
        at_detach();
    }
    return TRUE;
}
