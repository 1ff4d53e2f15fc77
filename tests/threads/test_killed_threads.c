/* SPDX-License-Identifier: MIT
 *
 * A thread that is killed (TerminateThread) inside a method. Windows does not give back what it
 * held; no allocator survives that unharmed, and hostmem promises this much:
 *
 *   - Whatever takes no lock goes on: VirtualQuery, VirtualProtect, GetMemoryLoad.
 *   - A thread that was killed while it committed, decommitted or released held the lock of its one
 *     region: from then on every VirtualAlloc and VirtualFree of that region waits for ever. All
 *     other regions, new ones, heaps and the record of views go on, however it is with that region.
 *   - A thread that was killed while it allocated has one of the heap's shares for ever; all others go on,
 *     also with the blocks of that share.
 *   - What the call had charged stays charged, and what it had not counted is not counted.
 *   - The locks of the table, the views and the sites are held over no call of the OS but a commit of
 *     the table's own memory; a thread that is killed there stops those who need them next.
 *   - The manager can be released, and at process exit nobody waits (test_process_exit.c).
 *
 * One test kills a thread in the middle of the OS's commit, over a wrapped OS that waits there. The
 * other kills threads at random, over one that does nothing for them, so that all they do is in our
 * own code: Wine 8 itself stops for ever soon after a thread was killed in its VirtualAlloc.
 */
#include "contract/contract.h"

#include "com/com_private.h"

enum { PATIENCE_MS = 10000, WAITS_MS = 50, KILLED = 30 };

/* ---- an OS that a thread can be killed in ---- */

static struct os wrapped;
static HANDLE inside, never;
static DWORD victim;      /* the thread that is to be killed */
static bool victim_stops; /* in the OS's commit; else the OS does nothing for it */

static os_error wrapped_alloc(const struct os *os, uintptr_t address, size_t size, uint32_t type,
                              uint32_t protect, uintptr_t *result)
{
    (void)os;
    if (GetCurrentThreadId() != victim) {
        return os_system()->virtual_alloc(os_system(), address, size, type, protect, result);
    }
    if (victim_stops) {
        SetEvent(inside);
        WaitForSingleObject(never, INFINITE);
    }
    *result = address;
    return OS_OK;
}

static os_error wrapped_free(const struct os *os, uintptr_t address, size_t size, uint32_t type)
{
    (void)os;
    return GetCurrentThreadId() != victim
               ? os_system()->virtual_free(os_system(), address, size, type)
               : OS_OK;
}

/* ---- threads ---- */

struct scene {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *memory; /* 16 pages: the region of who is killed */
    char *other;  /* likewise, of those who go on */
    LONG commits; /* begun */
};

/* The id is written before the thread runs. */
static HANDLE start(DWORD(WINAPI *function)(void *context), void *context, DWORD *id)
{
    HANDLE thread = CreateThread(NULL, 0, function, context, CREATE_SUSPENDED, id);
    assert_non_null(thread);
    ResumeThread(thread);
    return thread;
}

/* One that commits; it has started, and holds no lock of the loader, on return. */
static HANDLE start_victim(DWORD(WINAPI *function)(void *context), struct scene *scene, bool stops)
{
    victim_stops = stops;
    InterlockedExchange(&scene->commits, 0);
    HANDLE thread = start(function, scene, &victim);
    while (InterlockedCompareExchange(&scene->commits, 0, 0) == 0) {
        Sleep(1);
    }
    return thread;
}

static void kill(HANDLE thread)
{
    assert_true(TerminateThread(thread, 1));
    assert_int_equal(WaitForSingleObject(thread, PATIENCE_MS), WAIT_OBJECT_0);
    CloseHandle(thread);
    victim = 0;
}

static DWORD WINAPI commit(void *context)
{
    struct scene *scene = context;
    void *result;
    InterlockedIncrement(&scene->commits);
    return IHostMemoryManager_VirtualAlloc(scene->manager, scene->memory, 3 * PAGE, MEM_COMMIT,
                                           PAGE_READWRITE, eTaskCritical, &result) == S_OK
               ? 0
               : 1;
}

static DWORD WINAPI call_methods(void *context)
{
    struct scene *scene = context;
    void *result;
    for (;;) {
        commit(context);
        IHostMemoryManager_VirtualAlloc(scene->manager, scene->memory, PAGE, MEM_RESET,
                                        PAGE_READWRITE, eTaskCritical, &result);
        IHostMemoryManager_VirtualFree(scene->manager, scene->memory, 0, MEM_DECOMMIT);
    }
    return 0;
}

