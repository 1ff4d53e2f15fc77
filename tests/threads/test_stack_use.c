/* SPDX-License-Identifier: MIT
 *
 * How much stack each method uses. The CLR calls in places where it has little left, and says that a
 * host should use a few hundred bytes; here every method must do with less than 1 KiB of its own.
 *
 * Measured with a painted stack: 16 KiB below the caller are filled with a pattern, and the lowest
 * word that has another value afterwards tells how deep the call went. Two columns:
 *
 *   total   from the caller's stack pointer down, with what Windows (Wine) uses
 *   own     without it: the manager runs over a seam that looks at the paint before each call of the
 *           system, and paints again what the call has used. The few calls that do not go through
 *           the seam (locks, events, clocks) remain; only starting a thread and waiting for two
 *           events are measured alone and taken off.
 *
 * os_win32.c counts as the system; its largest frame is one of 352 bytes, below GetMemoryLoad.
 *
 * The limit is for release builds; debug builds do not keep variables in registers. Last, all
 * methods run on a thread that has 16 KiB in all and a wall below.
 */
#include "contract/child.h"
#include "contract/contract.h"

#include "com/com_private.h"

#include <string.h>

enum { OWN_LIMIT = 1024, PAINTED = 16384, PAINT = 0x5eed1e55, SMALL_STACK = 16384 };

static inline uintptr_t stack_pointer(void)
{
    uintptr_t pointer;
#ifdef _WIN64
    __asm__ volatile("mov %%rsp, %0" : "=r"(pointer));
#else
    __asm__ volatile("mov %%esp, %0" : "=r"(pointer));
#endif
    return pointer;
}

/* ---- paint ---- */

static struct {
    volatile uintptr_t *bottom; /* of the paint */
    uintptr_t caller;           /* the stack pointer from which the method was called */
    size_t own;                 /* the deepest so far, from there, in bytes */
} paint;

/* All of these are inline: they must not have frames in what they paint or look at. */

/* Fills from `top` down, so that the system can grow the stack page by page. */
static inline __attribute__((always_inline)) void fill(volatile uintptr_t *top)
{
    while (top > paint.bottom) {
        *--top = PAINT;
    }
}

static inline __attribute__((always_inline)) void look(void)
{
    volatile uintptr_t *at = paint.bottom;
    while (*at == PAINT) {
        at++;
    }
    size_t depth = paint.caller - (uintptr_t)at;
    paint.own = depth > paint.own ? depth : paint.own;
}

/* ---- the seam ---- */

static const struct os *real;
static struct os painted;

/* Looks, calls the system, and paints over what the system did. What this function itself has below
 * its caller is counted as the method's: a few dozen bytes too many. */
#define SEAM(result, name, parameters, arguments)                                                  \
    static result painted_##name parameters                                                        \
    {                                                                                              \
        (void)os;                                                                                  \
        look();                                                                                    \
        result value = real->name arguments;                                                       \
        fill((volatile uintptr_t *)stack_pointer());                                               \
        return value;                                                                              \
    }

SEAM(os_error, virtual_alloc,
     (const struct os *os, uintptr_t address, size_t size, uint32_t type, uint32_t protect,
      uintptr_t *result),
     (real, address, size, type, protect, result))
SEAM(os_error, virtual_free, (const struct os *os, uintptr_t address, size_t size, uint32_t type),
     (real, address, size, type))
SEAM(os_error, virtual_protect,
     (const struct os *os, uintptr_t address, size_t size, uint32_t protect, uint32_t *old),
     (real, address, size, protect, old))
SEAM(os_error, virtual_query,
     (const struct os *os, uintptr_t address, void *buffer, size_t length, size_t *written),
     (real, address, buffer, length, written))
SEAM(void *, table_reserve, (const struct os *os, size_t size), (real, size))
SEAM(bool, table_commit, (const struct os *os, void *address, size_t size), (real, address, size))
SEAM(os_error, memory_load, (const struct os *os, uint32_t *percent, uint64_t *available),
     (real, percent, available))
SEAM(bool, job_memory, (const struct os *os, uint64_t *limit, uint64_t *used), (real, limit, used))

#define SEAM_VOID(name, parameters, arguments)                                                     \
    static void painted_##name parameters                                                          \
    {                                                                                              \
        (void)os;                                                                                  \
        look();                                                                                    \
        real->name arguments;                                                                      \
        fill((volatile uintptr_t *)stack_pointer());                                               \
    }

SEAM_VOID(table_release, (const struct os *os, void *address), (real, address))

