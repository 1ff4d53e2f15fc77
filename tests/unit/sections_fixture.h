/* SPDX-License-Identifier: MIT
 *
 * A table of sections, used as the binding uses it; `charged` is what the binding would have charged.
 */
#ifndef HOSTMEM_TESTS_SECTIONS_FIXTURE_H
#define HOSTMEM_TESTS_SECTIONS_FIXTURE_H

#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/sections.h"

#include <string.h>

static struct fake_os fake;
static struct sections table;
static uint64_t charged; /* as the binding keeps it */

/* Handles are values of a system. */
enum { FIRST = 0x40, SECOND = 0x44, THIRD = 0x48, FOURTH = 0x4c };

static inline int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    sections_init(&table, &fake.os);
    charged = 0;
    return 0;
}

/* Fails when table memory stays behind, or is not counted. */
static inline int tear_down(void **state)
{
    (void)state;
    assert_sound(sections_check(&table));
    assert_int_equal(usage_current(&table.memory.committed), fake_os_table_committed(&fake));
    sections_destroy(&table);
    return usage_current(&table.memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

/* ---- What the binding does ---- */

static inline void add_reserved(uintptr_t handle, uint64_t size)
{
    charged -= sections_handle_given(&table, handle);
    assert_true(sections_add(&table, handle, size, false));
}

static inline void add_committed(uintptr_t handle, uint64_t size)
{
    charged -= sections_handle_given(&table, handle);
    charged += sections_commit(&table, size);
    assert_true(sections_add(&table, handle, size, true));
}

static inline void given(uintptr_t base, size_t size)
{
    struct section_gone gone;
    while (sections_range_given(&table, base, size, &gone)) {
        assert_int_not_equal(gone.view, 0);
        charged -= gone.bytes;
    }
}

static inline void map(uintptr_t handle, uintptr_t base, size_t size, uint64_t offset)
{
    assert_int_equal(fake_os_add_foreign(&fake, base, size), base);
    given(base, size);
    sections_mapped(&table, handle, base, size, offset);
}

/* As others do it, whom nobody sees. */
static inline void unmap_behind(uintptr_t base)
{
    assert_int_equal(fake.os.virtual_free(&fake.os, base, 0, OS_MEM_RELEASE), OS_OK);
}

/* Whether the system has done it. */
static inline bool unmap(uintptr_t address)
{
    const struct fake_region *region = fake_os_region(&fake, address);
    bool ours = sections_lock_view(&table, address);
    bool done =
        region != NULL && fake.os.virtual_free(&fake.os, region->base, 0, OS_MEM_RELEASE) == OS_OK;
    if (ours) {
        charged -= sections_unmapped(&table, address, done).bytes;
        sections_unlock(&table);
    }
    return done;
}

static inline void close_handle(uintptr_t handle)
{
    assert_true(sections_lock_handle(&table, handle));
    charged -= sections_closed(&table, handle, false);
    sections_unlock(&table);
}

static inline void duplicate(uintptr_t handle, uintptr_t other)
{
    assert_true(sections_lock_handle(&table, handle));
    charged -= sections_duplicated(&table, handle, other);
    sections_unlock(&table);
}

static inline enum section_answer commit(uintptr_t address, size_t size, bool done)
{
    struct section_gone gone;
    struct section_commit change;
    uint64_t bytes = 0;
    bool whole;
    bool ours = sections_commit_size(&table, address, size, &bytes, &whole, &gone);
    charged -= gone.bytes;
    assert_true(ours);
    enum section_answer answer = sections_commit_begin(&table, address, size, bytes, &change);
    if (answer == SECTION_READY) {
        assert_int_equal(change.bytes, bytes);
        sections_commit_end(&table, &change, done);
        charged += done ? bytes : 0;
    }
    return answer;
}

static inline bool is_of_none(uintptr_t address, size_t size)
{
    struct section_gone gone;
    uint64_t bytes;
    bool whole;
    bool ours = sections_commit_size(&table, address, size, &bytes, &whole, &gone);
    charged -= gone.bytes;
    return !ours;
}

static inline bool is_whole(uintptr_t address, size_t size)
{
    struct section_gone gone;
    uint64_t bytes;
    bool whole = false;
    assert_true(sections_commit_size(&table, address, size, &bytes, &whole, &gone));
    return whole;
}

#define VIEW ((uintptr_t)0x10000000)
#define VIEW_2 ((uintptr_t)0x20000000)
#define VIEW_3 ((uintptr_t)0x30000000)

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
