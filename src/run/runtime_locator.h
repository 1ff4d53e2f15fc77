/* SPDX-License-Identifier: MIT
 *
 * Which .NET Core runtime runs a program: found on disk before anything is loaded.
 */
#ifndef RUN_RUNTIME_LOCATOR_H
#define RUN_RUNTIME_LOCATOR_H

#include <windows.h>

struct runtime_location {
    WCHAR *framework;      /* the folder of coreclr.dll, full path */
    WCHAR *coreclr;        /* framework\coreclr.dll */
    const WCHAR *version;  /* as the folder is named */
    WCHAR *root;           /* the folder of dotnet.exe; NULL if a framework folder was given */
    WCHAR *hostfxr;        /* of root; NULL if it has none */
    WCHAR *runtime_config; /* beside the program; NULL if it has none */
};

/* folder   a dotnet root or a framework folder
 * program  full path
 *
 * In a root with several versions: the highest one of the major.minor that the program's
 * runtimeconfig.json names, or the highest of all. Returns -1, or the exit code after a message. */
int runtime_locate(const WCHAR *folder, const WCHAR *program, struct runtime_location *location);

/* What is known of the runtime of an executable before it runs: the runtimeconfig.json beside it, and
 * the version that this names. Without one they are inside the executable: 5.0 or later. */
void runtime_of_executable(const WCHAR *program, struct runtime_location *location);

/* Whether the program's runtimeconfig.json has a setting whose name begins with `name`. */
BOOL runtime_config_has(const struct runtime_location *location, const char *name);

/* The major version of the runtime; 0 if its folder is not named after it. */
unsigned runtime_major_version(const struct runtime_location *location);

#endif
