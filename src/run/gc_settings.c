/* SPDX-License-Identifier: MIT */
#include "gc_settings.h"
#include "text.h"

#include <stdint.h>

static struct gc_settings ours;

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

/* Also where the user has set the other form, which is read first. */
static void set_both(const WCHAR *name, BOOL value)
{
    set(name, value ? 1 : 0);
    SetEnvironmentVariableW(text_format(L"DOTNET_%ls", name), value ? L"1" : L"0");
}

/* What 7.0 and later refuse to start with: they take address space of five times the limit, and want 19
 * regions of 1 MiB to begin with. */
#define SMALLEST_HARD_LIMIT ((UINT64)4 << 20)

static UINT64 set_hard_limit(UINT64 limit, unsigned major, const struct runtime_location *location)
{
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
    return limit;
}

#define SMALLEST_SEGMENT ((UINT64)64 << 20)
#define LARGEST_SEGMENT ((UINT64)256 << 20) /* one for small objects and a half for large */

/* A server collector has one for each processor, which is too much address space. */
static UINT64 set_segment(UINT64 limit, unsigned major, const struct options *options,
                          const struct runtime_location *location)
{
    BOOL server = options->gc == GC_SERVER || is_set(L"gcServer") ||
                  runtime_config_has(location, "System.GC.Server");
    if (sizeof(void *) > 4 || major == 0 || major >= 3 || limit <= SMALLEST_SEGMENT / 2 ||
        is_set(L"GCSegmentSize") || server) {
        return 0;
    }
    UINT64 segment = SMALLEST_SEGMENT;
    while (segment < limit && segment < LARGEST_SEGMENT) {
        segment *= 2;
    }
    set(L"GCSegmentSize", segment);
    return segment;
}

struct gc_settings gc_settings_apply(const struct options *options,
                                     const struct runtime_location *location)
{
    if (options->commit_limit && location) {
        unsigned major = runtime_major_version(location);
        ours.hard_limit = set_hard_limit(options->commit_limit, major, location);
        ours.segment = set_segment(options->commit_limit, major, options, location);
    }
    if (options->gc != GC_AS_CONFIGURED) {
        set_both(L"gcServer", options->gc == GC_SERVER);
        set_both(L"gcConcurrent", options->gc == GC_CONCURRENT);
    }
    return ours;
}

void gc_settings_forget_limit(void)
{
    if (ours.hard_limit) {
        SetEnvironmentVariableW(L"COMPlus_GCHeapHardLimit", NULL);
    }
    if (ours.segment) {
        SetEnvironmentVariableW(L"COMPlus_GCSegmentSize", NULL);
    }
}
