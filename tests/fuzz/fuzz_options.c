/* SPDX-License-Identifier: MIT
 *
 * The command line of hostmem-run: arguments apart by line ends, in UTF-16 code units of one or two
 * bytes (what is above 0x7F takes the next byte too).
 *
 * What is accepted fits together, and is accepted again with the same result when hostmem-run gives
 * its options to itself (start_limit.c). The commit limit is reckoned once more, with 128 bits. What
 * is refused is refused with a message, and what is accepted without one.
 */
#include "input.h"
#include "shim.h"

#include "run/options.h"
#include "run/text.h"

#include <string.h>

#define MAX_ARGUMENTS 32

static void check_accepted(int count, const struct options *options)
{
    REQUIRE(options->program != NULL && options->runtime != NULL);
    REQUIRE(options->argument_count >= 0 && options->option_count >= 0);
    REQUIRE(options->argument_count + options->option_count + 2 == count);
    REQUIRE(options->emergency <= options->commit_limit);
    REQUIRE(!options->overdraft || options->commit_limit > 0);
    REQUIRE(options->faults.RateNumerator <= options->faults.RateDenominator);
    REQUIRE(options->faults.Size == 0 || options->faults.Levels != 0);
    REQUIRE((options->framework == NULL) == (options->entry == NULL));
    REQUIRE(options->report_file == NULL || options->report != REPORT_NONE);
}

/* Digits and one unit, once more. False for what is none, or does not fit into 64 bits. */
static bool reckon(const WCHAR *text, UINT64 *bytes)
{
    const WCHAR *units = L"KkMmGg";
    unsigned __int128 number = 0;
    size_t digits = 0;
    for (; text[digits] >= L'0' && text[digits] <= L'9'; digits++) {
        number = 10 * number + (unsigned)(text[digits] - L'0');
        number = number >> 64 != 0 ? (unsigned __int128)1 << 64 : number; /* too large stays so */
    }
    const WCHAR *unit = text[digits] != 0 ? wcschr(units, text[digits]) : NULL;
    if (unit != NULL) {
        number <<= 10 * ((unit - units) / 2 + 1);
    }
    *bytes = (UINT64)number;
    return digits > 0 && (text[digits] == 0 || (unit != NULL && text[digits + 1] == 0)) &&
           number >> 64 == 0;
}

/* The last --commit-limit decides, and every one of them must be a size. */
static void check_commit_limit(const struct options *options)
{
    static const WCHAR name[] = L"--commit-limit";
    static const WCHAR *const alone[] = {L"--overdraft", L"--start-only", L"--framework"};
    const size_t length = sizeof(name) / sizeof(name[0]) - 1;
    UINT64 expected = 0;
    for (int i = 0; i < options->option_count; i++) {
        const WCHAR *option = options->option_list[i];
        if (wcsncmp(option, name, length) == 0 && option[length] == L'=') {
            REQUIRE(reckon(option + length + 1, &expected));
        } else if (wcscmp(option, name) == 0) {
            REQUIRE(++i < options->option_count && reckon(options->option_list[i], &expected));
        } else if (wcschr(option, L'=') == NULL) {
            size_t j = 0;
            while (j < 3 && wcscmp(option, alone[j]) != 0) {
                j++;
            }
            i += j == 3; /* the next one is its value */
        }
    }
    REQUIRE(options->commit_limit == expected);
}

static bool same(const WCHAR *a, const WCHAR *b)
{
    return a == NULL || b == NULL ? a == b : wcscmp(a, b) == 0;
}

static void check_again(const struct options *first)
{
    WCHAR *arguments[MAX_ARGUMENTS + 2];
    struct options again;
    int count = first->option_count;
    memset(&again, 0xAA, sizeof(again));
    arguments[0] = first->program;
    memcpy(arguments + 1, first->option_list, (size_t)count * sizeof(*arguments));
    arguments[++count] = first->program; /* a full path, so it is no option */
    arguments[++count] = NULL;
    REQUIRE(options_parse(count, arguments, &again) == -1);
    REQUIRE(same(again.program, first->program) && same(again.runtime, first->runtime));
    REQUIRE(same(again.framework, first->framework) && same(again.entry, first->entry));
    REQUIRE(again.gc == first->gc && again.start_only == first->start_only);
    REQUIRE(again.report == first->report && same(again.report_file, first->report_file));
    REQUIRE(again.commit_limit == first->commit_limit && again.emergency == first->emergency);
    REQUIRE(again.reserve_limit == first->reserve_limit && again.cushion == first->cushion);
    REQUIRE(again.overdraft == first->overdraft);
    REQUIRE(memcmp(&again.faults, &first->faults, sizeof(again.faults)) == 0);
}

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
    REQUIRE((result == EXIT_CODE_USAGE) == (shim_messages() == 1));
    if (result == -1) {
        check_accepted(count, &options);
        check_commit_limit(&options);
        check_again(&options);
    }
    return 0;
}
