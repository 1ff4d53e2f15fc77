/* SPDX-License-Identifier: MIT
 *
 * How full memory is and how much is left, for the runtime's collector. Memory can run out in three
 * places, and the one that will first is what counts:
 *
 *     load       the highest of the machine's, the job object's, the budget's; percent, at most 100
 *     available  the least of what each has left; bytes
 *
 * Of the budget that is what an ordinary request can get: the collector's end where the emergency
 * part begins, so there it is full. A budget of 64 MiB with 48 MiB charged, on a machine that is 40 % full with 9 GiB to go, is a load
 * of 75 and 16 MiB. Nothing available is a load of 100, whatever the percentages say: a collector
 * that sees no memory and no load either does not know what to do.
 */
#ifndef HOSTMEM_CORE_MEMORY_LOAD_H
#define HOSTMEM_CORE_MEMORY_LOAD_H

#include "core/limits/budget.h"
#include "os/os.h"

struct memory_load {
    uint32_t percent;
    uint64_t available; /* bytes */
};

/* A limit and how much of it is used, in bytes; `used` may be beyond `limit`. */
struct memory_bound {
    uint64_t limit; /* MEMORY_UNBOUNDED: there is none */
    uint64_t used;
};

#define MEMORY_UNBOUNDED UINT64_MAX

/* `load` as far as `bound` makes it no worse. */
struct memory_load memory_load_within(struct memory_load load, struct memory_bound bound);

/* Of the machine, the job this process is in, and the budget. Takes no lock and waits for nothing.
 * Fails as os->memory_load does, and has written nothing then. */
os_error memory_load_get(const struct os *os, const struct budget *budget,
                         struct memory_load *result);

#endif
