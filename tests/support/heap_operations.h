/* SPDX-License-Identifier: MIT
 *
 * Operations, sensible and senseless, on two heaps, beside a list of the blocks that there should be:
 * no two overlap, all are aligned and keep what was written, what is no live block is refused, and
 * after every operation what the heaps know of themselves is true (heap_fixture.h).
 *
 * Shares are taken for a while as by threads that are suspended inside. The limit changes; what it
 * refuses would not have fitted. With failures, calls of the OS fail by chance, and what fails has
 * changed nothing.
 *
 * What is done is the caller's choice, number by number: random ones in a test, the bytes of an input
 * when fuzzing. What is not as it must be ends the program.
 */
#ifndef HOSTMEM_TESTS_HEAP_OPERATIONS_H
#define HOSTMEM_TESTS_HEAP_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>

/* A number below `bound`. */
typedef size_t heap_chooser(size_t bound);

void heap_operations_open(heap_chooser *choose, bool with_failures);
void heap_operate(void);
/* All figures of the heaps and the OS. */
void heap_operations_check(void);
/* Checks, and frees what is left or lets it go with its heap. */
void heap_operations_close(void);

#endif
