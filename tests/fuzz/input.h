/* SPDX-License-Identifier: MIT
 *
 * An input as a row of choices: small numbers take one byte, larger ones two or eight, and when
 * there are no more bytes every number is 0.
 */
#ifndef HOSTMEM_FUZZ_INPUT_H
#define HOSTMEM_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* libFuzzer calls it */

static const uint8_t *input_bytes;
static size_t input_left;

static inline size_t input_below(size_t bound)
{
    size_t wanted = bound <= 256 ? 1 : bound <= 65536 ? 2 : sizeof(size_t);
    size_t number = 0;
    for (; wanted > 0 && input_left > 0; wanted--, input_left--) {
        number = number << 8 | *input_bytes++;
    }
    return number % bound;
}

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
