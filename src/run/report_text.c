/* SPDX-License-Identifier: MIT
 *
 * The report for people.
 */
#include "report.h"

#define LABEL 30
#define FIGURE 14

static void write_figure(struct text_writer *writer, const char *name, UINT64 value)
{
    text_write(writer, "  ");
    text_write_padded(writer, name, LABEL);
    text_write_count(writer, value, FIGURE);
    text_write(writer, "\n");
}

/* Up to 10 MiB in KiB, above that in MiB: 3 to 5 digits. */
static void write_bytes(struct text_writer *writer, UINT64 bytes, int width)
{
    BOOL large = bytes >= 10 << 20;
    text_write_count(writer, large ? bytes >> 20 : bytes >> 10, width - 4);
    text_write(writer, large ? " MiB" : " KiB");
}

static void write_usage(struct text_writer *writer, const char *name, UINT64 current, UINT64 peak)
{
    text_write(writer, "  ");
    text_write_padded(writer, name, LABEL);
    write_bytes(writer, current, FIGURE);
    write_bytes(writer, peak, FIGURE);
    text_write(writer, "\n");
}

/* What other code in the process has freed of hostmem's, behind its back. */
static void write_freed_behind(struct text_writer *writer, const struct figures *figures)
{
    if (figures->statistics.FreedBehindRegions) {
        text_write(writer, "  ");
        text_write_count(writer, figures->statistics.FreedBehindRegions, 0);
        text_write(writer, " regions (");
        write_bytes(writer, figures->statistics.FreedBehindBytes, 0);
        text_write(writer, ") were freed by others\n");
    }
    if (figures->binding.FreedBehind) {
        text_write(writer, "  ");
        text_write_count(writer, figures->binding.FreedBehind, 0);
        text_write(writer, " views or handles of sections were freed by others\n");
    }
}

static void write_memory(struct text_writer *writer, const struct report *report)
{
    const HOSTMEM_STATISTICS *statistics = &report->figures.statistics;
    text_write(writer, "\n  ");
    text_write_padded(writer, "memory", LABEL);
    text_write(writer, "           now          peak\n");
    write_usage(writer, "committed", report->figures.commit_bytes, statistics->CommitPeakBytes);
    write_usage(writer, "reserved", statistics->ReserveCurrentBytes, statistics->ReservePeakBytes);
    write_usage(writer, "heap", statistics->HeapCommitCurrentBytes,
                statistics->HeapCommitPeakBytes);
    if (statistics->ForeignCommitPeakBytes) {
        write_usage(writer, "sections", statistics->ForeignCommitCurrentBytes,
                    statistics->ForeignCommitPeakBytes);
    }
    text_write(writer, "  ");
    text_write_padded(writer, "regions", LABEL);
    text_write_count(writer, statistics->RegionsCurrent, FIGURE);
    text_write_count(writer, statistics->RegionsPeak, FIGURE);
    text_write(writer, "\n");
    write_figure(writer, "heap blocks", statistics->HeapCurrentBlocks);
    write_figure(writer, "mapped views", statistics->ViewsCurrent);
    text_write(writer, "  ");
    text_write_padded(writer, "hostmem's own tables", LABEL);
    write_bytes(writer, statistics->TableBytes + report->figures.binding.TableBytes, FIGURE);
    text_write(writer, "\n");
    write_freed_behind(writer, &report->figures);
    if (report->figures.commit_bytes != report->figures.commit_os_bytes) {
        text_write(writer, "  the system counts ");
        text_write_count(writer, report->figures.commit_os_bytes, 0);
        text_write(writer, " committed bytes, hostmem ");
        text_write_count(writer, report->figures.commit_bytes, 0);
        text_write(writer, ": the program was still running\n");
    }
}

static void write_limit(struct text_writer *writer, const char *name, UINT64 bytes)
{
    text_write(writer, "  ");
    text_write_padded(writer, name, LABEL);
    write_bytes(writer, bytes, FIGURE);
    text_write(writer, "\n");
}

/* Only what has to do with limits, and only if there are any. */
static void write_limits(struct text_writer *writer, const struct report *report)
{
    const HOSTMEM_STATISTICS *statistics = &report->figures.statistics;
    if (!report->commit_limit && !report->reserve_limit) {
        return;
    }
    text_write(writer, "\n  limits\n");
    if (report->commit_limit) {
        write_limit(writer, "commit limit", report->commit_limit);
        write_limit(writer, "of it for emergencies", report->emergency);
        write_limit(writer, "most in use", statistics->ChargedPeakBytes);
        write_limit(writer, "most beyond the limit", statistics->OverdraftPeakBytes);
    }
    if (report->reserve_limit) {
        write_limit(writer, "reserve limit", report->reserve_limit);
    }
    if (report->gc.hard_limit) {
        write_limit(writer, "System.GC.HeapHardLimit", report->gc.hard_limit);
    }
    if (report->gc.segment) {
        write_limit(writer, "GCSegmentSize", report->gc.segment);
    }
    write_figure(writer, "refused, task critical", statistics->DeniedTask);
    write_figure(writer, "refused, domain critical", statistics->DeniedAppDomain);
    write_figure(writer, "refused, process critical", statistics->DeniedProcess);
    write_figure(writer, "notifications: low", statistics->NotificationsLow);
    write_figure(writer, "notifications: neutral", statistics->NotificationsNeutral);
    write_figure(writer, "notifications: high", statistics->NotificationsHigh);
}