/* Of every address, also in the region of the killed thread. */
static DWORD WINAPI query(void *context)
{
    struct scene *scene = context;
    MEMORY_BASIC_INFORMATION info;
    DWORD old, load, wrong = 0;
    SIZE_T written, available;
    for (SIZE_T page = 0; page < 16; page++) {
        wrong += IHostMemoryManager_VirtualQuery(scene->manager, scene->memory + page * PAGE, &info,
                                                 sizeof(info), &written) != S_OK ||
                 info.AllocationBase != scene->memory;
    }
    wrong += IHostMemoryManager_VirtualQuery(scene->manager, scene, &info, sizeof(info),
                                             &written) != S_OK;
    wrong += IHostMemoryManager_VirtualProtect(scene->manager, scene->other, PAGE, PAGE_READWRITE,
                                               &old) != S_OK;
    wrong += IHostMemoryManager_GetMemoryLoad(scene->manager, &load, &available) != S_OK;
    return wrong;
}

/* What needs locks, but not that of the killed thread's region. */
static DWORD WINAPI change_others(void *context)
{
    struct scene *scene = context;
    IHostMemoryManager *manager = scene->manager;
    void *region, *block, *result;
    DWORD wrong = 0;
    wrong += IHostMemoryManager_VirtualAlloc(manager, scene->other, 8 * PAGE, MEM_COMMIT,
                                             PAGE_READWRITE, eTaskCritical, &result) != S_OK;
    wrong +=
        IHostMemoryManager_VirtualFree(manager, scene->other + PAGE, PAGE, MEM_DECOMMIT) != S_OK;
    wrong += IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                             PAGE_READWRITE, eTaskCritical, &region) != S_OK;
    wrong += IHostMemoryManager_VirtualFree(manager, region, 0, MEM_RELEASE) != S_OK;
    wrong += IHostMalloc_DebugAlloc(scene->heap, 100, eTaskCritical, (char *)"file.cpp", 1,
                                    &block) != S_OK;
    wrong += IHostMalloc_Free(scene->heap, block) != S_OK;
    wrong += IHostMemoryManager_AcquiredVirtualAddressSpace(manager, scene->other, 1) != S_OK;
    wrong += IHostMemoryManager_ReleasedVirtualAddressSpace(manager, scene->other) != S_OK;
    return wrong;
}

/* `function` comes to its end, and found nothing wrong. */
#define EXPECT_DONE(function, scene) expect_done(function, scene, #function, __LINE__)
static void expect_done(DWORD(WINAPI *function)(void *context), struct scene *scene,
                        const char *name, int line)
{
    DWORD id, wrong = POISON_DWORD;
    HANDLE thread = start(function, scene, &id);
    if (WaitForSingleObject(thread, PATIENCE_MS) != WAIT_OBJECT_0) {
        fail_at(__FILE__, line, "%s hangs after a thread was killed", name);
    }
    assert_true(GetExitCodeThread(thread, &wrong));
    assert_int_equal(wrong, 0);
    CloseHandle(thread);
}

static int create_scene(void **state)
{
    static struct scene scene;
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options)};
    wrapped = *os_system();
    wrapped.virtual_alloc = wrapped_alloc;
    wrapped.virtual_free = wrapped_free;
    inside = CreateEventW(NULL, FALSE, FALSE, NULL);
    never = CreateEventW(NULL, FALSE, FALSE, NULL);
    scene = (struct scene){0};
    EXPECT_OK(host_memory_manager_create(&wrapped, &options, &scene.manager));
    EXPECT_OK(IHostMemoryManager_CreateMalloc(scene.manager, MALLOC_THREADSAFE, &scene.heap));
    scene.memory = reserve(scene.manager, 16 * PAGE);
    scene.other = reserve_committed(scene.manager, 16 * PAGE);
    *state = &scene;
    return 0;
}

/* The manager goes, whatever has happened. Its regions stay. */
static int destroy_scene(void **state)
{
    struct scene *scene = *state;
    assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    assert_int_equal(IHostMemoryManager_Release(scene->manager), 0);
    assert_true(VirtualFree(scene->memory, 0, MEM_RELEASE));
    assert_true(VirtualFree(scene->other, 0, MEM_RELEASE));
    CloseHandle(inside);
    CloseHandle(never);
    return 0;
}