static void create_painted_os(void)
{
    real = os_system();
    painted = *real;
    painted.virtual_alloc = painted_virtual_alloc;
    painted.virtual_free = painted_virtual_free;
    painted.virtual_protect = painted_virtual_protect;
    painted.virtual_query = painted_virtual_query;
    painted.table_reserve = painted_table_reserve;
    painted.table_commit = painted_table_commit;
    painted.table_release = painted_table_release;
    painted.memory_load = painted_memory_load;
    painted.job_memory = painted_job_memory;
}

/* ---- the methods ---- */

struct scene {
    IHostMemoryManager *manager;
    IHostMalloc *heap, *new_heap;
    char *small, *large; /* regions of a page and of 64 MiB */
    void *block;
    HANDLE events[2];
    HRESULT hr; /* of the last call */
};

static HRESULT STDMETHODCALLTYPE callback_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID iid, void **result)
{
    (void)iface, (void)iid;
    *result = NULL;
    return E_NOINTERFACE;
}

/* As the CLR's: there is one for ever. */
static ULONG STDMETHODCALLTYPE callback_count(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

static HRESULT STDMETHODCALLTYPE
callback_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    (void)iface, (void)available;
    return S_OK;
}

static ICLRMemoryNotificationCallbackVtbl callback_vtbl = {
    .QueryInterface = callback_QueryInterface,
    .AddRef = callback_count,
    .Release = callback_count,
    .OnMemoryNotification = callback_OnMemoryNotification,
};
static ICLRMemoryNotificationCallback callback = {.lpVtbl = &callback_vtbl};

/* A function that makes one call. The stack pointer is taken where the arguments are. */
#define METHOD(name, call)                                                                         \
    static void name(struct scene *scene)                                                          \
    {                                                                                              \
        IHostMemoryManager *manager = scene->manager;                                              \
        void *result = NULL;                                                                       \
        MEMORY_BASIC_INFORMATION info;                                                             \
        SIZE_T size = 0;                                                                           \
        DWORD value = 0;                                                                           \
        (void)manager, (void)result, (void)info, (void)size, (void)value;                          \
        paint.caller = stack_pointer();                                                            \
        call;                                                                                      \
    }
#define HR(call) scene->hr = (call)

METHOD(query_interface,
       HR(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryManager, &result)))
METHOD(release, scene->hr = IHostMemoryManager_Release(manager) != 0 ? S_OK : E_FAIL)
METHOD(create_malloc,
       HR(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &scene->new_heap)))
METHOD(release_heap, scene->hr = IHostMalloc_Release(scene->new_heap) == 0 ? S_OK : E_FAIL)
METHOD(reserve_region,
       HR(IHostMemoryManager_VirtualAlloc(manager, NULL, 64 * MIB, MEM_RESERVE, PAGE_READWRITE,
                                          eTaskCritical, (void **)&scene->large)))
METHOD(commit_part,
       HR(IHostMemoryManager_VirtualAlloc(manager, scene->large + 5 * PAGE, 9 * MIB, MEM_COMMIT,
                                          PAGE_READWRITE, eTaskCritical, &result)))
METHOD(decommit_part,
       HR(IHostMemoryManager_VirtualFree(manager, scene->large + 7 * PAGE, 5 * MIB, MEM_DECOMMIT)))
METHOD(release_region, HR(IHostMemoryManager_VirtualFree(manager, scene->large, 0, MEM_RELEASE)))
METHOD(commit_at_once,
       HR(IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                          PAGE_READWRITE, eTaskCritical, (void **)&scene->small)))
METHOD(reset, HR(IHostMemoryManager_VirtualAlloc(manager, scene->small, PAGE, MEM_RESET,
                                                 PAGE_READWRITE, eTaskCritical, &result)))
METHOD(query,
       HR(IHostMemoryManager_VirtualQuery(manager, scene->small, &info, sizeof(info), &size)))
METHOD(protect,
       HR(IHostMemoryManager_VirtualProtect(manager, scene->small, PAGE, PAGE_READONLY, &value)))
METHOD(release_small, HR(IHostMemoryManager_VirtualFree(manager, scene->small, 0, MEM_RELEASE)))
METHOD(free_foreign, HR(IHostMemoryManager_VirtualFree(manager, scene, 0, MEM_RELEASE)))
METHOD(commit_too_much, HR(IHostMemoryManager_VirtualAlloc(manager, NULL, 256 * MIB, MEM_COMMIT,
                                                           PAGE_READWRITE, eTaskCritical, &result)))