static void write_faults(struct text_writer *writer, const struct report *report)
{
    if (!report->faults) {
        return;
    }
    text_write(writer, "\n  refused on purpose\n");
    write_figure(writer, "task critical", report->figures.statistics.FaultsTask);
    write_figure(writer, "domain critical", report->figures.statistics.FaultsAppDomain);
    write_figure(writer, "process critical", report->figures.statistics.FaultsProcess);
}

static void write_calls(struct text_writer *writer, const HOSTMEM_STATISTICS *statistics)
{
    const HOSTMEM_CALLS *calls = &statistics->Calls;
    text_write(writer, "\n  calls\n");
    write_figure(writer, "VirtualAlloc", calls->VirtualAlloc);
    write_figure(writer, "VirtualFree", calls->VirtualFree);
    write_figure(writer, "VirtualQuery", calls->VirtualQuery);
    write_figure(writer, "VirtualProtect", calls->VirtualProtect);
    write_figure(writer, "Alloc", calls->Alloc + calls->DebugAlloc);
    write_figure(writer, "Free", calls->Free);
    write_figure(writer, "GetMemoryLoad", calls->GetMemoryLoad);
    write_figure(writer, "NeedsVirtualAddressSpace", calls->NeedsVirtualAddressSpace);
    write_figure(writer, "AcquiredVirtualAddressSpace", calls->AcquiredVirtualAddressSpace);
    write_figure(writer, "ReleasedVirtualAddressSpace", calls->ReleasedVirtualAddressSpace);
    write_figure(writer, "VirtualFree of other memory", statistics->ForeignVirtualFree);
    write_figure(writer, "Free of other memory", statistics->ForeignFree);
}

/* What is unknown by its name: it may be a way around the manager. */
static void write_functions(struct text_writer *writer, const struct figures *figures)
{
    if (!figures->binding.Runtime) {
        return;
    }
    text_write(writer, "\n  functions for memory that the runtime can reach\n");
    write_figure(writer, "bound", figures->binding.BoundFunctions);
    write_figure(writer, "passed on", figures->binding.PassedOnFunctions);
    write_figure(writer, "unknown", figures->binding.UnknownFunctions);
    for (UINT32 i = 0; i < figures->function_count; i++) {
        if (figures->functions[i].State == HOSTMEM_FUNCTION_UNKNOWN) {
            text_write(writer, "    ");
            text_write(writer, figures->functions[i].Name);
            text_write(writer, "\n");
        }
    }
}

static const char *protection_name(UINT32 protection)
{
    switch (protection & 0xff) {
    case PAGE_NOACCESS:
        return "PAGE_NOACCESS";
    case PAGE_READONLY:
        return "PAGE_READONLY";
    case PAGE_READWRITE:
        return "PAGE_READWRITE";
    case PAGE_EXECUTE:
        return "PAGE_EXECUTE";
    case PAGE_EXECUTE_READ:
        return "PAGE_EXECUTE_READ";
    case PAGE_EXECUTE_READWRITE:
        return "PAGE_EXECUTE_READWRITE";
    default:
        return "other";
    }
}

static void write_regions(struct text_writer *writer, const struct report *report)
{
    text_write(writer, "\n  largest regions            size     committed  reserved as\n");
    for (unsigned i = 0; i < report->figures.largest_count; i++) {
        const HOSTMEM_REGION *region = &report->figures.largest[i];
        text_write(writer, "  ");
        text_write_hex(writer, region->Base, 16);
        write_bytes(writer, region->Size, 13);
        write_bytes(writer, region->CommittedBytes, 14);
        text_write(writer, "  ");
        text_write(writer, protection_name(region->AllocationProtect));
        text_write(writer, region->AllocationType & MEM_WRITE_WATCH ? " MEM_WRITE_WATCH" : "");
        text_write(writer, region->AllocationType & MEM_TOP_DOWN ? " MEM_TOP_DOWN" : "");
        text_write(writer, "\n");
    }
}

/* 5.0 and later are plain .NET. */
static BOOL has_core_in_name(const struct report *report)
{
    return report->version[0] >= L'1' && report->version[0] <= L'4' && report->version[1] == L'.';
}

static void write_exit_code(struct text_writer *writer, const struct report *report)
{
    if (report->runs) {
        text_write(writer, ", still running, ");
        return;
    }
    text_write(writer, ", exit code ");
    if (report->exit_code < 0x80000000u) {
        text_write_number(writer, report->exit_code);
    } else {
        text_write_hex(writer, report->exit_code, 8);
    }
    text_write(writer, ", ");
}

void report_write_text(const struct report *report, struct text_writer *writer)
{
    text_write(writer, "\nhostmem: ");
    if (report->program) {
        text_write_wide(writer, path_name(report->program));
        text_write(writer, " on ");
    }
    text_write(writer, report->kind[0] == 'f'     ? ".NET Framework "
                       : has_core_in_name(report) ? ".NET Core "
                                                  : ".NET ");
    text_write_wide(writer, report->version[0] ? report->version : L"of unknown version");
    write_exit_code(writer, report);
    text_write_count(writer, report->milliseconds, 0);
    text_write(writer, " ms\n");
    if (report->age_milliseconds) {
        text_write(writer, report->runs ? "  It has not ended: the figures are of "
                                        : "  There was no last word, as when it is killed: the "
                                          "figures are of ");
        text_write_count(writer, report->age_milliseconds, 0);
        text_write(writer, " ms earlier.\n");
    }
    write_memory(writer, report);
    write_limits(writer, report);
    write_faults(writer, report);
    write_calls(writer, &report->figures.statistics);
    write_functions(writer, &report->figures);
    write_regions(writer, report);
}
