/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "replay/replay_report.h"

static struct replay_method totals(const struct replay *replay)
{
    struct replay_method total = {0};
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        total.calls += replay->methods[i].calls;
        total.different += replay->methods[i].different;
        total.recorded_ticks += replay->methods[i].recorded_ticks;
        total.ticks += replay->methods[i].ticks;
    }
    return total;
}

UINT64 replay_different(const struct replay *replay)
{
    return totals(replay).different;
}

/* ---- For people ---- */

static void write_row(const struct replay *replay, const char *name,
                      const struct replay_method *method, FILE *out)
{
    double recorded = trace_nanoseconds(replay->trace, method->recorded_ticks);
    double replayed = (double)method->ticks * replay->ns_per_tick;
    double calls = (double)method->calls;
    fprintf(out, "  %-35s%10" PRIu64 "%10" PRIu64 "%12.0f%12.0f%12.0f\n", name, method->calls,
            method->different, recorded / calls, replayed / calls, replayed / 1000);
}

static void write_usage(const char *name, UINT64 now, UINT64 peak, FILE *out)
{
    fprintf(out, "  %-35s%20" PRIu64 "%20" PRIu64 "\n", name, now, peak);
}

void replay_report_text(const struct replay *replay, FILE *out)
{
    const HOSTMEM_STATISTICS *statistics = &replay->statistics;
    struct replay_method total = totals(replay);
    fprintf(out, "\nthrough %s\n\n  %-35s%10s%10s%12s%12s%12s\n", replay->target.name, "", "calls",
            "different", "recorded ns", "now ns", "now us");
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        if (replay->methods[i].calls != 0 || replay->methods[i].different != 0) {
            write_row(replay, trace_method_name(i), &replay->methods[i], out);
        }
    }
    write_row(replay, "all", &total, out);
    if (total.different != 0) {
        fprintf(out, "\n  the first that is different: call %" PRIu64 "\n",
                replay->first_different);
    }
    if (replay->not_replayed != 0) {
        fprintf(out, "\n  not replayed: %" PRIu64 "\n", replay->not_replayed);
    }
    if (replay->trace->header.missing != 0) {
        fprintf(out, "\n  missing in the trace: %" PRIu64 "\n", replay->trace->header.missing);
    }
    if (replay->plan->freed_count != 0) {
        fprintf(out, "\n  regions that others freed: %" PRIu32 "\n", replay->plan->freed_count);
    }
    fprintf(out, "\n  %-35s%20s%20s\n", "bytes", "at the end", "peak");
    if (replay->has_statistics) {
        write_usage("committed", statistics->CommitCurrentBytes, statistics->CommitPeakBytes, out);
        write_usage("reserved", statistics->ReserveCurrentBytes, statistics->ReservePeakBytes, out);
        write_usage("heap", statistics->HeapCommitCurrentBytes, statistics->HeapCommitPeakBytes,
                    out);
    }
    fprintf(out, "  %-35s%20" PRIu64 "\n", "committed by the system's count",
            replay->os_commit_bytes);
}

/* ---- For programs ---- */

static void write_method(const struct replay *replay, const struct replay_method *method, FILE *out)
{
    fprintf(out,
            "{\"calls\": %" PRIu64 ", \"different\": %" PRIu64
            ", \"recordedNanoseconds\": %.0f, \"nanoseconds\": %.0f}",
            method->calls, method->different,
            trace_nanoseconds(replay->trace, method->recorded_ticks),
            (double)method->ticks * replay->ns_per_tick);
}

void replay_report_json(const struct replay *replay, FILE *out)
{
    const HOSTMEM_STATISTICS *statistics = &replay->statistics;
    struct replay_method total = totals(replay);
    fprintf(out, "{\n  \"through\": \"%s\",\n  \"all\": ", replay->target.name);
    write_method(replay, &total, out);
    fprintf(out, ",\n  \"methods\": {");
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        fprintf(out, "%s\n    \"%s\": ", i != 0 ? "," : "", trace_method_name(i));
        write_method(replay, &replay->methods[i], out);
    }
    fprintf(out, "\n  },\n  \"notReplayed\": %" PRIu64 ",\n  \"missing\": %" PRIu64,
            replay->not_replayed, replay->trace->header.missing);
    if (replay->has_statistics) {
        fprintf(out,
                ",\n  \"commit\": {\"currentBytes\": %" PRIu64 ", \"peakBytes\": %" PRIu64
                "},\n  \"reserve\": {\"currentBytes\": %" PRIu64 ", \"peakBytes\": %" PRIu64
                "},\n  \"heap\": {\"currentBytes\": %" PRIu64 ", \"peakBytes\": %" PRIu64
                ", \"currentBlocks\": %" PRIu64 ", \"blockBytes\": %" PRIu64
                "},\n  \"regions\": {\"freedBehind\": %" PRIu64 "}",
                statistics->CommitCurrentBytes, statistics->CommitPeakBytes,
                statistics->ReserveCurrentBytes, statistics->ReservePeakBytes,
                statistics->HeapCommitCurrentBytes, statistics->HeapCommitPeakBytes,
                statistics->HeapCurrentBlocks, statistics->HeapCurrentBytes,
                statistics->FreedBehindRegions);
    }
    fprintf(out, ",\n  \"commitOsBytes\": %" PRIu64 "\n}\n", replay->os_commit_bytes);
}
