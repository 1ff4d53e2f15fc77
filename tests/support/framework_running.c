/* SPDX-License-Identifier: MIT
 *
 * While programs run: the threads (2.9), what the JIT and the loaders take (2.7), the critical levels
 * (2.3), and a budget that is used up (2.11).
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

/* ---- threads ---- */

/* A managed thread: blocks of all sizes, each freed by whoever comes next, and code in one code heap
 * that all share. It stops where a collection wants it to, between two calls. */
static void work_once(struct clr *clr, LONG round)
{
    SIZE_T size = (SIZE_T)(round * 37 % 600);
    void *block = ee_alloc(clr, size, RULE(7));
    void *other = InterlockedExchangePointer(&clr->slots[round % SLOTS], block);
    if (other != NULL) {
        ee_free(clr, other, RULE(7));
    }
    /* Not judged by what the memory looks like afterwards: others change it at the same time. */
    void *memory = POISON_POINTER;
    this_thread()->inside++;
    IHostMemoryManager_VirtualAlloc(clr->manager, clr->code.base, clr->code.size, MEM_COMMIT,
                                    PAGE_EXECUTE_READWRITE, critical_level(clr), &memory);
    judge(clr, memory == clr->code.base, clr->stopped ? RULE(18) : RULE(7),
          "a commit of several threads gave %p", memory);
    IHostMemoryManager_VirtualFree(clr->manager, clr->code.base, clr->code.size, MEM_DECOMMIT);
    this_thread()->inside--;
}

static DWORD WINAPI run_mutator(void *argument)
{
    struct clr *clr = argument;
    LONG number = InterlockedIncrement(&clr->running) - 1;
    clr_set_up_thread(clr);
    while (!clr->quit) {
        if (WaitForSingleObject(clr->resume, 0) != WAIT_OBJECT_0) {
            InterlockedIncrement(&clr->parked);
            WaitForSingleObject(clr->resume, INFINITE);
            InterlockedDecrement(&clr->parked);
        }
        work_once(clr, InterlockedIncrement(&clr->rounds[number]));
    }
    return 0;
}

static void start_threads(struct clr *clr)
{
    clr->code.size = 64 * KIB;
    clr->code.base =
        ee_virtual_alloc(clr, NULL, clr->code.size, MEM_RESERVE, PAGE_NOACCESS, RULE(10));
    clr->resume = CreateEventW(NULL, TRUE, TRUE, NULL);
    for (unsigned i = 0; i < MUTATORS && clr->code.base != NULL; i++) {
        clr->mutators[i] = CreateThread(NULL, 0, run_mutator, clr, 0, NULL);
    }
    for (unsigned i = 0; i < MUTATORS; i++) {
        while (clr->rounds[i] < 20 && !is_broken(clr)) {
            Sleep(1);
        }
    }
}

/* The EE is suspended: every managed thread has come to a point where it can be stopped. */
void clr_suspend(struct clr *clr)
{
    ResetEvent(clr->resume);
    while (clr->parked < MUTATORS) {
        Sleep(0);
    }
}

void clr_restart(struct clr *clr)
{
    SetEvent(clr->resume);
    while (clr->parked > 0) { /* or the next suspension would count them twice */
        Sleep(0);
    }
}

/* ---- threads that are stopped anywhere ---- */

struct question {
    struct clr *clr;
    HANDLE asked, answered;
    volatile LONG over;
};

static DWORD WINAPI ask_for_stacks(void *argument)
{
    struct question *question = argument;
    clr_set_up_thread(question->clr);
    while (WaitForSingleObject(question->asked, INFINITE) == WAIT_OBJECT_0 && !question->over) {
        MEMORY_BASIC_INFORMATION info;
        ee_virtual_query(question->clr, &info, &info, sizeof(info));
        SetEvent(question->answered);
    }
    return 0;
}

static void stop_and_query(struct question *question, unsigned number)
{
    struct clr *clr = question->clr;
    CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
    SuspendThread(clr->mutators[number]);
    GetThreadContext(clr->mutators[number], &context); /* now it has really stopped */
    SetEvent(question->asked);
    bool answered = WaitForSingleObject(question->answered, 3000) == WAIT_OBJECT_0;
    ResumeThread(clr->mutators[number]);
    if (!judge(clr, answered, RULE(12), "VirtualQuery waits for a thread that is stopped")) {
        WaitForSingleObject(question->answered, INFINITE);
    }
}

/* Walking the stack of a stopped thread asks where code and stack lie. The thread may have been in the
 * middle of a method of the host, with the lock that this takes (rule 12). */
static void query_past_stopped_threads(struct clr *clr)
{
    if (!framework_can_stop_threads()) {
        return;
    }
    struct question question = {.clr = clr,
                                .asked = CreateEventW(NULL, FALSE, TRUE, NULL),
                                .answered = CreateEventW(NULL, FALSE, FALSE, NULL)};
    HANDLE thread = CreateThread(NULL, 0, ask_for_stacks, &question, 0, NULL);
    WaitForSingleObject(question.answered, INFINITE);
    for (unsigned i = 0; i < 30 && !is_broken(clr); i++) {
        stop_and_query(&question, i % MUTATORS);
    }
    question.over = 1;
    SetEvent(question.asked);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
    CloseHandle(question.answered);
    CloseHandle(question.asked);
}

