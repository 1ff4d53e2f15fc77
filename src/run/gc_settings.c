/* SPDX-License-Identifier: MIT */
#include "gc_settings.h"
#include "text.h"

#include <stdint.h>

static BOOL hard_limit_is_ours;

/* Every name has two forms, the second one since .NET 6. */
static BOOL is_set(const WCHAR *name)
{
    return GetEnvironmentVariableW(text_format(L"COMPlus_%ls", name), NULL, 0) != 0 ||
           GetEnvironmentVariableW(text_format(L"DOTNET_%ls", name), NULL, 0) != 0;
}

/* The runtime reads the numbers as hexadecimal. */
static void set(const WCHAR *name, UINT64 value)
{
    SetEnvironmentVariableW(text_format(L"COMPlus_%ls", name), text_format(L"%I64x", value));
}

/* What 7.0 and later refuse to start with: they take address space of five times the limit, and want 19
 * regions of 1 MiB to begin with. */
#define SMALLEST_HARD_LIMIT ((UINT64)4 << 20)

static UINT64 set_hard_limit(UINT64 limit, const struct runtime_location *location)
{
    unsigned major = runtime_major_version(location);
    if (is_set(L"GCHeapHardLimit") || is_set(L"GCHeapHardLimitPercent") ||
        runtime_config_has(location, "System.GC.HeapHardLimit")) {
        return 0;
    }
    if (major < 3 || (major < 5 && limit > UINT32_MAX)) {
        return 0; /* unknown, or more than those versions read from a variable */
    }
    if (major >= 5 && limit < SMALLEST_HARD_LIMIT) {
        limit = SMALLEST_HARD_LIMIT; /* the manager has the last word */
    }
    set(L"GCHeapHardLimit", limit);
    hard_limit_is_ours = TRUE;
    return limit;
}

UINT64 gc_settings_apply(const struct options *options, const struct runtime_location *location)
{
    if (options->gc != GC_AS_CONFIGURED) {
        set(L"gcServer", options->gc == GC_SERVER);
        set(L"gcConcurrent", options->gc == GC_CONCURRENT);
    }
    return options->commit_limit && location ? set_hard_limit(options->commit_limit, location) : 0;
}

void gc_settings_forget_limit(void)
{
    if (hard_limit_is_ours) {
        SetEnvironmentVariableW(L"COMPlus_GCHeapHardLimit", NULL);
    }
}
