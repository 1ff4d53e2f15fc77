/* SPDX-License-Identifier: MIT
 *
 * HOSTMEM_BIND_CRT_HEAP: this program passes for a runtime by an export, is bound, and calls malloc
 * and its kind through its own import slots from then on, as everything in it does, CMocka too.
 * Blocks from before and blocks of the C runtime itself cross the border in both directions.
 *
 * Built a second time with USES_EXPAND: a module that imports _expand keeps the C runtime's heap.
 */
#include "contract/contract.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* What makes a runtime of us; it says nothing about a start. */
__declspec(dllexport) struct {
    DWORD size;
} g_CLREngineMetrics = {0};

static IHostMemoryManager *manager;
static void *block_from_before;

static UINT64 blocks(void)
{
    return statistics_of(manager).HeapCurrentBlocks;
}

static HOSTMEM_FUNCTION_STATE state_of(const char *name)
{
    HOSTMEM_FUNCTION functions[128];
    UINT32 count;
    assert_int_equal(HostMemGetFunctions(0, 128, functions, &count), S_OK);
    for (UINT32 i = 0; i < count; i++) {
        if (strcmp(functions[i].Name, name) == 0) {
            return functions[i].State;
        }
    }
    fail_msg("%s is no function that was met", name);
    return HOSTMEM_FUNCTION_UNKNOWN;
}

static int bind_this_program(void **state)
{
    (void)state;
    block_from_before = malloc(100);
    manager = create_manager();
    if (VirtualAlloc(NULL, 0, MEM_RESERVE, PAGE_NOACCESS)) { /* an import every runtime has */
        return -1;
    }
    const HOSTMEM_BIND_OPTIONS options = {.Size = sizeof(options), .Flags = HOSTMEM_BIND_CRT_HEAP};
    assert_int_equal(HostMemBindRuntime(manager, GetModuleHandleW(NULL), &options), S_OK);
    return 0;
}

#ifdef USES_EXPAND

static void a_module_with_a_function_unknown_here_keeps_its_heap(void **state)
{
    UINT64 before = blocks();
    (void)state;
    assert_int_equal(state_of("malloc"), HOSTMEM_FUNCTION_PASSED_ON);
    assert_int_equal(state_of("HeapAlloc"), HOSTMEM_FUNCTION_BOUND);
    char *block = malloc(100);
    assert_int_equal(blocks(), before);
    assert_non_null(_expand(block, 50));
    free(block);
}

static BOOL imports_heap_alloc(void)
{
    return HeapFree(GetProcessHeap(), 0, HeapAlloc(GetProcessHeap(), 0, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_module_with_a_function_unknown_here_keeps_its_heap),
    };
    return imports_heap_alloc() ? cmocka_run_group_tests(tests, bind_this_program, NULL) : 1;
}

#else

static void blocks_come_from_the_manager_and_go_there(void **state)
{
    UINT64 before = blocks();
    (void)state;
    assert_int_equal(state_of("malloc"), HOSTMEM_FUNCTION_BOUND);
    void *block = malloc(100), *nothing = malloc(0);
    assert_non_null(block);
    assert_non_null(nothing);
    assert_int_equal(blocks(), before + 2);
    assert_int_equal(_msize(block), 100);
    free(block);
    free(nothing);
    free(NULL);
    assert_int_equal(blocks(), before);
}

static void calloc_clears_and_does_not_wrap_around(void **state)
{
    static const char zeros[1000];
    (void)state;
    for (int round = 0; round < 3; round++) { /* a block that was in use before */
        char *block = calloc(10, 100);
        assert_memory_equal(block, zeros, sizeof(zeros));
        memset(block, 0x77, sizeof(zeros));
        free(block);
    }
    volatile size_t huge = SIZE_MAX / 2 + 2;
    assert_null(calloc(huge, 2));
    assert_null(malloc(huge));
}

/* The compiler knows that a block is not to be used after a realloc, not that one may fail. */
static void *(*volatile resize)(void *, size_t) = realloc;

static void realloc_keeps_the_bytes(void **state)
{
    UINT64 before = blocks();
    (void)state;
    char *block = resize(NULL, 10);
    memcpy(block, "123456789", 10);
    block = resize(block, 100000);
    assert_string_equal(block, "123456789");
    volatile size_t huge = SIZE_MAX / 2;
    assert_null(resize(block, huge));
    assert_string_equal(block, "123456789");
    block = resize(block, 4);
    assert_memory_equal(block, "1234", 4);
    assert_int_equal(_msize(block), 4);
    assert_int_equal(blocks(), before + 1);
    assert_null(resize(block, 0));
    assert_int_equal(blocks(), before);
}

static void aligned_blocks_are_aligned(void **state)
{
    UINT64 before = blocks();
    (void)state;
    for (size_t alignment = 1; alignment <= 65536; alignment *= 2) {
        char *block = _aligned_malloc(100, alignment);
        assert_int_equal((uintptr_t)block % alignment, 0);
        memset(block, 0x77, 100);
        assert_int_equal(blocks(), before + 1);
        _aligned_free(block);
        assert_int_equal(blocks(), before);
    }
    volatile size_t huge = SIZE_MAX - 100;
    assert_null(_aligned_malloc(huge, 64));
    _aligned_free(NULL);
}

/* What the C runtime has allocated, before the binding or by itself, goes back to it. */
static void blocks_of_the_c_runtime_go_back_there(void **state)
{
    __typeof__(&_aligned_malloc) others_aligned_malloc = (__typeof__(&_aligned_malloc))(void (*)(
        void))GetProcAddress(GetModuleHandleW(L"msvcrt.dll"), "_aligned_malloc");
    UINT64 before = blocks();
    (void)state;
    char *copy = _strdup("allocated by the C runtime");
    assert_int_equal(blocks(), before);
    assert_int_equal(_msize(copy) >= 27, 1);
    copy = realloc(copy, 10000);
    assert_string_equal(copy, "allocated by the C runtime");
    free(copy);
    free(block_from_before);
    _aligned_free(others_aligned_malloc(100, 64));
    assert_int_equal(blocks(), before);
}

/* The other direction: what leaves comes back. qsort calls back with our blocks and keeps none. */
static int compare(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static void blocks_that_others_only_use_come_back(void **state)
{
    UINT64 before = blocks();
    (void)state;
    char *text = malloc(6);
    memcpy(text, "hedcb", 6);
    qsort(text, 5, 1, compare);
    assert_string_equal(text, "bcdeh");
    free(text);
    assert_int_equal(blocks(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_from_the_manager_and_go_there),
        cmocka_unit_test(calloc_clears_and_does_not_wrap_around),
        cmocka_unit_test(realloc_keeps_the_bytes),
        cmocka_unit_test(aligned_blocks_are_aligned),
        cmocka_unit_test(blocks_of_the_c_runtime_go_back_there),
        cmocka_unit_test(blocks_that_others_only_use_come_back),
    };
    return cmocka_run_group_tests(tests, bind_this_program, NULL);
}

#endif
