/* SPDX-License-Identifier: MIT
 *
 * HostMemCreateHostControl: the IHostControl that hands the CLR the manager and leaves everything
 * else to the host's own control.
 */
#include "contract/contract.h"

/* The managers the CLR asks for besides ours: tasks, threadpool, I/O completion, synchronisation,
 * assemblies, GC, security, policy. */
static const IID OTHER_MANAGERS[] = {
    {0x997ff24c, 0x43b7, 0x4352, {0x86, 0x67, 0x0d, 0xc0, 0x4f, 0xaf, 0xd3, 0x54}},
    {0x983d50e2, 0xcb15, 0x466b, {0x80, 0xfc, 0x84, 0x5d, 0xc6, 0xe8, 0xc5, 0xfd}},
    {0x8bde9d80, 0xec06, 0x41d6, {0x83, 0xe6, 0x22, 0x58, 0x0e, 0xff, 0xcc, 0x20}},
    {0x234330c7, 0x5f10, 0x4f20, {0x96, 0x15, 0x51, 0x22, 0xda, 0xb7, 0xa0, 0xac}},
    {0x613dabd7, 0x62b2, 0x493e, {0x9e, 0x65, 0xc1, 0xe3, 0x2a, 0x1e, 0x0c, 0x5e}},
    {0x5d4ec34e, 0xf248, 0x457b, {0xb6, 0x03, 0x25, 0x5f, 0xaa, 0xba, 0x0d, 0x21}},
    {0x75ad2468, 0xa349, 0x4d02, {0xa7, 0x64, 0x76, 0xa6, 0x8a, 0xee, 0x0c, 0x4f}},
    {0x7ae49844, 0xb1e3, 0x4683, {0xba, 0x7c, 0x1e, 0x82, 0x12, 0xea, 0x3b, 0x79}},
};

#define OTHER_COUNT (sizeof(OTHER_MANAGERS) / sizeof(OTHER_MANAGERS[0]))

/* ---- a host's own control ---- */

struct own_control {
    IHostControl IHostControl_iface;
    LONG refs;
    HRESULT answer;
    void *object;
    unsigned asked;
    IID asked_for;
    DWORD domain;
    IUnknown *domain_manager;
};

static struct own_control *impl_from_own(IHostControl *iface)
{
    return CONTAINING_RECORD(iface, struct own_control, IHostControl_iface);
}

static HRESULT STDMETHODCALLTYPE own_QueryInterface(IHostControl *iface, REFIID iid, void **object)
{
    (void)iface;
    (void)iid;
    *object = NULL;
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE own_AddRef(IHostControl *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_own(iface)->refs);
}

static ULONG STDMETHODCALLTYPE own_Release(IHostControl *iface)
{
    return (ULONG)InterlockedDecrement(&impl_from_own(iface)->refs);
}

static HRESULT STDMETHODCALLTYPE own_GetHostManager(IHostControl *iface, REFIID iid, void **object)
{
    struct own_control *own = impl_from_own(iface);
    own->asked++;
    own->asked_for = *iid;
    *object = own->object;
    return own->answer;
}

static HRESULT STDMETHODCALLTYPE own_SetAppDomainManager(IHostControl *iface, DWORD domain,
                                                         IUnknown *manager)
{
    struct own_control *own = impl_from_own(iface);
    own->asked++;
    own->domain = domain;
    own->domain_manager = manager;
    return own->answer;
}

static const IHostControlVtbl own_vtbl = {
    .QueryInterface = own_QueryInterface,
    .AddRef = own_AddRef,
    .Release = own_Release,
    .GetHostManager = own_GetHostManager,
    .SetAppDomainManager = own_SetAppDomainManager,
};

static struct own_control new_own_control(void)
{
    return (struct own_control){.IHostControl_iface.lpVtbl = &own_vtbl, .refs = 1};
}

static IHostControl *create_control(IHostMemoryManager *manager, struct own_control *own)
{
    IHostControl *control = POISON_POINTER;
    EXPECT_OK(
        HostMemCreateHostControl(manager, own != NULL ? &own->IHostControl_iface : NULL, &control));
    assert_non_null(control);
    assert_ptr_not_equal(control, POISON_POINTER);
    return control;
}

/* ---- create ---- */

static void null_pointers_are_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostControl *control = POISON_POINTER;
    EXPECT_HR(HostMemCreateHostControl(NULL, NULL, &control), E_POINTER);
    assert_null(control);
    EXPECT_HR(HostMemCreateHostControl(manager, NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemCreateHostControl(NULL, NULL, NULL), E_POINTER);
    EXPECT_REF(manager, 1);
}

