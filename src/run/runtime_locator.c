/* SPDX-License-Identifier: MIT */
#include "runtime_locator.h"
#include "pe_file.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

struct version {
    unsigned major, minor, patch;
};

static BOOL parse_version(const WCHAR *text, struct version *version)
{
    *version = (struct version){0, 0, 0};
    return swscanf(text, L"%u.%u.%u", &version->major, &version->minor, &version->patch) >= 2;
}

static int compare(const struct version *a, const struct version *b)
{
    if (a->major != b->major) {
        return a->major < b->major ? -1 : 1;
    }
    if (a->minor != b->minor) {
        return a->minor < b->minor ? -1 : 1;
    }
    return a->patch < b->patch ? -1 : a->patch > b->patch;
}

/* The highest version among the folders in `parent` that contain `file`; with `like`, only of its
 * major.minor. By number: 3.10 is higher than 3.9. NULL if there is none. */
static WCHAR *highest_version(const WCHAR *parent, const WCHAR *file, const struct version *like)
{
    WIN32_FIND_DATAW found;
    HANDLE search = FindFirstFileW(text_format(L"%ls\\*", parent), &found);
    struct version best = {0, 0, 0};
    WCHAR *name = NULL;
    for (BOOL more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileW(search, &found)) {
        struct version version;
        if (!parse_version(found.cFileName, &version) ||
            (like && (version.major != like->major || version.minor != like->minor)) ||
            (name && compare(&version, &best) <= 0) ||
            !path_exists(text_format(L"%ls\\%ls\\%ls", parent, found.cFileName, file))) {
            continue;
        }
        best = version;
        name = text_format(L"%ls", found.cFileName);
    }
    if (search != INVALID_HANDLE_VALUE) {
        FindClose(search);
    }
    return name;
}

static char *read_file(const WCHAR *path)
{
    static char content[64 * 1024];
    DWORD size = 0;
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file != INVALID_HANDLE_VALUE) {
        ReadFile(file, content, sizeof(content) - 1, &size, NULL);
        CloseHandle(file);
    }
    content[size] = 0;
    return content;
}

/* The version in { "name": "Microsoft.NETCore.App", "version": "3.1.0" }, the members in any order.
 * hostfxr reads the file properly; this only decides which runtime it is to find. */
static BOOL wanted_version(const WCHAR *runtime_config, struct version *version)
{
    char *content = read_file(runtime_config);
    char *name = strstr(content, "\"Microsoft.NETCore.App\"");
    if (!name) {
        return FALSE;
    }
    char *object = name;
    while (object > content && *object != '{') {
        object--;
    }
    char *end = strchr(name, '}');
    char *value = strstr(object, "\"version\"");
    return value && end && value < end &&
           sscanf(value, "\"version\" : \"%u.%u.%u", &version->major, &version->minor,
                  &version->patch) >= 2;
}

static int check_runtime(const struct runtime_location *location)
{
    struct pe_file file;
    if (!pe_file_read(location->coreclr, &file)) {
        return text_fail(L"%ls is no executable file: the .NET installation is broken",
                         location->coreclr);
    }
    if (file.machine != pe_own_machine()) {
        return text_fail(L"%ls is for %ls, this hostmem-run for %ls: use the other one",
                         location->coreclr, pe_machine_name(file.machine),
                         pe_machine_name(pe_own_machine()));
    }
    return -1;
}

static int locate_in_root(const WCHAR *root, struct runtime_location *location)
{
    WCHAR *frameworks = text_format(L"%ls\\shared\\Microsoft.NETCore.App", root);
    struct version wanted;
    location->root = text_format(L"%ls", root);
    location->version = NULL;
    if (location->runtime_config && wanted_version(location->runtime_config, &wanted)) {
        location->version = highest_version(frameworks, L"coreclr.dll", &wanted);
    }
    if (!location->version) {
        location->version = highest_version(frameworks, L"coreclr.dll", NULL);
    }
    if (!location->version) {
        return text_fail(L"no .NET Core runtime in %ls: give --runtime the folder of dotnet.exe "
                         L"or of coreclr.dll",
                         root);
    }
    location->framework = text_format(L"%ls\\%ls", frameworks, location->version);

    WCHAR *resolvers = text_format(L"%ls\\host\\fxr", root);
    WCHAR *resolver = highest_version(resolvers, L"hostfxr.dll", NULL);
    if (resolver) {
        location->hostfxr = text_format(L"%ls\\%ls\\hostfxr.dll", resolvers, resolver);
    }
    return -1;
}

void runtime_of_executable(const WCHAR *program, struct runtime_location *location)
{
    WCHAR *runtime_config = path_with_extension(program, L".runtimeconfig.json");
    struct version version = {5, 0, 0};
    *location = (struct runtime_location){0};
    if (path_exists(runtime_config)) {
        location->runtime_config = runtime_config;
        wanted_version(runtime_config, &version);
    }
    location->version = text_format(L"%u.%u.%u", version.major, version.minor, version.patch);
}

int runtime_locate(const WCHAR *folder, const WCHAR *program, struct runtime_location *location)
{
    *location = (struct runtime_location){0};
    WCHAR *runtime_config = path_with_extension(program, L".runtimeconfig.json");
    location->runtime_config = path_exists(runtime_config) ? runtime_config : NULL;
    if (path_exists(text_format(L"%ls\\coreclr.dll", folder))) {
        location->framework = text_format(L"%ls", folder);
        location->version = path_name(location->framework);
    } else {
        int result = locate_in_root(folder, location);
        if (result >= 0) {
            return result;
        }
    }
    location->coreclr = text_format(L"%ls\\coreclr.dll", location->framework);
    return check_runtime(location);
}

BOOL runtime_config_has(const struct runtime_location *location, const char *name)
{
    return location->runtime_config &&
           strstr(read_file(location->runtime_config), text_utf8(text_format(L"\"%hs", name)));
}

unsigned runtime_major_version(const struct runtime_location *location)
{
    struct version version;
    return parse_version(location->version, &version) ? version.major : 0;
}