/* ---- the tests ---- */

static void a_thread_killed_while_it_commits_stops_its_region_and_no_more(void **state)
{
    struct scene *scene = *state;
    HOSTMEM_STATISTICS before = statistics_of(scene->manager);
    HANDLE thread = start_victim(commit, scene, true);
    assert_int_equal(WaitForSingleObject(inside, PATIENCE_MS), WAIT_OBJECT_0);
    kill(thread);

    EXPECT_DONE(query, scene);
    EXPECT_DONE(change_others, scene);
    /* 3 pages that never came. */
    HOSTMEM_STATISTICS after = statistics_of(scene->manager);
    assert_int_equal(after.CommitCurrentBytes, before.CommitCurrentBytes - PAGE);
    assert_int_equal(after.ChargedCurrentBytes - after.HeapCommitCurrentBytes,
                     before.ChargedCurrentBytes - PAGE + 3 * PAGE);
    assert_int_equal(after.RegionsCurrent, before.RegionsCurrent);

    HANDLE waiting = start_victim(commit, scene, false);
    assert_int_equal(WaitForSingleObject(waiting, WAITS_MS), WAIT_TIMEOUT);
    EXPECT_DONE(query, scene);
    EXPECT_DONE(change_others, scene);
    kill(waiting);
    EXPECT_DONE(query, scene);
}

static DWORD WINAPI allocate(void *context)
{
    struct scene *scene = context;
    void *block;
    InterlockedIncrement(&scene->commits);
    return IHostMalloc_Alloc(scene->heap, 200 * 1024, eTaskCritical, &block) == S_OK ? 0 : 1;
}

/* Each has one of the heap's eight shares for ever. */
static void a_thread_killed_while_it_allocates_stops_nobody(void **state)
{
    enum { VICTIMS = 8, BLOCKS = 1000 };
    static void *blocks[BLOCKS];
    struct scene *scene = *state;
    for (int i = 0; i < BLOCKS; i++) {
        EXPECT_OK(IHostMalloc_Alloc(scene->heap, (SIZE_T)i, eTaskCritical, &blocks[i]));
    }
    for (int i = 0; i < VICTIMS; i++) {
        HANDLE thread = start_victim(allocate, scene, true);
        assert_int_equal(WaitForSingleObject(inside, PATIENCE_MS), WAIT_OBJECT_0);
        kill(thread);
        EXPECT_DONE(change_others, scene);
        for (int j = i; j < BLOCKS; j += VICTIMS) {
            EXPECT_OK(IHostMalloc_Free(scene->heap, blocks[j]));
            EXPECT_HR(IHostMalloc_Free(scene->heap, blocks[j]), HOST_E_INVALIDOPERATION);
        }
    }
    assert_int_equal(statistics_of(scene->manager).HeapCurrentBlocks, 0);
    assert_int_equal(statistics_of(scene->manager).HeapCurrentBytes, 0);
}

static void queries_are_answered_after_threads_were_killed_anywhere(void **state)
{
    struct scene *scene = *state;
    unsigned locked = 0;
    uint32_t random = 23;
    for (int i = 0; i < KILLED; i++) {
        HANDLE thread = start_victim(call_methods, scene, false);
        for (volatile uint32_t spin = next_random(&random) % 100000; spin > 0; spin--) {
        }
        kill(thread);
        EXPECT_DONE(query, scene);
        EXPECT_DONE(change_others, scene);

        HANDLE waiting = start_victim(commit, scene, false);
        if (WaitForSingleObject(waiting, WAITS_MS) != WAIT_OBJECT_0) {
            locked++;
            kill(waiting);
            scene->memory = reserve(scene->manager, 16 * PAGE); /* that stays with the process */
        } else {
            CloseHandle(waiting);
            victim = 0;
        }
    }
    print_message("%d threads killed, %u of them with the lock of their region\n", KILLED, locked);
    assert_in_range(locked, 1, KILLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_thread_killed_while_it_commits_stops_its_region_and_no_more, create_scene,
            destroy_scene),
        cmocka_unit_test_setup_teardown(a_thread_killed_while_it_allocates_stops_nobody,
                                        create_scene, destroy_scene),
        cmocka_unit_test_setup_teardown(queries_are_answered_after_threads_were_killed_anywhere,
                                        create_scene, destroy_scene),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
