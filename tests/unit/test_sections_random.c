/* SPDX-License-Identifier: MIT
 *
 * The table of sections against a naive model, which has a bool for every page, over many random
 * operations; what others unmap is among them.
 */
#include "unit/sections_fixture.h"

enum { SECTIONS = 12, PAGES = 48, PLACES = 24, HANDLES = 30, STEPS = 200000 };

static struct naive {
    int names;
    bool committed[PAGES];
    bool whole;
} naive[SECTIONS];
static int handle_of[HANDLES]; /* -1: closed */
static struct {
    int section, first;
} view_of[PLACES]; /* likewise */

static uint64_t naive_charge(void)
{
    uint64_t pages = 0;
    for (int i = 0; i < SECTIONS; i++) {
        for (int page = 0; naive[i].names > 0 && page < PAGES; page++) {
            pages += naive[i].committed[page];
        }
    }
    return pages * PAGE;
}

static uintptr_t place(size_t i)
{
    return VIEW + i * 4 * SLOT;
}

static void random_handle_step(struct random *random)
{
    size_t handle = random_below(random, HANDLES), other = random_below(random, HANDLES);
    int section = (int)random_below(random, SECTIONS);
    uintptr_t value = FIRST + 4 * handle;
    if (handle_of[handle] < 0 && naive[section].names == 0) {
        bool whole = random_below(random, 4) == 0;
        naive[section] = (struct naive){.names = 1, .whole = whole};
        memset(naive[section].committed, whole, sizeof(naive[section].committed));
        (whole ? add_committed : add_reserved)(value, PAGES * PAGE);
        handle_of[handle] = section;
    } else if (handle_of[handle] >= 0 && handle_of[other] < 0) {
        duplicate(value, FIRST + 4 * other);
        handle_of[other] = handle_of[handle];
        naive[handle_of[other]].names++;
    } else if (handle_of[handle] >= 0) {
        close_handle(value);
        naive[handle_of[handle]].names--;
        handle_of[handle] = -1;
    }
}

static void random_view_step(struct random *random)
{
    size_t i = random_below(random, PLACES), handle = random_below(random, HANDLES);
    int first = (int)random_below(random, 3) * 16, section = view_of[i].section;
    if (section < 0 && handle_of[handle] >= 0) {
        map(FIRST + 4 * handle, place(i), SLOT, (uint64_t)first * PAGE);
        view_of[i].section = handle_of[handle];
        view_of[i].first = first;
        naive[handle_of[handle]].names++;
    } else if (section >= 0 && random_below(random, 3) == 0) {
        assert_true(unmap(place(i) + random_below(random, SLOT)));
        naive[section].names--;
        view_of[i].section = -1;
    } else if (section >= 0 && !naive[section].whole) {
        size_t page = random_below(random, 16), count = 1 + random_below(random, 20);
        assert_int_equal(commit(place(i) + page * PAGE, count * PAGE, true), SECTION_READY);
        for (; count > 0 && page < 16; count--, page++) {
            naive[section].committed[(size_t)view_of[i].first + page] = true;
        }
    }
}

/* What others free is found at the next touch: that is this one. */
static void random_step_behind(struct random *random)
{
    size_t i = random_below(random, PLACES);
    if (view_of[i].section < 0) {
        return;
    }
    unmap_behind(place(i));
    naive[view_of[i].section].names--;
    view_of[i].section = -1;
    switch (random_below(random, 3)) {
    case 0:
        assert_false(unmap(place(i)));
        break;
    case 1:
        assert_true(is_of_none(place(i) + PAGE, PAGE));
        break;
    default:
        given(place(i) - SLOT, 3 * SLOT);
    }
}

static void agrees_with_a_naive_model_over_many_random_operations(void **state)
{
    struct random random = {random_seed("test_sections")};
    (void)state;
    memset(naive, 0, sizeof(naive));
    memset(handle_of, -1, sizeof(handle_of));
    memset(view_of, -1, sizeof(view_of));
    for (size_t i = 0; i < STEPS; i++) {
        switch (random_below(&random, 8)) {
        case 0:
        case 1:
        case 2:
            random_handle_step(&random);
            break;
        case 3:
            random_step_behind(&random);
            break;
        default:
            random_view_step(&random);
        }
        assert_int_equal(charged, naive_charge());
        if (i % 64 == 0) {
            assert_sound(sections_check(&table));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(agrees_with_a_naive_model_over_many_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
