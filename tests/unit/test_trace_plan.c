/* SPDX-License-Identifier: MIT
 *
 * The plan of a replay: which memory each call of a trace is about, and records that make no sense.
 */
#include "unit/trace_fixture.h"

#include "support/random.h"
#include "trace/trace_plan.h"

/* A plan of a file that can be read. */
static void plan_file(const struct file *file, struct trace *trace, struct trace_plan *plan)
{
    struct trace_error error;
    if (!read_file(file, 0, trace, &error) || !trace_plan_make(trace, plan, &error)) {
        fail_msg("%s", error.text);
    }
}

static void expect_senseless(const struct file *file, const char *why)
{
    struct trace trace;
    struct trace_plan plan;
    struct trace_error error;
    assert_true(read_file(file, 0, &trace, &error));
    assert_false(trace_plan_make(&trace, &plan, &error));
    if (strstr(error.text, why) == NULL) {
        fail_msg("expected \"%s\", got \"%s\"", why, error.text);
    }
    assert_null(plan.steps);
    trace_free(&trace);
}

static void an_empty_trace_is_one(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    plan_file(&file, &trace, &plan);
    assert_int_equal(trace.count, 0);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void addresses_become_numbers_and_offsets(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    make_good_file(&file);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 1);
    assert_int_equal(plan.blocks, 1);
    assert_int_equal(plan.heaps, 1);
    assert_int_equal(plan.steps[1].made, 0);
    assert_int_equal(plan.steps[1].place, TRACE_PLACE_NULL);
    assert_int_equal(plan.steps[2].made, TRACE_NONE);
    assert_int_equal(plan.steps[2].place, TRACE_PLACE_REGION);
    assert_int_equal(plan.steps[2].offset, 2 * PAGE);
    assert_int_equal(plan.steps[3].made, 0);
    assert_int_equal(plan.steps[4].offset, 100);
    assert_int_equal(plan.steps[6].place, TRACE_PLACE_BLOCK);
    assert_int_equal(plan.steps[7].place, TRACE_PLACE_FOREIGN);
    assert_int_equal(plan.steps[8].place, TRACE_PLACE_REGION);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void an_address_that_is_given_out_again_is_other_memory(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 2);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE | COMMIT, BASE);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, COMMIT,
        BASE); /* reserves too, for it has no address */
    add(&file, TRACE_VIRTUAL_FREE, BASE + PAGE - 1, 1, DECOMMIT, 0);
    add(&file, TRACE_ALLOC, 0, 8, 1, 0x5000);
    add(&file, TRACE_FREE, 0x5000, 0, 1, 0);
    add(&file, TRACE_DEBUG_ALLOC, 0, 8, 2, 0x5000);
    add(&file, TRACE_RELEASE_MALLOC, 0, 0, 2, 0); /* and its block with it */
    add(&file, TRACE_ALLOC, 0, 8, 1, 0x5000);
    add(&file, TRACE_FREE, 0x5000, 0, 1, 0);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 2);
    assert_int_equal(plan.steps[5].number, 1);
    assert_int_equal(plan.blocks, 3);
    assert_int_equal(plan.steps[7].number, 0);
    assert_int_equal(plan.steps[11].number, 2);
    trace_plan_free(&plan);
    trace_free(&trace);
}

/* A wish for an address inside a granule: the region begins with the granule. */
static void a_granted_wish_keeps_its_distance_from_the_base(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_VIRTUAL_ALLOC, BASE + PAGE, PAGE, RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_QUERY, BASE + 2 * PAGE - 1, 48, 0, 48);
    add(&file, TRACE_VIRTUAL_QUERY, BASE + 2 * PAGE, 48, 0, 48);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.steps[0].place, TRACE_PLACE_NULL);
    assert_int_equal(plan.steps[0].offset, PAGE);
    assert_int_equal(plan.steps[1].place, TRACE_PLACE_REGION);
    assert_int_equal(plan.steps[2].place, TRACE_PLACE_FOREIGN);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void what_was_refused_changed_nothing(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
    fails(&file, add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, 0), 0x8007000e);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, PAGE, RELEASE, 0), 0x80070057);
    fails(&file, add(&file, TRACE_FREE, 0x5000, 0, 1, 0), 0x80131022);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 1);
    assert_int_equal(plan.steps[1].made, TRACE_NONE);
    assert_int_equal(plan.steps[4].place, TRACE_PLACE_FOREIGN);
    trace_plan_free(&plan);
    trace_free(&trace);
}

/* ---- Freed by others ---- */

#define INVALID_ADDRESS 0x800701e7u
#define INVALID_PARAMETER 0x80070057u
#define INVALID_OPERATION 0x80131022u

