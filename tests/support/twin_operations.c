/* SPDX-License-Identifier: MIT
 *
 * See twin_operations.h.
 */
#include "support/twin_operations.h"

#include "core/pages/virtual_memory.h"
#include "support/fake_os.h"
#include "support/sizes.h"

#define MAX_LIVE 40
#define MAX_LIVE_WITH_FAILURES 8 /* all are compared so often */

static struct fake_os fake;
static struct fake_os twin;
static struct budget budget;
static struct virtual_memory memory;
static struct budget_limits limits;
static struct fake_plan plan;
static bool inject;
static size_t max_live;
static twin_chooser *choose;
static struct twin_totals totals;

static _Noreturn void fail_here(const char *what)
{
    fprintf(stderr, "operation %" PRIu64 ": %s\n", totals.operations, what);
    abort();
}

static size_t below(size_t bound)
{
    return choose(bound);
}

static bool one_in(size_t times)
{
    return choose(times) == 0;
}

static size_t wild(void)
{
    return choose(SIZE_MAX);
}

static size_t whole_slots(size_t bytes)
{
    return (bytes + SLOT - 1) / SLOT * SLOT;
}

/* Address space as Windows consumes it. */
static size_t slots_of(const struct fake_os *os)
{
    size_t bytes = 0;
    for (size_t i = 0; i < os->region_count; i++) {
        bytes += os->regions[i]->foreign ? 0 : whole_slots(os->regions[i]->page_count * PAGE);
    }
    return bytes;
}

static void compare(void)
{
    size_t reserved, committed;
    const char *fault = virtual_memory_check(&memory);
    if (fault != NULL) {
        fail_here(fault);
    }
    if (fake_os_picture(&fake) != fake_os_picture(&twin)) {
        fail_here("the OS and its twin differ");
    }
    fake_os_totals(&twin, &reserved, &committed);
    if (usage_current(&budget.reserved) != reserved ||
        usage_current(&budget.reserve.used) != slots_of(&twin)) {
        fail_here("reserved bytes");
    }
    if (usage_current(&budget.committed[BUDGET_PAGES]) != committed ||
        usage_current(&budget.commit.used) != committed || budget_broken(&budget) != NULL) {
        fail_here("committed bytes");
    }
}

void twin_compare(void)
{
    size_t by_table = POISON, by_os = POISON;
    compare();
    virtual_memory_measure(&memory, &by_table, &by_os);
    if (by_table != by_os || by_table != usage_current(&budget.committed[BUDGET_PAGES])) {
        fail_here("measured bytes");
    }
}

/* The last call was a release that failed, of a reservation that is in no table. */
static void lost_a_reservation(void)
{
    uintptr_t base = fake.last[FAKE_VIRTUAL_FREE].address, twin_base = POISON;
    struct fake_region *region = fake_os_region(&fake, base), *twin_region;
    if (region == NULL || region->base != base || region->foreign ||
        fake.last[FAKE_VIRTUAL_FREE].error == OS_OK) {
        fail_here("broken without a reason");
    }
    twin.os.virtual_alloc(&twin.os, base, region->page_count * PAGE, region->type | OS_MEM_RESERVE,
                          region->protect, &twin_base);
    twin_region = fake_os_region(&twin, twin_base);
    if (twin_region == NULL || twin_base != base) {
        fail_here("the twins differ");
    }
    twin_region->type = region->type;
    twin_region->foreign = region->foreign = true;
    totals.broken++;
}

/* Whether the operation that just returned failed because it was made to. */
static bool was_injected(os_error error)
{
    enum fake_kind kind = fake.failed_kind;
    fake_os_follow(&fake, NULL);
    if (kind == FAKE_ANY_KIND || kind == FAKE_VIRTUAL_QUERY) {
        return false; /* a query that fails after a refusal changes nothing about it */
    }
    if (error == HM_BROKEN) {
        lost_a_reservation();
    } else if (error !=
               (kind < FAKE_TABLE_RESERVE ? FAKE_COMMITMENT_LIMIT : OS_NOT_ENOUGH_MEMORY)) {
        fail_here("the wrong error for an injected failure");
    }
    return true;
}

/* ---- the budget's rules once more, as naive as can be ---- */

