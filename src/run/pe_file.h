/* SPDX-License-Identifier: MIT
 *
 * What an executable file is, from its headers: enough to say what is wrong before a loader fails
 * with a number.
 */
#ifndef RUN_PE_FILE_H
#define RUN_PE_FILE_H

#include <windows.h>

struct pe_file {
    WORD machine; /* IMAGE_FILE_MACHINE_* */
    BOOL managed; /* has a CLR header */
    BOOL program; /* an .exe, no .dll */
};

/* Returns FALSE if the file cannot be read or is no PE file. */
BOOL pe_file_read(const WCHAR *path, struct pe_file *file);

/* "x64", "x86", "ARM64" or "another processor". */
const WCHAR *pe_machine_name(WORD machine);

/* The machine this program was built for. */
WORD pe_own_machine(void);

#endif
