/* SPDX-License-Identifier: MIT
 *
 * The seam on Windows. Each function is one Win32 call; GetLastError is read on the next line and
 * on failure only, so that a success leaves the thread's LastError as it was.
 */
#include "os/last_error.h"
#include "os/os.h"
#include "os/os_lock.h"

#include <windows.h>

#include <psapi.h>

_Static_assert(OS_MEM_COMMIT == MEM_COMMIT && OS_MEM_RESERVE == MEM_RESERVE, "MEM_*");
_Static_assert(OS_MEM_DECOMMIT == MEM_DECOMMIT && OS_MEM_RELEASE == MEM_RELEASE, "MEM_*");
_Static_assert(OS_MEM_FREE == MEM_FREE && OS_MEM_MAPPED == MEM_MAPPED, "MEM_*");
_Static_assert(OS_MEM_RESET == MEM_RESET, "MEM_*");
_Static_assert(OS_MEM_RESET_UNDO == MEM_RESET_UNDO && OS_MEM_TOP_DOWN == MEM_TOP_DOWN, "MEM_*");
_Static_assert(OS_PAGE_NOACCESS == PAGE_NOACCESS && OS_PAGE_READWRITE == PAGE_READWRITE, "PAGE_*");
_Static_assert(OS_PAGE_EXECUTE_READWRITE == PAGE_EXECUTE_READWRITE, "PAGE_*");
_Static_assert(OS_NOT_ENOUGH_MEMORY == ERROR_NOT_ENOUGH_MEMORY, "ERROR_*");
_Static_assert(OS_INVALID_PARAMETER == ERROR_INVALID_PARAMETER, "ERROR_*");
_Static_assert(OS_INVALID_ADDRESS == ERROR_INVALID_ADDRESS, "ERROR_*");
_Static_assert(OS_NO_ACCESS == ERROR_NOACCESS, "ERROR_*");
_Static_assert(sizeof(struct os_memory_info) == sizeof(MEMORY_BASIC_INFORMATION), "layout");
_Static_assert(offsetof(struct os_memory_info, size) ==
                   offsetof(MEMORY_BASIC_INFORMATION, RegionSize),
               "layout");
_Static_assert(offsetof(struct os_memory_info, type) == offsetof(MEMORY_BASIC_INFORMATION, Type),
               "layout");

static os_error win32_virtual_alloc(const struct os *os, uintptr_t address, size_t size,
                                    uint32_t type, uint32_t protect, uintptr_t *result)
{
    void *memory = VirtualAlloc((void *)address, size, type, protect);
    (void)os;
    if (memory == NULL) {
        return last_error_of_failure();
    }
    *result = (uintptr_t)memory;
    return OS_OK;
}

static os_error win32_virtual_free(const struct os *os, uintptr_t address, size_t size,
                                   uint32_t type)
{
    (void)os;
    return VirtualFree((void *)address, size, type) ? OS_OK : last_error_of_failure();
}

static os_error win32_virtual_protect(const struct os *os, uintptr_t address, size_t size,
                                      uint32_t protect, uint32_t *old_protect)
{
    DWORD old;
    (void)os;
    if (!VirtualProtect((void *)address, size, protect, &old)) {
        return last_error_of_failure();
    }
    *old_protect = old;
    return OS_OK;
}

static os_error win32_virtual_query(const struct os *os, uintptr_t address, void *buffer,
                                    size_t length, size_t *written)
{
    size_t bytes = VirtualQuery((void *)address, buffer, length);
    (void)os;
    if (bytes == 0) {
        return last_error_of_failure();
    }
    *written = bytes;
    return OS_OK;
}

static void *win32_table_reserve(const struct os *os, size_t size)
{
    (void)os;
    return VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_NOACCESS);
}

static bool win32_table_commit(const struct os *os, void *address, size_t size)
{
    (void)os;
    return VirtualAlloc(address, size, MEM_COMMIT, PAGE_READWRITE) != NULL;
}

static void win32_table_release(const struct os *os, void *address)
{
    (void)os;
    VirtualFree(address, 0, MEM_RELEASE);
}

