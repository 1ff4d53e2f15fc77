/* SPDX-License-Identifier: MIT
 *
 * The seam between hostmem and the operating system: the only way to memory, in one table of
 * functions. os_win32.c fills it with the Win32 calls; tests fill it with an address space of their
 * own, fail the n-th call, or hand out addresses at the edges.
 *
 * Everything speaks Win32: the flags are MEM_* and PAGE_* values, errors are Win32 error codes. The
 * constants below repeat the few values that portable code needs; os_win32.c checks them against
 * <windows.h>.
 *
 * Rules for all functions: result pointers are never NULL; any thread may call, no lock is taken
 * above the OS's own; on failure nothing has changed, results included.
 */
#ifndef HOSTMEM_OS_H
#define HOSTMEM_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A Win32 error code, OS_OK being success. */
typedef uint32_t os_error;

#define OS_OK ((os_error)0)
#define OS_NOT_ENOUGH_MEMORY ((os_error)8)
#define OS_INVALID_PARAMETER ((os_error)87)
#define OS_INVALID_ADDRESS ((os_error)487)
#define OS_NO_ACCESS ((os_error)998)

#define OS_MEM_COMMIT 0x00001000u
#define OS_MEM_RESERVE 0x00002000u
#define OS_MEM_DECOMMIT 0x00004000u
#define OS_MEM_RELEASE 0x00008000u
#define OS_MEM_FREE 0x00010000u
#define OS_MEM_MAPPED 0x00040000u
#define OS_MEM_RESET 0x00080000u
#define OS_MEM_TOP_DOWN 0x00100000u
#define OS_MEM_RESET_UNDO 0x01000000u
#define OS_PAGE_NOACCESS 0x01u
#define OS_PAGE_READWRITE 0x04u
#define OS_PAGE_EXECUTE_READWRITE 0x40u

/* One answer of virtual_query; laid out as MEMORY_BASIC_INFORMATION. */
struct os_memory_info {
    uintptr_t base;
    uintptr_t allocation_base;
    uint32_t allocation_protect;
#if UINTPTR_MAX > UINT32_MAX
    uint32_t partition;
#endif
    size_t size;
    uint32_t state;
    uint32_t protect;
    uint32_t type;
};

struct os {
    size_t page_size;      /* bytes, a power of two */
    size_t granularity;    /* bytes, a power of two: every reservation starts on one */
    uintptr_t max_address; /* the highest address a reservation can contain */

    /* The memory of the runtime: VirtualAlloc, VirtualFree, VirtualProtect, VirtualQuery. */
    os_error (*virtual_alloc)(const struct os *os, uintptr_t address, size_t size, uint32_t type,
                              uint32_t protect, uintptr_t *result);
    os_error (*virtual_free)(const struct os *os, uintptr_t address, size_t size, uint32_t type);
    os_error (*virtual_protect)(const struct os *os, uintptr_t address, size_t size,
                                uint32_t protect, uint32_t *old_protect);
    /* `buffer` receives a struct os_memory_info if `length` bytes suffice. */
    os_error (*virtual_query)(const struct os *os, uintptr_t address, void *buffer, size_t length,
                              size_t *written);

    /* Memory for the tables themselves: zeroed, real, never handed to the runtime.
     * reserve gives address space only; commit makes part of it usable; release takes all back. */
    void *(*table_reserve)(const struct os *os, size_t size);
    bool (*table_commit)(const struct os *os, void *address, size_t size);
    void (*table_release)(const struct os *os, void *address);

    /* GlobalMemoryStatusEx: percent of physical memory in use, bytes of it that are free. */
    os_error (*memory_load)(const struct os *os, uint32_t *load_percent, uint64_t *available);

    /* What the job object this process is in allows it, and how much of that is used, in bytes: of
     * its limits for the process and for the job, the one with less left. Of nested jobs it is the
     * innermost that is asked. False: there is none. */
    bool (*job_memory)(const struct os *os, uint64_t *limit, uint64_t *used);
};

/* The whole pages in `bytes`, without a division. */
static inline size_t os_pages(const struct os *os, size_t bytes)
{
    return bytes >> __builtin_ctzll(os->page_size);
}

/* A number of the calling thread, to spread threads over shares: neighbours where the system numbers
 * threads one after the other. */
unsigned os_thread_number(void);

/* Whether the process is ending, and all threads but this one are gone. */
bool os_process_is_ending(void);

/* A number that nobody outside of this process can know, and is the same until it ends. */
uint64_t os_secret(void);

/* The system this program runs on. */
const struct os *os_system(void);

#endif
