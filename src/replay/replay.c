/* SPDX-License-Identifier: MIT */
#include <corerror.h>
#include <inttypes.h>
#include <stdlib.h>

#include "replay/replay.h"

struct region {
    BYTE *base; /* NULL: not there, or not any more */
    SIZE_T size;
};

/* Where the memory of a trace lies in this replay. */
struct places {
    struct region *regions;
    void **blocks; /* by number; NULL: not there */
    void **heaps;
    BYTE *scratch; /* stands for what others have: committed, and no region of the target */
    SIZE_T scratch_bytes;
};

/* ---- Memory of others ---- */

static const SIZE_T page_bytes = 4096;

/* Enough for the largest call that concerns memory of others. */
static SIZE_T scratch_needed(const struct replay *replay)
{
    UINT64 most = 0;
    for (size_t i = 0; i < replay->trace->count; i++) {
        if (replay->plan->steps[i].place == TRACE_PLACE_FOREIGN &&
            replay->trace->records[i].size > most) {
            most = replay->trace->records[i].size;
        }
    }
    return (SIZE_T)(most < (64u << 20) ? most : 64u << 20) + 2 * page_bytes;
}

/* What others have is freed, or reserved, in vain: then it is an image, which stays where it is. All
 * else is done to scratch memory, which need not answer as the recorded memory did. */
static bool meets_scratch(const struct trace_record *record, const struct trace_step *step)
{
    bool reserves = record->method == TRACE_VIRTUAL_ALLOC && (record->type & MEM_RESERVE) != 0;
    return step->place == TRACE_PLACE_FOREIGN && !reserves &&
           record->method != TRACE_VIRTUAL_FREE && record->method != TRACE_FREE;
}

static void *foreign_address(const struct places *places, const struct trace_record *record,
                             const struct trace_step *step)
{
    return meets_scratch(record, step) ? places->scratch + record->address % page_bytes
                                       : (BYTE *)GetModuleHandleW(NULL);
}

/* ---- One call ---- */

static bool wants_replay(const struct replay *replay, const struct trace_record *record,
                         const struct trace_step *step)
{
    bool asks = record->method == TRACE_VIRTUAL_ALLOC || record->method == TRACE_ALLOC ||
                record->method == TRACE_DEBUG_ALLOC || record->method == TRACE_CREATE_MALLOC;
    if (asks && record->hresult == (UINT32)E_OUTOFMEMORY && !replay->target.keeps_limits) {
        return false;
    }
    return record->method != TRACE_FREE || step->place != TRACE_PLACE_FOREIGN ||
           replay->target.knows_blocks;
}

/* False: the memory that the call concerns was not given out in this replay. */
static bool find_address(const struct places *places, const struct trace_record *record,
                         const struct trace_step *step, struct call *call)
{
    switch (step->place) {
    case TRACE_PLACE_REGION:
        call->address = places->regions[step->number].base + step->offset;
        return places->regions[step->number].base != NULL;
    case TRACE_PLACE_BLOCK:
        call->address = places->blocks[step->number];
        return call->address != NULL;
    case TRACE_PLACE_FOREIGN:
        call->address = foreign_address(places, record, step);
        call->foreign = true;
        if (call->size > places->scratch_bytes - page_bytes) {
            call->size = places->scratch_bytes - page_bytes;
        }
        return true;
    default:
        /* A granted wish lost its address, so its size counts from the base. Views and callbacks
         * are only named to a manager. */
        call->size += (SIZE_T)step->offset;
        call->address =
            record->method == TRACE_VIRTUAL_ALLOC ? NULL : (void *)(UINT_PTR)record->address;
        return true;
    }
}

static bool uses_heap(unsigned method)
{
    return method == TRACE_ALLOC || method == TRACE_DEBUG_ALLOC || method == TRACE_FREE ||
           method == TRACE_RELEASE_MALLOC;
}

