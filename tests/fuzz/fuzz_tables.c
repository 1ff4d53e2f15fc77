/* SPDX-License-Identifier: MIT
 *
 * Two tables of the core against naive models: a page set against an array of bools, a slot map
 * against an array of ids. The first byte chooses one.
 */
#include "input.h"

#include "core/pages/page_set.h"
#include "core/pages/slot_map.h"
#include "support/fake_os.h"
#include "support/sizes.h"

#include <string.h>

static struct fake_os fake;
static struct table_memory memory;

/* Now and then a table gets no memory. */
static void fail_sometimes(void)
{
    fake_os_fail(&fake, FAKE_ANY_KIND, input_below(16) == 0 ? 1 + input_below(2) : 0);
}

/* ---- page set ---- */

#define MAX_PAGES 3000 /* a root and three leaves */

static struct page_pool pool;
static struct page_set set;
static bool pages[MAX_PAGES];

static void compare_pages(size_t count)
{
    size_t first = 0, end = 0, committed = 0, at = 0;
    REQUIRE(page_set_check(&set, count) == NULL);
    while (page_set_next_run(&set, count, &first, &end)) {
        for (; at < first; at++) {
            REQUIRE(!pages[at]);
        }
        for (; at < end; at++) {
            REQUIRE(pages[at]);
        }
        committed += end - first;
    }
    for (; at < count; at++) {
        REQUIRE(!pages[at]);
    }
    REQUIRE(committed == set.committed);
}

static void fuzz_page_set(void)
{
    size_t count = 1 + input_below(MAX_PAGES);
    bool all = input_below(2) != 0;
    memset(pages, all, sizeof(pages));
    fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    REQUIRE(page_pool_create(&pool, &memory) == OS_OK);
    REQUIRE(page_set_init(&set, count, all, &pool));
    while (input_left > 0) {
        bool value = input_below(2) != 0;
        size_t first = input_below(count), end = first + 1 + input_below(count - first), known = 0;
        for (size_t i = first; i < end; i++) {
            known += pages[i];
        }
        REQUIRE(page_set_count(&set, count, first, end) == known);
        bool apply = input_below(8) != 0;
        struct page_change change;
        fail_sometimes();
        if (!value) {
            page_set_prepare_clear(&set, count, first, end, &change);
        } else if (!page_set_prepare_mark(&set, count, first, end, &pool, &change)) {
            compare_pages(count);
            continue;
        }
        if (apply) {
            page_set_apply(&set, count, &change, &pool);
            memset(pages + first, value, end - first);
        } else {
            page_set_cancel(&change, &pool);
        }
        compare_pages(count);
    }
    page_set_dispose(&set, count, &pool);
    REQUIRE(pool.promised == 0);
    page_pool_destroy(&pool);
}

/* ---- slot map ---- */

#define NODE_UNIT ((size_t)1 << (SLOT_SHIFT + SLOT_NODE_SHIFT))
#define FIRST ((uintptr_t)4 * NODE_UNIT - 8 * SLOT) /* a border, and a whole unit behind */
#define SLOTS (16 + SLOT_NODE_WORDS)

static struct slot_map slots;
static uint32_t ids[SLOTS];          /* of each slot */
static size_t first_slot[SLOTS + 1]; /* of each id, */
static size_t slot_count[SLOTS + 1]; /* and how many; 0 where the id is free */

static void range_of(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last)
{
    (void)owner;
    REQUIRE(slot_count[id] != 0);
    *first = FIRST + first_slot[id] * SLOT;
    *last = *first + slot_count[id] * SLOT - 1;
}

/* Each slot leads to its region. Who is in none may be sent to one that is alone; not in an exact map. */
static void compare_slots(bool exact)
{
    uintptr_t at = FIRST, last = 0;
    size_t slot = 0;
    for (uint32_t id; (id = slot_map_next(&slots, &at, UINTPTR_MAX, &last)) != 0; at = last + 1) {
        for (; slot < SLOTS && FIRST + slot * SLOT < at; slot++) {
            REQUIRE(ids[slot] == 0);
        }
        for (; slot < SLOTS && FIRST + slot * SLOT <= last; slot++) {
            REQUIRE(ids[slot] == id || (!exact && ids[slot] == 0));
            REQUIRE(slot_map_get(&slots, FIRST + slot * SLOT) == id);
        }
    }
    for (; slot < SLOTS; slot++) {
        REQUIRE(ids[slot] == 0);
    }
    REQUIRE(slot_map_check(&slots) == NULL);
}

static void fuzz_slot_map(void)
{
    bool exact = input_below(2) != 0;
    memset(ids, 0, sizeof(ids));
    memset(slot_count, 0, sizeof(slot_count));
    fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    REQUIRE(slot_map_create(&slots, &memory, exact ? NULL : range_of, NULL) == OS_OK);
    while (input_left > 0) {
        size_t most = 1 + (input_below(8) == 0 ? input_below(SLOTS) : input_below(16));
        size_t slot = input_below(SLOTS), end = slot;
        uint32_t id = ids[slot];
        /* A region covers free slots only, and goes as a whole. */
        if (id != 0) {
            slot_map_clear(&slots, FIRST + first_slot[id] * SLOT, slot_count[id] * SLOT, id);
            memset(&ids[first_slot[id]], 0, slot_count[id] * sizeof(ids[0]));
            slot_count[id] = 0;
        } else {
            while (end < slot + most && end < SLOTS && ids[end] == 0) {
                end++;
            }
            for (id = 1; slot_count[id] != 0;) {
                id++;
            }
            first_slot[id] = slot;
            slot_count[id] = end - slot;
            size_t bytes = (end - slot) * SLOT - input_below(SLOT);
            fail_sometimes();
            if (slot_map_set(&slots, FIRST + slot * SLOT, bytes, id) == OS_OK) {
                for (size_t i = slot; i < end; i++) {
                    ids[i] = id;
                }
            } else {
                slot_count[id] = 0;
            }
        }
        compare_slots(exact);
    }
    slot_map_destroy(&slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const targets[])(void) = {fuzz_page_set, fuzz_slot_map};
    input_bytes = data;
    input_left = size;
    fake_os_init(&fake, SLOT, 8 * GIB - 1);
    memory = (struct table_memory){.os = &fake.os};
    targets[input_below(2)]();
    REQUIRE(usage_current(&memory.committed) == 0);
    REQUIRE(fake_os_destroy(&fake) == 0);
    return 0;
}
