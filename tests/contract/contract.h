/* SPDX-License-Identifier: MIT
 *
 * What the contract tests share. They see hostmem as the CLR and a host see it: through the DLL's
 * functions and the COM interfaces. Win32 itself says what is right: a pair is the same memory
 * twice, once straight from the OS and once through a manager; every call on a pair is made on both
 * sides, and result, error and the picture that VirtualQuery paints of the memory must be the same.
 *
 * Out-parameters hold a poison value before each call, LastError a marker: a call that succeeds
 * leaves the marker, a call that fails leaves what the OS said.
 *
 * "trap N" in the tests is item N of the checklist below: what naive memory hosts do wrong, each
 * with the file that shows that hostmem does not.
 *
 *   1  a success code other than S_OK               every file: HRESULTs are compared exactly
 *   2  S_OK without memory, failure without NULL    every pair, host_malloc, faults
 *   3  VirtualQuery that leaves *pResult unwritten  every pair, virtual_query
 *   4  refusing memory of others                    virtual_alloc_foreign, _query, _protect
 *   5  several reservations out of one              virtual_alloc
 *   6  dropping or adding MEM_* flags               virtual_alloc
 *   7  refusing a commit without an address         virtual_alloc
 *   8  counting MEM_RESET as commit                 virtual_alloc, limits, argument_matrix
 *   9  counting a page twice, or giving it back twice   virtual_alloc, virtual_free, statistics,
 *                                                   random_operations, limits
 *  10  limiting reserve where commit is meant       limits, policy
 *  11  a limit that several threads pass at once    limits_threads
 *  12  refusing the critical before the others      limits
 *  13  blocks aligned to less than the OS heap's    host_malloc
 *  14  size overflow, size 0                        host_malloc
 *  15  Free(NULL) and Free of foreign pointers      host_malloc
 *  16  heaps that serve one thread only             create_malloc, host_malloc_threads, hresults
 *  17  locks in VirtualQuery                        threads/test_suspended_threads
 *  18  notifying under a lock, too often, or not of the end   pressure, pressure_callback,
 *                                                   register_callback, event_calls
 *  19  LastError lost on failure, changed on success   every file
 *  20  a wrong or missing old protection            virtual_protect
 *  21  deep stacks                                  threads/test_stack_use
 *  22  reference counts                             manager, create_malloc, register_callback,
 *                                                   host_control
 *  23  a host control that dies with its creator    host_control
 *  24  one manager for two CLRs                     manager
 *  25  calling convention, method order             module; the whole suite on x86
 *  26  unloading, and calls while the process ends  register_callback, process_exit
 *  27  own tables counted as the runtime's, or not undone on failure   statistics, faults
 *  28  address space of others counted as commit    address_space
 *  29  notifications that make no sense             address_space
 *  30  NeedsVirtualAddressSpace that says yes       address_space
 *  31  impossible memory loads                      get_memory_load
 *  33  wrong HRESULTs for what Win32 says           virtual_free, faults, hresults, every pair
 *  35  protections changed behind the host's back   virtual_query, virtual_protect
 *
 * Not shown here:
 *  32  a process that forbids dynamic code: Wine has no such policy
 *  34  job objects: the collector goes by the job then, whatever a host says
 */
#ifndef TESTS_CONTRACT_CONTRACT_H
#define TESTS_CONTRACT_CONTRACT_H

#include <hostmem/hostmem.h>
#include <corerror.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define PAGE ((SIZE_T)4096)
#define GRANULARITY ((SIZE_T)65536)
#define MIB ((SIZE_T)1 << 20)

/* ---- poison ---- */

#define POISON_DWORD ((DWORD)0xdeadbeef)
#define POISON_SIZE ((SIZE_T)0xdeadbeef)
#define POISON_POINTER ((void *)(uintptr_t)0xdeadbeef)

/* What LastError is before each call. Bit 29 is set, which no error of Windows has. */
#define MARKER ((DWORD)0x2bad1dea)
#define UNCHANGED MARKER
#define ANY_ERROR ((DWORD)0xffffffff)

/* ---- one call ---- */

