/* SPDX-License-Identifier: MIT
 *
 * ICLRRuntimeHost::Start (2.4). Everything here is process critical, and none of it may fail: a CLR
 * whose start failed cannot be started again in this process. Much of it is done to memory that the
 * host never handed out: the CLR's own code, a section of others, the stack.
 *
 * Sizes are the CLR's: address space in pieces of 64 KiB, committed page by page.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

/* What stands for code and read-only data of clr.dll. Three instructions, so that 9 bytes are ours
 * to make writable. */
static void jit_patched_code(struct clr *clr)
{
    InterlockedExchangeAdd(&clr->rounds[0], 0);
}
static const volatile uintptr_t gs_cookie = 0x2bad1dea;

/* 1. Hundreds of small blocks: configuration, strings, tables of names. Sizes 0 and 1 occur. */
static void read_configuration(struct clr *clr)
{
    static const SIZE_T sizes[] = {0, 1, 0, 8, 24, 40, 100, 260, 520, 1024, 4096, 16 * 1024};
    void *blocks[ARRAYSIZE(sizes)];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAYSIZE(sizes); i++) {
            blocks[i] = ee_alloc(clr, sizes[i], RULE(7));
        }
        judge(clr, blocks[0] != blocks[2], RULE(7), "two blocks of size 0 are the same");
        for (size_t i = 0; i < ARRAYSIZE(sizes); i++) {
            ee_free(clr, blocks[i], RULE(7));
        }
        if (is_broken(clr)) {
            return;
        }
    }
    ee_free(clr, NULL, RULE(8)); /* rare, but it is passed on (2.2) */
}

/* 2. The JIT writes into its own helpers. */
static void unlock_patched_code(struct clr *clr)
{
    DWORD old = POISON_DWORD;
    char *code = (char *)(uintptr_t)jit_patched_code;
    if (ee_virtual_protect(clr, code, 9, PAGE_EXECUTE_READWRITE, &old, RULE(3))) {
        /* One variable supplies the new and takes the old value. */
        ee_virtual_protect(clr, code, 9, old, &old, RULE(3));
    }
}

/* 3. The cookie against buffer overruns lies in read-only data. Failure: Start fails. */
static void set_gs_cookie(struct clr *clr)
{
    uintptr_t *cookie = (uintptr_t *)(uintptr_t)&gs_cookie;
    DWORD old = POISON_DWORD;
    if (ee_virtual_protect(clr, cookie, sizeof(*cookie), PAGE_EXECUTE_READWRITE, &old, RULE(3))) {
        *cookie = (uintptr_t)GetTickCount64();
        ee_virtual_protect(clr, cookie, sizeof(*cookie), old, &old, RULE(3));
    }
}

/* 4. A section that another runtime in the process has made already. The CLR commits in the view,
 * and takes no other address for an answer. */
static void join_ipc_block(struct clr *clr)
{
    HANDLE section =
        CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)GRANULARITY, NULL);
    void *view = MapViewOfFile(section, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    if (judge(clr, view != NULL, CANNOT_PLAY, "no section (%lu)", GetLastError())) {
        ee_virtual_alloc(clr, view, 2048, MEM_COMMIT, PAGE_READWRITE, RULE(3));
        UnmapViewOfFile(view);
    }
    CloseHandle(section);
}

/* 5. Loader heaps of the system, shared and default domain: reserved without access, committed page
 * by page, some of it for code. */
static void make_loader_heaps(struct clr *clr)
{
    static const SIZE_T sizes[] = {12 * 64 * KIB, 4 * 64 * KIB, 10 * 64 * KIB};
    for (size_t i = 0; i < ARRAYSIZE(sizes) && !is_broken(clr); i++) {
        char *heap = ee_virtual_alloc(clr, NULL, sizes[i], MEM_RESERVE, PAGE_NOACCESS, RULE(10));
        if (heap == NULL) {
            return;
        }
        ee_virtual_alloc(clr, heap, PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(10));
        ee_virtual_alloc(clr, heap + PAGE, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(10));
        ee_virtual_alloc(clr, heap + 64 * KIB, PAGE, MEM_COMMIT, PAGE_EXECUTE_READWRITE, RULE(10));
        clr->loader_heap = heap;
    }
}

/* 6. Handle table segments: 64 KiB that must be aligned to 64 KiB. The header, 0x1c4 bytes here, is
 * committed by its size; then one page, then the rest. */
static void make_handle_table(struct clr *clr)
{
    char *segment = ee_virtual_alloc(clr, NULL, GRANULARITY, MEM_RESERVE, PAGE_READWRITE, RULE(10));
    if (segment != NULL) {
        ee_virtual_alloc(clr, segment, 0x1c4, MEM_COMMIT, PAGE_READWRITE, RULE(10));
        ee_virtual_alloc(clr, segment + PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE, RULE(10));
        ee_virtual_alloc(clr, segment + 2 * PAGE, GRANULARITY - 2 * PAGE, MEM_COMMIT,
                         PAGE_READWRITE, RULE(10));
        /* Blocks at the end that hold no handles go back (2.7). */
        ee_virtual_free(clr, segment + 8 * PAGE, 8 * PAGE, MEM_DECOMMIT, RULE(9));
    }
}

/* 7. Every thread looks at its stack: its bounds, then twice to find how much is committed, so the
 * host may not use much of it (rule 13). The pages themselves the CLR commits past the host (2.8). */
void clr_set_up_thread(struct clr *clr)
{
    MEMORY_BASIC_INFORMATION info, lowest;
    this_thread()->is_clr = true;
    ee_virtual_query(clr, &info, &info, sizeof(info));
    ee_virtual_query(clr, info.AllocationBase, &lowest, sizeof(lowest));
    ee_virtual_query(clr, (char *)info.BaseAddress - 1, &lowest, sizeof(lowest));
}

/* 8. Helpers are rewritten for this processor; 5 to 9 bytes, also across two pages. */
static void patch_jit_helpers(struct clr *clr)
{
    char *code = (char *)((uintptr_t)jit_patched_code & ~(uintptr_t)(PAGE - 1));
    for (SIZE_T size = 5; size <= 9 && !is_broken(clr); size++) {
        DWORD old = POISON_DWORD;
        if (ee_virtual_protect(clr, code + PAGE - 3, size, PAGE_EXECUTE_READWRITE, &old, RULE(3))) {
            ee_virtual_protect(clr, code + PAGE - 3, size, old, &old, RULE(3));
        }
    }
}

/* 9. Section 3.2 is a table of its own. */
static void start_collector(struct clr *clr)
{
    play(clr, gc_start_steps);
}

/* 10. mscorlib is mapped (2.6), the finalizer thread starts, and with that the CLR has started. */
static void finish_start(struct clr *clr)
{
    clr_start_finalizer(clr);
    ee_get_memory_load(clr);
    clr->started = true;
}

const struct step start_steps[] = {
    {"2.4.1", "configuration: many small blocks", read_configuration},
    {"2.4.2", "the JIT's code is made writable", unlock_patched_code},
    {"2.4.3", "the cookie in read-only data", set_gs_cookie},
    {"2.4.4", "commit in a view of others", join_ipc_block},
    {"2.4.5", "loader heaps", make_loader_heaps},
    {"2.4.6", "handle table", make_handle_table},
    {"2.4.7", "the starting thread's stack", clr_set_up_thread},
    {"2.4.8", "helpers are patched", patch_jit_helpers},
    {"2.4.9", "the collector starts", start_collector},
    {"2.4.10", "finalizer; started", finish_start},
    {NULL, NULL, NULL},
};
