/* SPDX-License-Identifier: MIT
 *
 * Live regions are an array sorted by address, searched by halves. Live blocks are a hash table with
 * open addressing, at most half full; a block that is freed leaves its place marked, because others
 * may lie behind it. The blocks of a heap that is released stay in the table and are dead.
 *
 * The trace is gone through twice. A call that was refused means that others have freed its region only
 * if no later one had success there: of two threads that release it, the one that is refused can have the
 * lower number. The first time finds that last success of each region.
 */
#include "trace/trace_plan.h"

#include <stdio.h>
#include <stdlib.h>

#define MEM_COMMIT_FLAG 0x1000u
#define MEM_RESERVE_FLAG 0x2000u
#define MEM_DECOMMIT_FLAG 0x4000u
#define MEM_RELEASE_FLAG 0x8000u
#define E_INVALID_ADDRESS 0x800701e7u   /* ERROR_INVALID_ADDRESS … */
#define E_INVALID_PARAMETER 0x80070057u /* … and what some systems say instead */
#define E_INVALID_OPERATION                                                                        \
    0x80131022u /* HOST_E_INVALIDOPERATION: no region of the manager's, any more */
#define GRANULARITY 0x10000u

struct live_region {
    uint64_t base;
    uint64_t end;
    uint32_t number;
};

struct live_block {
    uint64_t address; /* 0: the place was never used */
    uint32_t number;  /* TRACE_NONE: freed */
    uint32_t heap;
};

enum heap_state { HEAP_UNKNOWN, HEAP_ALIVE, HEAP_RELEASED };

struct planner {
    const struct trace *trace;
    struct trace_plan *plan;
    struct live_region *regions;
    size_t region_count;
    size_t *last_success; /* by region number: the last step that shows the region to be there */
    bool first_time;
    struct live_block *blocks;
    size_t block_mask;
    unsigned char heaps[TRACE_HEAPS_MAX + 1]; /* enum heap_state */
};

/* ---- Regions ---- */