METHOD(get_memory_load, HR(IHostMemoryManager_GetMemoryLoad(manager, &value, &size)))
METHOD(needs, HR(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, PAGE)))
METHOD(acquired, HR(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, scene, 0)))
METHOD(released, HR(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, scene)))
METHOD(register_callback,
       HR(IHostMemoryManager_RegisterMemoryNotificationCallback(manager, &callback)))
METHOD(unregister_callback,
       HR(IHostMemoryManager_RegisterMemoryNotificationCallback(manager, NULL)))
METHOD(alloc, HR(IHostMalloc_Alloc(scene->heap, 1000, eTaskCritical, &scene->block)))
METHOD(debug_alloc, HR(IHostMalloc_DebugAlloc(scene->heap, 1000, eTaskCritical, (char *)"file.cpp",
                                              1, &scene->block)))
METHOD(free_block, HR(IHostMalloc_Free(scene->heap, scene->block)))
METHOD(free_foreign_block, HR(IHostMalloc_Free(scene->heap, scene)))

static DWORD WINAPI do_nothing(void *context)
{
    (void)context;
    return 0;
}

METHOD(start_thread, CloseHandle(CreateThread(NULL, 65536, do_nothing, NULL,
                                              STACK_SIZE_PARAM_IS_A_RESERVATION, &value)))

METHOD(wait, WaitForMultipleObjects(2, scene->events, FALSE, 1))

static const struct method_case {
    const char *name;
    void (*call)(struct scene *scene);
    HRESULT hr;
    void (*raw)(struct scene *scene); /* what it calls past the seam */
} cases[] = {
    /* In the order in which they make sense. */
    {"QueryInterface", query_interface, S_OK, NULL},
    {"Release, not the last", release, S_OK, NULL},
    {"CreateMalloc", create_malloc, S_OK, NULL},
    {"IHostMalloc::Release, the last", release_heap, S_OK, NULL},
    {"VirtualAlloc, reserve", reserve_region, S_OK, NULL},
    {"VirtualAlloc, commit", commit_part, S_OK, NULL},
    {"VirtualFree, decommit", decommit_part, S_OK, NULL},
    {"VirtualFree, release", release_region, S_OK, NULL},
    {"VirtualAlloc, both", commit_at_once, S_OK, NULL},
    {"VirtualAlloc, reset", reset, S_OK, NULL},
    {"VirtualAlloc, waits, refused", commit_too_much, HOST_E_TIMEOUT, wait},
    {"VirtualQuery", query, S_OK, NULL},
    {"VirtualProtect", protect, S_OK, NULL},
    {"VirtualFree, release", release_small, S_OK, NULL},
    {"VirtualFree, refused", free_foreign, HOST_E_INVALIDOPERATION, NULL},
    {"GetMemoryLoad", get_memory_load, S_OK, NULL},
    {"Register…Callback, the first", register_callback, S_OK, start_thread},
    {"Register…Callback, another", register_callback, S_OK, NULL},
    {"Register…Callback, none", unregister_callback, S_OK, NULL},
    {"NeedsVirtualAddressSpace", needs, S_OK, NULL},
    {"AcquiredVirtualAddressSpace", acquired, S_OK, NULL},
    {"ReleasedVirtualAddressSpace", released, S_OK, NULL},
    {"IHostMalloc::Alloc", alloc, S_OK, NULL},
    {"IHostMalloc::Free", free_block, S_OK, NULL},
    {"IHostMalloc::DebugAlloc", debug_alloc, S_OK, NULL},
    {"IHostMalloc::Free", free_block, S_OK, NULL},
    {"IHostMalloc::Free, refused", free_foreign_block, HOST_E_INVALIDOPERATION, NULL},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

static void create_scene(struct scene *scene, const struct os *os)
{
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options),
                                     .CommitLimit = 256 * MIB,
                                     .CommitWaitMilliseconds = 20,
                                     .AddressSpaceCushion = 16 * MIB};
    *scene = (struct scene){0};
    EXPECT_OK(host_memory_manager_create(os, &options, &scene->manager));
    EXPECT_OK(IHostMemoryManager_CreateMalloc(scene->manager, MALLOC_THREADSAFE, &scene->heap));
    for (int i = 0; i < 2; i++) {
        scene->events[i] = CreateEventW(NULL, FALSE, FALSE, NULL);
        assert_non_null(scene->events[i]);
    }
}

static void destroy_scene(struct scene *scene)
{
    assert_int_equal(IHostMalloc_Release(scene->heap), 0);
    assert_int_equal(IHostMemoryManager_Release(scene->manager), 0);
    CloseHandle(scene->events[0]);
    CloseHandle(scene->events[1]);
}

