/* SPDX-License-Identifier: MIT
 *
 * The DLL as a COM server, without any registration: DllGetClassObject, the class factory, and
 * DllCanUnloadNow. The functions are looked up by name, as COM does it.
 */
#include "contract/contract.h"

typedef HRESULT(STDAPICALLTYPE *get_class_object_function)(REFCLSID, REFIID, void **);
typedef HRESULT(STDAPICALLTYPE *can_unload_now_function)(void);

static get_class_object_function get_class_object;
static can_unload_now_function can_unload_now;

static int find_functions(void **state)
{
    HMODULE module = GetModuleHandleW(L"hostmem.dll");
    (void)state;
    assert_non_null(module);
    get_class_object =
        (get_class_object_function)(void (*)(void))GetProcAddress(module, "DllGetClassObject");
    can_unload_now =
        (can_unload_now_function)(void (*)(void))GetProcAddress(module, "DllCanUnloadNow");
    assert_non_null(get_class_object);
    assert_non_null(can_unload_now);
    return 0;
}

static IClassFactory *get_factory(void)
{
    IClassFactory *factory = POISON_POINTER;
    EXPECT_OK(get_class_object(&CLSID_HostMemoryManager, &IID_IClassFactory, (void **)&factory));
    assert_non_null(factory);
    assert_ptr_not_equal(factory, POISON_POINTER);
    return factory;
}

/* ---- DllGetClassObject ---- */

static void there_is_one_class(void **state)
{
    static const CLSID *const others[] = {&IID_IHostMemoryManager, &IID_NULL, &LIBID_HostMem,
                                          &IID_IClassFactory};
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        void *object = POISON_POINTER;
        EXPECT_HR(get_class_object(others[i], &IID_IClassFactory, &object),
                  CLASS_E_CLASSNOTAVAILABLE);
        assert_null(object);
    }
    IClassFactory *factory = get_factory();
    IClassFactory_Release(factory);
}

static void the_class_object_has_the_interfaces_of_a_factory(void **state)
{
    void *object = POISON_POINTER;
    (void)state;
    EXPECT_OK(get_class_object(&CLSID_HostMemoryManager, &IID_IUnknown, &object));
    IUnknown_Release((IUnknown *)object);
    object = POISON_POINTER;
    EXPECT_HR(get_class_object(&CLSID_HostMemoryManager, &IID_IHostMemoryManager, &object),
              E_NOINTERFACE);
    assert_null(object);
    EXPECT_HR(get_class_object(&CLSID_HostMemoryManager, &IID_IClassFactory, NULL), E_POINTER);
    EXPECT_HR(get_class_object(&IID_NULL, &IID_IClassFactory, NULL), E_POINTER);
    IClassFactory *factory = get_factory();
    EXPECT_INTERFACE(factory, &IID_IUnknown, true);
    EXPECT_INTERFACE(factory, &IID_IClassFactory, true);
    EXPECT_INTERFACE(factory, &IID_IHostMemoryManager, false);
    EXPECT_INTERFACE(factory, &IID_IMarshal, false);
    EXPECT_HR(IClassFactory_QueryInterface(factory, &IID_IUnknown, NULL), E_POINTER);
    IClassFactory_Release(factory);
}

/* ---- CreateInstance ---- */

static void create_instance_makes_a_new_manager_each_time(void **state)
{
    IClassFactory *factory = get_factory();
    IHostMemoryManager *first = POISON_POINTER, *second = POISON_POINTER;
    (void)state;
    EXPECT_OK(
        IClassFactory_CreateInstance(factory, NULL, &IID_IHostMemoryManager, (void **)&first));
    EXPECT_OK(
        IClassFactory_CreateInstance(factory, NULL, &IID_IHostMemoryManager, (void **)&second));
    assert_ptr_not_equal(first, second);
    EXPECT_REF(first, 1);
    EXPECT_REF(second, 1);
    char *memory = reserve_committed(first, 3 * PAGE);
    assert_int_equal(statistics_of(first).CommitCurrentBytes, 3 * PAGE);
    assert_int_equal(statistics_of(second).CommitCurrentBytes, 0);
    EXPECT_OK(IHostMemoryManager_VirtualFree(first, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(first), 0);
    assert_int_equal(IHostMemoryManager_Release(second), 0);
    IClassFactory_Release(factory);
}

static void create_instance_gives_every_interface_of_the_manager(void **state)
{
    static const IID *const known[] = {&IID_IUnknown, &IID_IHostMemoryManager,
                                       &IID_IHostMemoryStatistics};
    IClassFactory *factory = get_factory();
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        IUnknown *object = POISON_POINTER;
        EXPECT_OK(IClassFactory_CreateInstance(factory, NULL, known[i], (void **)&object));
        EXPECT_REF(object, 1);
        EXPECT_INTERFACE(object, &IID_IHostMemoryManager, true);
        assert_int_equal(IUnknown_Release(object), 0);
    }
    IClassFactory_Release(factory);
}

