/* SPDX-License-Identifier: MIT
 *
 * The objects are agile: whatever way COM takes an interface from one apartment into another, the
 * other side gets the pointer itself and calls the object from its own thread.
 */
#include "contract/contract.h"

#include <objbase.h>

enum { INTERFACES = 3 };

static IUnknown *objects[INTERFACES];
static const IID *const iids[INTERFACES] = {&IID_IHostMemoryStatistics, &IID_IHostMalloc,
                                            &IID_IHostControl};

/* What a thread of another apartment does. */
struct visit {
    DWORD apartment; /* COINIT_* */
    DWORD cookies[INTERFACES];
    IStream *streams[INTERFACES];
    IUnknown *from_table[INTERFACES];
    IUnknown *from_stream[INTERFACES];
    HRESULT hr;
};

static IGlobalInterfaceTable *new_table(void)
{
    void *table = NULL;
    EXPECT_HR(CoCreateInstance(&CLSID_StdGlobalInterfaceTable, NULL, CLSCTX_INPROC_SERVER,
                               &IID_IGlobalInterfaceTable, &table),
              S_OK);
    return table;
}

static HRESULT use(IUnknown *const *visitors)
{
    HOSTMEM_STATISTICS now = {.Size = sizeof(now)};
    void *memory = NULL, *manager = NULL;
    IHostMalloc *heap = (IHostMalloc *)visitors[1];
    HRESULT hr = IHostMemoryStatistics_GetStatistics((IHostMemoryStatistics *)visitors[0], &now);
    hr = hr == S_OK ? IHostMalloc_Alloc(heap, 100, eTaskCritical, &memory) : hr;
    hr = hr == S_OK ? IHostMalloc_Free(heap, memory) : hr;
    hr = hr == S_OK ? IHostControl_GetHostManager((IHostControl *)visitors[2],
                                                  &IID_IHostMemoryManager, &manager)
                    : hr;
    if (hr == S_OK) {
        IHostMemoryManager_Release((IHostMemoryManager *)manager);
    }
    return hr;
}

/* No assertions here: they belong to the test's thread. */
static DWORD WINAPI visit(void *context)
{
    struct visit *visit = context;
    IGlobalInterfaceTable *table = NULL;
    visit->hr = CoInitializeEx(NULL, visit->apartment);
    if (visit->hr == S_OK) {
        visit->hr = CoCreateInstance(&CLSID_StdGlobalInterfaceTable, NULL, CLSCTX_INPROC_SERVER,
                                     &IID_IGlobalInterfaceTable, (void **)&table);
    }
    for (size_t i = 0; i < INTERFACES && visit->hr == S_OK; i++) {
        visit->hr = IGlobalInterfaceTable_GetInterfaceFromGlobal(table, visit->cookies[i], iids[i],
                                                                 (void **)&visit->from_table[i]);
        if (visit->hr == S_OK) {
            visit->hr = CoGetInterfaceAndReleaseStream(visit->streams[i], iids[i],
                                                       (void **)&visit->from_stream[i]);
        }
    }
    visit->hr = visit->hr == S_OK ? use(visit->from_table) : visit->hr;
    visit->hr = visit->hr == S_OK ? use(visit->from_stream) : visit->hr;
    for (size_t i = 0; i < INTERFACES && visit->hr == S_OK; i++) {
        IUnknown_Release(visit->from_table[i]);
        IUnknown_Release(visit->from_stream[i]);
    }
    if (table != NULL) {
        IGlobalInterfaceTable_Release(table);
    }
    CoUninitialize();
    return 0;
}

/* From this thread's apartment into another thread's. Nobody looks after this thread's messages
 * meanwhile: a call that had to come back to it would never end. */
static void travel(DWORD from, DWORD to)
{
    struct visit other = {.apartment = to, .hr = E_FAIL};
    assert_int_equal(CoInitializeEx(NULL, from), S_OK);
    IGlobalInterfaceTable *table = new_table();
    for (size_t i = 0; i < INTERFACES; i++) {
        EXPECT_HR(IGlobalInterfaceTable_RegisterInterfaceInGlobal(table, objects[i], iids[i],
                                                                  &other.cookies[i]),
                  S_OK);
        EXPECT_HR(CoMarshalInterThreadInterfaceInStream(iids[i], objects[i], &other.streams[i]),
                  S_OK);
    }
    HANDLE thread = CreateThread(NULL, 0, visit, &other, 0, NULL);
    assert_int_equal(WaitForSingleObject(thread, 10000), WAIT_OBJECT_0);
    CloseHandle(thread);
    assert_int_equal(other.hr, S_OK);
    for (size_t i = 0; i < INTERFACES; i++) {
        assert_ptr_equal(other.from_table[i], objects[i]);
        assert_ptr_equal(other.from_stream[i], objects[i]);
        EXPECT_HR(IGlobalInterfaceTable_RevokeInterfaceFromGlobal(table, other.cookies[i]), S_OK);
    }
    IGlobalInterfaceTable_Release(table);
    CoUninitialize();
}

/* ---- the tests ---- */

static IHostMemoryManager *create_objects(void)
{
    IHostMemoryManager *manager = create_manager();
    IHostMalloc *heap = POISON_POINTER;
    IHostControl *control = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(HostMemCreateHostControl(manager, NULL, &control));
    objects[0] = interface_of((IUnknown *)manager, &IID_IHostMemoryStatistics);
    objects[1] = (IUnknown *)heap;
    objects[2] = (IUnknown *)control;
    return manager;
}

/* All references have come back, the marshalers' included. */
static void release_objects(IHostMemoryManager *manager)
{
    assert_int_equal(IUnknown_Release(objects[2]), 0);
    assert_int_equal(IUnknown_Release(objects[1]), 0);
    assert_int_equal(IUnknown_Release(objects[0]), 1);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void objects_say_that_they_are_agile(void **state)
{
    IHostMemoryManager *manager = create_objects();
    (void)state;
    for (size_t i = 0; i < INTERFACES; i++) {
        EXPECT_INTERFACE(objects[i], &IID_IAgileObject, true);
        EXPECT_INTERFACE(objects[i], &IID_IMarshal, true);
        EXPECT_INTERFACE(objects[i], &IID_IMarshal, true);
    }
    release_objects(manager);
}

static void into_any_apartment_goes_the_object_itself(void **state)
{
    static const DWORD apartments[] = {COINIT_APARTMENTTHREADED, COINIT_MULTITHREADED};
    (void)state;
    for (size_t from = 0; from < 2; from++) {
        for (size_t to = 0; to < 2; to++) {
            IHostMemoryManager *manager = create_objects();
            travel(apartments[from], apartments[to]);
            release_objects(manager);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_say_that_they_are_agile),
        cmocka_unit_test(into_any_apartment_goes_the_object_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