/* The first region that ends behind `address`. */
static size_t find_place(const struct planner *planner, uint64_t address)
{
    size_t low = 0, high = planner->region_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (planner->regions[middle].end > address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static struct live_region *find_region(struct planner *planner, uint64_t address)
{
    size_t place = find_place(planner, address);
    struct live_region *region = &planner->regions[place];
    return place < planner->region_count && region->base <= address ? region : NULL;
}

static void remove_region(struct planner *planner, const struct live_region *region)
{
    size_t place = (size_t)(region - planner->regions);
    planner->region_count--;
    memmove(&planner->regions[place], &planner->regions[place + 1],
            (planner->region_count - place) * sizeof(planner->regions[0]));
}

/* Others have freed it before this step. */
static void free_region(struct planner *planner, const struct live_region *region, size_t step)
{
    struct trace_plan *plan = planner->plan;
    plan->freed[plan->freed_count++] = (struct trace_freed){step, region->number};
    plan->freed_bytes += region->end - region->base;
    remove_region(planner, region);
}

/* What is wrong, or NULL. */
static const char *add_region(struct planner *planner, uint64_t base, uint64_t end, uint32_t number,
                              size_t step)
{
    if (base == 0 || end <= base) {
        return "reserves memory where none can be";
    }
    size_t place = find_place(planner, base);
    while (place < planner->region_count && planner->regions[place].base < end) {
        free_region(planner, &planner->regions[place], step);
    }
    memmove(&planner->regions[place + 1], &planner->regions[place],
            (planner->region_count - place) * sizeof(planner->regions[0]));
    planner->regions[place] = (struct live_region){base, end, number};
    planner->region_count++;
    return NULL;
}

/* ---- Blocks ---- */

/* The place of the block at `address`, or the one where it can be put. */
static struct live_block *find_block(struct planner *planner, uint64_t address)
{
    size_t place = (size_t)(address * 0x9e3779b97f4a7c15u >> 20) & planner->block_mask;
    while (planner->blocks[place].address != 0 && planner->blocks[place].address != address) {
        place = (place + 1) & planner->block_mask;
    }
    return &planner->blocks[place];
}

static bool is_alive(const struct planner *planner, const struct live_block *block)
{
    return block->address != 0 && block->number != TRACE_NONE &&
           planner->heaps[block->heap] == HEAP_ALIVE;
}

/* ---- Records ---- */

static bool succeeded(const struct trace_record *record)
{
    return record->hresult == 0;
}

/* An address that somebody passes in: a region's, or foreign. */
static void locate(struct planner *planner, const struct trace_record *record,
                   struct trace_step *step)
{
    const struct live_region *region = find_region(planner, record->address);
    if (region != NULL) {
        step->place = TRACE_PLACE_REGION;
        step->number = region->number;
        step->offset = record->address - region->base;
    } else if (record->address != 0) {
        step->place = TRACE_PLACE_FOREIGN;
    }
}

/* Whether a call that was refused means that the region it names is not there: all of it lies inside, and
 * there is nothing else that the system could have against it. */
static bool misses_region(const struct trace_record *record, const struct live_region *region)
{
    uint64_t left = region->end - record->address;
    bool at_base = record->address == region->base;
    if (record->method == TRACE_VIRTUAL_ALLOC) {
        return record->type == MEM_COMMIT_FLAG && record->size - 1 < left &&
               record->hresult == E_INVALID_ADDRESS;
    }
    bool sound = record->type == MEM_RELEASE_FLAG
                     ? at_base && record->size == 0
                     : record->type == MEM_DECOMMIT_FLAG &&
                           (record->size == 0 ? at_base : record->size <= left);
    return sound &&
           (record->hresult == E_INVALID_ADDRESS || record->hresult == E_INVALID_PARAMETER ||
            record->hresult == E_INVALID_OPERATION);
}

/* After a commit, decommit or release of pages at an address: whether its region was there. */
static void judge_region(struct planner *planner, const struct trace_record *record,
                         struct trace_step *step)
{
    size_t index = (size_t)(step - planner->plan->steps);
    const struct live_region *region = find_region(planner, record->address);
    if (region == NULL) {
        return;
    }
    if (succeeded(record)) {
        planner->last_success[region->number] = index;
    } else if (!planner->first_time && index > planner->last_success[region->number] &&
               misses_region(record, region)) {
        if (record->hresult == E_INVALID_OPERATION) {
            *step = (struct trace_step){.made = TRACE_NONE, .place = TRACE_PLACE_FOREIGN};
        }
        free_region(planner, region, index);
    }
}

/* A wish for an address is not kept when it was granted: the place may be taken in the replay. One
 * that was refused was for a place that is taken, and a replay has such places too. */
static const char *plan_virtual_alloc(struct planner *planner, const struct trace_record *record,
                                      struct trace_step *step)
{
    uint64_t page = planner->trace->header.page_bytes;
    bool reserves = (record->type & MEM_RESERVE_FLAG) != 0 ||
                    (record->address == 0 && (record->type & MEM_COMMIT_FLAG) != 0);
    if (!succeeded(record) || !reserves) {
        locate(planner, record, step);
        judge_region(planner, record, step);
        return NULL;
    }
    uint64_t begin = record->address != 0 ? record->address : record->result;
    uint64_t end = begin + record->size;
    if (end < begin || end > UINT64_MAX - page) {
        return "reserves memory where none can be";
    }
    if (record->result != (begin & ~(uint64_t)(GRANULARITY - 1))) {
        return "reserves memory at another address than it asked for";
    }
    step->offset = begin - record->result;
    step->made = planner->plan->regions++;
    return add_region(planner, record->result, (end + page - 1) & ~(page - 1), step->made,
                      (size_t)(step - planner->plan->steps));
}

static const char *plan_virtual_free(struct planner *planner, const struct trace_record *record,
                                     struct trace_step *step)
{
    locate(planner, record, step);
    judge_region(planner, record, step);
    if (!succeeded(record) || (record->type & MEM_RELEASE_FLAG) == 0) {
        return NULL;
    }
    if (step->place != TRACE_PLACE_REGION || step->offset != 0) {
        return "releases memory that was not reserved";
    }
    remove_region(planner, find_region(planner, record->address));
    return NULL;
}

static const char *plan_alloc(struct planner *planner, const struct trace_record *record,
                              struct trace_step *step)
{
    if (!succeeded(record)) {
        return NULL;
    }
    if (record->result == 0) {
        return "allocates a block without an address";
    }
    struct live_block *block = find_block(planner, record->result);
    if (is_alive(planner, block)) {
        return "allocates a block that is allocated already";
    }
    step->made = planner->plan->blocks++;
    *block = (struct live_block){record->result, step->made, record->type};
    return NULL;
}

static const char *plan_free(struct planner *planner, const struct trace_record *record,
                             struct trace_step *step)
{
    if (record->address == 0) {
        return NULL;
    }
    struct live_block *block = find_block(planner, record->address);
    if (is_alive(planner, block) && block->heap == record->type) {
        step->place = TRACE_PLACE_BLOCK;
        step->number = block->number;
        if (succeeded(record)) {
            block->number = TRACE_NONE;
        }
        return NULL;
    }
    step->place = TRACE_PLACE_FOREIGN;
    return succeeded(record) ? "frees a block that was not allocated" : NULL;
}

static const char *plan_create_malloc(struct planner *planner, const struct trace_record *record)
{
    if (!succeeded(record)) {
        return NULL;
    }
    if (record->result == 0 || record->result > TRACE_HEAPS_MAX ||
        planner->heaps[record->result] != HEAP_UNKNOWN) {
        return "makes a heap with a number that none can have";
    }
    planner->heaps[record->result] = HEAP_ALIVE;
    if (record->result > planner->plan->heaps) {
        planner->plan->heaps = (uint32_t)record->result;
    }
    return NULL;
}

static bool uses_a_heap(const struct trace_record *record)
{
    return record->method == TRACE_ALLOC || record->method == TRACE_DEBUG_ALLOC ||
           record->method == TRACE_FREE || record->method == TRACE_RELEASE_MALLOC;
}

static const char *plan_record(struct planner *planner, const struct trace_record *record,
                               struct trace_step *step)
{
    *step = (struct trace_step){.made = TRACE_NONE};
    if (uses_a_heap(record) &&
        (record->type > TRACE_HEAPS_MAX || planner->heaps[record->type] != HEAP_ALIVE)) {
        return "uses a heap that is not there";
    }
    switch (record->method) {
    case TRACE_CREATE_MALLOC:
        return plan_create_malloc(planner, record);
    case TRACE_VIRTUAL_ALLOC:
        return plan_virtual_alloc(planner, record, step);
    case TRACE_VIRTUAL_FREE:
        return plan_virtual_free(planner, record, step);
    case TRACE_VIRTUAL_QUERY:
    case TRACE_VIRTUAL_PROTECT:
        locate(planner, record, step);
        return NULL;
    case TRACE_ALLOC:
    case TRACE_DEBUG_ALLOC:
        return plan_alloc(planner, record, step);
    case TRACE_FREE:
        return plan_free(planner, record, step);
    case TRACE_RELEASE_MALLOC:
        planner->heaps[record->type] = HEAP_RELEASED;
        return NULL;
    default:
        return NULL; /* the rest names no memory that a manager gave out */
    }
}

/* ---- The plan ---- */

/* Room for what the whole trace makes, so that nothing has to grow. */
static bool prepare(struct planner *planner)
{
    size_t regions = 1, blocks = 1, capacity = 2;
    for (size_t i = 0; i < planner->trace->count; i++) {
        unsigned method = planner->trace->records[i].method;
        regions += method == TRACE_VIRTUAL_ALLOC;
        blocks += method == TRACE_ALLOC || method == TRACE_DEBUG_ALLOC || method == TRACE_FREE;
    }
    while (capacity < 2 * blocks) {
        capacity *= 2;
    }
    planner->block_mask = capacity - 1;
    planner->regions = calloc(regions, sizeof(*planner->regions));
    planner->last_success = calloc(regions, sizeof(*planner->last_success));
    planner->blocks = calloc(capacity, sizeof(*planner->blocks));
    planner->plan->steps = calloc(planner->trace->count + 1, sizeof(*planner->plan->steps));
    planner->plan->freed = calloc(regions, sizeof(*planner->plan->freed));
    return planner->regions != NULL && planner->last_success != NULL && planner->blocks != NULL &&
           planner->plan->steps != NULL && planner->plan->freed != NULL;
}

/* Once through the trace, from the beginning. */
static bool plan_once(struct planner *planner, struct trace_error *error)
{
    struct trace_plan *plan = planner->plan;
    *plan = (struct trace_plan){.steps = plan->steps, .freed = plan->freed};
    planner->region_count = 0;
    memset(planner->blocks, 0, (planner->block_mask + 1) * sizeof(*planner->blocks));
    memset(planner->heaps, HEAP_UNKNOWN, sizeof(planner->heaps));
    for (size_t i = 0; i < planner->trace->count; i++) {
        const struct trace_record *record = &planner->trace->records[i];
        const char *wrong = plan_record(planner, record, &plan->steps[i]);
        if (wrong != NULL) {
            snprintf(error->text, sizeof(error->text), "makes no sense: its call %u, %s, %s",
                     (unsigned)record->sequence, trace_method_name(record->method), wrong);
            return false;
        }
    }
    return true;
}

static bool plan_all(struct planner *planner, struct trace_error *error)
{
    if (!prepare(planner)) {
        snprintf(error->text, sizeof(error->text), "is too large for the memory there is");
        return false;
    }
    planner->first_time = true;
    if (!plan_once(planner, error)) {
        return false;
    }
    planner->first_time = false;
    return plan_once(planner, error);
}

bool trace_plan_make(const struct trace *trace, struct trace_plan *plan, struct trace_error *error)
{
    *plan = (struct trace_plan){0};
    struct planner *planner = calloc(1, sizeof(*planner));
    if (planner == NULL) {
        snprintf(error->text, sizeof(error->text), "is too large for the memory there is");
        return false;
    }
    planner->trace = trace;
    planner->plan = plan;
    bool good = plan_all(planner, error);
    free(planner->regions);
    free(planner->last_success);
    free(planner->blocks);
    free(planner);
    if (!good) {
        trace_plan_free(plan);
    }
    return good;
}

void trace_plan_free(struct trace_plan *plan)
{
    free(plan->steps);
    free(plan->freed);
    *plan = (struct trace_plan){0};
}
