/* SPDX-License-Identifier: MIT
 *
 * The operations of support/heap_operations.h, chosen by the input. The first byte says whether calls
 * fail.
 */
#include "input.h"

#include "support/heap_operations.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_bytes = data;
    input_left = size;
    heap_operations_open(input_below, input_below(2) != 0);
    for (size_t i = 1; input_left > 0; i++) {
        heap_operate();
        if (i % 8 == 0) {
            heap_operations_check();
        }
    }
    heap_operations_close();
    return 0;
}
