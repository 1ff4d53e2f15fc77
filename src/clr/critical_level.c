/* SPDX-License-Identifier: MIT */
#include "critical_level.h"
#include "os/os_lock.h"
#include "runtime_start.h"

#include <stdatomic.h>
#include <stdint.h>

#define SEGMENT_MINIMUM ((SIZE_T)16 << 20)

/* The collector's segments. One that finds no place here is taken for critical memory. Relaxed
 * everywhere: what is read decides the level of one request, and guards nothing. */
#define SEGMENT_CAPACITY 256
static struct {
    atomic_uintptr_t begin; /* 0: free */
    atomic_uintptr_t end;
} segments[SEGMENT_CAPACITY];
static atomic_int segments_used;     /* none from here on was ever in use */
static struct os_lock segments_lock; /* for writing; readers take none */

static uintptr_t load(const atomic_uintptr_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(atomic_uintptr_t *value, uintptr_t address)
{
    atomic_store_explicit(value, address, memory_order_relaxed);
}

static int used(void)
{
    return atomic_load_explicit(&segments_used, memory_order_relaxed);
}

static BOOL is_segment(SIZE_T size, DWORD type, DWORD protect)
{
    return (type & (MEM_RESERVE | MEM_COMMIT)) == MEM_RESERVE && protect == PAGE_READWRITE &&
           size >= SEGMENT_MINIMUM;
}

static BOOL in_segment(uintptr_t address)
{
    for (int i = 0; i < used(); i++) {
        uintptr_t begin = load(&segments[i].begin);
        if (begin && address >= begin && address < load(&segments[i].end)) {
            return TRUE;
        }
    }
    return FALSE;
}

EMemoryCriticalLevel critical_level_of_pages(const void *address, SIZE_T size, DWORD type,
                                             DWORD protect)
{
    if (!runtime_start_is_over()) {
        return eProcessCritical;
    }
    return is_segment(size, type, protect) || in_segment((uintptr_t)address) ? eTaskCritical
                                                                             : eAppDomainCritical;
}

EMemoryCriticalLevel critical_level_of_block(void)
{
    /* Asked at every block, so that the end of the start is noticed wherever it shows. */
    (void)runtime_start_is_over();
    return eProcessCritical;
}

static void drop_overlapping(uintptr_t begin, uintptr_t end)
{
    for (int i = 0; i < used(); i++) {
        if (load(&segments[i].begin) < end && load(&segments[i].end) > begin) {
            store(&segments[i].begin, 0);
        }
    }
}

void critical_level_put_back(const void *base, SIZE_T size)
{
    os_lock_acquire(&segments_lock);
    int place = 0;
    while (place < used() && load(&segments[place].begin)) {
        place++;
    }
    if (place < SEGMENT_CAPACITY) {
        store(&segments[place].end, (uintptr_t)base + size);
        store(&segments[place].begin, (uintptr_t)base);
        if (place == used()) {
            atomic_store_explicit(&segments_used, place + 1, memory_order_relaxed);
        }
    }
    os_lock_release(&segments_lock);
}

void critical_level_reserved(const void *base, SIZE_T size, DWORD type, DWORD protect)
{
    drop_overlapping((uintptr_t)base, (uintptr_t)base + size);
    if (is_segment(size, type, protect)) {
        critical_level_put_back(base, size);
    }
}

SIZE_T critical_level_release(const void *base)
{
    for (int i = 0; i < used(); i++) {
        uintptr_t begin = (uintptr_t)base, end = load(&segments[i].end);
        if (begin &&
            atomic_compare_exchange_strong_explicit(&segments[i].begin, &begin, 0,
                                                    memory_order_relaxed, memory_order_relaxed)) {
            return end - (uintptr_t)base;
        }
    }
    return 0;
}