/* trap 22, trap 23: the CLR holds the control from SetHostControl to the last Stop, and the control
 * holds what it needs. */
static void the_control_holds_the_manager_and_the_next_control(void **state)
{
    IHostMemoryManager *manager = *state;
    struct own_control own = new_own_control();
    IHostControl *control = create_control(manager, &own);
    EXPECT_REF(control, 1);
    EXPECT_REF(manager, 2);
    assert_int_equal(own.refs, 2);
    assert_int_equal(IHostControl_AddRef(control), 2);
    assert_int_equal(IHostControl_Release(control), 1);
    EXPECT_REF(manager, 2);
    assert_int_equal(IHostControl_Release(control), 0);
    EXPECT_REF(manager, 1);
    assert_int_equal(own.refs, 1);
}

static void the_control_outlives_its_creator_s_references(void **state)
{
    IHostMemoryManager *manager = create_manager(), *answer = POISON_POINTER;
    (void)state;
    IHostControl *control = create_control(manager, NULL);
    assert_int_equal(IHostMemoryManager_Release(manager), 1);
    EXPECT_OK(IHostControl_GetHostManager(control, &IID_IHostMemoryManager, (void **)&answer));
    assert_int_equal(IHostControl_Release(control), 0);
    char *memory = reserve_committed(answer, PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(answer, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(answer), 0);
}

static void query_interface_knows_the_control_and_no_more(void **state)
{
    IHostControl *control = create_control(*state, NULL);
    EXPECT_INTERFACE(control, &IID_IUnknown, true);
    EXPECT_INTERFACE(control, &IID_IHostControl, true);
    EXPECT_INTERFACE(control, &IID_IHostMemoryManager, false);
    EXPECT_INTERFACE(control, &IID_IHostMemoryStatistics, false);
    EXPECT_INTERFACE(control, &IID_NULL, false);
    EXPECT_HR(IHostControl_QueryInterface(control, &IID_IHostControl, NULL), E_POINTER);
    EXPECT_REF(control, 1);
    assert_int_equal(IHostControl_Release(control), 0);
}

/* ---- GetHostManager ---- */

static void the_memory_manager_comes_with_a_reference_every_time(void **state)
{
    IHostMemoryManager *manager = *state;
    struct own_control own = new_own_control();
    IHostControl *control = create_control(manager, &own);
    for (ULONG i = 0; i < 3; i++) { /* under contention the CLR asks more than once */
        IHostMemoryManager *answer = POISON_POINTER;
        EXPECT_OK(IHostControl_GetHostManager(control, &IID_IHostMemoryManager, (void **)&answer));
        assert_ptr_equal(answer, manager);
        EXPECT_REF(manager, 3 + i);
    }
    assert_int_equal(own.asked, 0);
    for (int i = 0; i < 3; i++) {
        IHostMemoryManager_Release(manager);
    }
    assert_int_equal(IHostControl_Release(control), 0);
}

static void other_managers_do_not_exist_without_a_next_control(void **state)
{
    IHostControl *control = create_control(*state, NULL);
    for (size_t i = 0; i < OTHER_COUNT; i++) {
        void *answer = POISON_POINTER;
        EXPECT_HR(IHostControl_GetHostManager(control, &OTHER_MANAGERS[i], &answer), E_NOINTERFACE);
        assert_null(answer);
    }
    void *answer = POISON_POINTER;
    EXPECT_HR(IHostControl_GetHostManager(control, &IID_IUnknown, &answer), E_NOINTERFACE);
    assert_null(answer);
    answer = POISON_POINTER;
    EXPECT_HR(IHostControl_GetHostManager(control, &IID_NULL, &answer), E_NOINTERFACE);
    assert_null(answer);
    assert_int_equal(IHostControl_Release(control), 0);
}

static void other_managers_are_the_next_control_s_answer(void **state)
{
    static const HRESULT answers[] = {S_OK, E_NOINTERFACE, E_INVALIDARG, E_FAIL, S_FALSE};
    struct own_control own = new_own_control();
    IHostControl *control = create_control(*state, &own);
    int something;
    for (size_t i = 0; i < OTHER_COUNT; i++) {
        for (size_t j = 0; j < sizeof(answers) / sizeof(answers[0]); j++) {
            void *answer = POISON_POINTER;
            own.asked = 0;
            own.answer = answers[j];
            own.object = answers[j] == S_OK ? &something : NULL;
            EXPECT_HR(IHostControl_GetHostManager(control, &OTHER_MANAGERS[i], &answer),
                      answers[j]);
            assert_ptr_equal(answer, own.object);
            assert_int_equal(own.asked, 1);
            assert_memory_equal(&own.asked_for, &OTHER_MANAGERS[i], sizeof(IID));
        }
    }
    assert_int_equal(IHostControl_Release(control), 0);
}

static void no_out_pointer_is_e_pointer(void **state)
{
    struct own_control own = new_own_control();
    IHostControl *control = create_control(*state, &own);
    EXPECT_HR(IHostControl_GetHostManager(control, &IID_IHostMemoryManager, NULL), E_POINTER);
    EXPECT_HR(IHostControl_GetHostManager(control, &OTHER_MANAGERS[0], NULL), E_POINTER);
    assert_int_equal(own.asked, 0);
    assert_int_equal(IHostControl_Release(control), 0);
}

/* ---- SetAppDomainManager ---- */

/* A failure would make the CLR fail to create the AppDomain. */
static void an_appdomain_manager_is_welcome_without_a_next_control(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostControl *control = create_control(manager, NULL);
    EXPECT_OK(IHostControl_SetAppDomainManager(control, 1, (IUnknown *)manager));
    EXPECT_OK(IHostControl_SetAppDomainManager(control, 2, NULL));
    EXPECT_REF(manager, 2); /* the control keeps no reference on it */
    assert_int_equal(IHostControl_Release(control), 0);
}

static void an_appdomain_manager_is_the_next_control_s_business(void **state)
{
    struct own_control own = new_own_control();
    IHostControl *control = create_control(*state, &own);
    EXPECT_OK(IHostControl_SetAppDomainManager(control, 77, (IUnknown *)*state));
    assert_int_equal(own.asked, 1);
    assert_int_equal(own.domain, 77);
    assert_ptr_equal(own.domain_manager, *state);
    own.answer = E_ACCESSDENIED;
    EXPECT_HR(IHostControl_SetAppDomainManager(control, 78, NULL), E_ACCESSDENIED);
    assert_int_equal(own.domain, 78);
    assert_null(own.domain_manager);
    assert_int_equal(IHostControl_Release(control), 0);
}

/* ---- both together, as the CLR's SetHostControl does it ---- */

static void the_clr_s_start_sequence_works(void **state)
{
    IHostMemoryManager *manager = create_manager(), *answer = NULL;
    IHostMalloc *heap = NULL;
    void *block = NULL;
    (void)state;
    IHostControl *control = create_control(manager, NULL);
    IHostMemoryManager_Release(manager);
    EXPECT_OK(IHostControl_GetHostManager(control, &IID_IHostMemoryManager, (void **)&answer));
    EXPECT_OK(IHostMemoryManager_CreateMalloc(answer, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(IHostMemoryManager_RegisterMemoryNotificationCallback(answer, NULL));
    for (size_t i = 0; i < OTHER_COUNT; i++) {
        void *other = POISON_POINTER;
        EXPECT_HR(IHostControl_GetHostManager(control, &OTHER_MANAGERS[i], &other), E_NOINTERFACE);
    }
    IHostControl_AddRef(control);
    IHostControl_Release(control); /* the host's own */
    EXPECT_OK(IHostMalloc_Alloc(heap, 64, eProcessCritical, &block));
    IHostControl_Release(control); /* the last Stop */
    /* The CLR goes on with what it has until the process ends. */
    EXPECT_OK(IHostMalloc_Free(heap, block));
    char *memory = reserve_committed(answer, PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(answer, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMalloc_Release(heap), 0);
    assert_int_equal(IHostMemoryManager_Release(answer), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(null_pointers_are_e_pointer),
        manager_test(the_control_holds_the_manager_and_the_next_control),
        cmocka_unit_test(the_control_outlives_its_creator_s_references),
        manager_test(query_interface_knows_the_control_and_no_more),
        manager_test(the_memory_manager_comes_with_a_reference_every_time),
        manager_test(other_managers_do_not_exist_without_a_next_control),
        manager_test(other_managers_are_the_next_control_s_answer),
        manager_test(no_out_pointer_is_e_pointer),
        manager_test(an_appdomain_manager_is_welcome_without_a_next_control),
        manager_test(an_appdomain_manager_is_the_next_control_s_business),
        cmocka_unit_test(the_clr_s_start_sequence_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