/* The plan says that others freed these regions, each before that step, and nothing else. */
static void expect_freed(struct file *file, const struct trace_freed *freed, uint32_t count,
                         uint64_t bytes, struct trace_step *steps)
{
    struct trace trace;
    struct trace_plan plan;
    plan_file(file, &trace, &plan);
    assert_int_equal(plan.freed_count, count);
    assert_int_equal(plan.freed_bytes, bytes);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(plan.freed[i].step, freed[i].step);
        assert_int_equal(plan.freed[i].region, freed[i].region);
    }
    memcpy(steps, plan.steps, trace.count * sizeof(*steps));
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void what_is_reserved_again_was_freed_by_others(void **state)
{
    const struct trace_freed freed[] = {{2, 0}, {2, 1}, {5, 3}};
    struct trace_step steps[MOST];
    struct file file;
    (void)state;
    begin(&file);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, SLOT, RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, SLOT, RESERVE, BASE + SLOT);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, 4 * SLOT, RESERVE, BASE - SLOT);
    add(&file, TRACE_VIRTUAL_FREE, BASE - SLOT, 0, RELEASE, 0);
    add(&file, TRACE_VIRTUAL_ALLOC, BASE, 9 * PAGE, COMMIT | RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_ALLOC, BASE, 9 * PAGE, COMMIT | RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    expect_freed(&file, freed, 3, 2 * SLOT + 9 * PAGE, steps);
    assert_int_equal(steps[3].number, 2);
    assert_int_equal(steps[6].number, 4);
}

/* What is refused of a region that is there, by its arguments, by a limit, or for a moment, says nothing. */
static void a_refusal_tells_of_others_only_if_nothing_else_explains_it(void **state)
{
    static const struct {
        enum trace_method method;
        uint64_t address, size;
        uint32_t type, hresult;
        bool freed;
        enum trace_place place;
    } calls[] = {
        {TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, INVALID_ADDRESS, true, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, INVALID_PARAMETER, true, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, INVALID_OPERATION, true, TRACE_PLACE_FOREIGN},
        {TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0x80004005, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE, PAGE, RELEASE, INVALID_PARAMETER, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE + PAGE, 0, RELEASE, INVALID_OPERATION, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE, 0, DECOMMIT, INVALID_PARAMETER, true, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE + PAGE, 0, DECOMMIT, INVALID_PARAMETER, false,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE + PAGE, 19 * PAGE, DECOMMIT, INVALID_ADDRESS, true,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE + PAGE, 19 * PAGE + 1, DECOMMIT, INVALID_ADDRESS, false,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_FREE, BASE + PAGE, PAGE, DECOMMIT | RELEASE, INVALID_PARAMETER, false,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE + PAGE, 19 * PAGE, COMMIT, INVALID_ADDRESS, true,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE + PAGE, 19 * PAGE + 1, COMMIT, INVALID_ADDRESS, false,
         TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE + PAGE, 0, COMMIT, INVALID_ADDRESS, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE, PAGE, COMMIT, INVALID_PARAMETER, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE, PAGE, COMMIT, 0x8007000e, false, TRACE_PLACE_REGION},
        {TRACE_VIRTUAL_ALLOC, BASE, PAGE, RESERVE, INVALID_ADDRESS, false, TRACE_PLACE_REGION},
    };
    const struct trace_freed freed = {1, 0};
    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct trace_step steps[MOST];
        struct file file;
        begin(&file);
        add(&file, TRACE_VIRTUAL_ALLOC, 0, 20 * PAGE, RESERVE, BASE);
        fails(&file, add(&file, calls[i].method, calls[i].address, calls[i].size, calls[i].type, 0),
              calls[i].hresult);
        add(&file, TRACE_VIRTUAL_QUERY, BASE + PAGE, 48, 0, 48);
        expect_freed(&file, &freed, calls[i].freed, calls[i].freed ? 20 * PAGE : 0, steps);
        assert_int_equal(steps[1].place, calls[i].place);
        assert_int_equal(steps[2].place, calls[i].freed ? TRACE_PLACE_FOREIGN : TRACE_PLACE_REGION);
    }
}

/* Of two threads that release it, the one that came too late has the lower number. */
static void a_region_in_which_a_later_call_succeeds_was_there(void **state)
{
    const struct trace_freed freed = {6, 1};
    struct trace_step steps[MOST];
    struct file file;
    (void)state;
    begin(&file);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, 20 * PAGE, RESERVE, BASE);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0), INVALID_OPERATION);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, 20 * PAGE, RESERVE, BASE);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, PAGE, DECOMMIT, 0), INVALID_PARAMETER);
    add(&file, TRACE_VIRTUAL_ALLOC, BASE, PAGE, COMMIT, BASE);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, PAGE, DECOMMIT, 0), INVALID_PARAMETER);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0), INVALID_OPERATION);
    expect_freed(&file, &freed, 1, 20 * PAGE, steps);
    assert_int_equal(steps[1].place, TRACE_PLACE_REGION);
    assert_int_equal(steps[7].place, TRACE_PLACE_FOREIGN);
}

