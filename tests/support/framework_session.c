/* SPDX-License-Identifier: MIT
 *
 * See framework_session.h: the host, and the life of the CLR that it starts.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

#include <stdio.h>

/* x86 and x64 are two builds of this program. */
const struct profile framework_profiles[] = {
    {"clr2-workstation", 2, 0},
    {"clr2-workstation-concurrent", 2, CONCURRENT_GC},
    {"clr2-server", 2, SERVER_GC | HOARD_GC_VM},
    {"clr2-server-concurrent", 2, SERVER_GC | CONCURRENT_GC},
    {"clr4-workstation", 4, HOARD_GC_VM},
    {"clr4-workstation-concurrent", 4, CONCURRENT_GC | HOARD_GC_VM},
    {"clr4-server", 4, SERVER_GC},
    {"clr4-server-concurrent", 4, SERVER_GC | CONCURRENT_GC | HOARD_GC_VM},
};
const size_t framework_profile_count = ARRAYSIZE(framework_profiles);

void play(struct clr *clr, const struct step *steps)
{
    for (const struct step *step = steps; step->play != NULL && !is_broken(clr); step++) {
        const struct step *outer = clr->judge.step;
        clr->judge.step = step;
        step->play(clr);
        clr->judge.step = is_broken(clr) ? clr->judge.step : outer;
    }
}

/* ---- the host ---- */

typedef HRESULT(__cdecl *create_manager_function)(const HOSTMEM_OPTIONS *, IHostMemoryManager **);
typedef HRESULT(__cdecl *create_control_function)(IHostMemoryManager *, IHostControl *,
                                                  IHostControl **);

/* A host: makes a manager, gives it to the CLR, and lets go of all that it has. */
static void give_manager(struct clr *clr, const struct disguise *disguise)
{
    IHostMemoryManager *manager = NULL;
    IHostControl *control = NULL;
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options), .AddressSpaceCushion = CUSHION};
    HMODULE dll = LoadLibraryW(L"hostmem.dll");
    create_manager_function create_manager =
        (create_manager_function)(uintptr_t)GetProcAddress(dll, "HostMemCreateManager");
    create_control_function create_control =
        (create_control_function)(uintptr_t)GetProcAddress(dll, "HostMemCreateHostControl");
    if (!judge(clr, create_manager != NULL && create_control != NULL, CANNOT_PLAY,
               "hostmem.dll cannot be loaded") ||
        !judge(clr, create_manager(&options, &manager) == S_OK, CANNOT_PLAY, "no manager")) {
        return;
    }
    IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                      (void **)&clr->statistics);
    IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryLimits, (void **)&clr->limits);
    IHostMemoryManager_QueryInterface(manager, &IID_IHostRuntimeLifetime, (void **)&clr->lifetime);
    if (disguise != NULL && disguise->manager != NULL) {
        manager = disguise->manager(manager);
    }
    create_control(manager, NULL, &control);
    if (disguise != NULL && disguise->control != NULL) {
        control = disguise->control(control);
    }

    HRESULT hr = clr_set_host_control(clr, control);
    judge(clr, hr == S_OK && clr->manager != NULL, RULE(10), "SetHostControl returned %#lx", hr);
    if (is_broken(clr)) {
        return;
    }
    control_contended(clr, control);
    IHostMemoryManager_Release(manager);
    IHostControl_Release(control);
    FreeLibrary(dll);
    judge(clr, GetModuleHandleW(L"hostmem.dll") != NULL, RULE(18),
          "hostmem.dll is unloaded while the CLR uses it");
}

/* ---- a life ---- */

static void start(struct clr *clr)
{
    play(clr, start_steps);
    judge(clr, is_broken(clr) || clr_set_host_control(clr, clr->control) == E_ACCESSDENIED,
          CANNOT_PLAY, "SetHostControl after Start");
}

static void run(struct clr *clr)
{
    play(clr, running_steps);
    play(clr, budget_steps);
    play(clr, mapping_steps);
    play(clr, gc_steps);
}

static void end(struct clr *clr)
{
    play(clr, stop_steps);
}

static const struct step life[] = {
    {"2.4", "Start", start},
    {"2.9", "programs run", run},
    {"2.12", "Stop", end},
    {NULL, NULL, NULL},
};

int framework_session(struct clr *clr, const struct profile *profile,
                      const struct disguise *disguise)
{
    static const struct step setting = {"2.1", "SetHostControl", NULL};
    ZeroMemory(clr, sizeof(*clr));
    clr->profile = profile;
    clr->judge.step = &setting;
    InitializeCriticalSection(&clr->gc_lock);
    clr_init_notification(clr);
    judge_exceptions(clr);
    clr->early = HeapAlloc(GetProcessHeap(), 0, 64);
    give_manager(clr, disguise);
    play(clr, life);
    return clr->judge.verdict;
}

void framework_clean_up(struct clr *clr)
{
    InterlockedExchange(&clr->quit, 1);
    if (clr->resume != NULL) {
        SetEvent(clr->resume);
    }
    for (unsigned i = 0; i < MUTATORS; i++) {
        if (clr->mutators[i] != NULL) {
            WaitForSingleObject(clr->mutators[i], INFINITE);
            CloseHandle(clr->mutators[i]);
        }
    }
    if (clr->finalizer != NULL) {
        SetEvent(clr->finalizer_wake);
        WaitForSingleObject(clr->finalizer, INFINITE);
        CloseHandle(clr->finalizer);
    }
    IHostMemoryManager *manager = NULL;
    if (clr->lifetime != NULL &&
        IHostRuntimeLifetime_QueryInterface(clr->lifetime, &IID_IHostMemoryManager,
                                            (void **)&manager) == S_OK) {
        IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 0); /* all of the cushion */
        IHostRuntimeLifetime_Shutdown(clr->lifetime); /* nobody is called back any more */
    }
    for (size_t i = 0; i < MAX_REGIONS; i++) {
        if (clr->regions[i].base != NULL) {
            VirtualFree(clr->regions[i].base, 0, MEM_RELEASE);
        }
    }
}