static bool prepare(const struct places *places, const struct trace_record *record,
                    const struct trace_step *step, struct call *call)
{
    *call = (struct call){
        .method = (enum trace_method)record->method,
        .size = (SIZE_T)record->size,
        .type = record->type,
        .protect = record->protect,
        .level = (EMemoryCriticalLevel)record->level,
    };
    if (record->method == TRACE_VIRTUAL_QUERY && call->size > sizeof(MEMORY_BASIC_INFORMATION)) {
        call->size = sizeof(MEMORY_BASIC_INFORMATION); /* there is nothing more to get */
    }
    if (uses_heap(record->method)) {
        call->heap = places->heaps[record->type];
        if (call->heap == NULL) {
            return false;
        }
    }
    return find_address(places, record, step, call);
}

/* The addresses of what a call made or ended. */
static void follow(const struct places *places, const struct trace_record *record,
                   const struct trace_step *step, const struct call *call,
                   const struct answer *answer)
{
    if (answer->hr != S_OK) {
        return;
    }
    if (record->method == TRACE_CREATE_MALLOC && record->hresult == S_OK) {
        places->heaps[record->result] = answer->memory;
    } else if (record->method == TRACE_RELEASE_MALLOC) {
        places->heaps[record->type] = NULL;
    } else if (record->method == TRACE_VIRTUAL_ALLOC && step->made != TRACE_NONE) {
        places->regions[step->made] = (struct region){answer->memory, call->size};
    } else if (step->made != TRACE_NONE) {
        places->blocks[step->made] = answer->memory;
    } else if (record->method == TRACE_VIRTUAL_FREE && (record->type & MEM_RELEASE) != 0 &&
               step->place == TRACE_PLACE_REGION) {
        places->regions[step->number].base = NULL;
    } else if (record->method == TRACE_FREE && step->place == TRACE_PLACE_BLOCK) {
        places->blocks[step->number] = NULL;
    }
}

/* What a call was given although the recorded one was not: nobody will give it back. */
static void give_back_surplus(struct replay *replay, const struct trace_record *record,
                              const struct call *call, const struct answer *answer)
{
    struct call undo = {.address = answer->memory, .heap = call->heap, .type = MEM_RELEASE};
    struct answer ignored;
    if (answer->hr != S_OK || record->hresult == S_OK) {
        return;
    }
    if (record->method == TRACE_VIRTUAL_ALLOC && call->address == NULL) {
        undo.method = TRACE_VIRTUAL_FREE;
    } else if (record->method == TRACE_ALLOC || record->method == TRACE_DEBUG_ALLOC) {
        undo.method = TRACE_FREE;
    } else if (record->method == TRACE_CREATE_MALLOC) {
        undo.method = TRACE_RELEASE_MALLOC;
        undo.heap = answer->memory;
    } else {
        return;
    }
    target_call(&replay->target, &undo, &ignored);
}

/* Whether an answer says the same as the recorded one, addresses counted from their regions. */
static bool same_answer(const struct places *places, const struct trace_record *record,
                        const struct trace_step *step, const struct answer *answer)
{
    if (meets_scratch(record, step)) {
        return true;
    }
    if ((UINT32)answer->hr != record->hresult || answer->hr != S_OK) {
        return (UINT32)answer->hr == record->hresult;
    }
    switch (record->method) {
    case TRACE_VIRTUAL_ALLOC:
        return step->place != TRACE_PLACE_REGION ||
               (BYTE *)answer->memory - places->regions[step->number].base ==
                   (INT64)(record->result - (record->address - step->offset));
    case TRACE_VIRTUAL_QUERY:
        return answer->value == record->result &&
               (answer->information.State | answer->information.Type) == record->type &&
               answer->information.Protect == record->protect;
    case TRACE_VIRTUAL_PROTECT:
        return answer->value == record->result;
    default:
        return true;
    }
}

