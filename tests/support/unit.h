/* SPDX-License-Identifier: MIT
 *
 * What every unit test includes: CMocka behind the headers it wants first.
 */
#ifndef HOSTMEM_TESTS_UNIT_H
#define HOSTMEM_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/sizes.h"

/* A check of the code under test that returns NULL, or what is wrong. */
#define assert_sound(fault)                                                                        \
    do {                                                                                           \
        const char *fault_ = (fault);                                                              \
        if (fault_ != NULL) {                                                                      \
            fail_msg("%s", fault_);                                                                \
        }                                                                                          \
    } while (0)

/* The check finds exactly this wrong. */
#define assert_fault(fault, expected)                                                              \
    do {                                                                                           \
        const char *fault_ = (fault);                                                              \
        assert_string_equal(fault_ != NULL ? fault_ : "nothing is wrong", expected);               \
    } while (0)

#endif
