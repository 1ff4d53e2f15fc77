/* SPDX-License-Identifier: MIT
 *
 * Fibers: a host may run the CLR's tasks on them, and then what looks like one thread to the CLR
 * moves from one thread of the system to the next. Nothing of hostmem belongs to a thread: what one
 * fiber was given another may give back, between any two calls, on any thread. Only a call itself
 * ends on the thread that it began on; hostmem never switches fibers.
 */
#include "contract/contract.h"

#include <string.h>

enum { FIBERS = 8, ROUNDS = 200 };

static IHostMemoryManager *manager;
static IHostMalloc *heap; /* for one thread at a time */

/* A fiber that does one step of a task each time it is switched to. */
struct task {
    void *fiber, *back; /* who waits for the step */
    int index;
    uint32_t random;
    char *memory, *block;
    DWORD threads[2]; /* that it has run on; 0: none */
    bool over;
};

/* The end of a step. The next one may be on another thread. */
static void rest(struct task *task)
{
    DWORD id = GetCurrentThreadId();
    if (task->threads[0] == 0) {
        task->threads[0] = id;
    } else if (id != task->threads[0]) {
        task->threads[1] = id;
    }
    SwitchToFiber(task->back);
}

static void WINAPI run_task(void *context)
{
    struct task *task = context;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = (1 + (SIZE_T)task->index) * PAGE, written = POISON_SIZE;
    void *result = POISON_POINTER;
    DWORD old = POISON_DWORD;
    while (!task->over) {
        task->memory = reserve(manager, GRANULARITY);
        rest(task);
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, task->memory, size, MEM_COMMIT,
                                                  PAGE_READWRITE, eTaskCritical, &result));
        memset(task->memory, task->index, size);
        rest(task);
        EXPECT_OK(IHostMalloc_Alloc(heap, size, eTaskCritical, &result));
        task->block = result;
        memset(task->block, task->index, size);
        rest(task);
        EXPECT_OK(
            IHostMemoryManager_VirtualProtect(manager, task->memory, size, PAGE_READONLY, &old));
        assert_int_equal(old, PAGE_READWRITE);
        rest(task);
        assert_memory_equal(task->memory, task->block, size);
        EXPECT_OK(IHostMalloc_Free(heap, task->block));
        task->block = NULL;
        rest(task);
        EXPECT_OK(
            IHostMemoryManager_VirtualQuery(manager, task->memory, &info, sizeof(info), &written));
        assert_int_equal(info.RegionSize, size);
        assert_int_equal(info.Protect, PAGE_READONLY);
        rest(task);
        EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, task->memory, size));
        rest(task);
        EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, task->memory));
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, task->memory, size, MEM_DECOMMIT));
        rest(task);
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, task->memory, 0, MEM_RELEASE));
        task->memory = NULL;
    }
    for (;;) {
        rest(task);
    }
}

static struct task tasks[FIBERS];

static void create_tasks(void)
{
    for (int i = 0; i < FIBERS; i++) {
        tasks[i] = (struct task){.index = i};
        tasks[i].fiber = CreateFiber(0, run_task, &tasks[i]);
        assert_non_null(tasks[i].fiber);
    }
}

static void step(struct task *task)
{
    task->back = GetCurrentFiber();
    SwitchToFiber(task->fiber);
}

/* Random steps, so that the tasks mix. */
static void run_some(uint32_t seed)
{
    for (int i = 0; i < ROUNDS; i++) {
        step(&tasks[next_random(&seed) % FIBERS]);
    }
}

static void finish_tasks(void)
{
    for (int i = 0; i < FIBERS; i++) {
        tasks[i].over = true;
        for (int rest_count = 0; rest_count < 10; rest_count++) {
            step(&tasks[i]);
        }
        assert_null(tasks[i].memory);
        assert_null(tasks[i].block);
        DeleteFiber(tasks[i].fiber);
    }
    assert_int_equal(statistics_of(manager).RegionsCurrent, 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 0);
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 0);
}

static int set_up(void **state)
{
    if (setup_manager(state) != 0) {
        return -1;
    }
    manager = *state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, 0, &heap));
    assert_non_null(ConvertThreadToFiber(NULL));
    create_tasks();
    return 0;
}

static int tear_down(void **state)
{
    assert_true(ConvertFiberToThread());
    assert_int_equal(IHostMalloc_Release(heap), 0);
    return teardown_manager(state);
}

static void fibers_may_be_switched_between_any_two_calls(void **state)
{
    (void)state;
    run_some(1);
    EXPECT_EXACT_COMMIT(manager);
    run_some(2);
    finish_tasks();
}

/* cmocka's tests end on the thread that they began on, so a failure here ends the program. */
static DWORD WINAPI run_on_another_thread(void *seed)
{
    if (ConvertThreadToFiber(NULL) == NULL) {
        return 1;
    }
    run_some((uint32_t)(uintptr_t)seed);
    return ConvertFiberToThread() ? 0 : 2;
}

static void a_fiber_may_go_on_on_another_thread(void **state)
{
    (void)state;
    for (uintptr_t round = 3; round < 9; round++) {
        run_some((uint32_t)round);
        run_threads(1, run_on_another_thread, (void *)(round + 100));
        EXPECT_EXACT_COMMIT(manager);
    }
    finish_tasks();
    for (int i = 0; i < FIBERS; i++) {
        assert_true(tasks[i].threads[0] != 0 && tasks[i].threads[1] != 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fibers_may_be_switched_between_any_two_calls, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_fiber_may_go_on_on_another_thread, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
