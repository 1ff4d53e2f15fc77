/* SPDX-License-Identifier: MIT
 *
 * The manager notices that its tables and the OS no longer agree: the OS refuses to release a region
 * that by the tables is intact. That is E_FAIL once, and HOST_E_CLRNOTAVAILABLE from every method
 * from then on; what the manager knows stays true, and the host is told why. Over a wrapped OS, as
 * test_faults.c.
 */
#include "contract/event_sink.h"
#include "contract/faulty_os.h"

#include "com/com_private.h"

#define SIZE (16 * PAGE)

static const HOSTMEM_OPTIONS default_options = {.Size = sizeof(default_options)};

struct scene {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *memory; /* SIZE bytes, some pages of it committed */
    void *block;
    struct event_sink *sink;
};

static void create_scene(struct scene *scene)
{
    void *result = POISON_POINTER;
    EXPECT_OK(host_memory_manager_create(&faulty.os, &default_options, &scene->manager));
    IHostMemoryEvents *events = INTERFACE_OF(scene->manager, IHostMemoryEvents);
    scene->sink = new_sink(KIND(BROKEN));
    advise(events, scene->sink);
    IHostMemoryEvents_Release(events);
    EXPECT_OK(IHostMemoryManager_CreateMalloc(scene->manager, MALLOC_THREADSAFE, &scene->heap));
    EXPECT_OK(IHostMalloc_Alloc(scene->heap, 100, eTaskCritical, &scene->block));
    scene->memory = reserve(scene->manager, SIZE);
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(scene->manager, scene->memory + 3 * PAGE, 5 * PAGE,
                                              MEM_COMMIT, PAGE_READWRITE, eTaskCritical, &result));
}

/* The manager gives nothing back any more, but its tables go with it. */
static void destroy_scene(struct scene *scene)
{
    assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    assert_int_equal(IHostMemoryManager_Release(scene->manager), 0);
    close_sink(scene->sink);
    assert_int_equal(faulty.table_reservations, 0);
    assert_int_equal(faulty.reservations, 1);
    assert_true(VirtualFree(scene->memory, 0, MEM_RELEASE));
    faulty.reservations = 0;
    assert_false(module_in_use());
}

/* The figures without those that a refused call changes. */
static HOSTMEM_STATISTICS figures(struct scene *scene)
{
    HOSTMEM_STATISTICS statistics = statistics_of(scene->manager);
    statistics.Calls = (HOSTMEM_CALLS){0};
    return statistics;
}

/* Table, figures and OS agree. */
static void expect_consistent(struct scene *scene)
{
    struct host_memory_manager *manager =
        CONTAINING_RECORD(scene->manager, struct host_memory_manager, IHostMemoryManager_iface);
    const char *wrong = virtual_memory_check(&manager->memory);
    if (wrong != NULL) {
        fail_at(__FILE__, __LINE__, "%s", wrong);
    }
    EXPECT_EXACT_COMMIT(scene->manager);
}

/* The host is told of it, once. */
static void expect_reason(struct scene *scene, const char *reason)
{
    const HOSTMEM_EVENT *event = EXPECT_EVENT(scene->sink, BROKEN);
    EXPECT_FIELDS(event, .Kind = HOSTMEM_EVENT_BROKEN, .Count = 1,
                  .ChargedBytes = statistics_of(scene->manager).ChargedCurrentBytes,
                  .Reason = reason);
    EXPECT_NO_EVENT(scene->sink, 50);
}

/* Whatever the OS says, and also if it says that there is not enough memory; but not that there is
 * nothing at this address, which is ERROR_INVALID_ADDRESS, and on Wine ERROR_INVALID_PARAMETER. */
static void a_release_that_the_os_refuses_breaks_the_manager(void **state)
{
    static const os_error errors[] = {ERROR_ACCESS_DENIED, ERROR_NOT_ENOUGH_MEMORY,
                                      ERROR_COMMITMENT_LIMIT};
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        struct picture before, after;
        struct scene scene;
        create_scene(&scene);
        take_picture(&before, scene.memory, SIZE);
        HOSTMEM_STATISTICS figures_before = figures(&scene);
        arm(1, errors[i]);
        EXPECT_CALL(IHostMemoryManager_VirtualFree(scene.manager, scene.memory, 0, MEM_RELEASE),
                    E_FAIL, ERROR_INTERNAL_ERROR);
        assert_true(faulty.failed);
        arm(0, OS_OK);
        take_picture(&after, scene.memory, SIZE);
        EXPECT_SAME_PICTURE(&before, &after);
        HOSTMEM_STATISTICS figures_after = figures(&scene);
        assert_memory_equal(&figures_before, &figures_after, sizeof(figures_before));
        expect_consistent(&scene);
        /* For good, though the OS would not refuse again; and the OS is not called. */
        arm(1, OS_NOT_ENOUGH_MEMORY);
        EXPECT_CALL(IHostMemoryManager_VirtualFree(scene.manager, scene.memory, 0, MEM_RELEASE),
                    HOST_E_CLRNOTAVAILABLE, ERROR_NOT_READY);
        EXPECT_CALL(IHostMalloc_Free(scene.heap, scene.block), HOST_E_CLRNOTAVAILABLE,
                    ERROR_NOT_READY);
        expect_unavailable(scene.manager, scene.heap);
        assert_int_equal(faulty.calls, 0);
        arm(0, OS_OK);
        expect_reason(&scene, "Windows refuses to release a region that is there");
        expect_consistent(&scene);
        destroy_scene(&scene);
    }
}