/* What an allocation would add, by the twin's pages. */
static void needed(uintptr_t address, size_t size, uint32_t type, size_t *reserve, size_t *commit)
{
    bool reserves = (type & OS_MEM_RESERVE) != 0 || address == 0;
    uintptr_t begin = address & ~((reserves ? SLOT : PAGE) - 1);
    uintptr_t end = ((address + size - 1) | (PAGE - 1)) + 1;
    const struct fake_region *region = fake_os_region(&twin, address);
    *reserve = reserves ? end - begin : 0;
    *commit = 0;
    if ((type & OS_MEM_COMMIT) == 0) {
        return;
    }
    if (reserves) {
        *commit = end - begin;
    } else if (region != NULL && !region->foreign) { /* what leaves the region is cut */
        uintptr_t stop = region->base + region->page_count * PAGE;
        end = end < stop ? end : stop;
        *commit = end - begin - fake_os_committed(&twin, begin, end - begin);
    }
}

static bool fits(size_t used, size_t bytes, size_t ceiling)
{
    return bytes == 0 || (used <= ceiling && bytes <= ceiling - used);
}

static bool commit_fits(size_t bytes, enum budget_level level)
{
    size_t ceiling = limits.commit;
    if (ceiling != BUDGET_UNLIMITED && level != BUDGET_PROCESS) {
        ceiling -= level == BUDGET_TASK ? limits.emergency : limits.emergency / 2;
    }
    if (level == BUDGET_PROCESS && limits.overdraft) {
        ceiling = SIZE_MAX;
    }
    return fits(usage_current(&budget.commit.used), bytes, ceiling);
}

static void change_limits(void)
{
    size_t used = usage_current(&budget.commit.used);
    limits.commit = one_in(2)   ? BUDGET_UNLIMITED
                    : one_in(2) ? used + below(16 * SLOT)
                                : below(8 * MIB);
    limits.emergency = limits.commit / 4 * below(4);
    limits.reserve = one_in(2) ? BUDGET_UNLIMITED : below(32 * MIB);
    limits.overdraft = one_in(4);
    budget_set_limits(&budget, &limits);
}

static void call_alloc(uintptr_t address, size_t size, uint32_t type, uint32_t protect)
{
    bool limited = limits.commit != BUDGET_UNLIMITED || limits.reserve != BUDGET_UNLIMITED;
    enum budget_level level = limited ? (enum budget_level)below(BUDGET_LEVELS) : BUDGET_TASK;
    uintptr_t result = POISON, twin_result = POISON;
    size_t reserve, commit, calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    needed(address, size, type, &reserve, &commit);
    bool reserve_ok =
        fits(usage_current(&budget.reserve.used), whole_slots(reserve), limits.reserve);
    bool commit_ok = commit_fits(commit, level);
    os_error error = virtual_memory_alloc(&memory, address, size, type, protect, level, &result);
    if (error == HM_OVER_RESERVE || error == HM_OVER_COMMIT) {
        fake_os_follow(&fake, NULL);
        if (error == HM_OVER_RESERVE ? reserve_ok : !reserve_ok || commit_ok) {
            fail_here("the budget refuses what it has room for");
        }
        if (fake.calls[FAKE_VIRTUAL_ALLOC] != calls) {
            fail_here("the budget refuses what the OS has given");
        }
    } else if (!was_injected(error)) {
        if (error == OS_OK && (!reserve_ok || !commit_ok)) {
            fail_here("the budget grants what it has no room for");
        }
        os_error twin_error =
            twin.os.virtual_alloc(&twin.os, address, size, type, protect, &twin_result);
        if (error != twin_error) {
            fail_here("an allocation's error is not the one of the OS");
        }
    }
    if (result != twin_result) {
        fail_here("an allocation's result is not the one of the OS");
    }
}

static void call_free(uintptr_t address, size_t size, uint32_t type)
{
    const struct fake_region *region = fake_os_region(&fake, address);
    bool foreign = region == NULL || region->foreign ||
                   (type == OS_MEM_RELEASE && address - region->base >= PAGE);
    size_t calls = fake_os_calls(&fake);
    os_error error = virtual_memory_free(&memory, address, size, type);
    if (foreign) {
        fake_os_follow(&fake, NULL);
        if (error != HM_FOREIGN || fake_os_calls(&fake) != calls) {
            fail_here("a foreign free is not refused");
        }
    } else if (error == HM_BROKEN && type == OS_MEM_RELEASE && fake.failed_kind != FAKE_ANY_KIND) {
        fake_os_follow(&fake, NULL); /* an intact region that is not released: it is still there */
    } else if (!was_injected(error) &&
               error != twin.os.virtual_free(&twin.os, address, size, type)) {
        fail_here("a free's error is not the one of the OS");
    }
}

