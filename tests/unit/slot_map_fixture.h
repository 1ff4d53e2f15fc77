/* SPDX-License-Identifier: MIT
 *
 * A slot map over a fake OS, with the range of every id: where ids may be alone in a unit the map asks
 * for it, an exact map (range_of NULL) writes every slot.
 */
#ifndef HOSTMEM_TESTS_SLOT_MAP_FIXTURE_H
#define HOSTMEM_TESTS_SLOT_MAP_FIXTURE_H

#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/slot_map.h"

#include <string.h>

#define NODE_UNIT ((uintptr_t)1 << (SLOT_SHIFT + SLOT_NODE_SHIFT)) /* 32 MiB */
#define IDS 2048

struct range {
    uintptr_t base;
    size_t size;
};

struct fixture {
    struct fake_os fake;
    struct table_memory memory;
    struct slot_map map;
    struct range ranges[IDS]; /* by id */
};

static struct fixture fixture;

static inline void range_of(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last)
{
    const struct range *range = &((const struct fixture *)owner)->ranges[id];
    *first = range->base;
    *last = range->base + range->size - 1;
}

static inline void create(uintptr_t max_address, slot_map_range *of)
{
    fake_os_init(&fixture.fake, SLOT, max_address);
    fixture.memory = (struct table_memory){.os = &fixture.fake.os};
    assert_int_equal(slot_map_create(&fixture.map, &fixture.memory, of, &fixture), OS_OK);
}

static inline void create_exact(uintptr_t max_address)
{
    create(max_address, NULL);
}

static inline void create_up_to(uintptr_t max_address)
{
    create(max_address, range_of);
}

static inline size_t table_bytes(void)
{
    assert_int_equal(usage_current(&fixture.memory.committed),
                     fake_os_table_committed(&fixture.fake));
    return fake_os_table_committed(&fixture.fake);
}

/* Nodes in the tree. */
static inline size_t nodes(void)
{
    size_t free = 0;
    assert_sound(slot_map_check(&fixture.map));
    for (uint32_t i = fixture.map.free_head; i != 0; i = fixture.map.nodes[i - 1].next_free) {
        free++;
    }
    return fixture.map.node_count - free;
}

static inline void destroy(void)
{
    assert_sound(slot_map_check(&fixture.map));
    slot_map_destroy(&fixture.map);
    assert_int_equal(usage_current(&fixture.memory.committed), 0);
    assert_int_equal(fake_os_destroy(&fixture.fake), 0);
}

static inline void set(uintptr_t base, size_t size, uint32_t id)
{
    fixture.ranges[id] = (struct range){base, size};
    assert_int_equal(slot_map_set(&fixture.map, base, size, id), OS_OK);
}

static inline void clear(uint32_t id)
{
    slot_map_clear(&fixture.map, fixture.ranges[id].base, fixture.ranges[id].size, id);
}

/* First and last address of the range lead to `id`; the addresses beside it to the neighbours. */
static inline void assert_range(uintptr_t base, size_t size, uint32_t id, uint32_t below,
                                uint32_t above)
{
    uintptr_t end = (base + size + SLOT - 1) & ~(SLOT - 1);
    assert_int_equal(slot_map_get(&fixture.map, base), id);
    assert_int_equal(slot_map_get(&fixture.map, base + size / 2), id);
    assert_int_equal(slot_map_get(&fixture.map, end - 1), id);
    assert_int_equal(slot_map_get(&fixture.map, base - 1), below);
    assert_int_equal(slot_map_get(&fixture.map, end), above);
}

#endif
