/* SPDX-License-Identifier: MIT
 *
 * The files that hostmem-run reads without the system's help: the headers of an executable, and
 * what a runtimeconfig.json says of versions and settings. The first byte chooses one.
 */
#include "input.h"
#include "shim.h"

#include "run/pe_file.h"

/* Its readers are static. */
#include "run/runtime_locator.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct runtime_location location = {.runtime_config = shim_string(0)};
    struct version version;
    struct pe_file file;
    if (size == 0) {
        return 0;
    }
    shim_reset();
    shim_set_file(data + 1, size - 1);
    if (data[0] % 2 == 0) {
        if (pe_file_read(L"file", &file)) {
            REQUIRE(pe_machine_name(file.machine) != NULL);
            REQUIRE(file.managed == TRUE || file.managed == FALSE);
        }
    } else {
        wanted_version(L"file", &version);
        runtime_config_has(&location, "System.GC.HeapHardLimit");
    }
    return 0;
}
