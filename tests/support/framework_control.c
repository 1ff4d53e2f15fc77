/* SPDX-License-Identifier: MIT
 *
 * ICLRRuntimeHost::SetHostControl (2.1), the first thing a host does: the CLR asks the host control
 * for nine managers and keeps what it gets for the life of the process.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

static const IID iid_task_manager = {
    0x997ff24c, 0x43b7, 0x4352, {0x86, 0x67, 0x0d, 0xc0, 0x4f, 0xaf, 0xd3, 0x54}};

/* In the order in which they are asked for, after memory and tasks. */
static const IID other_managers[] = {
    /* IHostThreadpoolManager, IHostIoCompletionManager, IHostSyncManager, IHostAssemblyManager */
    {0x983d50e2, 0xcb15, 0x466b, {0x80, 0xfc, 0x84, 0x5d, 0xc6, 0xe8, 0xc5, 0xfd}},
    {0x8bde9d80, 0xec06, 0x41d6, {0x83, 0xe6, 0x22, 0x58, 0x0e, 0xff, 0xcc, 0x20}},
    {0x234330c7, 0x5f10, 0x4f20, {0x96, 0x15, 0x51, 0x22, 0xda, 0xb7, 0xa0, 0xac}},
    {0x613dabd7, 0x62b2, 0x493e, {0x9e, 0x65, 0xc1, 0xe3, 0x2a, 0x1e, 0x0c, 0x5e}},
    /* IHostGCManager, IHostSecurityManager, IHostPolicyManager */
    {0x5d4ec34e, 0xf248, 0x457b, {0xb6, 0x03, 0x25, 0x5f, 0xaa, 0xba, 0x0d, 0x21}},
    {0x75ad2468, 0xa349, 0x4d02, {0xa7, 0x64, 0x76, 0xa6, 0x8a, 0xee, 0x0c, 0x4f}},
    {0x7ae49844, 0xb1e3, 0x4683, {0xba, 0x7c, 0x1e, 0x82, 0x12, 0xed, 0xa3, 0xb7}},
};

/* Only memory is hosted here, so E_NOINTERFACE is the normal answer; it is not an error. */
static void ask(struct clr *clr, IHostControl *control, REFIID iid)
{
    void *other = NULL;
    if (ee_get_host_manager(clr, control, iid, &other) == S_OK) {
        IUnknown_Release((IUnknown *)other);
    }
}

/* Who comes second waits, and while it does it asks for a task manager that could switch to another
 * task: GetHostManager is called more often than once, on several threads. */
static void take_lock(struct clr *clr, IHostControl *control)
{
    while (InterlockedExchange(&clr->only_one, 1) != 0) {
        ask(clr, control, &iid_task_manager);
        InterlockedIncrement(&clr->contentions);
        Sleep(0);
    }
}

/* False: the host has no heap for the CLR, so it is no memory host. */
static bool take_memory_manager(struct clr *clr, IHostControl *control)
{
    void *manager = NULL;
    if (ee_get_host_manager(clr, control, &IID_IHostMemoryManager, &manager) != S_OK) {
        return !is_broken(clr); /* not hosted then */
    }
    /* The heap comes first: from here on blocks are the host's, pages still Windows'. */
    if (ee_create_malloc(clr, manager) != S_OK) {
        IHostMemoryManager_Release((IHostMemoryManager *)manager); /* the only Release ever */
        return false;
    }
    ee_register_callback(clr, manager);
    clr->manager = manager; /* CLRMEMORYHOSTED: from here on all is the host's */
    return true;
}

HRESULT clr_set_host_control(struct clr *clr, IHostControl *control)
{
    if (control == NULL) {
        return E_INVALIDARG;
    }
    if (clr->started) {
        return E_ACCESSDENIED; /* and not E_CLR_ALREADY_STARTED, as documented (1.8) */
    }
    take_lock(clr, control);
    HRESULT hr = S_OK;
    if (clr->manager == NULL && !take_memory_manager(clr, control)) {
        hr = E_UNEXPECTED;
    } else {
        ask(clr, control, &iid_task_manager);
        for (size_t i = 0; i < ARRAYSIZE(other_managers); i++) {
            ask(clr, control, &other_managers[i]);
        }
        if (clr->control == NULL) {
            clr->control = control;
            IHostControl_AddRef(control); /* released at the last Stop */
        }
    }
    InterlockedExchange(&clr->only_one, 0);
    return hr;
}

void clr_release_host_control(struct clr *clr)
{
    IHostControl_Release(clr->control);
    clr->control = NULL;
}

/* ---- two threads of the host that are not of one mind ---- */

struct second_call {
    struct clr *clr;
    IHostControl *control;
    HRESULT hr;
};

static DWORD WINAPI set_host_control(void *argument)
{
    struct second_call *call = argument;
    call->hr = clr_set_host_control(call->clr, call->control);
    return 0;
}

/* Another thread calls SetHostControl while one is in it. The first manager stays. */
void control_contended(struct clr *clr, IHostControl *control)
{
    struct second_call call = {.clr = clr, .control = control, .hr = E_FAIL};
    IHostMemoryManager *manager = clr->manager;
    IHostMalloc *heap = clr->heap;
    InterlockedExchange(&clr->only_one, 1);
    HANDLE thread = CreateThread(NULL, 0, set_host_control, &call, 0, NULL);
    while (thread != NULL && clr->contentions == 0 && !is_broken(clr)) {
        Sleep(1);
    }
    InterlockedExchange(&clr->only_one, 0);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    judge(clr, call.hr == S_OK && clr->manager == manager && clr->heap == heap, RULE(17),
          "the second SetHostControl returned %#lx and changed what the first had stored", call.hr);
}
