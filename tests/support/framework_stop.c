/* SPDX-License-Identifier: MIT
 *
 * The end (2.12). The last Stop gives back the host control and nothing else: the manager, its heap
 * and all memory stay, and calls go on. They come even while the process ends: in DLL_PROCESS_DETACH,
 * under the loader lock, when Windows has killed every other thread, wherever it was.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

static void wait_for_neutral(struct clr *clr)
{
    for (int i = 0; i < 500 && clr->low_memory != 0 && !is_broken(clr); i++) {
        Sleep(10);
    }
    judge(clr, clr->low_memory == 0, RULE(16), "Low was sent, and its end never");
}

static void stop(struct clr *clr)
{
    void *block = ee_alloc(clr, 100, RULE(7));
    ee_free(clr, InterlockedExchangePointer(&clr->slots[0], block), RULE(7));
    SetEvent(clr->finalizer_wake); /* finalizers run; the thread stays */
    clr->stopped = true;
    clr_release_host_control(clr);
}

/* What every part of a runtime may still want, then and at the very end. */
static void go_on(struct clr *clr)
{
    MEMORY_BASIC_INFORMATION info;
    DWORD old = POISON_DWORD;
    void *block = ee_alloc(clr, 300, RULE(18));
    if (block != NULL) {
        ee_free(clr, block, RULE(18));
    }
    ee_virtual_query(clr, &info, &info, sizeof(info));
    ee_get_memory_load(clr);
    ee_virtual_alloc(clr, clr->loader_heap + 3 * PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(18));
    if (ee_virtual_protect(clr, clr->loader_heap, PAGE, PAGE_READONLY, &old, RULE(18))) {
        ee_virtual_protect(clr, clr->loader_heap, PAGE, old, &old, RULE(18));
    }
    ee_virtual_free(clr, clr->loader_heap + 3 * PAGE, PAGE, MEM_DECOMMIT, RULE(18));
}

const struct step stop_steps[] = {
    {"2.5", "the end of low memory", wait_for_neutral},
    {"2.12", "the last Stop", stop},
    {"2.12", "calls after it", go_on},
    {NULL, NULL, NULL},
};

/* Phase two of the shutdown: perf counters, stubs, configuration, the region that others were in. */
void framework_detach(struct clr *clr)
{
    static const struct step detach = {"2.12", "DLL_PROCESS_DETACH", framework_detach};
    clr->judge.step = &detach;
    InitializeSRWLock(&clr->regions_lock); /* ours; who held it is dead */
    go_on(clr);
    ee_virtual_alloc(clr, clr->code.base, clr->code.size, MEM_COMMIT, PAGE_EXECUTE_READWRITE,
                     RULE(18));
    ee_virtual_free(clr, clr->code.base, clr->code.size, MEM_DECOMMIT, RULE(18));
    ee_virtual_free(clr, clr->stubs.base, 0, MEM_RELEASE, RULE(18));
    for (size_t i = 0; i < SLOTS && !is_broken(clr); i++) {
        if (clr->slots[i] != NULL) {
            ee_free(clr, clr->slots[i], RULE(18));
        }
    }
}
