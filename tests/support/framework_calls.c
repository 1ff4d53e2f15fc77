/* SPDX-License-Identifier: MIT
 *
 * See framework_calls.h. There is no switch of the GC mode around a call: the calling thread may hold
 * up a collection for as long as the host takes (2.2).
 */
#include "support/framework_calls.h"

#include "support/framework_judge.h"

struct clr_thread *this_thread(void)
{
    static _Thread_local struct clr_thread thread;
    return &thread;
}

/* 2.3: the same failure costs more or less, and the host is told which. */
EMemoryCriticalLevel critical_level(const struct clr *clr)
{
    const struct clr_thread *thread = this_thread();
    if (!clr->started) {
        return eProcessCritical; /* a start that fails is never tried again */
    }
    if (thread->locks > 0) {
        return thread->default_domain ? eProcessCritical : eAppDomainCritical;
    }
    return eTaskCritical; /* collector and finalizer, too */
}

static void enter(void)
{
    this_thread()->inside++;
    SetLastError(MARKER);
}

/* The first thing after the call: gives LastError. */
static DWORD leave(void)
{
    DWORD error = GetLastError();
    this_thread()->inside--;
    return error;
}

/* ---- whose memory ---- */

static void remember_region(struct clr *clr, char *base, SIZE_T size)
{
    AcquireSRWLockExclusive(&clr->regions_lock);
    for (size_t i = 0; i < MAX_REGIONS; i++) {
        if (clr->regions[i].base == NULL) {
            clr->regions[i] = (struct region){base, size};
            break;
        }
    }
    ReleaseSRWLockExclusive(&clr->regions_lock);
}

static void forget_region(struct clr *clr, const char *base)
{
    AcquireSRWLockExclusive(&clr->regions_lock);
    for (size_t i = 0; i < MAX_REGIONS; i++) {
        if (clr->regions[i].base == base) {
            clr->regions[i].base = NULL;
        }
    }
    ReleaseSRWLockExclusive(&clr->regions_lock);
}

static bool is_own(struct clr *clr, const char *address)
{
    bool own = false;
    AcquireSRWLockShared(&clr->regions_lock);
    for (size_t i = 0; i < MAX_REGIONS && !own; i++) {
        const struct region *region = &clr->regions[i];
        own = region->base != NULL && (uintptr_t)address - (uintptr_t)region->base < region->size;
    }
    ReleaseSRWLockShared(&clr->regions_lock);
    return own;
}

/* Rules 3 and 10 go before what the step says a refusal would break. */
static int refusal_rule(struct clr *clr, const void *address, int if_refused)
{
    if (if_refused == MAY_FAIL || if_refused == MUST_FAIL) {
        return if_refused;
    }
    if (address != NULL && !is_own(clr, address)) {
        return RULE(3);
    }
    return clr->started ? if_refused : RULE(10);
}

/* ---- virtual memory ---- */

void *ee_virtual_alloc(struct clr *clr, void *address, SIZE_T size, DWORD type, DWORD protect,
                       int if_refused)
{
    void *memory = POISON_POINTER; /* the CLR's local is not initialised either */
    struct fresh_pages fresh = remember_fresh_pages(address, size, type);
    EMemoryCriticalLevel level = critical_level(clr);
    enter();
    HRESULT hr =
        IHostMemoryManager_VirtualAlloc(clr->manager, address, size, type, protect, level, &memory);
    DWORD error = leave();
    if (!judge_result(clr, "VirtualAlloc", hr, error)) {
        int rule = (type & MEM_RESERVE) != 0 && if_refused > 0
                       ? (clr->started ? if_refused : RULE(10))
                       : refusal_rule(clr, address, if_refused);
        judge_failure(clr, "VirtualAlloc", hr, memory == NULL, rule);
        SetLastError(error);
        return NULL;
    }
    judge(clr, if_refused != MUST_FAIL, RULE(9), "VirtualAlloc granted %zu bytes it has not got",
          (size_t)size);
    judge_memory(clr, memory, address, size, type, protect);
    judge_zero(clr, fresh, memory, size, type, protect);
    if (is_broken(clr)) {
        return NULL; /* whatever it is, it must not be used */
    }
    if (address == NULL || (type & MEM_RESERVE) != 0) {
        remember_region(clr, memory, size);
    }
    return memory;
}

