/* SPDX-License-Identifier: MIT
 *
 * The seam on the system the tests are built on, for the tests with threads: mmap, mprotect, munmap,
 * and a spin lock of one word. There is no lock and no table in it, so that a thread sanitizer sees
 * no order but the one that the code under test makes.
 *
 * munmap wants a size: a hidden page before every reservation keeps it.
 */
#include "support/os_native.h"

#include "os/os_lock.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PAGE_BYTES ((size_t)4096)
#define GRANULARITY ((size_t)65536)

struct header {
    void *mapping;
    size_t mapping_size;
};

static struct header *header_of(uintptr_t base)
{
    return (struct header *)(base - PAGE_BYTES);
}

static uintptr_t page_begin(uintptr_t address)
{
    return address & ~(PAGE_BYTES - 1);
}

static uintptr_t page_end(uintptr_t address)
{
    return page_begin(address + PAGE_BYTES - 1);
}

/* A reservation of whole pages at a multiple of the granularity; 0 when there is none. */
static uintptr_t map(size_t size)
{
    size_t mapping_size = PAGE_BYTES + GRANULARITY + size;
    if (mapping_size < size) {
        return 0;
    }
    void *mapping =
        mmap(NULL, mapping_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) {
        return 0;
    }
    uintptr_t base = ((uintptr_t)mapping + PAGE_BYTES + GRANULARITY - 1) & ~(GRANULARITY - 1);
    if (mprotect(header_of(base), PAGE_BYTES, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapping, mapping_size);
        return 0;
    }
    *header_of(base) = (struct header){mapping, mapping_size};
    return base;
}

static void unmap(uintptr_t base)
{
    struct header header = *header_of(base);
    munmap(header.mapping, header.mapping_size);
}

static os_error native_virtual_alloc(const struct os *os, uintptr_t address, size_t size,
                                     uint32_t type, uint32_t protect, uintptr_t *result)
{
    (void)os;
    (void)protect;
    if (size == 0 || (type & (OS_MEM_RESERVE | OS_MEM_COMMIT)) == 0 ||
        ((type & OS_MEM_RESERVE) != 0 && address != 0)) {
        return OS_INVALID_PARAMETER; /* the tests reserve where the system wants it */
    }
    uintptr_t base = page_begin(address);
    if (address == 0) {
        base = map(page_end(size));
        if (base == 0) {
            return OS_NOT_ENOUGH_MEMORY;
        }
        address = base;
    }
    if ((type & OS_MEM_COMMIT) != 0 &&
        mprotect((void *)base, page_end(address + size) - base, PROT_READ | PROT_WRITE) != 0) {
        if ((type & OS_MEM_RESERVE) != 0) {
            unmap(base);
        }
        return OS_INVALID_ADDRESS;
    }
    *result = base;
    return OS_OK;
}

static os_error native_virtual_free(const struct os *os, uintptr_t address, size_t size,
                                    uint32_t type)
{
    (void)os;
    uintptr_t base = page_begin(address);
    if (type == OS_MEM_RELEASE && size == 0) {
        unmap(base);
        return OS_OK;
    }
    if (type != OS_MEM_DECOMMIT || size == 0) {
        return OS_INVALID_PARAMETER;
    }
    size = page_end(address + size) - base;
    return madvise((void *)base, size, MADV_DONTNEED) == 0 &&
                   mprotect((void *)base, size, PROT_NONE) == 0
               ? OS_OK
               : OS_INVALID_ADDRESS;
}

/* The tests ask about the first page of a reservation that is there. */
static os_error native_virtual_query(const struct os *os, uintptr_t address, void *buffer,
                                     size_t length, size_t *written)
{
    struct os_memory_info *info = buffer;
    (void)os;
    if (length < sizeof(*info) || header_of(address)->mapping_size == 0) {
        return OS_INVALID_PARAMETER;
    }
    *info = (struct os_memory_info){.base = address,
                                    .allocation_base = address,
                                    .size = PAGE_BYTES,
                                    .state = OS_MEM_COMMIT,
                                    .protect = OS_PAGE_READWRITE};
    *written = sizeof(*info);
    return OS_OK;
}

static void *native_table_reserve(const struct os *os, size_t size)
{
    (void)os;
    return (void *)map(page_end(size));
}

static bool native_table_commit(const struct os *os, void *address, size_t size)
{
    (void)os;
    return mprotect(address, size, PROT_READ | PROT_WRITE) == 0;
}

static void native_table_release(const struct os *os, void *address)
{
    (void)os;
    unmap((uintptr_t)address);
}

/* ---- the lock ---- */

void (*os_native_waiting)(void);

void os_lock_wait(struct os_lock *lock)
{
    if (os_native_waiting != NULL) {
        os_native_waiting();
    }
    /* Acquire: pairs with the release in os_lock_release. */
    while (atomic_exchange_explicit(&lock->word, 1, memory_order_acquire) != 0) {
        sched_yield();
    }
}

void os_lock_wake(struct os_lock *lock)
{
    (void)lock; /* nobody sleeps */
}

unsigned os_thread_number(void)
{
    static atomic_uint threads;
    static _Thread_local unsigned number;
    if (number == 0) {
        number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    }
    return number;
}

uint64_t os_secret(void)
{
    return UINT64_C(0x5ec2e7a1b09d4f63);
}

/* What the tests with threads do not use is not there: protect, the memory load. */
const struct os *os_system(void)
{
    static const struct os system = {
        .page_size = PAGE_BYTES,
        .granularity = GRANULARITY,
#if UINTPTR_MAX > UINT32_MAX
        .max_address = ((uintptr_t)1 << 47) - 1,
#else
        .max_address = UINTPTR_MAX,
#endif
        .virtual_alloc = native_virtual_alloc,
        .virtual_free = native_virtual_free,
        .virtual_query = native_virtual_query,
        .table_reserve = native_table_reserve,
        .table_commit = native_table_commit,
        .table_release = native_table_release,
    };
    return &system;
}