static void what_no_memory_manager_does_is_refused(void **state)
{
    static const struct {
        const char *why;
        enum trace_method method;
        uint64_t address, size;
        uint32_t type;
        uint64_t result;
    } calls[] = {
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, 0},
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, 0, RESERVE, 2 * BASE},
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, UINT64_MAX - 2 * BASE,
         RESERVE, 2 * BASE},
        {"reserves memory at another address", TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE + 1},
        {"reserves memory at another address", TRACE_VIRTUAL_ALLOC, 2 * BASE, PAGE, RESERVE,
         3 * BASE},
        {"releases memory that was not reserved", TRACE_VIRTUAL_FREE, 2 * BASE, 0, RELEASE, 0},
        {"releases memory that was not reserved", TRACE_VIRTUAL_FREE, BASE + PAGE, 0, RELEASE, 0},
        {"allocates a block that is allocated already", TRACE_ALLOC, 0, 1, 1, 0x5000},
        {"allocates a block without an address", TRACE_ALLOC, 0, 1, 1, 0},
        {"frees a block that was not allocated", TRACE_FREE, 0x6000, 0, 1, 0},
        {"uses a heap that is not there", TRACE_ALLOC, 0, 1, 2, 0x6000},
        {"uses a heap that is not there", TRACE_FREE, 0x5000, 0, 0, 0},
        {"uses a heap that is not there", TRACE_RELEASE_MALLOC, 0, 0, UINT32_MAX, 0},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 1},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 0},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 65537},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct file file;
        begin(&file);
        add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
        add(&file, TRACE_VIRTUAL_ALLOC, 0, MIB, RESERVE, BASE);
        add(&file, TRACE_ALLOC, 0, 1, 1, 0x5000);
        add(&file, calls[i].method, calls[i].address, calls[i].size, calls[i].type,
            calls[i].result);
        expect_senseless(&file, calls[i].why);
    }
}

/* Any field of any record replaced by something: whatever it is, it is read or refused, and what a
 * plan says lies inside what it says there is. */
static void records_with_any_content_are_planned_or_refused(void **state)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     PAGE,
                                     BASE,
                                     BASE + PAGE,
                                     2,
                                     UINT32_MAX,
                                     UINT64_MAX,
                                     UINT64_MAX - 1,
                                     (uint64_t)1 << 63,
                                     BASE + 20 * PAGE,
                                     0x5000,
                                     65536,
                                     65537};
    struct random random = {20};
    unsigned planned = 0, refused = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct file file;
        struct trace trace;
        struct trace_plan plan;
        struct trace_error error;
        make_good_file(&file);
        for (unsigned changes = 1 + (unsigned)random_below(&random, 3); changes > 0; changes--) {
            unsigned index = (unsigned)random_below(&random, file.count);
            struct trace_record *record = &file.records[index];
            uint64_t value = edges[random_below(&random, sizeof(edges) / sizeof(edges[0]))];
            switch (random_below(&random, 6)) {
            case 0:
                record->address = value;
                break;
            case 1:
                record->size = value;
                break;
            case 2:
                record->result = value;
                break;
            case 3:
                record->type = (uint32_t)value;
                break;
            case 4:
                record->hresult = (uint32_t)value;
                break;
            default:
                record->method = (uint8_t)(value % TRACE_METHOD_COUNT);
                break;
            }
            seal(&file, index);
        }
        assert_true(read_file(&file, 0, &trace, &error));
        if (trace_plan_make(&trace, &plan, &error)) {
            planned++;
            for (uint32_t i = 0; i < plan.freed_count; i++) {
                assert_true(plan.freed[i].region < plan.regions &&
                            plan.freed[i].step < trace.count);
            }
            for (size_t i = 0; i < trace.count; i++) {
                const struct trace_step *step = &plan.steps[i];
                assert_true(step->place != TRACE_PLACE_REGION || step->number < plan.regions);
                assert_true(step->place != TRACE_PLACE_BLOCK || step->number < plan.blocks);
                assert_true(step->made == TRACE_NONE || step->made < plan.regions + plan.blocks);
            }
            trace_plan_free(&plan);
        } else {
            refused++;
        }
        trace_free(&trace);
    }
    assert_true(planned > 1000 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_trace_is_one),
        cmocka_unit_test(addresses_become_numbers_and_offsets),
        cmocka_unit_test(an_address_that_is_given_out_again_is_other_memory),
        cmocka_unit_test(a_granted_wish_keeps_its_distance_from_the_base),
        cmocka_unit_test(what_was_refused_changed_nothing),
        cmocka_unit_test(what_is_reserved_again_was_freed_by_others),
        cmocka_unit_test(a_refusal_tells_of_others_only_if_nothing_else_explains_it),
        cmocka_unit_test(a_region_in_which_a_later_call_succeeds_was_there),
        cmocka_unit_test(what_no_memory_manager_does_is_refused),
        cmocka_unit_test(records_with_any_content_are_planned_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
