/* SPDX-License-Identifier: MIT
 *
 * VirtualAlloc and VirtualFree with a memory: the same arguments, results and errors as Win32, and
 * every byte known. The rules, each from what the CLR does with the calls:
 *
 *   reserve   One request is one OS reservation; no flag is added or removed. A commit without
 *             an address is a reserve and commit.
 *   budget    Taken before the OS is asked, given back when it refuses: budget.h, which has the counts.
 *   commit    Counts the pages of the rounded range that were not committed before. Committing
 *             again costs nothing. Addresses in no region of ours go to the OS uncounted.
 *   decommit  The same, backwards. Size 0 at the base means the whole region.
 *   release   Takes the region's remaining committed pages and its reservation off the count.
 *   reset     MEM_RESET and MEM_RESET_UNDO go to the OS; the pages stay committed.
 *             A reset of nowhere (address 0) reserves, as Windows has it; combined with anything else
 *             it is refused, as Windows documents it.
 *   free of anything that is not a region of ours: HM_FOREIGN, and the OS is not called. Arguments
 *             that Windows refuses of any region are refused before anything is touched.
 *   freed behind our back   Code in the process has released a region with its own VirtualFree. When
 *             the OS then refuses a call for that region, or when all are measured, VirtualQuery
 *             tells, and when it hands the addresses out again they cannot be ours any more: the
 *             region is dropped, refunded and counted, the caller gets what the OS said, and life
 *             goes on. Addresses that somebody else has reserved since, exactly there and as many,
 *             look like ours.
 *
 * Each operation prepares what can fail, calls the OS once, and then only does what cannot fail.
 * After any failure the table, the counts and the OS agree. At every quiet moment the committed
 * bytes equal the MEM_COMMIT pages that VirtualQuery finds in our regions.
 *
 * Any thread may call anything. A commit, decommit or release holds the lock of its one region over
 * the OS call; reserve and the queries hold none.
 */
#ifndef HOSTMEM_CORE_VIRTUAL_MEMORY_H
#define HOSTMEM_CORE_VIRTUAL_MEMORY_H

#include "core/limits/budget.h"
#include "core/pages/region_table.h"
#include "core/status.h"

struct virtual_memory {
    const struct os *os;
    struct table_memory table_memory;
    struct region_table regions;
    struct budget *budget;               /* the manager's: what may be there, and what is */
    _Atomic uint64_t freed_behind;       /* regions that others have released */
    _Atomic uint64_t freed_behind_bytes; /* of address space */
};

/* One region as a report shows it. Sizes in bytes. */
struct region_info {
    struct region_snapshot region;
    size_t committed;
};

/* `budget` must stay. OS_NOT_ENOUGH_MEMORY on failure. Regions still alive at destroy stay with the
 * process. */
os_error virtual_memory_create(struct virtual_memory *memory, const struct os *os,
                               struct budget *budget);
void virtual_memory_destroy(struct virtual_memory *memory);

/* Arguments and errors as VirtualAlloc; HM_OVER_COMMIT or HM_OVER_RESERVE when the budget does not
 * allow a request of this level; HM_BROKEN when a new reservation could neither be recorded nor be
 * given back. *result is written on success only. */
os_error virtual_memory_alloc(struct virtual_memory *memory, uintptr_t address, size_t size,
                              uint32_t type, uint32_t protect, enum budget_level level,
                              uintptr_t *result);

/* Arguments and errors as VirtualFree; HM_FOREIGN for an address in no region of ours, or a release
 * that does not name a region's base; HM_BROKEN when the OS refuses to release a region that it says
 * is intact, and in debug builds for the release of one whose page set is damaged. When the OS refuses,
 * the region is as it was, or gone if others have released it. */
os_error virtual_memory_free(struct virtual_memory *memory, uintptr_t address, size_t size,
                             uint32_t type);

/* The region with the lowest base at or above `address`. */
bool virtual_memory_next(struct virtual_memory *memory, uintptr_t address,
                         struct region_info *info);

/* Add up the committed bytes of every region, by our table and by the OS, each region at one moment
 * under its lock. One that others have released is dropped. */
void virtual_memory_measure(struct virtual_memory *memory, size_t *by_table, size_t *by_os);

/* At a quiet moment: NULL, or what is wrong with the tables. */
const char *virtual_memory_check(struct virtual_memory *memory);

#endif
