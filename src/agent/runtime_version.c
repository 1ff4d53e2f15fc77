/* SPDX-License-Identifier: MIT
 *
 * Three places know, none of them always. What a runtime exports for debuggers has it since 8.0,
 * also inside a single-file program, whose version resource is the program's. The resource of
 * coreclr.dll has it from 5.0 on. And an installed runtime lies in a folder of that name.
 *
 * Both numbers are those of files: 10.0.9 is 10.0.926, the patch and the year.
 */
#include "runtime_version.h"

#include <stdio.h>
#include <wchar.h>

struct runtime_info { /* the export DotNetRuntimeInfo */
    char signature[18];
    int version;
    BYTE modules[3][24];
    int runtime_version[4]; /* from version 2 on */
};

/* VS_VERSION_INFO: a header of three WORDs, the name with its zero, padding to 40 bytes. */
#define FIXED_FILE_INFO 40

static BOOL from_export(HMODULE runtime, int parts[3])
{
    const struct runtime_info *info =
        (const void *)(UINT_PTR)GetProcAddress(runtime, "DotNetRuntimeInfo");
    if (!info || info->version < 2) {
        return FALSE;
    }
    for (int i = 0; i < 3; i++) {
        parts[i] = info->runtime_version[i];
    }
    return TRUE;
}

static BOOL from_resource(HMODULE runtime, int parts[3])
{
    HRSRC found = FindResourceW(runtime, MAKEINTRESOURCEW(VS_VERSION_INFO), RT_VERSION);
    HGLOBAL loaded = found ? LoadResource(runtime, found) : NULL;
    const BYTE *resource = loaded ? LockResource(loaded) : NULL;
    if (!resource || SizeofResource(runtime, found) < FIXED_FILE_INFO + sizeof(VS_FIXEDFILEINFO)) {
        return FALSE;
    }
    const VS_FIXEDFILEINFO *info = (const void *)(resource + FIXED_FILE_INFO);
    parts[0] = HIWORD(info->dwFileVersionMS);
    parts[1] = LOWORD(info->dwFileVersionMS);
    parts[2] = HIWORD(info->dwFileVersionLS);
    return info->dwSignature == VS_FFI_SIGNATURE && parts[0] >= 5;
}

/* "…\3.1.2\coreclr.dll" */
static void from_path(const WCHAR *path, WCHAR *version, size_t capacity)
{
    const WCHAR *end = wcsrchr(path, L'\\'), *begin = end;
    while (begin > path && begin[-1] != L'\\') {
        begin--;
    }
    if (begin && *begin >= L'0' && *begin <= L'9') {
        _snwprintf(version, capacity - 1, L"%.*ls", (int)(end - begin), begin);
    }
}

void runtime_version(HMODULE runtime, const WCHAR *path, WCHAR *version, size_t capacity)
{
    int parts[3];
    version[0] = version[capacity - 1] = 0;
    if (from_export(runtime, parts) ||
        (runtime != GetModuleHandleW(NULL) && from_resource(runtime, parts))) {
        _snwprintf(version, capacity - 1, L"%d.%d.%d", parts[0], parts[1], parts[2] / 100);
    } else if (runtime != GetModuleHandleW(NULL)) {
        from_path(path, version, capacity);
    }
}
