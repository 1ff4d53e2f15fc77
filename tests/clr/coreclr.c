/* SPDX-License-Identifier: MIT */
#include "clr/coreclr.h"
#include "contract/contract.h"

#include <stdio.h>
#include <string.h>

static char framework[MAX_PATH];
static char program[MAX_PATH];
static HMODULE module;
static void *runtime;
static unsigned domain;

typedef int(STDMETHODCALLTYPE *initialize_function)(const char *, const char *, int, const char **,
                                                    const char **, void **, unsigned *);
typedef int(STDMETHODCALLTYPE *execute_function)(void *, unsigned, int, const char **, const char *,
                                                 unsigned *);
typedef int(STDMETHODCALLTYPE *delegate_function)(void *, unsigned, const char *, const char *,
                                                  const char *, void **);

#define EXPORTED(type, name) ((type)(void (*)(void))GetProcAddress(module, name))

void coreclr_use(const char *framework_path, const char *program_path)
{
    /* The runtime wants no '/'. */
    GetFullPathNameA(framework_path, sizeof(framework), framework, NULL);
    GetFullPathNameA(program_path, sizeof(program), program, NULL);
}

HMODULE coreclr_load(void)
{
    char path[2 * MAX_PATH];
    snprintf(path, sizeof(path), "%s\\coreclr.dll", framework);
    module = LoadLibraryExA(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    return module;
}

int coreclr_start(void)
{
    static char list[256 * MAX_PATH];
    char pattern[2 * MAX_PATH];
    WIN32_FIND_DATAA found;
    size_t used = (size_t)snprintf(list, sizeof(list), "%s;", program);
    snprintf(pattern, sizeof(pattern), "%s\\*.dll", framework);
    HANDLE search = FindFirstFileA(pattern, &found);
    do {
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s\\%s;", framework,
                                 found.cFileName);
    } while (FindNextFileA(search, &found));
    FindClose(search);
    const char *name = "TRUSTED_PLATFORM_ASSEMBLIES", *value = list;
    return EXPORTED(initialize_function, "coreclr_initialize")(program, "test", 1, &name, &value,
                                                               &runtime, &domain);
}

unsigned coreclr_run_program(void)
{
    const char *arguments[] = {"one", "two", "three"};
    unsigned result = 0;
    assert_int_equal(EXPORTED(execute_function, "coreclr_execute_assembly")(
                         runtime, domain, 3, arguments, program, &result),
                     S_OK);
    return result;
}

void *coreclr_method(const char *type, const char *method)
{
    char assembly[MAX_PATH];
    void *function = NULL;
    snprintf(assembly, sizeof(assembly), "%s", strrchr(program, '\\') + 1);
    *strrchr(assembly, '.') = '\0';
    int hr = EXPORTED(delegate_function, "coreclr_create_delegate")(runtime, domain, assembly, type,
                                                                    method, &function);
    return hr == S_OK ? function : NULL;
}

int coreclr_test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count)
{
    if (argc != 4) {
        fprintf(stderr, "usage: test FRAMEWORK PROGRAM NAME\n");
        return 2;
    }
    coreclr_use(argv[1], argv[2]);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tests[i].name, argv[3]) == 0) {
            return _cmocka_run_group_tests(tests[i].name, &tests[i], 1, NULL, NULL);
        }
    }
    fprintf(stderr, "no test is called %s\n", argv[3]);
    return 2;
}