static void create_instance_of_an_unknown_interface_leaves_nothing(void **state)
{
    IClassFactory *factory = get_factory();
    void *object = POISON_POINTER;
    (void)state;
    EXPECT_HR(IClassFactory_CreateInstance(factory, NULL, &IID_IHostMalloc, &object),
              E_NOINTERFACE);
    assert_null(object);
    EXPECT_HR(IClassFactory_CreateInstance(factory, NULL, &IID_IHostMemoryManager, NULL),
              E_POINTER);
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED); /* no object was forgotten */
}

static void there_is_no_aggregation(void **state)
{
    IClassFactory *factory = get_factory();
    void *object = POISON_POINTER;
    (void)state;
    EXPECT_HR(IClassFactory_CreateInstance(factory, (IUnknown *)factory, &IID_IUnknown, &object),
              CLASS_E_NOAGGREGATION);
    assert_null(object);
    object = POISON_POINTER;
    EXPECT_HR(IClassFactory_CreateInstance(factory, (IUnknown *)factory, &IID_IHostMemoryManager,
                                           &object),
              CLASS_E_NOAGGREGATION);
    assert_null(object);
    IClassFactory_Release(factory);
}

/* ---- DllCanUnloadNow ---- */

static void the_dll_can_go_when_nothing_of_it_lives(void **state)
{
    IHostControl *control = POISON_POINTER;
    IHostMalloc *heap = POISON_POINTER;
    (void)state;
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED);
    IHostMemoryManager *manager = create_manager();
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    assert_int_equal(IHostMemoryManager_Release(manager), 1);
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    EXPECT_OK(HostMemCreateHostControl(manager, NULL, &control));
    assert_int_equal(IHostMalloc_Release(heap), 0);
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    assert_int_equal(IHostControl_Release(control), 0);
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED);
}

static void a_factory_keeps_the_dll(void **state)
{
    (void)state;
    IClassFactory *factory = get_factory();
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    IClassFactory_AddRef(factory);
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED);
}

static void locks_keep_the_dll_and_are_counted(void **state)
{
    IClassFactory *factory = get_factory();
    (void)state;
    EXPECT_OK(IClassFactory_LockServer(factory, TRUE));
    EXPECT_OK(IClassFactory_LockServer(factory, TRUE));
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    factory = get_factory();
    EXPECT_OK(IClassFactory_LockServer(factory, FALSE));
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_FALSE, UNCHANGED);
    factory = get_factory();
    EXPECT_OK(IClassFactory_LockServer(factory, FALSE));
    IClassFactory_Release(factory);
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED);
}

static DWORD WINAPI create_and_release(void *context)
{
    (void)context;
    for (int i = 0; i < 20; i++) {
        IClassFactory *factory = NULL;
        IHostMemoryManager *manager = NULL;
        if (get_class_object(&CLSID_HostMemoryManager, &IID_IClassFactory, (void **)&factory) !=
                S_OK ||
            IClassFactory_CreateInstance(factory, NULL, &IID_IHostMemoryManager,
                                         (void **)&manager) != S_OK ||
            can_unload_now() != S_FALSE) {
            return 1;
        }
        IClassFactory_Release(factory);
        if (IHostMemoryManager_Release(manager) != 0) {
            return 2;
        }
    }
    return 0;
}

static void many_threads_create_managers(void **state)
{
    (void)state;
    run_threads(4, create_and_release, NULL);
    EXPECT_CALL(can_unload_now(), S_OK, UNCHANGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_one_class),
        cmocka_unit_test(the_class_object_has_the_interfaces_of_a_factory),
        cmocka_unit_test(create_instance_makes_a_new_manager_each_time),
        cmocka_unit_test(create_instance_gives_every_interface_of_the_manager),
        cmocka_unit_test(create_instance_of_an_unknown_interface_leaves_nothing),
        cmocka_unit_test(there_is_no_aggregation),
        cmocka_unit_test(the_dll_can_go_when_nothing_of_it_lives),
        cmocka_unit_test(a_factory_keeps_the_dll),
        cmocka_unit_test(locks_keep_the_dll_and_are_counted),
        cmocka_unit_test(many_threads_create_managers),
    };
    return cmocka_run_group_tests(tests, find_functions, NULL);
}