bool framework_can_stop_threads(void)
{
    return ON_X64 || GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") == NULL;
}

/* ---- levels ---- */

/* 2.3: a thread with a managed lock would leave others with a broken state. In the default domain
 * that costs the process, in another one the domain. */
static void allocate_with_locks(struct clr *clr)
{
    struct clr_thread *thread = this_thread();
    thread->locks = 1;
    for (int in_default = 0; in_default <= 1; in_default++) {
        thread->default_domain = in_default == 1;
        void *block = ee_alloc(clr, 100, RULE(7));
        if (block != NULL) {
            ee_free(clr, block, RULE(7));
        }
    }
    thread->locks = 0;
}

/* ---- 2.7: code and metadata ---- */

/* Jumps reach 2 GiB, so code must lie near the CLR: the address space is searched, and the block must
 * come where it was asked for, or not at all. At the end of the address space the search ends. */
static void search_for_code_heap(struct clr *clr)
{
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = ON_X64 ? 256 * KIB : 64 * KIB;
    uintptr_t at = ((uintptr_t)GetModuleHandleW(NULL) + GRANULARITY) & ~(uintptr_t)0xffff;
    ee_virtual_alloc(clr, clr->code.base, size, MEM_RESERVE, PAGE_NOACCESS, MAY_FAIL); /* taken */
    for (int i = 0; i < 10000 && !is_broken(clr); i++) {
        if (ee_virtual_query(clr, (void *)at, &info, sizeof(info)) != sizeof(info)) {
            break;
        }
        uintptr_t end = (uintptr_t)info.BaseAddress + info.RegionSize;
        if (info.State == MEM_FREE && end - at >= size) {
            char *heap =
                ee_virtual_alloc(clr, (void *)at, size, MEM_RESERVE, PAGE_NOACCESS, MAY_FAIL);
            if (heap != NULL) {
                ee_virtual_alloc(clr, heap, PAGE, MEM_COMMIT, PAGE_EXECUTE_READWRITE, RULE(10));
                ee_virtual_free(clr, heap, 0, MEM_RELEASE, RULE(9));
                break;
            }
        }
        at = (end + GRANULARITY - 1) & ~(uintptr_t)(GRANULARITY - 1);
    }
    ee_virtual_query(clr, (void *)UINTPTR_MAX, &info, sizeof(info)); /* nothing is there */
}

/* The JIT's working memory: MEM_COMMIT without an address is reserve and commit. */
static void compile(struct clr *clr)
{
    char *arena = ee_virtual_alloc(clr, NULL, GRANULARITY, MEM_COMMIT, PAGE_READWRITE, PITFALL(7));
    if (arena != NULL) {
        ee_virtual_free(clr, arena, 0, MEM_RELEASE, RULE(9));
    }
    /* Cache lines: one page at once. */
    char *lines =
        ee_virtual_alloc(clr, NULL, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, RULE(10));
    if (lines != NULL) {
        ee_virtual_free(clr, lines, 0, MEM_RELEASE, RULE(9));
    }
}

/* Dynamic methods: committed from both ends of a block. Stubs stay until the shutdown. */
static void make_dynamic_code(struct clr *clr)
{
    char *heap = ee_virtual_alloc(clr, NULL, GRANULARITY, MEM_RESERVE, PAGE_NOACCESS, RULE(10));
    if (heap != NULL) {
        ee_virtual_alloc(clr, heap, PAGE, MEM_COMMIT, PAGE_EXECUTE_READWRITE, RULE(10));
        ee_virtual_alloc(clr, heap + 15 * PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(10));
        ee_virtual_free(clr, heap, 0, MEM_RELEASE, RULE(9));
    }
    clr->stubs.size = GRANULARITY;
    clr->stubs.base =
        ee_virtual_alloc(clr, NULL, GRANULARITY, MEM_RESERVE, PAGE_NOACCESS, RULE(10));
}

/* The remoting thunks: from the top, executable at once, committed by the byte, so that neighbours
 * share pages: each page counts once (rule 9). */
static void make_remoting_thunks(struct clr *clr)
{
    char *table = ee_virtual_alloc(clr, NULL, ON_X64 ? 512 * KIB : 256 * KIB,
                                   MEM_RESERVE | MEM_TOP_DOWN, PAGE_EXECUTE_READWRITE, RULE(10));
    for (SIZE_T at = 0; table != NULL && at < 5 * PAGE && !is_broken(clr); at += 1500) {
        ee_virtual_alloc(clr, table + at, 1600, MEM_COMMIT, PAGE_EXECUTE_READWRITE, RULE(9));
    }
    if (table != NULL) {
        ee_virtual_free(clr, table, 0, MEM_RELEASE, RULE(9));
    }
}

