/* SPDX-License-Identifier: MIT
 *
 * The operations of support/twin_operations.h, chosen by the input: everything must be as on the
 * fake OS alone. The first byte says whether calls fail. The address space is the last GiB below
 * 4 GiB and a little of the one before: a root of four entries keeps an input at a millisecond.
 */
#include "input.h"

#include "support/sizes.h"
#include "support/twin_operations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_bytes = data;
    input_left = size;
    bool with_failures = input_below(2) != 0;
    if (!twin_open(3 * GIB - MIB, 0xFFFEFFFFu, input_below, with_failures)) {
        return 0;
    }
    for (size_t i = 1; input_left > 0; i++) {
        twin_operate();
        if (i % 8 == 0) {
            twin_compare();
        }
    }
    twin_close();
    return 0;
}
