/* SPDX-License-Identifier: MIT
 *
 * The report for programs: one JSON object. Keys are only ever added.
 */
#include "report.h"

static void write_string(struct text_writer *writer, const WCHAR *text)
{
    text_write(writer, "\"");
    for (; *text; text++) {
        WCHAR unit[3] = {*text, 0, 0};
        if (*text == L'"' || *text == L'\\') {
            text_write(writer, "\\");
        } else if ((*text & 0xfc00) == 0xd800 && text[1]) {
            unit[1] = *++text; /* the two halves make one character */
        }
        text_write_wide(writer, unit);
    }
    text_write(writer, "\"");
}

static void write_member(struct text_writer *writer, const char *name, UINT64 value)
{
    text_write(writer, "\"");
    text_write(writer, name);
    text_write(writer, "\": ");
    text_write_number(writer, value);
}

struct member {
    const char *name;
    UINT64 value;
};

/* "name": {"name": 1, …} */
static void write_object(struct text_writer *writer, const char *name, const struct member *members,
                         size_t count)
{
    text_write(writer, "\"");
    text_write(writer, name);
    text_write(writer, "\": {");
    for (size_t i = 0; i < count; i++) {
        text_write(writer, i > 0 ? ", " : "");
        write_member(writer, members[i].name, members[i].value);
    }
    text_write(writer, "}");
}

#define WRITE_OBJECT(writer, name, ...)                                                            \
    (text_write(writer, ",\n  "),                                                                  \
     write_object(writer, name, (const struct member[]){__VA_ARGS__},                              \
                  sizeof((const struct member[]){__VA_ARGS__}) / sizeof(struct member)))

#define CALL(name)                                                                                 \
    {                                                                                              \
#name, calls->name                                                                         \
    }

static void write_calls(struct text_writer *writer, const HOSTMEM_CALLS *calls)
{
    WRITE_OBJECT(writer, "calls", CALL(CreateMalloc), CALL(VirtualAlloc), CALL(VirtualFree),
                 CALL(VirtualQuery), CALL(VirtualProtect), CALL(GetMemoryLoad),
                 CALL(RegisterMemoryNotificationCallback), CALL(NeedsVirtualAddressSpace),
                 CALL(AcquiredVirtualAddressSpace), CALL(ReleasedVirtualAddressSpace), CALL(Alloc),
                 CALL(DebugAlloc), CALL(Free));
}

static void write_runtime(struct text_writer *writer, const struct report *report)
{
    if (report->program) {
        text_write(writer, "\"program\": ");
        write_string(writer, report->program);
        text_write(writer, ",\n  ");
        write_member(writer, "processId", report->process_id);
        text_write(writer, ",\n  ");
    }
    text_write(writer, "\"runtime\": {\"kind\": \"");
    text_write(writer, report->kind);
    text_write(writer, "\", \"version\": ");
    write_string(writer, report->version);
    text_write(writer, ", \"path\": ");
    write_string(writer, report->path);
    text_write(writer, ", \"startedBy\": \"");
    text_write(writer, report->started_by);
    text_write(writer, "\"}");
}

/* The calls that were refused for lack of budget. */
static void write_denied(struct text_writer *writer, const HOSTMEM_STATISTICS *statistics)
{
    const struct member denied[] = {{"task", statistics->DeniedTask},
                                    {"appDomain", statistics->DeniedAppDomain},
                                    {"process", statistics->DeniedProcess}};
    write_object(writer, "deniedCalls", denied, sizeof(denied) / sizeof(denied[0]));
}

static void write_commit(struct text_writer *writer, const struct report *report)
{
    const HOSTMEM_STATISTICS *statistics = &report->figures.statistics;
    const struct member members[] = {
        {"currentBytes", report->figures.commit_bytes},
        {"peakBytes", statistics->CommitPeakBytes},
        {"osBytes", report->figures.commit_os_bytes},
        /* With heap blocks and sections, which count against the limit too. */
        {"chargedBytes", statistics->ChargedCurrentBytes},
        {"chargedPeakBytes", statistics->ChargedPeakBytes},
        {"limitBytes", report->commit_limit},
        {"emergencyBytes", report->emergency},
        {"overdraftBytes", statistics->OverdraftPeakBytes},
    };
    text_write(writer, ",\n  \"commit\": {");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        write_member(writer, members[i].name, members[i].value);
        text_write(writer, ", ");
    }
    write_denied(writer, statistics);
    text_write(writer, "}");
}