/* One line for a call: everything that does not depend on where memory lies. */
static void write_result(const struct replay *replay, const struct places *places,
                         const struct trace_record *record, const struct trace_step *step,
                         const struct answer *answer)
{
    fprintf(replay->results, "%" PRIu32 " %s 0x%08lx", record->sequence,
            trace_method_name(record->method), (unsigned long)answer->hr);
    if (answer->hr != S_OK) {
        fputc('\n', replay->results);
        return;
    }
    if (step->made != TRACE_NONE) {
        fprintf(replay->results, " number %" PRIu32, step->made);
    } else if (record->method == TRACE_VIRTUAL_ALLOC && step->place == TRACE_PLACE_REGION) {
        fprintf(replay->results, " number %" PRIu32 " + 0x%" PRIx64, step->number,
                (UINT64)((BYTE *)answer->memory - places->regions[step->number].base));
    } else if (record->method == TRACE_VIRTUAL_QUERY) {
        fprintf(replay->results, " state 0x%lx type 0x%lx protect 0x%lx size 0x%" PRIx64,
                answer->information.State, answer->information.Type, answer->information.Protect,
                step->place == TRACE_PLACE_REGION ? (UINT64)answer->information.RegionSize : 0);
    } else if (record->method == TRACE_VIRTUAL_PROTECT) {
        fprintf(replay->results, " was 0x%" PRIx64, answer->value);
    }
    fputc('\n', replay->results);
}

static void count_different(struct replay *replay, const struct trace_record *record)
{
    UINT64 before = 0;
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        before += replay->methods[i].different;
    }
    if (before == 0) {
        replay->first_different = record->sequence;
    }
    replay->methods[record->method].different++;
}

static void replay_record(struct replay *replay, const struct places *places, size_t index)
{
    const struct trace_record *record = &replay->trace->records[index];
    const struct trace_step *step = &replay->plan->steps[index];
    struct replay_method *method = &replay->methods[record->method];
    struct call call;
    struct answer answer;
    if (!wants_replay(replay, record, step)) {
        replay->not_replayed++;
        return;
    }
    if (!prepare(places, record, step, &call)) {
        replay->not_replayed++;
        count_different(replay, record);
        return;
    }
    target_call(&replay->target, &call, &answer);
    method->calls++;
    method->recorded_ticks += record->duration;
    method->ticks += answer.ticks;
    if (!same_answer(places, record, step, &answer)) {
        count_different(replay, record);
    }
    if (replay->results != NULL) {
        write_result(replay, places, record, step, &answer);
    }
    follow(places, record, step, &call, &answer);
    give_back_surplus(replay, record, &call, &answer);
}

/* ---- Freed by others ---- */

/* As others did it: with our own VirtualFree. Where the call that comes is about other memory, a manager
 * found out by itself; here a release of which nobody asks the answer tells it. */
static void free_behind(struct replay *replay, const struct places *places,
                        const struct trace_freed *freed)
{
    const struct trace_step *step = &replay->plan->steps[freed->step];
    struct call call = {.method = TRACE_VIRTUAL_FREE, .type = MEM_RELEASE};
    struct answer ignored;
    call.address = places->regions[freed->region].base;
    if (call.address == NULL) {
        return;
    }
    VirtualFree(call.address, 0, MEM_RELEASE);
    if (step->place == TRACE_PLACE_REGION && step->number == freed->region) {
        return;
    }
    if (replay->target.manager != NULL) {
        target_call(&replay->target, &call, &ignored);
    }
}

/* One call, with what others freed before it. `next` is the first region that they free from here on. */
static void replay_step(struct replay *replay, const struct places *places, size_t index,
                        uint32_t *next)
{
    const struct trace_plan *plan = replay->plan;
    uint32_t first = *next;
    while (*next < plan->freed_count && plan->freed[*next].step == index) {
        free_behind(replay, places, &plan->freed[(*next)++]);
    }
    replay_record(replay, places, index);
    for (; first < *next; first++) {
        places->regions[plan->freed[first].region].base = NULL;
    }
}

