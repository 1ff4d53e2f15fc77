/* SPDX-License-Identifier: MIT
 *
 * What tests can do to the seam of os_native.c.
 */
#ifndef HOSTMEM_TESTS_OS_NATIVE_H
#define HOSTMEM_TESTS_OS_NATIVE_H

#include "os/os.h"

/* Called by a thread that has found a lock taken, before it waits. So a test of one thread can hold a
 * lock, run into it, and do then what another thread would that has it. NULL: nothing. */
extern void (*os_native_waiting)(void);

#endif