static void write_functions(struct text_writer *writer, const struct figures *figures)
{
    static const char *const kinds[] = {"import", "delayLoaded", "lookedUp"};
    static const char *const states[] = {"bound", "passedOn", "unknown"};
    const HOSTMEM_BINDING *binding = &figures->binding;
    WRITE_OBJECT(writer, "functions", {"bound", binding->BoundFunctions},
                 {"passedOn", binding->PassedOnFunctions}, {"unknown", binding->UnknownFunctions});
    text_write(writer, ",\n  \"functionList\": [");
    for (UINT32 i = 0; i < figures->function_count; i++) {
        const HOSTMEM_FUNCTION *function = &figures->functions[i];
        text_write(writer, i > 0 ? ", {\"name\": \"" : "{\"name\": \"");
        text_write(writer, function->Name);
        text_write(writer, "\", \"kind\": \"");
        text_write(writer, kinds[function->Kind]);
        text_write(writer, "\", \"state\": \"");
        text_write(writer, states[function->State]);
        text_write(writer, "\"}");
    }
    text_write(writer, "]");
}

static void write_members(const struct report *report, struct text_writer *writer)
{
    const HOSTMEM_STATISTICS *statistics = &report->figures.statistics;
    const HOSTMEM_BINDING *binding = &report->figures.binding;
    write_runtime(writer, report);
    text_write(writer, ",\n  ");
    if (report->runs) {
        text_write(writer, "\"exitCode\": null");
    } else {
        write_member(writer, "exitCode", report->exit_code);
    }
    text_write(writer, ",\n  ");
    write_member(writer, "elapsedMilliseconds", report->milliseconds);
    text_write(writer, ",\n  ");
    write_member(writer, "figuresAgeMilliseconds", report->age_milliseconds);
    write_calls(writer, &statistics->Calls);
    write_commit(writer, report);
    WRITE_OBJECT(writer, "reserve", {"currentBytes", statistics->ReserveCurrentBytes},
                 {"peakBytes", statistics->ReservePeakBytes}, {"limitBytes", report->reserve_limit},
                 {"deniedCalls", statistics->DeniedReserve},
                 {"cushionBytes", statistics->CushionBytes});
    WRITE_OBJECT(writer, "regions", {"current", statistics->RegionsCurrent},
                 {"peak", statistics->RegionsPeak},
                 {"writeWatch", report->figures.write_watch_regions},
                 {"freedBehind", statistics->FreedBehindRegions},
                 {"freedBehindBytes", statistics->FreedBehindBytes});
    WRITE_OBJECT(writer, "heap", {"currentBytes", statistics->HeapCommitCurrentBytes},
                 {"peakBytes", statistics->HeapCommitPeakBytes},
                 {"currentBlocks", statistics->HeapCurrentBlocks},
                 {"blockBytes", statistics->HeapCurrentBytes});
    WRITE_OBJECT(writer, "foreign", {"virtualFree", statistics->ForeignVirtualFree},
                 {"free", statistics->ForeignFree});
    WRITE_OBJECT(writer, "views", {"current", statistics->ViewsCurrent},
                 {"currentBytes", statistics->ViewsCurrentBytes});
    WRITE_OBJECT(writer, "sections", {"currentBytes", statistics->ForeignCommitCurrentBytes},
                 {"peakBytes", statistics->ForeignCommitPeakBytes},
                 {"freedBehind", binding->FreedBehind},
                 {"refusedRefunds", binding->RefusedRefunds});
    WRITE_OBJECT(writer, "notifications", {"low", statistics->NotificationsLow},
                 {"neutral", statistics->NotificationsNeutral},
                 {"high", statistics->NotificationsHigh});
    WRITE_OBJECT(writer, "faults", {"task", statistics->FaultsTask},
                 {"appDomain", statistics->FaultsAppDomain},
                 {"process", statistics->FaultsProcess});
    text_write(writer, ",\n  ");
    write_member(writer, "gcHeapHardLimitBytes", report->gc.hard_limit);
    text_write(writer, ",\n  ");
    write_member(writer, "gcSegmentBytes", report->gc.segment);
    text_write(writer, ",\n  ");
    write_member(writer, "tableBytes", statistics->TableBytes + binding->TableBytes);
    write_functions(writer, &report->figures);
}

void report_write_json(const struct report *report, const struct report *children, unsigned count,
                       struct text_writer *writer)
{
    text_write(writer, "{\n  ");
    write_members(report, writer);
    if (report->program) {
        text_write(writer, ",\n  \"children\": [");
        for (unsigned i = 0; i < count; i++) {
            text_write(writer, i > 0 ? ", {\n  " : "{\n  ");
            write_members(&children[i], writer);
            text_write(writer, "\n}");
        }
        text_write(writer, "]");
    }
    text_write(writer, "\n}\n");
}