bool ee_virtual_free(struct clr *clr, void *address, SIZE_T size, DWORD type, int if_refused)
{
    enter();
    HRESULT hr = IHostMemoryManager_VirtualFree(clr->manager, address, size, type);
    DWORD error = leave();
    bool freed = judge_result(clr, "VirtualFree", hr, error);
    if (if_refused == MUST_FAIL) {
        judge(clr, hr == HOST_E_INVALIDOPERATION, PITFALL(4),
              "VirtualFree of the memory of others returned %#lx", hr);
        return freed;
    }
    if (!freed) {
        judge_failure(clr, "VirtualFree", hr, true, if_refused);
        return false;
    }
    judge_freed(clr, address, size, type);
    if (type == MEM_RELEASE) {
        forget_region(clr, address);
    }
    return true;
}

/* The one method where the CLR takes any success code (rule 1). */
SIZE_T ee_virtual_query(struct clr *clr, const void *address, MEMORY_BASIC_INFORMATION *info,
                        SIZE_T length)
{
    MEMORY_BASIC_INFORMATION before = {0}, after = {0};
    SIZE_T result = POISON_SIZE;
    SIZE_T truth = VirtualQuery(address, &before, length);
    ZeroMemory(info, sizeof(*info));
    enter();
    HRESULT hr =
        IHostMemoryManager_VirtualQuery(clr->manager, (void *)address, info, length, &result);
    DWORD error = leave();
    if (FAILED(hr)) {
        judge_result(clr, "VirtualQuery", hr, error);
        judge_failure(clr, "VirtualQuery", hr, result == 0, truth == 0 ? MAY_FAIL : RULE(3));
        return 0;
    }
    judge(clr, error == MARKER, RULE(14), "VirtualQuery succeeded and made LastError %lu", error);
    judge(clr, result != POISON_SIZE, RULE(2), "VirtualQuery did not write *pResult");
    VirtualQuery(address, &after, length);
    judge(clr,
          result == truth && (memcmp(info, &before, sizeof(before)) == 0 ||
                              memcmp(info, &after, sizeof(after)) == 0),
          RULE(3), "VirtualQuery of %p says something else than Windows", address);
    return result;
}

/* `old` is the CLR's variable: the same one often supplies `protect` of the next call (2.7). */
bool ee_virtual_protect(struct clr *clr, void *address, SIZE_T size, DWORD protect, DWORD *old,
                        int if_refused)
{
    MEMORY_BASIC_INFORMATION before = {0};
    DWORD kept = *old;
    VirtualQuery(address, &before, sizeof(before));
    enter();
    HRESULT hr = IHostMemoryManager_VirtualProtect(clr->manager, address, size, protect, old);
    DWORD error = leave();
    if (!judge_result(clr, "VirtualProtect", hr, error)) {
        judge(clr, *old == kept, PITFALL(20), "VirtualProtect failed and changed the old value");
        judge_failure(clr, "VirtualProtect", hr, true, refusal_rule(clr, address, if_refused));
        SetLastError(error);
        return false;
    }
    judge(clr, if_refused != MUST_FAIL, PITFALL(20), "VirtualProtect of no memory succeeded");
    judge(clr, *old != kept || before.Protect == kept, RULE(2),
          "VirtualProtect did not write the old protection");
    judge(clr, *old == before.Protect, PITFALL(20), "the old protection is %#lx, not %#lx",
          before.Protect, *old);
    return !is_broken(clr); /* or a wrong old value would be set */
}

/* ---- the heap ---- */

void *ee_alloc(struct clr *clr, SIZE_T size, int if_refused)
{
    void *block = POISON_POINTER;
    EMemoryCriticalLevel level = critical_level(clr);
    enter();
    HRESULT hr = IHostMalloc_Alloc(clr->heap, size, level, &block);
    DWORD error = leave();
    if (!judge_result(clr, "Alloc", hr, error)) {
        judge_failure(clr, "Alloc", hr, block == NULL,
                      size > 0 ? refusal_rule(clr, NULL, if_refused) : if_refused);
        return NULL;
    }
    judge(clr, if_refused != MUST_FAIL, RULE(9), "Alloc granted %zu bytes it has not got",
          (size_t)size);
    judge_block(clr, block, size);
    return is_broken(clr) ? NULL : block;
}

bool ee_free(struct clr *clr, void *block, int if_refused)
{
    enter();
    HRESULT hr = IHostMalloc_Free(clr->heap, block);
    DWORD error = leave();
    bool freed = hr == S_OK;
    if (block == NULL) { /* the CLR filters NULL in operator delete only */
        return judge(clr, freed, RULE(8), "Free(NULL) returned %#lx", hr);
    }
    judge_result(clr, "Free", hr, error);
    if (if_refused == MUST_FAIL) {
        judge(clr, hr == HOST_E_INVALIDOPERATION, PITFALL(15),
              "Free of a block of others returned %#lx", hr);
    } else if (!freed) {
        judge_failure(clr, "Free", hr, true, if_refused);
    }
    return freed;
}

