/* SPDX-License-Identifier: MIT
 *
 * The smallest host in C: memory from the manager, and back.
 */
#define COBJMACROS
#include <hostmem/hostmem.h>

int main(void)
{
    IHostMemoryManager *manager;
    void *memory;
    HRESULT hr = HostMemCreateManager(NULL, &manager);
    if (FAILED(hr)) {
        return 1;
    }
    hr = IHostMemoryManager_VirtualAlloc(manager, NULL, 65536, MEM_RESERVE | MEM_COMMIT,
                                         PAGE_READWRITE, eTaskCritical, &memory);
    if (SUCCEEDED(hr)) {
        *(volatile char *)memory = 1;
        hr = IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE);
    }
    IHostMemoryManager_Release(manager);
    return hr == S_OK ? 0 : 2;
}