/* Makes a call that returns an HRESULT; checks it, and LastError after it. */
#define EXPECT_CALL(call, expected_hr, expected_error)                                             \
    do {                                                                                           \
        SetLastError(MARKER);                                                                      \
        HRESULT hr_ = (call);                                                                      \
        DWORD error_ = GetLastError();                                                             \
        expect_call(hr_, error_, (expected_hr), (expected_error), #call, __FILE__, __LINE__);      \
    } while (0)
#define EXPECT_OK(call) EXPECT_CALL(call, S_OK, UNCHANGED)
#define EXPECT_HR(call, expected_hr) EXPECT_CALL(call, expected_hr, ANY_ERROR)

void expect_call(HRESULT hr, DWORD error, HRESULT expected_hr, DWORD expected_error,
                 const char *call, const char *file, int line);

/* The number of references that `object` has. */
#define EXPECT_REF(object, count) expect_ref((IUnknown *)(object), (count), __FILE__, __LINE__)
void expect_ref(IUnknown *object, ULONG count, const char *file, int line);

/* Whether QueryInterface knows `iid`; a wanted interface must be the same object. */
#define EXPECT_INTERFACE(object, iid, supported)                                                   \
    expect_interface((IUnknown *)(object), (iid), (supported), #iid, __FILE__, __LINE__)
void expect_interface(IUnknown *object, REFIID iid, bool supported, const char *name,
                      const char *file, int line);

/* The HRESULT that stands for a Win32 error. */
HRESULT hr_of_win32(DWORD error);

/* Ends the test with a message. */
void fail_at(const char *file, int line, const char *format, ...);

/* Wine does something else than Windows here. Each use says in a comment what Windows does. */
#define known_wine_gap() running_on_wine()
bool running_on_wine(void);

/* ---- managers ---- */

/* For cmocka_unit_test_setup_teardown: *state is an IHostMemoryManager with one reference. The
 * teardown checks that it counts right, and that this reference is the last. */
int setup_manager(void **state);
int teardown_manager(void **state);

#define manager_test(name) cmocka_unit_test_setup_teardown(name, setup_manager, teardown_manager)

IHostMemoryManager *create_manager(void);
/* The fields of HOSTMEM_OPTIONS behind Size, as in an initialiser: .CommitLimit = MIB. */
#define CREATE_MANAGER(...)                                                                        \
    create_manager_with(&(HOSTMEM_OPTIONS){.Size = sizeof(HOSTMEM_OPTIONS), __VA_ARGS__})
IHostMemoryManager *create_manager_with(const HOSTMEM_OPTIONS *options);
HOSTMEM_STATISTICS statistics_of(IHostMemoryManager *manager);

/* Likewise of HOSTMEM_LIMITS, for a manager that is there. */
#define SET_LIMITS(manager, ...)                                                                   \
    set_limits((manager), &(HOSTMEM_LIMITS){.Size = sizeof(HOSTMEM_LIMITS), __VA_ARGS__})
void set_limits(IHostMemoryManager *manager, const HOSTMEM_LIMITS *limits);
/* Another interface of the same object, with a reference: INTERFACE_OF(manager, IHostMemoryLimits). */
#define INTERFACE_OF(object, type) ((type *)interface_of((IUnknown *)(object), &IID_##type))
void *interface_of(IUnknown *object, REFIID iid);
void shut_down(IHostMemoryManager *manager);

/* A manager that was shut down or is broken: every method says so and leaves nothing in its
 * out-parameters. `heap` is one of its heaps, or NULL. */
void expect_unavailable(IHostMemoryManager *manager, IHostMalloc *heap);

/* The manager's count of committed bytes is what the OS says. */
#define EXPECT_EXACT_COMMIT(manager) expect_exact_commit((manager), __FILE__, __LINE__)
void expect_exact_commit(IHostMemoryManager *manager, const char *file, int line);

/* Reserved or reserved and committed memory of a manager; the test fails when there is none. */
char *reserve(IHostMemoryManager *manager, SIZE_T size);
char *reserve_committed(IHostMemoryManager *manager, SIZE_T size);

/* A full path on which the DLL under test, or a copy of it, can be found. */
void dll_path(WCHAR *path, DWORD capacity);

/* ---- pictures ---- */

struct run {
    SIZE_T offset; /* from the start of the picture */
    SIZE_T size;
    DWORD state;
    DWORD protect;
    DWORD type;
    DWORD allocation_protect;
    ptrdiff_t allocation_offset; /* of AllocationBase, from the start of the picture */
};

/* What VirtualQuery says of [base, base + size), relative to base. */
struct picture {
    SIZE_T size;
    size_t count;
    struct run runs[130];
};

void take_picture(struct picture *picture, const void *base, SIZE_T size);
#define EXPECT_SAME_PICTURE(left, right) expect_same_picture((left), (right), __FILE__, __LINE__)
void expect_same_picture(const struct picture *left, const struct picture *right, const char *file,
                         int line);

/* ---- pairs ---- */

struct pair {
    IHostMemoryManager *manager;
    char *raw;     /* from Win32 */
    char *managed; /* from the manager */
    SIZE_T size;   /* what the pictures show; whole granules */
};

/* Each makes the same call on both sides and returns the Win32 error that both gave, 0 for success.
 * Offsets are from the base. The pictures are compared after each call. */
#define PAIR_CREATE(pair, size, type, protect)                                                     \
    pair_create((pair), (size), (type), (protect), __FILE__, __LINE__)
#define PAIR_ALLOC(pair, offset, size, type, protect)                                              \
    pair_alloc((pair), (offset), (size), (type), (protect), __FILE__, __LINE__)
#define PAIR_FREE(pair, offset, size, type)                                                        \
    pair_free((pair), (offset), (size), (type), __FILE__, __LINE__)
#define PAIR_PROTECT(pair, offset, size, protect, old)                                             \
    pair_protect((pair), (offset), (size), (protect), (old), __FILE__, __LINE__)
#define PAIR_QUERY(pair, offset, length) pair_query((pair), (offset), (length), __FILE__, __LINE__)
/* A free that Win32 refuses and the manager answers with HOST_E_INVALIDOPERATION. */
#define PAIR_FREE_REFUSED(pair, offset, size, type)                                                \
    pair_free_refused((pair), (offset), (size), (type), __FILE__, __LINE__)

DWORD pair_create(struct pair *pair, SIZE_T size, DWORD type, DWORD protect, const char *file,
                  int line);
DWORD pair_alloc(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type, DWORD protect,
                 const char *file, int line);
DWORD pair_free(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type, const char *file,
                int line);
void pair_free_refused(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type,
                       const char *file, int line);
DWORD pair_protect(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD protect, DWORD *old,
                   const char *file, int line);
DWORD pair_query(struct pair *pair, ptrdiff_t offset, SIZE_T length, const char *file, int line);
/* Releases both sides. */
void pair_destroy(struct pair *pair);

/* The same call on both sides with absolute addresses; the results of a success are stored. */
#define BOTH_ALLOC(manager, raw_address, managed_address, size, type, protect, raw, managed)       \
    both_alloc((manager), (raw_address), (managed_address), (size), (type), (protect), (raw),      \
               (managed), __FILE__, __LINE__)
DWORD both_alloc(IHostMemoryManager *manager, void *raw_address, void *managed_address, SIZE_T size,
                 DWORD type, DWORD protect, void **raw, void **managed, const char *file, int line);

/* ---- memory of others ---- */

/* Memory that hostmem did not hand out, one kind each. */
struct foreign_memory {
    char *reserved;  /* 16 pages of VirtualAlloc, the first two committed */
    char *view;      /* of a section, 16 pages, read and write */
    char *image;     /* in the code of this program */
    char *constants; /* in the read-only data of this program */
    char *stack;     /* in the stack of this thread */
    char *heap;      /* a block of the process heap */
    char *free;      /* nobody's */
    HANDLE section;
};

void foreign_memory_create(struct foreign_memory *foreign);
void foreign_memory_destroy(struct foreign_memory *foreign);

/* ---- threads ---- */

/* Runs `function` on `count` threads at once and waits for all of them; a thread that returns
 * anything but 0, or none for a minute, fails the test. */
#define MAX_THREADS 16
void run_threads(unsigned count, DWORD(WINAPI *function)(void *context), void *context);

/* A small generator (xorshift) for tests that need many different numbers. */
uint32_t next_random(uint32_t *state);

#endif