/* ---- the rest ---- */

/* 2.10: the host's numbers replace those of GlobalMemoryStatusEx, if there are any. */
void ee_get_memory_load(struct clr *clr)
{
    DWORD load = POISON_DWORD;
    SIZE_T available = POISON_SIZE;
    enter();
    HRESULT hr = IHostMemoryManager_GetMemoryLoad(clr->manager, &load, &available);
    DWORD error = leave();
    if (!judge_result(clr, "GetMemoryLoad", hr, error)) {
        judge_failure(clr, "GetMemoryLoad", hr, load == 0 && available == 0, MAY_FAIL);
        return;
    }
    if (judge(clr, load != POISON_DWORD && available != POISON_SIZE, RULE(2),
              "GetMemoryLoad did not write its results")) {
        judge(clr, load <= 100 && (available > 0 || load >= 90), PITFALL(31),
              "a memory load of %lu %%, %zu bytes available", load, (size_t)available);
    }
}

/* 2.6: LastError is that of the mapping before, and is read after all three. */
bool ee_needs_address_space(struct clr *clr, void *address, SIZE_T size)
{
    enter();
    HRESULT hr = IHostMemoryManager_NeedsVirtualAddressSpace(clr->manager, address, size);
    DWORD error = leave();
    judge(clr, error == MARKER, RULE(14), "NeedsVirtualAddressSpace made LastError %lu", error);
    judge(clr, hr != E_FAIL, PITFALL(33), "NeedsVirtualAddressSpace returned E_FAIL");
    return SUCCEEDED(hr);
}

void ee_acquired_address_space(struct clr *clr, void *address, SIZE_T size)
{
    enter();
    IHostMemoryManager_AcquiredVirtualAddressSpace(clr->manager, address, size);
    DWORD error = leave();
    judge(clr, error == MARKER, RULE(14), "AcquiredVirtualAddressSpace made LastError %lu", error);
}

void ee_released_address_space(struct clr *clr, void *address)
{
    enter();
    IHostMemoryManager_ReleasedVirtualAddressSpace(clr->manager, address);
    DWORD error = leave();
    judge(clr, error == MARKER, RULE(14), "ReleasedVirtualAddressSpace made LastError %lu", error);
}

/* ---- SetHostControl ---- */

static ULONG references(IUnknown *object)
{
    IUnknown_AddRef(object);
    return IUnknown_Release(object);
}

HRESULT ee_get_host_manager(struct clr *clr, IHostControl *control, REFIID iid, void **result)
{
    *result = POISON_POINTER;
    HRESULT hr = IHostControl_GetHostManager(control, iid, result);
    judge(clr, *result != POISON_POINTER, RULE(2), "GetHostManager (%#lx) wrote nothing", hr);
    judge(clr, hr == S_OK || FAILED(hr), RULE(1), "GetHostManager returned %#lx", hr);
    judge(clr, (hr == S_OK) == (*result != NULL), RULE(2), "GetHostManager returned %#lx with %p",
          hr, *result);
    if (is_broken(clr)) {
        *result = NULL;
        return E_NOINTERFACE;
    }
    if (hr == S_OK) {
        /* The CLR keeps it for ever and never asks; so the judge does. A second answer must be one
         * reference more. */
        void *again = NULL;
        ULONG before = references(*result);
        IHostControl_GetHostManager(control, iid, &again);
        judge(clr, again == *result && references(again) == before + 1, RULE(17),
              "GetHostManager gives no reference of its own");
        if (!is_broken(clr)) {
            IUnknown_Release((IUnknown *)again);
        }
    }
    return hr;
}

/* The result goes straight into the variable that says whether there is a host heap. */
HRESULT ee_create_malloc(struct clr *clr, IHostMemoryManager *manager)
{
    clr->heap = POISON_POINTER;
    enter();
    HRESULT hr = IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &clr->heap);
    DWORD error = leave();
    if (!judge_result(clr, "CreateMalloc", hr, error)) {
        judge_failure(clr, "CreateMalloc", hr, clr->heap == NULL, RULE(10));
        clr->heap = NULL;
    } else if (!judge(clr, clr->heap != NULL && clr->heap != POISON_POINTER, RULE(2),
                      "CreateMalloc succeeded with %p", (void *)clr->heap)) {
        clr->heap = NULL;
    }
    return hr;
}

/* The CLR ignores what this returns. */
void ee_register_callback(struct clr *clr, IHostMemoryManager *manager)
{
    enter();
    HRESULT hr = IHostMemoryManager_RegisterMemoryNotificationCallback(manager, &clr->callback);
    DWORD error = leave();
    judge_result(clr, "RegisterMemoryNotificationCallback", hr, error);
}
