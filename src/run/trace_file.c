/* SPDX-License-Identifier: MIT */
#include "trace_file.h"
#include "text.h"

#include "trace/trace_manager.h"
#include "trace/trace_writer.h"

static BOOL is_open;

int trace_file_open(const WCHAR *path, const HOSTMEM_OPTIONS *limits, IHostMemoryManager **manager)
{
    const struct trace_header about = {
        .commit_limit = limits->CommitLimit,
        .emergency = limits->EmergencyCommit,
        .reserve_limit = limits->ReserveLimit,
        .cushion = limits->AddressSpaceCushion,
        .flags = limits->Flags,
    };
    IHostMemoryManager *recording;
    DWORD error = trace_writer_open(path, &about);
    if (error != ERROR_SUCCESS) {
        return text_fail(L"cannot write the trace to %ls: error %lu", path, error);
    }
    if (trace_manager_create(*manager, &recording) != S_OK) {
        return text_fail(L"out of memory");
    }
    *manager = recording;
    is_open = TRUE;
    return -1;
}

void trace_file_stop(void)
{
    if (is_open) {
        trace_writer_stop();
    }
}

void trace_file_close(void)
{
    UINT64 missing = is_open ? trace_writer_close() : 0;
    is_open = FALSE;
    if (missing) {
        static struct text_writer writer; /* static: the stack is somebody else's */
        writer.file = GetStdHandle(STD_ERROR_HANDLE);
        text_write(&writer, "hostmem-run: calls that the trace lacks: ");
        text_write_number(&writer, missing);
        text_write(&writer, "\n");
        text_flush(&writer);
    }
}
