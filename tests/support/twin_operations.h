/* SPDX-License-Identifier: MIT
 *
 * Operations, sensible and senseless, on a virtual memory over one fake OS, and the same calls raw
 * on its twin: error, result and every page must be the same, but for the frees of foreign memory,
 * which must not reach the OS.
 *
 * With failures, calls of the OS fail by chance, several in one operation if it so happens, by a plan
 * that has a rate for each kind of call. A failed operation is not made on the twin, so it must not
 * have changed anything, and after each of them the tables, the counts, the budget and both OSes are
 * compared. There is one way to lose memory: a reservation that finds no room in the tables, and that
 * the OS refuses to take back. It is HM_BROKEN, not counted, and foreign from then on.
 *
 * The limits of the budget change as well, also below what is in use. The twin has none, so what is
 * refused is not made on it, and must not fit by a second reckoning; what is granted must.
 *
 * What is done, and with what, is the caller's choice, number by number: random ones in a test, the
 * bytes of an input when fuzzing. What is not as it must be ends the program.
 */
#ifndef HOSTMEM_TESTS_TWIN_OPERATIONS_H
#define HOSTMEM_TESTS_TWIN_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number below `bound`. */
typedef size_t twin_chooser(size_t bound);

/* An address space from `lowest` to `max_address`, and a virtual memory on it. False: the plan lets
 * it have no tables, and there is nothing to close. */
bool twin_open(uintptr_t lowest, uintptr_t max_address, twin_chooser *choose, bool with_failures);

/* Other rates of failure. */
void twin_change_plan(void);

void twin_operate(void);

/* All figures of the manager, the OS and its twin. */
void twin_compare(void);

/* Releases what is left, and compares. */
void twin_close(void);

struct twin_totals {
    uint64_t operations;
    uint64_t failures; /* calls that were made to fail */
    uint64_t broken;   /* reservations that were lost */
};

/* Since the program began. */
struct twin_totals twin_totals(void);

#endif