/* Freeing part of a region is no proof of anything. */
static void other_refusals_do_not(void **state)
{
    static const struct {
        SIZE_T size;
        DWORD type;
    } calls[] = {{0, MEM_DECOMMIT}, {PAGE, MEM_DECOMMIT}};
    struct scene scene;
    (void)state;
    create_scene(&scene);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        arm(1, ERROR_INVALID_ADDRESS);
        EXPECT_CALL(IHostMemoryManager_VirtualFree(scene.manager, scene.memory, calls[i].size,
                                                   calls[i].type),
                    HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS), ERROR_INVALID_ADDRESS);
        assert_true(faulty.failed);
        arm(0, OS_OK);
        expect_consistent(&scene);
    }
    EXPECT_OK(IHostMalloc_Free(scene.heap, scene.block));
    destroy_scene(&scene);
}

/* A free place as near to `memory` as there is one. */
static void *place_near(char *memory, SIZE_T size)
{
    for (SIZE_T distance = 2 * SIZE;; distance += GRANULARITY) {
        void *place = VirtualAlloc(memory + distance, size, MEM_RESERVE, PAGE_NOACCESS);
        if (place != NULL) {
            assert_true(VirtualFree(place, 0, MEM_RELEASE));
            return place;
        }
        assert_in_range(distance, 0, 1 << 30);
    }
}

/* A new reservation has a neighbour, which takes slots for both, there is no memory for slots, and
 * the OS does not take the reservation back. */
static void a_reservation_that_cannot_be_undone_breaks_the_manager(void **state)
{
    SIZE_T size = GRANULARITY;
    bool broken = false;
    (void)state;
    for (unsigned call = 1; !broken; call++) {
        struct scene scene;
        void *result = POISON_POINTER;
        create_scene(&scene);
        void *place = place_near(scene.memory, size);
        assert_in_range(call, 1, 100);
        arm(call, ERROR_NOT_ENOUGH_MEMORY);
        faulty.keeps_everything = true;
        SetLastError(MARKER);
        HRESULT hr = IHostMemoryManager_VirtualAlloc(scene.manager, place, size, MEM_RESERVE,
                                                     PAGE_READWRITE, eTaskCritical, &result);
        DWORD last_error = GetLastError();
        assert_true(faulty.failed); /* before it runs out of calls it has to break */
        faulty.keeps_everything = false;
        arm(0, OS_OK);
        assert_null(result);
        broken = hr == E_FAIL;
        if (broken) {
            expect_call(hr, last_error, E_FAIL, ERROR_INTERNAL_ERROR, "VirtualAlloc", __FILE__,
                        __LINE__);
            expect_unavailable(scene.manager, scene.heap);
            expect_reason(&scene, "a reservation could be neither recorded nor released");
            assert_int_equal(faulty.reservations,
                             3); /* the heap's, the scene's, and the lost one */
            assert_true(VirtualFree((void *)faulty.last_reservation, 0, MEM_RELEASE));
            faulty.reservations--;
        } else {
            expect_call(hr, last_error, E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY, "VirtualAlloc",
                        __FILE__, __LINE__);
        }
        expect_consistent(&scene);
        destroy_scene(&scene);
    }
}

/* Somebody has lost count: the next call that has no failure of its events says so. */
static void a_count_that_does_not_add_up_breaks_the_manager(void **state)
{
    struct scene scene;
    (void)state;
    create_scene(&scene);
    struct host_memory_manager *manager =
        CONTAINING_RECORD(scene.manager, struct host_memory_manager, IHostMemoryManager_iface);
    budget_give_back(&manager->budget, 0, (size_t)1 << 30);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(scene.manager, scene.memory, SIZE, MEM_DECOMMIT),
                E_FAIL, ERROR_INTERNAL_ERROR);
    expect_unavailable(scene.manager, scene.heap);
    expect_reason(&scene, "more commit was given back than was charged");
    destroy_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_release_that_the_os_refuses_breaks_the_manager),
        cmocka_unit_test(other_refusals_do_not),
        cmocka_unit_test(a_reservation_that_cannot_be_undone_breaks_the_manager),
        cmocka_unit_test(a_count_that_does_not_add_up_breaks_the_manager),
    };
    return cmocka_run_group_tests(tests, create_faulty_os, NULL);
}