/* ---- what to do it with ---- */

static size_t some_size(void)
{
    switch (below(8)) {
    case 0:
        return 1 + below(3 * PAGE);
    case 1:
        return PAGE * (1 + below(8));
    case 2:
        return PAGE_SET_INLINE_PAGES * PAGE - PAGE + below(3 * PAGE); /* where the form changes */
    case 3:
        return 1 + below(8 * MIB);
    default:
        return 1 + below(16 * SLOT);
    }
}

static uintptr_t anywhere(void)
{
    uintptr_t span = fake.os.max_address - fake.lowest;
    return one_in(20) ? wild() : fake.lowest + below(span);
}

/* An address in, or near, a random region; *size is what is left of the region from there. */
static uintptr_t near_a_region(size_t *size)
{
    *size = PAGE;
    if (fake.region_count == 0 || one_in(50)) {
        return anywhere();
    }
    const struct fake_region *region = fake.regions[below(fake.region_count)];
    size_t bytes = region->page_count * PAGE;
    size_t offset = one_in(8) ? 0 : below(bytes + (one_in(20) ? SLOT : 0));
    offset = one_in(2) ? offset & ~(PAGE - 1) : offset;
    *size = offset < bytes ? bytes - offset : PAGE;
    return region->base + offset;
}

static size_t part_of(size_t left)
{
    switch (below(8)) {
    case 0:
        return left;
    case 1:
        return left + below(2 * PAGE);
    case 2:
        return 1 + below(left);
    default:
        return 1 + below(left < 8 * PAGE ? left : 8 * PAGE);
    }
}

static void reserve(void)
{
    static const uint32_t types[] = {OS_MEM_RESERVE,
                                     OS_MEM_RESERVE,
                                     OS_MEM_COMMIT,
                                     OS_MEM_RESERVE | OS_MEM_COMMIT,
                                     OS_MEM_RESERVE | OS_MEM_TOP_DOWN,
                                     OS_MEM_RESERVE | FAKE_MEM_WRITE_WATCH};
    size_t left;
    uint32_t type = types[below(sizeof(types) / sizeof(types[0]))];
    uintptr_t address = one_in(4) ? near_a_region(&left) : one_in(8) ? anywhere() : 0;
    size_t size = some_size();
    if (one_in(4000)) { /* now and then a large one, and then for a while */
        type = OS_MEM_RESERVE;
        size = GIB + below(8) * SLOT;
    }
    if (fake.region_count < max_live) {
        call_alloc(address, size, type, OS_PAGE_READWRITE);
    }
}

static void release(void)
{
    size_t left;
    uintptr_t address = near_a_region(&left);
    const struct fake_region *region = fake_os_region(&fake, address);
    if (region != NULL && !one_in(3)) {
        address = region->base + below(one_in(10) ? PAGE + 1 : 1);
    }
    call_free(address, one_in(20) ? part_of(left) : 0, OS_MEM_RELEASE);
}

static void protect_or_map_behind_our_back(void)
{
    uint32_t old = 0, twin_old = 0;
    size_t left;
    uintptr_t address = near_a_region(&left);
    if (!one_in(4)) {
        size_t size = part_of(left);
        os_error error = fake.os.virtual_protect(&fake.os, address, size, FAKE_PAGE_READONLY, &old);
        fake_os_follow(&fake, NULL);
        if (error == OS_OK && (twin.os.virtual_protect(&twin.os, address, size, FAKE_PAGE_READONLY,
                                                       &twin_old) != OS_OK ||
                               old != twin_old)) {
            fail_here("the twins differ");
        }
        return;
    }
    fake_os_follow(&fake, NULL);
    const struct fake_region *region = fake_os_region(&fake, address);
    if (region != NULL && region->foreign) {
        uintptr_t base = region->base;
        fake.os.virtual_free(&fake.os, base, 0, OS_MEM_RELEASE);
        twin.os.virtual_free(&twin.os, base, 0, OS_MEM_RELEASE);
    } else if (fake.region_count < max_live) {
        fake_os_add_foreign(&twin, fake_os_add_foreign(&fake, 0, 5 * PAGE), 5 * PAGE);
    }
}

