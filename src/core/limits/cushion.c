/* SPDX-License-Identifier: MIT
 *
 * See cushion.h. Each part is one atomic word: whoever exchanges its address for 0 has to release
 * it, and a part comes back by a compare-and-exchange of 0. Acquire and release there, because a
 * reservation goes from one thread to another with them; all else is numbers, and relaxed.
 */
#include "core/limits/cushion.h"

/* 0: there is no room at `address`; an address of 0 is anywhere. */
static uintptr_t reserve(const struct os *os, uintptr_t address, size_t size)
{
    uintptr_t base = 0;
    return os->virtual_alloc(os, address, size, OS_MEM_RESERVE | OS_MEM_TOP_DOWN, OS_PAGE_NOACCESS,
                             &base) == OS_OK
               ? base
               : 0;
}

static void release(const struct os *os, uintptr_t base)
{
    os->virtual_free(os, base, 0, OS_MEM_RELEASE);
}

static uintptr_t part_at(const struct cushion *cushion, size_t index)
{
    return atomic_load_explicit(&cushion->parts[index], memory_order_relaxed);
}

/* Reserve a part that is missing, where it was or else anywhere. */
static bool restore_part(struct cushion *cushion, size_t index)
{
    uintptr_t missing = 0;
    uintptr_t base = reserve(cushion->os, cushion->home[index], cushion->part_size);
    if (base == 0) {
        base = reserve(cushion->os, 0, cushion->part_size);
    }
    if (base == 0) {
        return false;
    }
    if (!atomic_compare_exchange_strong_explicit(&cushion->parts[index], &missing, base,
                                                 memory_order_release, memory_order_relaxed)) {
        release(cushion->os, base); /* another thread was faster */
    }
    return true;
}

/* Give up one part; the bytes that this made free. */
static size_t give_up_part(struct cushion *cushion, size_t index)
{
    uintptr_t base = atomic_exchange_explicit(&cushion->parts[index], 0, memory_order_acquire);
    if (base == 0 || cushion->os->virtual_free(cushion->os, base, 0, OS_MEM_RELEASE) != OS_OK) {
        return 0; /* an intact reservation cannot be refused; if it is, it is lost */
    }
    return cushion->part_size;
}

/* ---- create and destroy ---- */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

os_error cushion_create(struct cushion *cushion, const struct os *os, uint64_t size)
{
    *cushion = (struct cushion){.os = os};
    if (size == 0) {
        return OS_OK;
    }
    if (size > os->max_address) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    size_t bytes = round_up((size_t)size, os->granularity);
    cushion->part_size = round_up((bytes + CUSHION_PARTS - 1) / CUSHION_PARTS, os->granularity);
    cushion->part_count = (bytes + cushion->part_size - 1) / cushion->part_size;

    /* Find room for all of it in one piece, then take that in parts. */
    uintptr_t block = reserve(os, 0, cushion->part_count * cushion->part_size);
    if (block != 0) {
        release(os, block);
    }
    for (size_t i = 0; i < cushion->part_count; i++) {
        cushion->home[i] = block != 0 ? block + i * cushion->part_size : 0;
        if (!restore_part(cushion, i)) {
            cushion_destroy(cushion);
            return OS_NOT_ENOUGH_MEMORY;
        }
    }
    return OS_OK;
}

void cushion_destroy(struct cushion *cushion)
{
    for (size_t i = 0; i < cushion->part_count; i++) {
        give_up_part(cushion, i);
    }
}

/* ---- give up and restore ---- */

/* The first run of neighbours that has `size` bytes: [*first, *end). Else all parts. */
static void choose(const struct cushion *cushion, size_t size, size_t *first, size_t *end)
{
    size_t wanted = size / cushion->part_size + (size % cushion->part_size != 0);
    size_t start = 0;
    for (size_t i = 0; size != 0 && i < cushion->part_count; i++) {
        uintptr_t base = part_at(cushion, i);
        if (i > start && base != part_at(cushion, i - 1) + cushion->part_size) {
            start = i;
        }
        if (base == 0) {
            start = i + 1;
        } else if (i + 1 - start >= wanted) {
            *first = start;
            *end = i + 1;
            return;
        }
    }
    *first = 0;
    *end = cushion->part_count;
}

bool cushion_give_up(struct cushion *cushion, size_t size, uint64_t now)
{
    size_t first, end, given = 0;
    if (cushion->part_count == 0) {
        return false;
    }
    choose(cushion, size, &first, &end);
    for (size_t i = first; i < end; i++) {
        given += give_up_part(cushion, i);
    }
    if (given > 0) {
        atomic_store_explicit(&cushion->rest_until, now + CUSHION_REST_MS, memory_order_relaxed);
    }
    return given > 0;
}

void cushion_restore(struct cushion *cushion, uint64_t now)
{
    uint64_t rest_until = atomic_load_explicit(&cushion->rest_until, memory_order_relaxed);
    if (rest_until == 0 || now < rest_until) {
        return;
    }
    /* One attempt in each period, by the thread that begins the next one. */
    uint64_t next = now + CUSHION_REST_MS;
    if (!atomic_compare_exchange_strong_explicit(&cushion->rest_until, &rest_until, next,
                                                 memory_order_relaxed, memory_order_relaxed)) {
        return;
    }
    for (size_t i = 0; i < cushion->part_count; i++) {
        if (part_at(cushion, i) == 0 && !restore_part(cushion, i)) {
            return;
        }
        if (atomic_load_explicit(&cushion->rest_until, memory_order_relaxed) != next) {
            return; /* something was given up meanwhile: leave that alone */
        }
    }
    atomic_compare_exchange_strong_explicit(&cushion->rest_until, &next, 0, memory_order_relaxed,
                                            memory_order_relaxed);
}

size_t cushion_bytes(const struct cushion *cushion)
{
    size_t bytes = 0;
    for (size_t i = 0; i < cushion->part_count; i++) {
        bytes += part_at(cushion, i) != 0 ? cushion->part_size : 0;
    }
    return bytes;
}
