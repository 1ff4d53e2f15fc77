/* SPDX-License-Identifier: MIT
 *
 * See framework_judge.h.
 */
#include "support/framework_judge.h"

#include "support/framework_calls.h"

#include <stdarg.h>
#include <stdio.h>

bool judge(struct clr *clr, bool fair, int rule, const char *format, ...)
{
    if (!fair && InterlockedCompareExchange(&clr->judge.verdict, rule, 0) == 0) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(clr->judge.finding, sizeof(clr->judge.finding), format, arguments);
        va_end(arguments);
    }
    return fair;
}

bool is_broken(const struct clr *clr)
{
    return clr->judge.verdict != 0;
}

/* ---- results ---- */

static bool is_out_of_memory(DWORD error)
{
    return error == ERROR_NOT_ENOUGH_MEMORY || error == ERROR_OUTOFMEMORY ||
           error == ERROR_COMMITMENT_LIMIT || error == ERROR_NO_SYSTEM_RESOURCES;
}

bool judge_result(struct clr *clr, const char *call, HRESULT hr, DWORD error)
{
    if (hr == S_OK) {
        judge(clr, error == MARKER, RULE(14), "%s succeeded and made LastError %lu", call, error);
        return true;
    }
    judge(clr, FAILED(hr), RULE(1), "%s returned %#lx: no failure, and not S_OK", call, hr);
    judge(clr, error != MARKER && error != 0, RULE(14), "%s failed (%#lx) without LastError (%lu)",
          call, hr, error);
    /* E_FAIL says that the host can do no more; out of memory is out of memory. */
    judge(clr, hr != E_FAIL && (!is_out_of_memory(error) || hr == E_OUTOFMEMORY), PITFALL(33),
          "%s returned %#lx where LastError is %lu", call, hr, error);
    return false;
}

void judge_failure(struct clr *clr, const char *call, HRESULT hr, bool cleared, int if_refused)
{
    judge(clr, cleared, RULE(2), "%s failed and left its out-parameter as it was", call);
    if (if_refused != MAY_FAIL && if_refused != MUST_FAIL) {
        judge(clr, false, clr->stopped ? RULE(18) : if_refused, "%s was refused (%#lx)", call, hr);
    }
}

/* ---- virtual memory ---- */

static MEMORY_BASIC_INFORMATION ask_windows(const void *address)
{
    MEMORY_BASIC_INFORMATION info = {0};
    DWORD last_error = GetLastError();
    VirtualQuery(address, &info, sizeof(info));
    SetLastError(last_error);
    return info;
}

static char *round_down(const void *address, SIZE_T unit)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(unit - 1));
}

static SIZE_T pages_of(const char *address, SIZE_T size)
{
    uintptr_t last = (uintptr_t)address + (size > 0 ? size - 1 : 0);
    return (last / PAGE) - ((uintptr_t)address / PAGE) + 1;
}

static SIZE_T allocation_size(const char *base)
{
    SIZE_T size = 0;
    MEMORY_BASIC_INFORMATION info = ask_windows(base);
    while (info.AllocationBase == (void *)base && info.RegionSize > 0) {
        size += info.RegionSize;
        info = ask_windows(base + size);
    }
    return size;
}

/* Whether all pages of a range are in one state, and have one protection if they are committed. */
static bool all_pages(const char *address, SIZE_T size, DWORD state, DWORD protect)
{
    const char *at = round_down(address, PAGE);
    const char *end = at + pages_of(address, size) * PAGE;
    while (at < end) {
        MEMORY_BASIC_INFORMATION info = ask_windows(at);
        if (info.State != state || info.RegionSize == 0 ||
            (state == MEM_COMMIT && info.Protect != protect)) {
            return false;
        }
        at = (const char *)info.BaseAddress + info.RegionSize;
    }
    return true;
}

static void judge_reservation(struct clr *clr, const char *memory, SIZE_T size, DWORD type,
                              DWORD protect)
{
    MEMORY_BASIC_INFORMATION info = ask_windows(memory);
    judge(clr, info.AllocationBase == (void *)memory && (uintptr_t)memory % GRANULARITY == 0,
          RULE(4), "a reservation at %p is part of one at %p", (const void *)memory,
          info.AllocationBase);
    judge(clr, allocation_size(memory) == pages_of(memory, size) * PAGE, RULE(4),
          "a reservation of %zu bytes is one of %zu", (size_t)size,
          (size_t)allocation_size(memory));
    judge(clr, (type & MEM_COMMIT) != 0 || info.State == MEM_RESERVE, PITFALL(6),
          "a reservation has been committed");
    judge(clr, info.AllocationProtect == protect, PITFALL(32), "reserved with %#lx, not %#lx",
          info.AllocationProtect, protect);
    if ((type & MEM_WRITE_WATCH) != 0) {
        judge(clr, ResetWriteWatch((void *)memory, size) == 0, RULE(5),
              "MEM_WRITE_WATCH was dropped");
    }
}