static os_error win32_memory_load(const struct os *os, uint32_t *load_percent, uint64_t *available)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof(status)};
    (void)os;
    if (!GlobalMemoryStatusEx(&status)) {
        return last_error_of_failure();
    }
    *load_percent = status.dwMemoryLoad;
    *available = status.ullAvailPhys;
    return OS_OK;
}

/* JobObjectMemoryUsageInformation, of Windows 10; <winnt.h> lacks it. */
#define JOB_MEMORY_USAGE ((JOBOBJECTINFOCLASS)28)
struct job_memory_usage {
    UINT64 current;
    UINT64 peak;
};

static uint64_t private_bytes(void)
{
    PROCESS_MEMORY_COUNTERS_EX counters = {.cb = sizeof(counters)};
    return GetProcessMemoryInfo(GetCurrentProcess(), (PROCESS_MEMORY_COUNTERS *)&counters,
                                sizeof(counters))
               ? counters.PrivateUsage
               : 0;
}

/* Before Windows 10 the usage of a job is not known; that of its one process is a lower bound. */
static uint64_t job_bytes(void)
{
    struct job_memory_usage usage;
    return QueryInformationJobObject(NULL, JOB_MEMORY_USAGE, &usage, sizeof(usage), NULL)
               ? usage.current
               : private_bytes();
}

static uint64_t rest_of(uint64_t limit, uint64_t used)
{
    return used < limit ? limit - used : 0;
}

static bool win32_job_memory(const struct os *os, uint64_t *limit, uint64_t *used)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION info;
    DWORD last_error = GetLastError();
    (void)os;
    if (!QueryInformationJobObject(NULL, JobObjectExtendedLimitInformation, &info, sizeof(info),
                                   NULL)) {
        SetLastError(last_error); /* in no job */
        return false;
    }
    /* A limit of 0 is none that a process could live with; Wine keeps flags without numbers. */
    DWORD flags = info.BasicLimitInformation.LimitFlags;
    bool of_process = (flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0 && info.ProcessMemoryLimit > 0;
    bool of_job = (flags & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0 && info.JobMemoryLimit > 0;
    uint64_t process_used = of_process ? private_bytes() : 0;
    uint64_t job_used = of_job ? job_bytes() : 0;
    if (of_job && (!of_process || rest_of(info.JobMemoryLimit, job_used) <=
                                      rest_of(info.ProcessMemoryLimit, process_used))) {
        *limit = info.JobMemoryLimit;
        *used = job_used;
    } else if (of_process) {
        *limit = info.ProcessMemoryLimit;
        *used = process_used;
    }
    SetLastError(last_error);
    return of_job || of_process;
}

unsigned os_thread_number(void)
{
    return GetCurrentThreadId() / 4; /* they are multiples of it */
}

/* SystemFunction036, RtlGenRandom by its other name. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

uint64_t os_secret(void)
{
    static _Atomic uint64_t secret;
    uint64_t known = atomic_load_explicit(&secret, memory_order_relaxed);
    if (known == 0) {
        uint64_t made = 0;
        DWORD last_error = GetLastError();
        if (!SystemFunction036(&made, sizeof(made))) {
            LARGE_INTEGER counter;
            QueryPerformanceCounter(&counter);
            made =
                (uint64_t)counter.QuadPart * UINT64_C(0x9e3779b97f4a7c15) ^ GetCurrentProcessId();
        }
        SetLastError(last_error);
        made |= 1;
        known = atomic_compare_exchange_strong(&secret, &known, made) ? made : known;
    }
    return known;
}

const struct os *os_system(void)
{
    static struct os system = {
        .virtual_alloc = win32_virtual_alloc,
        .virtual_free = win32_virtual_free,
        .virtual_protect = win32_virtual_protect,
        .virtual_query = win32_virtual_query,
        .table_reserve = win32_table_reserve,
        .table_commit = win32_table_commit,
        .table_release = win32_table_release,
        .memory_load = win32_memory_load,
        .job_memory = win32_job_memory,
    };
    SYSTEM_INFO info;
    os_lock_find_functions();
    GetSystemInfo(&info);
    /* Several threads may write the same values at once. */
    system.page_size = info.dwPageSize;
    system.granularity = info.dwAllocationGranularity;
    system.max_address = (uintptr_t)info.lpMaximumApplicationAddress;
    return &system;
}
