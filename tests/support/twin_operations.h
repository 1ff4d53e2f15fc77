/* SPDX-License-Identifier: MIT
 *
 * Operations, sensible and senseless, on a virtual memory over one fake OS, and the same calls raw
 * on its twin: error, result and every page must be the same, but for the frees of foreign memory,
 * which must not reach the OS. Calls can be made to fail on the way; a failed operation is not made
 * on the twin, so it must not have changed anything. What is not as it must be ends the program.
 *
 * What is done, and with what, is the caller's choice, number by number: random ones in a test, the
 * bytes of an input when fuzzing.
 */
#ifndef HOSTMEM_TESTS_TWIN_OPERATIONS_H
#define HOSTMEM_TESTS_TWIN_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number below `bound`. */
typedef size_t twin_chooser(size_t bound);

/* An address space from `lowest` to `max_address`, empty. */
void twin_open(uintptr_t lowest, uintptr_t max_address, twin_chooser *chooser);

/* One operation; with `inject` a call in about every third fails. */
void twin_operate(bool inject);

/* All figures of the manager, the OS and its twin. */
void twin_compare(void);

/* Releases what is left, and compares. */
void twin_close(void);

/* Operations so far, of all address spaces, that failed because a call was made to. */
size_t twin_failures(void);

#endif