void judge_memory(struct clr *clr, const char *memory, void *address, SIZE_T size, DWORD type,
                  DWORD protect)
{
    if (!judge(clr, memory != NULL && memory != POISON_POINTER, RULE(2),
               "VirtualAlloc succeeded with %p", (const void *)memory)) {
        return;
    }
    if (address != NULL) {
        /* In the right place, or nowhere: jumps are relative to it. */
        const char *wanted = round_down(address, (type & MEM_RESERVE) != 0 ? GRANULARITY : PAGE);
        judge(clr, memory == wanted, RULE(4), "wanted at %p, is at %p", (const void *)wanted,
              (const void *)memory);
    }
    if (address == NULL || (type & MEM_RESERVE) != 0) {
        judge_reservation(clr, memory, size, type, protect);
    }
    if ((type & MEM_COMMIT) != 0) {
        judge(clr, all_pages(address != NULL ? address : memory, size, MEM_COMMIT, protect),
              PITFALL(32), "pages at %p are not committed with %#lx", (const void *)memory,
              protect);
    }
}

struct fresh_pages remember_fresh_pages(void *address, SIZE_T size, DWORD type)
{
    struct fresh_pages fresh = {.base = round_down(address, PAGE), .pages = UINT64_MAX};
    if (address != NULL && (type & MEM_RESERVE) == 0) {
        for (SIZE_T i = 0; i < 64 && i < pages_of(address, size); i++) {
            if (ask_windows(fresh.base + i * PAGE).State == MEM_COMMIT) {
                fresh.pages &= ~((uint64_t)1 << i);
            }
        }
    }
    return fresh;
}

void judge_zero(struct clr *clr, struct fresh_pages fresh, const char *memory, SIZE_T size,
                DWORD type, DWORD protect)
{
    bool readable = protect == PAGE_READWRITE || protect == PAGE_EXECUTE_READWRITE;
    const char *base = fresh.base != NULL ? fresh.base : memory;
    if ((type & MEM_COMMIT) == 0 || !readable || is_broken(clr)) {
        return;
    }
    for (SIZE_T i = 0; i < 64 && i < pages_of(fresh.base, size); i++) {
        const uint64_t *words = (const uint64_t *)(const void *)(base + i * PAGE);
        for (SIZE_T word = 0; (fresh.pages >> i & 1) != 0 && word < PAGE / 8; word++) {
            if (!judge(clr, words[word] == 0, RULE(6), "a fresh page at %p is not zero",
                       (const void *)words)) {
                return;
            }
        }
    }
}

void judge_freed(struct clr *clr, char *address, SIZE_T size, DWORD type)
{
    if (type == MEM_DECOMMIT) {
        judge(clr, all_pages(address, size, MEM_RESERVE, 0), RULE(4),
              "decommitted pages at %p are still there", (void *)address);
    } else if (clr->parked == clr->running) {
        /* While threads run, one of them may have been given the place already. */
        judge(clr, ask_windows(address).AllocationBase != (void *)address, RULE(4),
              "the released region at %p is still there", (void *)address);
    }
}

void judge_commit(struct clr *clr)
{
    UINT64 counted = 0, system = 1;
    IHostMemoryStatistics_MeasureCommit(clr->statistics, &counted, &system);
    judge(clr, counted == system, RULE(9), "%llu bytes of commit were counted, there are %llu",
          (unsigned long long)counted, (unsigned long long)system);
}

/* ---- blocks ---- */

void judge_block(struct clr *clr, char *block, SIZE_T size)
{
    if (!judge(clr, block != POISON_POINTER, RULE(2), "Alloc succeeded and wrote nothing") ||
        !judge(clr, block != NULL, RULE(7), "a block of %zu bytes is NULL", (size_t)size)) {
        return;
    }
    judge(clr, (uintptr_t)block % MEMORY_ALLOCATION_ALIGNMENT == 0, RULE(7),
          "a block at %p is not aligned to %d", (void *)block, (int)MEMORY_ALLOCATION_ALIGNMENT);
    if (size > 0) { /* it can be written from end to end */
        block[0] = 1;
        block[size - 1] = 1;
    }
}

/* ---- exceptions ---- */

static struct clr *watched;

static LONG CALLBACK see_exception(EXCEPTION_POINTERS *pointers)
{
    if (this_thread()->inside == 0) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    judge(watched, false, RULE(13), "exception %#lx in a method of the host",
          pointers->ExceptionRecord->ExceptionCode);
    /* What was raised by hand can go on; nobody wants to know what a violation would do next. */
    return pointers->ExceptionRecord->ExceptionCode == EXCEPTION_ACCESS_VIOLATION
               ? EXCEPTION_CONTINUE_SEARCH
               : EXCEPTION_CONTINUE_EXECUTION;
}

void judge_exceptions(struct clr *clr)
{
    static bool installed;
    watched = clr;
    if (!installed) {
        installed = AddVectoredExceptionHandler(1, see_exception) != NULL;
    }
}