static void senseless(void)
{
    size_t left;
    uintptr_t address = one_in(2) ? near_a_region(&left) : anywhere();
    size_t size = one_in(2) ? wild() : below(SLOT);
    uint32_t type = (uint32_t)wild() & 0x011FF000u;
    uint32_t protect = one_in(4) ? (uint32_t)below(0x200) : OS_PAGE_READWRITE;
    if (one_in(2)) {
        call_free(address, size, one_in(2) ? type : OS_MEM_DECOMMIT);
    } else if (fake.region_count < max_live || (type & OS_MEM_RESERVE) == 0) {
        size = size > GIB && size < SIZE_MAX / 2 ? below(SLOT) : size;
        call_alloc(address != 0 ? address : SLOT, size, type, protect);
    }
}

void twin_change_plan(void)
{
    static const size_t rates[] = {0, 2, 4, 16, 64, 1000};
    plan.random.state = wild();
    for (int kind = 0; kind < FAKE_FALLIBLE_KINDS; kind++) {
        plan.one_in[kind] = rates[below(sizeof(rates) / sizeof(rates[0]))];
    }
}

void twin_operate(void)
{
    size_t left;
    uintptr_t address;
    uint64_t failures = plan.failures;
    totals.operations++;
    fake_os_follow(&fake, inject ? &plan : NULL);
    switch (below(16)) {
    case 0:
    case 1:
        reserve();
        break;
    case 2:
        release();
        break;
    case 3:
        address = near_a_region(&left);
        call_alloc(address, part_of(left), one_in(2) ? OS_MEM_RESET : OS_MEM_RESET_UNDO,
                   OS_PAGE_READWRITE);
        break;
    case 4:
        protect_or_map_behind_our_back();
        break;
    case 5:
        if (one_in(4)) {
            change_limits();
        } else {
            senseless();
        }
        break;
    case 6:
    case 7:
    case 8:
    case 9:
        address = near_a_region(&left);
        call_free(address, one_in(12) ? 0 : part_of(left), OS_MEM_DECOMMIT);
        break;
    default:
        address = near_a_region(&left);
        call_alloc(address, part_of(left), OS_MEM_COMMIT, OS_PAGE_READWRITE);
        break;
    }
    fake_os_follow(&fake, NULL);
    if (plan.failures != failures) {
        totals.failures += plan.failures - failures;
        compare();
    }
}

static void destroy_both(void)
{
    if (fake_os_destroy(&twin) != 0 || fake_os_destroy(&fake) != 0) {
        fail_here("tables are left");
    }
}

bool twin_open(uintptr_t lowest, uintptr_t max_address, twin_chooser *chooser, bool with_failures)
{
    choose = chooser;
    limits = (struct budget_limits){.commit = BUDGET_UNLIMITED, .reserve = BUDGET_UNLIMITED};
    inject = with_failures;
    max_live = inject ? MAX_LIVE_WITH_FAILURES : MAX_LIVE;
    fake_os_init(&fake, lowest, max_address);
    fake_os_init(&twin, lowest, max_address);
    twin_change_plan();
    fake_os_follow(&fake, inject ? &plan : NULL);
    budget_init(&budget);
    os_error error = virtual_memory_create(&memory, &fake.os, &budget);
    if (was_injected(error)) {
        totals.failures++;
        destroy_both();
        return false;
    }
    if (error != OS_OK) {
        fail_here("no memory");
    }
    return true;
}

void twin_close(void)
{
    for (size_t i = fake.region_count; i-- > 0;) {
        if (!fake.regions[i]->foreign) {
            call_free(fake.regions[i]->base, 0, OS_MEM_RELEASE);
        }
    }
    twin_compare();
    if (usage_current(&budget.reserved) != 0 || usage_current(&memory.regions.live) != 0) {
        fail_here("something is left");
    }
    if (fake_os_table_committed(&fake) != usage_current(&memory.table_memory.committed)) {
        fail_here("the tables' bytes");
    }
    virtual_memory_destroy(&memory);
    if (usage_current(&memory.table_memory.committed) != 0) {
        fail_here("the tables' bytes at the end");
    }
    destroy_both();
}

struct twin_totals twin_totals(void)
{
    return totals;
}