static void prepare(const struct method_case *method)
{
    if (method->call == released) {
        Sleep(CUSHION_REST_MS + 100); /* then it restores the cushion, too */
    }
}

/* ---- the table ---- */

/* The depth of one call in bytes. */
static __attribute__((noinline)) size_t measure(void (*call)(struct scene *scene),
                                                struct scene *scene)
{
    uintptr_t here = stack_pointer();
    paint.bottom = (volatile uintptr_t *)(here - PAINTED);
    paint.own = 0;
    fill((volatile uintptr_t *)here);
    call(scene);
    look();
    return paint.own;
}

static void measure_all(const struct os *os, size_t depths[CASES])
{
    struct scene scene;
    create_scene(&scene, os);
    for (size_t i = 0; i < CASES; i++) {
        prepare(&cases[i]);
        depths[i] = measure(cases[i].call, &scene);
        assert_int_equal(scene.hr, cases[i].hr);
        assert_in_range(depths[i], sizeof(void *), PAINTED - PAGE);
    }
    destroy_scene(&scene);
}

static void every_method_uses_less_than_1_kib_of_its_own(void **state)
{
    size_t total[CASES], own[CASES], most = 0;
    struct scene scene;
    (void)state;
    create_painted_os();
    measure_all(real, total);
    measure_all(&painted, own);
    create_scene(&scene, real);
    print_message("%-32s  total    own  bytes of stack\n", "");
    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].raw != NULL) {
            size_t raw = measure(cases[i].raw, &scene);
            own[i] -= raw < own[i] ? raw : own[i];
        }
        print_message("%-32s %6u %6u\n", cases[i].name, (unsigned)total[i], (unsigned)own[i]);
        most = own[i] > most ? own[i] : most;
    }
    destroy_scene(&scene);
    assert_in_range(most, 64, 2 * OWN_LIMIT); /* or it was not measured */
#ifdef NDEBUG
    assert_in_range(most, 64, OWN_LIMIT - 1);
#endif
}

/* ---- 16 KiB in all ---- */

/* Uses `depth` bytes of stack and a little more. */
static __attribute__((noinline)) int use(size_t depth)
{
    volatile char bytes[512];
    bytes[0] = 1;
    return depth <= sizeof(bytes) ? bytes[0] : use(depth - sizeof(bytes)) + bytes[0];
}

static struct scene small_scene;
static bool too_deep;

/* Where Windows and Wine give a thread more stack than was asked for, a page without access ends it
 * after 16 KiB. */
static DWORD WINAPI call_with_small_stack(void *context)
{
    struct scene *scene = context;
    uintptr_t here = stack_pointer();
    uintptr_t wall = (here - SMALL_STACK) & ~(PAGE - 1);
    DWORD old, wrong = 0;
    paint.bottom = (volatile uintptr_t *)wall;
    fill((volatile uintptr_t *)here);
    if (!VirtualProtect((void *)wall, PAGE, PAGE_NOACCESS, &old)) {
        return 1;
    }
    if (too_deep) {
        use(SMALL_STACK);
    }
    for (size_t i = 0; i < CASES; i++) {
        prepare(&cases[i]);
        cases[i].call(scene);
        wrong += scene->hr != cases[i].hr;
    }
    VirtualProtect((void *)wall, PAGE, old, &old);
    return wrong;
}

static int child(bool deeper)
{
    DWORD code = 1;
    too_deep = deeper;
    create_scene(&small_scene, os_system());
    HANDLE thread = CreateThread(NULL, SMALL_STACK, call_with_small_stack, &small_scene,
                                 STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    WaitForSingleObject(thread, INFINITE);
    GetExitCodeThread(thread, &code);
    return code == 0 ? CAME_BACK : WRONG_ANSWER;
}

static void every_method_works_on_a_stack_of_16_kib(void **state)
{
    (void)state;
    assert_int_equal(run_child("methods", 30), CAME_BACK);
    /* It is no more than 16 KiB. */
    DWORD code = run_child("too_deep", 30);
    assert_true(code != CAME_BACK && code != WRONG_ANSWER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_method_uses_less_than_1_kib_of_its_own),
        cmocka_unit_test(every_method_works_on_a_stack_of_16_kib),
    };
    const char *argument = child_argument(argc, argv);
    return argument != NULL ? child(strcmp(argument, "too_deep") == 0)
                            : cmocka_run_group_tests(tests, NULL, NULL);
}
