/* SPDX-License-Identifier: MIT */
#include "report.h"

static struct report report;
static enum report_format format;
static struct text_writer writer; /* static: the stack at exit is whoever's called ExitProcess */
static IHostMemoryStatistics *source;
static UINT64 started;

int report_prepare(const struct options *options, IHostMemoryManager *manager)
{
    format = options->report;
    report.commit_limit = options->commit_limit;
    report.emergency = options->emergency;
    report.reserve_limit = options->reserve_limit;
    report.faults = options->faults.Size != 0;
    started = GetTickCount64();
    if (format == REPORT_NONE) {
        return -1;
    }
    void *statistics;
    HRESULT hr =
        IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics, &statistics);
    if (FAILED(hr)) {
        return text_fail(L"the memory manager has no statistics (0x%08lx); use --report none", hr);
    }
    source = statistics;
    writer.file = GetStdHandle(STD_OUTPUT_HANDLE);
    if (options->report_file) {
        writer.file = CreateFileW(options->report_file, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                                  CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
        if (writer.file == INVALID_HANDLE_VALUE) {
            return text_fail(L"cannot write the report to %ls: error %lu", options->report_file,
                             GetLastError());
        }
    }
    return -1;
}

void report_runtime(const char *kind, const WCHAR *version, const WCHAR *path,
                    const char *started_by)
{
    report.kind = kind;
    report.version = version;
    report.path = path;
    report.started_by = started_by;
}

void report_hard_limit(UINT64 bytes)
{
    report.hard_limit = bytes;
}

static void keep_if_large(const HOSTMEM_REGION *region)
{
    unsigned place = report.largest_count;
    while (place > 0 && report.largest[place - 1].Size < region->Size) {
        place--;
    }
    if (place == REPORT_LARGEST) {
        return;
    }
    if (report.largest_count < REPORT_LARGEST) {
        report.largest_count++;
    }
    for (unsigned i = report.largest_count - 1; i > place; i--) {
        report.largest[i] = report.largest[i - 1];
    }
    report.largest[place] = *region;
}

static void take_regions(void)
{
    static HOSTMEM_REGION regions[64];
    UINT32 count = sizeof(regions) / sizeof(regions[0]), got = count;
    for (UINT64 from = 0; got == count;) {
        if (IHostMemoryStatistics_GetRegions(source, from, count, regions, &got) != S_OK) {
            return;
        }
        for (UINT32 i = 0; i < got; i++) {
            keep_if_large(&regions[i]);
            report.write_watch_regions += (regions[i].AllocationType & MEM_WRITE_WATCH) != 0;
            from = regions[i].Base + 1;
        }
    }
}

void report_write(DWORD exit_code)
{
    if (format == REPORT_NONE || !report.kind) {
        return;
    }
    report.exit_code = exit_code;
    report.milliseconds = GetTickCount64() - started;
    report.statistics.Size = sizeof(report.statistics);
    /* First: other threads may be at work, and what is measured is below a peak that is read later. */
    IHostMemoryStatistics_MeasureCommit(source, &report.commit_bytes, &report.commit_os_bytes);
    IHostMemoryStatistics_GetStatistics(source, &report.statistics);
    take_regions();
    if (format == REPORT_JSON) {
        report_write_json(&report, &writer);
    } else {
        report_write_text(&report, &writer);
    }
    text_flush(&writer);
}
