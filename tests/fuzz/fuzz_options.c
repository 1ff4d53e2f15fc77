/* SPDX-License-Identifier: MIT
 *
 * The command line of hostmem-run: arguments apart by line ends, in UTF-16 code units of one or two
 * bytes (what is above 0x7F takes the next byte too). What is accepted fits together.
 */
#include "input.h"
#include "shim.h"

#include "run/options.h"
#include "run/text.h"

#define MAX_ARGUMENTS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    WCHAR *arguments[MAX_ARGUMENTS + 1];
    int count = 1;
    if (size > 4096) {
        return 0;
    }
    shim_reset();
    arguments[0] = shim_string(1);
    arguments[0][0] = 0;
    for (size_t at = 0; at < size && count < MAX_ARGUMENTS; at++) {
        WCHAR *argument = arguments[count++] = shim_string(size - at);
        for (; at < size && data[at] != '\n'; at++) {
            WCHAR unit = data[at];
            if (unit > 0x7F && at + 1 < size) {
                unit = unit << 8 | data[++at];
            }
            *argument++ = unit != 0 ? unit : L'0';
        }
        *argument = 0;
    }
    arguments[count] = NULL;
    struct options options;
    int result = options_parse(count, arguments, &options);
    REQUIRE(result == -1 || result == 0 || result == EXIT_CODE_USAGE);
    if (result == -1) {
        REQUIRE(options.program != NULL && options.runtime != NULL);
        REQUIRE(options.argument_count >= 0 && options.option_count >= 0);
        REQUIRE(options.argument_count + options.option_count + 2 == count);
        REQUIRE(options.emergency <= options.commit_limit);
        REQUIRE(options.faults.RateNumerator <= options.faults.RateDenominator);
        REQUIRE(options.faults.Size == 0 || options.faults.Levels != 0);
        REQUIRE((options.framework == NULL) == (options.entry == NULL));
    }
    return 0;
}