/* ---- The end ---- */

static UINT64 committed_bytes(const struct region *region)
{
    MEMORY_BASIC_INFORMATION part;
    UINT64 committed = 0;
    for (SIZE_T at = 0; at < region->size; at += part.RegionSize) {
        if (!VirtualQuery(region->base + at, &part, sizeof(part))) {
            break;
        }
        if (part.State == MEM_COMMIT) {
            committed += part.RegionSize;
        }
    }
    return committed;
}

static void take_figures(struct replay *replay, const struct places *places)
{
    void *object;
    replay->os_commit_bytes = 0;
    for (UINT32 i = 0; i < replay->plan->regions; i++) {
        if (places->regions[i].base != NULL) {
            replay->os_commit_bytes += committed_bytes(&places->regions[i]);
        }
    }
    replay->statistics = (HOSTMEM_STATISTICS){.Size = sizeof(replay->statistics)};
    if (replay->target.manager != NULL &&
        IHostMemoryManager_QueryInterface(replay->target.manager, &IID_IHostMemoryStatistics,
                                          &object) == S_OK) {
        replay->has_statistics = IHostMemoryStatistics_GetStatistics(
                                     (IHostMemoryStatistics *)object, &replay->statistics) == S_OK;
        IHostMemoryStatistics_Release((IHostMemoryStatistics *)object);
    }
}

/* What the trace left allocated. */
static void give_back(struct replay *replay, const struct places *places)
{
    struct answer ignored;
    for (UINT32 i = 0; i < replay->plan->regions; i++) {
        struct call call = {.method = TRACE_VIRTUAL_FREE, .type = MEM_RELEASE};
        call.address = places->regions[i].base;
        if (call.address != NULL) {
            target_call(&replay->target, &call, &ignored);
        }
    }
    for (UINT32 i = 1; i <= replay->plan->heaps; i++) {
        struct call call = {.method = TRACE_RELEASE_MALLOC, .heap = places->heaps[i]};
        if (call.heap != NULL) {
            target_call(&replay->target, &call, &ignored);
        }
    }
    struct call call = {.method = TRACE_REGISTER_CALLBACK};
    target_call(&replay->target, &call, &ignored);
}

static bool make_places(const struct replay *replay, struct places *places)
{
    places->regions = calloc((size_t)replay->plan->regions + 1, sizeof(*places->regions));
    places->blocks = calloc((size_t)replay->plan->blocks + 1, sizeof(*places->blocks));
    places->heaps = calloc((size_t)replay->plan->heaps + 1, sizeof(*places->heaps));
    places->scratch_bytes = scratch_needed(replay);
    places->scratch =
        VirtualAlloc(NULL, places->scratch_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    return places->regions != NULL && places->blocks != NULL && places->heaps != NULL &&
           places->scratch != NULL;
}

static void free_places(struct places *places)
{
    free(places->regions);
    free(places->blocks);
    free(places->heaps);
    if (places->scratch != NULL) {
        VirtualFree(places->scratch, 0, MEM_RELEASE);
    }
}

bool replay_run(struct replay *replay)
{
    struct places places = {0};
    uint32_t freed = 0;
    bool good = make_places(replay, &places);
    if (good) {
        LARGE_INTEGER begin, end, frequency;
        QueryPerformanceFrequency(&frequency);
        QueryPerformanceCounter(&begin);
        UINT64 begin_ticks = __rdtsc();
        for (size_t i = 0; i < replay->trace->count; i++) {
            replay_step(replay, &places, i, &freed);
        }
        UINT64 ticks = __rdtsc() - begin_ticks;
        QueryPerformanceCounter(&end);
        replay->ns_per_tick = (double)(end.QuadPart - begin.QuadPart) * 1e9 /
                              (double)frequency.QuadPart / (double)(ticks + (ticks == 0));
        take_figures(replay, &places);
        give_back(replay, &places);
    }
    free_places(&places);
    return good;
}
