/* SPDX-License-Identifier: MIT
 *
 * What hostmem-run reads without the system's help: the headers of an executable, the versions and
 * settings in a runtimeconfig.json, and the names of the folders a runtime is looked for in. The
 * first byte chooses one; each answer is compared with a second, simpler reading.
 */
#include "input.h"
#include "shim.h"

#include "run/pe_file.h"

/* Its readers are static. */
#include "run/runtime_locator.c"

/* ---- the headers of an executable ---- */

static DWORD number_at(const uint8_t *bytes, size_t offset, size_t count)
{
    DWORD number = 0;
    for (size_t i = 0; i < count; i++) {
        number |= (DWORD)bytes[offset + i] << (8 * i);
    }
    return number;
}

/* By the offsets in the PE specification. The whole of the larger header must be in the file. */
static bool reads_as_pe(const uint8_t *bytes, size_t size, DWORD *machine, bool *managed)
{
    if (size < 64 || number_at(bytes, 0, 2) != 0x5A4D) {
        return false;
    }
    size_t headers = number_at(bytes, 60, 4);
    if (headers > INT32_MAX || headers > size || size - headers < 264 ||
        number_at(bytes, headers, 4) != 0x4550) {
        return false;
    }
    size_t directories = headers + 24 + (number_at(bytes, headers + 24, 2) == 0x10B ? 96 : 112);
    *machine = number_at(bytes, headers + 4, 2);
    *managed =
        number_at(bytes, directories - 4, 4) > 14 && number_at(bytes, directories + 14 * 8, 4) != 0;
    return true;
}

static void fuzz_pe_file(const uint8_t *bytes, size_t size)
{
    struct pe_file file = {.machine = 0xAAAA, .managed = 0x55};
    DWORD machine = 0xAAAA;
    bool managed = false;
    bool is_pe = reads_as_pe(bytes, size, &machine, &managed);
    REQUIRE(pe_file_read(L"file", &file) == is_pe);
    REQUIRE(file.machine == machine && file.managed == (is_pe ? managed : 0x55));
    REQUIRE(pe_machine_name(file.machine) != NULL);
}

/* ---- the choice of a runtime ---- */

#define MAX_FOLDERS 12

/* "3.1.7…" as numbers; false for what is no version. */
static bool reads_as_version(const WCHAR *text, unsigned numbers[3])
{
    int count = 0;
    memset(numbers, 0, 3 * sizeof(*numbers));
    for (; count < 3 && *text >= L'0' && *text <= L'9'; count++) {
        for (; *text >= L'0' && *text <= L'9'; text++) {
            numbers[count] = 10 * numbers[count] + (unsigned)(*text - L'0');
        }
        if (*text++ != L'.') {
            return count >= 1;
        }
    }
    return count >= 2;
}

/* The folder found has a version for a name, and none of its major.minor is higher; if the program
 * wants a major.minor that is there, it is of that; otherwise none is higher at all. */
static void check_found(const WCHAR *name, const WCHAR *const *names, size_t count)
{
    struct version wanted = {0};
    unsigned found[3], other[3];
    bool listed = false, is_there = false, wants = wanted_version(L"file", &wanted);
    REQUIRE(reads_as_version(name, found));
    for (size_t i = 0; i < count; i++) {
        listed = listed || names[i] == name || wcscmp(names[i], name) == 0;
        is_there = is_there || (wants && reads_as_version(names[i], other) &&
                                other[0] == wanted.major && other[1] == wanted.minor);
    }
    REQUIRE(listed);
    REQUIRE(!is_there || (found[0] == wanted.major && found[1] == wanted.minor));
    for (size_t i = 0; i < count; i++) {
        if (reads_as_version(names[i], other)) {
            bool like = other[0] == found[0] && other[1] == found[1];
            REQUIRE(!like || other[2] <= found[2]);
            REQUIRE(is_there || other[0] < found[0] ||
                    (other[0] == found[0] && other[1] <= found[1]));
        }
    }
}

/* Names of folders of at most nine characters, so that no number is too large, and without '?', which
 * is what does not exist; an empty line; the runtimeconfig.json. */
static void fuzz_choice(const uint8_t *bytes, size_t size)
{
    const WCHAR *names[MAX_FOLDERS];
    struct runtime_location location = {.runtime_config = shim_string(0)};
    size_t count = 0, at = 0;
    unsigned numbers[3], versions = 0;
    while (at < size && count < MAX_FOLDERS && bytes[at] != '\n') {
        WCHAR *name = shim_string(9);
        size_t length = 0;
        for (; at < size && bytes[at] != '\n'; at++) {
            bool starts = length == 0 || name[length - 1] == L'.';
            bool sign = bytes[at] == '+' || bytes[at] == '-'; /* scanf takes it for the number's */
            if (length < 9 && bytes[at] > ' ' && bytes[at] != '?' && !(starts && sign)) {
                name[length++] = bytes[at];
            }
        }
        name[length] = 0;
        versions += reads_as_version(name, numbers);
        names[count++] = name;
        at += at < size;
    }
    shim_set_folders(names, count);
    shim_set_file(bytes + at, size - at);
    REQUIRE(locate_in_root(L"root", &location) == (versions > 0 ? -1 : EXIT_CODE_USAGE));
    if (versions > 0) {
        check_found(location.version, names, count);
        REQUIRE(reads_as_version(location.version, numbers));
        REQUIRE(runtime_major_version(&location) == numbers[0]);
        REQUIRE(location.hostfxr != NULL);
    }
}

static void fuzz_settings(void)
{
    struct runtime_location location = {.runtime_config = shim_string(0)};
    struct version version;
    wanted_version(L"file", &version);
    runtime_config_has(&location, "System.GC.HeapHardLimit");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    shim_reset();
    shim_set_file(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
    case 2:
        fuzz_pe_file(data + 1, size - 1);
        break;
    case 1:
        fuzz_settings();
        break;
    default:
        fuzz_choice(data + 1, size - 1);
        break;
    }
    REQUIRE(shim_open_handles() == 0);
    return 0;
}
