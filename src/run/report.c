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
    if (manager) {
        void *statistics;
        HRESULT hr =
            IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics, &statistics);
        if (FAILED(hr)) {
            return text_fail(L"the memory manager has no statistics (0x%08lx); use --report none",
                             hr);
        }
        source = statistics;
    }
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

void report_gc_settings(struct gc_settings settings)
{
    report.gc = settings;
}

void report_write(DWORD exit_code)
{
    if (format == REPORT_NONE || !report.kind) {
        return;
    }
    report.exit_code = exit_code;
    report.milliseconds = GetTickCount64() - started;
    figures_take(source, &report.figures);
    if (format == REPORT_JSON) {
        report_write_json(&report, NULL, 0, &writer);
    } else {
        report_write_text(&report, &writer);
    }
    text_flush(&writer);
}

void report_write_processes(struct report *processes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        processes[i].commit_limit = report.commit_limit;
        processes[i].emergency = report.emergency;
        processes[i].reserve_limit = report.reserve_limit;
        processes[i].faults = report.faults;
        processes[i].gc = report.gc;
        if (format == REPORT_TEXT) {
            report_write_text(&processes[i], &writer);
        }
    }
    if (format == REPORT_JSON) {
        report_write_json(processes, processes + 1, count - 1, &writer);
    }
    text_flush(&writer);
}
