/* SPDX-License-Identifier: MIT */
#include "clr/binding_fixture.h"

HMODULE coreclr;
struct imports before, after;
HOSTMEM_BIND_OPTIONS bind_options = {.Size = sizeof(bind_options)};

int load_runtime(void **state)
{
    (void)state;
    coreclr = coreclr_load();
    if (coreclr == NULL) {
        return -1;
    }
    imports_read(coreclr, &before);
    return 0;
}

int bind_recording_manager(void **state)
{
    if (load_runtime(state) != 0 ||
        HostMemBindRuntime(recording_manager(), coreclr, &bind_options) != S_OK) {
        return -1;
    }
    imports_read(coreclr, &after);
    return 0;
}

int bind_hostmem(void **state)
{
    IHostMemoryManager *manager;
    if (load_runtime(state) != 0 || HostMemCreateManager(NULL, &manager) != S_OK ||
        HostMemBindRuntime(manager, coreclr, &bind_options) != S_OK) {
        return -1;
    }
    imports_read(coreclr, &after);
    *state = manager;
    return 0;
}