/* Metadata: five pages, committed in part, decommitted as a whole, released. */
static void read_metadata(struct clr *clr)
{
    DWORD old = POISON_DWORD;
    char *file = ee_virtual_alloc(clr, NULL, 5 * PAGE, MEM_RESERVE, PAGE_NOACCESS, RULE(10));
    if (file != NULL &&
        ee_virtual_alloc(clr, file, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(10)) != NULL) {
        ee_virtual_protect(clr, file + 4 * PAGE, PAGE, PAGE_READONLY, &old, MUST_FAIL);
        ee_virtual_free(clr, file, 5 * PAGE, MEM_DECOMMIT, RULE(9));
        ee_virtual_free(clr, file, 0, MEM_RELEASE, RULE(9));
    }
}

/* 2.1: what was allocated before there was a host comes back to the host's heap. */
static void free_what_is_not_the_hosts(struct clr *clr)
{
    ee_free(clr, clr->early, MUST_FAIL);
    ee_virtual_free(clr, GetModuleHandleW(NULL), 0, MEM_RELEASE, MUST_FAIL);
}

const struct step running_steps[] = {
    {"2.9", "threads allocate and free each other's blocks", start_threads},
    {"2.9", "VirtualQuery while threads are stopped", query_past_stopped_threads},
    {"2.3", "allocations under locks", allocate_with_locks},
    {"2.7", "a code heap near the CLR", search_for_code_heap},
    {"2.7", "JIT memory, cache lines", compile},
    {"2.7", "dynamic code", make_dynamic_code},
    {"2.7", "remoting thunks", make_remoting_thunks},
    {"2.7", "metadata", read_metadata},
    {"2.1", "blocks of before, memory of others", free_what_is_not_the_hosts},
    {NULL, NULL, NULL},
};

/* ---- 2.11: a budget that is used up ---- */

static void set_limit(struct clr *clr, UINT64 bytes)
{
    const HOSTMEM_LIMITS limits = {
        .Size = sizeof(limits), .Flags = HOSTMEM_FLAG_OVERDRAFT, .CommitLimit = bytes};
    IHostMemoryLimits_SetLimits(clr->limits, &limits);
}

static void try_at_the_limit(struct clr *clr, char *region)
{
    /* Task critical: refused, and managed code sees an OutOfMemoryException. */
    ee_virtual_alloc(clr, region, 4 * MIB, MEM_COMMIT, PAGE_READWRITE, MUST_FAIL);
    ee_alloc(clr, 4 * MIB, MUST_FAIL);
    /* What is committed already costs nothing. */
    ee_virtual_alloc(clr, clr->initial.base, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(9));
    ee_virtual_alloc(clr, clr->initial.base + PAGE, PAGE, MEM_RESET, PAGE_READWRITE, PITFALL(8));
    /* Reserving costs nothing either, and 64-bit runtimes reserve hundreds of MiB. */
    char *segment = ee_virtual_alloc(clr, NULL, 16 * MIB, MEM_RESERVE, PAGE_READWRITE, RULE(9));
    if (segment != NULL) {
        ee_virtual_free(clr, segment, 0, MEM_RELEASE, RULE(9));
    }
    /* With a lock in the default domain it is process critical, and never refused (rule 10). */
    this_thread()->locks = 1;
    this_thread()->default_domain = true;
    ee_virtual_alloc(clr, region, 4 * MIB, MEM_COMMIT, PAGE_READWRITE, RULE(10));
    this_thread()->locks = 0;
}

/* The host has no more; it says so, the finalizer collects, and when there is room again the host
 * says that as well (looked for at the end: a Low stands for a second). */
static void use_up_budget(struct clr *clr)
{
    HOSTMEM_STATISTICS statistics = {.Size = sizeof(statistics)};
    LONG lows = clr->lows;
    char *region = ee_virtual_alloc(clr, NULL, 4 * MIB, MEM_RESERVE, PAGE_READWRITE, RULE(10));
    IHostRuntimeLifetime_RuntimeStarted(clr->lifetime);
    if (region == NULL) {
        return;
    }
    clr_suspend(clr);
    IHostMemoryStatistics_GetStatistics(clr->statistics, &statistics);
    set_limit(clr, statistics.ChargedCurrentBytes + 1 * MIB);
    try_at_the_limit(clr, region);
    for (int i = 0; i < 300 && clr->lows == lows && !is_broken(clr); i++) {
        Sleep(10);
    }
    judge(clr, clr->lows > lows, clr->notifying > 0 ? RULE(15) : RULE(16),
          clr->notifying > 0 ? "OnMemoryNotification waits for the host" : "Low was not sent");
    judge_commit(clr);
    set_limit(clr, 0);
    ee_virtual_free(clr, region, 0, MEM_RELEASE, RULE(9));
    clr_restart(clr);
}

const struct step budget_steps[] = {
    {"2.11", "a budget is used up", use_up_budget},
    {NULL, NULL, NULL},
};
