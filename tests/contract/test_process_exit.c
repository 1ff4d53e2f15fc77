/* SPDX-License-Identifier: MIT
 *
 * The last calls of a CLR come while the process ends: under the loader lock, with all other
 * threads already killed, some of them inside the manager (trap 26). Those calls must work, and
 * must not wait for a lock that nobody will release.
 *
 * The program starts itself as a child that exits while threads are busy in one region. A fiber
 * local storage callback is what Windows still runs then; from there the child makes its last calls
 * and ends itself with the code that says that they came back.
 */
#include "contract/child.h"
#include "contract/contract.h"

enum { CHILDREN = 10, BUSY_THREADS = 3 };

static IHostMemoryManager *manager;
static IHostMalloc *heap;
static char *memory;
static void *block;

/* ---- the child ---- */

/* In one region, so that whoever is killed is likely to hold its lock. */
static DWORD WINAPI be_busy(void *context)
{
    for (;;) {
        void *result;
        IHostMemoryManager_VirtualAlloc(manager, memory, 8 * PAGE, MEM_COMMIT, PAGE_READWRITE,
                                        eTaskCritical, &result);
        IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_DECOMMIT);
        IHostMemoryManager_AcquiredVirtualAddressSpace(manager, context, 1);
        IHostMemoryManager_ReleasedVirtualAddressSpace(manager, context);
    }
    return 0;
}

static void WINAPI last_calls(void *context)
{
    void *result = NULL, *other = NULL;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size;
    DWORD value;
    bool right = true;
    (void)context;
    /* The region that was busy, and one of its own. */
    right =
        right && IHostMemoryManager_VirtualAlloc(manager, memory, PAGE, MEM_COMMIT, PAGE_READWRITE,
                                                 eProcessCritical, &result) == S_OK;
    right = right &&
            IHostMemoryManager_VirtualProtect(manager, memory, PAGE, PAGE_READONLY, &value) == S_OK;
    right = right &&
            IHostMemoryManager_VirtualQuery(manager, memory, &info, sizeof(info), &size) == S_OK;
    right = right && IHostMemoryManager_VirtualFree(manager, memory, PAGE, MEM_DECOMMIT) == S_OK;
    right = right && IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE) == S_OK;
    right =
        right && IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                                 PAGE_READWRITE, eProcessCritical, &other) == S_OK;
    right = right && IHostMemoryManager_VirtualFree(manager, other, 0, MEM_RELEASE) == S_OK;
    right = right && IHostMemoryManager_GetMemoryLoad(manager, &value, &size) == S_OK;
    right = right && IHostMemoryManager_AcquiredVirtualAddressSpace(manager, block, 5) == S_OK;
    right = right && IHostMemoryManager_ReleasedVirtualAddressSpace(manager, block) == S_OK;
    right = right && IHostMalloc_Free(heap, block) == S_OK;
    right = right && IHostMalloc_Alloc(heap, 100, eProcessCritical, &block) == S_OK;
    TerminateProcess(GetCurrentProcess(), right ? CAME_BACK : WRONG_ANSWER);
}

static int exit_while_busy(void)
{
    void *result = NULL;
    DWORD slot = FlsAlloc(last_calls);
    if (slot == FLS_OUT_OF_INDEXES || !FlsSetValue(slot, &slot) ||
        HostMemCreateManager(NULL, &manager) != S_OK ||
        IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap) != S_OK ||
        IHostMalloc_Alloc(heap, 100, eProcessCritical, &block) != S_OK ||
        IHostMemoryManager_VirtualAlloc(manager, NULL, GRANULARITY, MEM_RESERVE, PAGE_READWRITE,
                                        eProcessCritical, &result) != S_OK) {
        return 1;
    }
    memory = result;
    for (int i = 0; i < BUSY_THREADS; i++) {
        if (CreateThread(NULL, 0, be_busy, memory + i, 0, NULL) == NULL) {
            return 2;
        }
    }
    Sleep(30);
    ExitProcess(3); /* the callback ends the process before this code can be seen */
}

/* ---- the parent ---- */

static void a_process_that_ends_can_still_free_its_memory(void **state)
{
    (void)state;
    for (int i = 0; i < CHILDREN; i++) {
        assert_int_equal(run_child("exit", 20), CAME_BACK);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_ends_can_still_free_its_memory),
    };
    if (child_argument(argc, argv) != NULL) {
        return exit_while_busy();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
