/* SPDX-License-Identifier: MIT
 *
 * The smallest host in C++: memory from the manager, and back.
 */
#include <hostmem/hostmem.h>

int main()
{
    IHostMemoryManager *manager;
    void *memory;
    HRESULT hr = HostMemCreateManager(nullptr, &manager);
    if (FAILED(hr)) {
        return 1;
    }
    hr = manager->VirtualAlloc(nullptr, 65536, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                               eTaskCritical, &memory);
    if (SUCCEEDED(hr)) {
        *static_cast<volatile char *>(memory) = 1;
        hr = manager->VirtualFree(memory, 0, MEM_RELEASE);
    }
    manager->Release();
    return hr == S_OK ? 0 : 2;
}
