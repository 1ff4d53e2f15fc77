/* SPDX-License-Identifier: MIT
 *
 * The credit of heap shares is never to be seen: whatever blocks come and go on whichever share, what
 * is in use, its peaks and the answers of the budget are those of a ledger that knows no credit.
 */
#include "support/random.h"
#include "support/thread.h"
#include "support/unit.h"

#include "core/limits/budget.h"

#define L (8 * MIB)
#define E (1 * MIB)
#define BLOCKS 256

static struct budget budget;

static int set_up(void **state)
{
    (void)state;
    budget_init(&budget);
    return 0;
}

static void limit(size_t commit, size_t emergency, bool overdraft)
{
    budget_set_limits(&budget, &(struct budget_limits){.commit = commit,
                                                       .emergency = emergency,
                                                       .reserve = BUDGET_UNLIMITED,
                                                       .overdraft = overdraft});
}

/* As a heap does it, from a thread of this number. */
static os_error take_block(unsigned thread, size_t bytes, enum budget_level level)
{
    struct heap_share *share = heap_share_take(budget.shares, thread);
    bool paid = share != NULL && budget_pay(&budget, share, bytes, level);
    if (share != NULL) {
        heap_share_leave(share);
    }
    if (!paid) {
        os_error error = budget_take(&budget, 0, bytes, level);
        if (error != OS_OK) {
            return error;
        }
        budget_heap_add(&budget, bytes);
    }
    return OS_OK;
}

/* Whether the bytes became credit. */
static bool give_block(unsigned thread, size_t bytes)
{
    struct heap_share *share = heap_share_take(budget.shares, thread);
    bool kept = share != NULL && budget_keep(&budget, share, bytes);
    if (share != NULL) {
        heap_share_leave(share);
    }
    if (!kept) {
        budget_heap_subtract(&budget, bytes);
        budget_give_back(&budget, 0, bytes);
    }
    return kept;
}

static size_t charged(void)
{
    return usage_current(&budget.commit.used);
}

static void a_freed_block_pays_for_the_next(void **state)
{
    (void)state;
    assert_int_equal(take_block(3, 1000, BUDGET_TASK), OS_OK);
    assert_true(give_block(3, 1000));
    assert_int_equal(charged(), 1000);
    assert_int_equal(budget_in_use(&budget), 0);
    assert_int_equal(budget_heap_in_use(&budget), 0);
    assert_int_equal(take_block(3, 600, BUDGET_TASK), OS_OK);
    assert_int_equal(charged(), 1000);
    assert_int_equal(budget_heap_in_use(&budget), 600);
    assert_true(give_block(3, 600));
    assert_true(budget_reclaim(&budget));
    assert_false(budget_reclaim(&budget));
    assert_int_equal(charged(), 0);
}

static void credit_makes_no_peak(void **state)
{
    (void)state;
    for (unsigned thread = 0; thread < HEAP_SHARES; thread++) {
        assert_int_equal(take_block(thread, 1000, BUDGET_TASK), OS_OK);
        assert_true(give_block(thread, 1000));
    }
    assert_int_equal(usage_peak(&budget.commit.used), 1000);
    assert_int_equal(usage_peak(&budget.heap), 1000);
    assert_int_equal(budget_take(&budget, 0, 1500, BUDGET_TASK), OS_OK); /* pages */
    assert_int_equal(usage_peak(&budget.commit.used), 1500);
    assert_int_equal(take_block(1, 1200, BUDGET_TASK), OS_OK);
    assert_int_equal(usage_peak(&budget.commit.used), 2700);
    assert_int_equal(usage_peak(&budget.heap), 1200);
}

static void credit_refuses_nobody(void **state)
{
    (void)state;
    limit(L, 0, false);
    assert_int_equal(take_block(0, 100 * KIB, BUDGET_TASK), OS_OK);
    assert_int_equal(take_block(1, 100 * KIB, BUDGET_TASK), OS_OK);
    assert_true(give_block(0, 100 * KIB));
    assert_true(give_block(1, 100 * KIB));
    assert_int_equal(budget_available(&budget, BUDGET_TASK), L);
    assert_int_equal(budget_take(&budget, 0, L, BUDGET_TASK), OS_OK);
    assert_int_equal(take_block(0, 1, BUDGET_TASK), HM_OVER_COMMIT);
    assert_int_equal(charged(), L);
}

static void near_a_limit_there_is_no_credit(void **state)
{
    (void)state;
    limit(L, 0, false);
    assert_int_equal(take_block(0, 10 * KIB, BUDGET_TASK), OS_OK);
    assert_int_equal(budget_take(&budget, 0, L - CREDIT_ROOM, BUDGET_TASK), OS_OK);
    assert_false(give_block(0, 10 * KIB));
    assert_int_equal(charged(), L - CREDIT_ROOM);
    limit(CREDIT_ROOM - 1, 0, false);
    assert_int_equal(take_block(0, 16, BUDGET_TASK), HM_OVER_COMMIT);
}

static void credit_buys_nothing_beyond_a_lowered_limit(void **state)
{
    (void)state;
    assert_int_equal(budget_take(&budget, 0, 4 * MIB, BUDGET_TASK), OS_OK);
    assert_int_equal(take_block(0, 4096, BUDGET_TASK), OS_OK);
    assert_true(give_block(0, 4096));
    limit(4 * MIB, 2 * MIB, false);
    assert_int_equal(take_block(0, 4096, BUDGET_TASK), HM_OVER_COMMIT);
    assert_int_equal(charged(), 4 * MIB);
}

/* Somebody who was stopped in the middle keeps his credit, and nobody else waits. */
static void a_share_that_is_taken_is_passed_over(void **state)
{
    struct heap_share *taken[HEAP_SHARES];
    (void)state;
    limit(L, 0, false);
    assert_int_equal(take_block(0, 1000, BUDGET_TASK), OS_OK);
    assert_true(give_block(0, 1000));
    for (unsigned i = 0; i < HEAP_SHARES; i++) {
        taken[i] = heap_share_take(budget.shares, 5);
        assert_ptr_equal(taken[i], &budget.shares[(5 + i) % HEAP_SHARES]);
    }
    assert_null(heap_share_take(budget.shares, 5));
    assert_false(budget_reclaim(&budget));
    assert_int_equal(budget_take(&budget, 0, L, BUDGET_TASK), HM_OVER_COMMIT);
    assert_int_equal(take_block(5, 2000, BUDGET_TASK), OS_OK);
    assert_false(give_block(5, 2000));
    for (unsigned i = 0; i < HEAP_SHARES; i++) {
        heap_share_leave(taken[i]);
    }
    assert_int_equal(budget_take(&budget, 0, L, BUDGET_TASK), OS_OK);
}

static void a_share_gives_back_what_is_too_much(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(take_block(0, CREDIT_MOST / 4, BUDGET_TASK), OS_OK);
    }
    for (int i = 0; i < 10; i++) {
        assert_true(give_block(0, CREDIT_MOST / 4));
        assert_true(heap_share_credit(&budget.shares[0]) <= CREDIT_MOST);
    }
    assert_int_equal(charged(), CREDIT_MOST / 2);
    /* Below the peak a share borrows some for later. */
    assert_int_equal(take_block(7, 64, BUDGET_TASK), OS_OK);
    assert_true(heap_share_credit(&budget.shares[7]) > 0);
    assert_int_equal(budget_in_use(&budget), 64);
    assert_int_equal(take_block(0, CREDIT_MOST + 1, BUDGET_TASK), OS_OK);
    assert_false(give_block(0, CREDIT_MOST + 1));
}

/* What one share gives out another may take back. */
static void a_share_counts_its_calls_and_its_blocks(void **state)
{
    struct heap_share *one = &budget.shares[0], *other = &budget.shares[1];
    (void)state;
    for (int i = 0; i < 3; i++) {
        heap_share_count_alloc(one);
    }
    heap_share_count_free(one);
    heap_share_count_free(other);
    assert_int_equal(one->allocs, 3);
    assert_int_equal(one->frees, 1);
    assert_int_equal(one->blocks, 2);
    assert_int_equal(other->allocs, 0);
    assert_int_equal(other->frees, 1);
    assert_true(one->blocks + other->blocks == 1); /* modulo the word */
}

/* ---- room that goes while a share borrows ---- */

#define ROOM (32 * KIB)

static atomic_bool enough;

/* Peaks that leave so much room for credit below them. */
static void make_room(size_t commit, size_t heap)
{
    budget_init(&budget);
    assert_int_equal(budget_take(&budget, 0, commit, BUDGET_TASK), OS_OK);
    budget_heap_add(&budget, heap);
    budget_heap_subtract(&budget, heap);
    budget_give_back(&budget, 0, commit);
}

/* What borrowing `bytes` leaves as credit, or SIZE_MAX if it is refused. */
static size_t borrow(size_t bytes)
{
    struct heap_share *share = &budget.shares[0];
    size_t before = heap_share_credit(share);
    if (!budget_borrow(&budget, share, bytes)) {
        assert_int_equal(heap_share_credit(share), before);
        return SIZE_MAX;
    }
    assert_int_equal(charged(), bytes + heap_share_credit(share));
    assert_int_equal(usage_current(&budget.heap), charged());
    return heap_share_credit(share);
}

static void a_share_borrows_what_there_is_room_for_and_no_more(void **state)
{
    const size_t usual = CREDIT_MOST / 8;
    (void)state;
    make_room(ROOM, ROOM);
    assert_int_equal(borrow(64), usual - 64);
    assert_true(budget_borrow(&budget, &budget.shares[0], usual)); /* 64 are missing */
    assert_int_equal(heap_share_credit(&budget.shares[0]), usual - 64);
    make_room(ROOM, ROOM);
    assert_int_equal(borrow(usual + 64), 0);
    make_room(ROOM, 1000);
    assert_int_equal(borrow(64), 1000 - 64);
    make_room(1000, ROOM);
    assert_int_equal(borrow(64), 1000 - 64);
    make_room(1000, ROOM);
    assert_int_equal(budget_take(&budget, 0, 400, BUDGET_TASK), OS_OK);
    assert_true(budget_borrow(&budget, &budget.shares[0], 64));
    assert_int_equal(heap_share_credit(&budget.shares[0]), 1000 - 400 - 64);
    make_room(64, ROOM);
    assert_int_equal(borrow(64), 0);
    make_room(63, ROOM);
    assert_int_equal(borrow(64), SIZE_MAX);
    make_room(ROOM, 63);
    assert_int_equal(borrow(64), SIZE_MAX);
    assert_int_equal(charged(), 0);
    /* Near a limit there is none, however high the peak. */
    make_room(ROOM, ROOM);
    limit(CREDIT_ROOM + 100, 0, false);
    assert_int_equal(borrow(64), 100 - 64);
    make_room(ROOM, ROOM);
    limit(CREDIT_ROOM, 0, false);
    assert_int_equal(borrow(1), SIZE_MAX);
}

/* Fills the room, and empties it, without end. */
static void fill_and_empty(void *current)
{
    while (!enough) {
        atomic_fetch_add((_Atomic size_t *)current, ROOM);
        atomic_fetch_sub((_Atomic size_t *)current, ROOM);
    }
}

/* Room is found, and then one of the two halves is refused: nothing has been borrowed. With two
 * processors many attempts meet that. */
static void borrow_while_room_comes_and_goes(struct usage *usage)
{
    struct heap_share *share = &budget.shares[0];
    struct thread filler;
    size_t granted = 0, refused = 0;
    make_room(ROOM, ROOM);
    enough = false;
    thread_start(&filler, fill_and_empty, &usage->current);
    for (uint64_t start = thread_milliseconds(); thread_milliseconds() - start < 200;) {
        for (int i = 0; i < 1000; i++) {
            if (budget_borrow(&budget, share, 64)) {
                budget_return_credit(&budget, share);
                budget_heap_subtract(&budget, 64);
                budget_give_back(&budget, 0, 64);
                granted++;
            } else {
                refused++;
            }
        }
    }
    enough = true;
    thread_join(&filler);
    assert_int_equal(charged(), 0);
    assert_int_equal(usage_current(&budget.heap), 0);
    assert_true(granted > 0 && refused > 0);
}

static void what_is_borrowed_in_part_is_given_back(void **state)
{
    (void)state;
    borrow_while_room_comes_and_goes(&budget.heap);
    borrow_while_room_comes_and_goes(&budget.commit.used);
}

/* ---- against a ledger ---- */

struct ledger {
    size_t heap, pages, heap_peak, peak, overdraft_peak;
    size_t limit, emergency;
    bool overdraft;
};

static size_t ceiling(const struct ledger *ledger, enum budget_level level)
{
    return level == BUDGET_TASK         ? ledger->limit - ledger->emergency
           : level == BUDGET_APP_DOMAIN ? ledger->limit - ledger->emergency / 2
           : ledger->overdraft          ? SIZE_MAX
                                        : ledger->limit;
}

static void record(struct ledger *ledger, enum budget_level level)
{
    size_t sum = ledger->heap + ledger->pages;
    ledger->peak = sum > ledger->peak ? sum : ledger->peak;
    ledger->heap_peak = ledger->heap > ledger->heap_peak ? ledger->heap : ledger->heap_peak;
    if (level == BUDGET_PROCESS && ledger->overdraft &&
        sum > ledger->limit + ledger->overdraft_peak) {
        ledger->overdraft_peak = sum - ledger->limit;
    }
}

static void random_blocks_and_pages_agree_with_a_ledger(void **state)
{
    static size_t blocks[BLOCKS], pages[16];
    struct random random = {random_seed("test_heap_share")};
    struct ledger ledger = {.limit = L, .emergency = E};
    size_t refused = 0, credit = 0;
    (void)state;
    limit(L, E, false);
    for (int i = 0; i < 200000; i++) {
        bool block = !random_one_in(&random, 10);
        size_t *at =
            block ? &blocks[random_below(&random, BLOCKS)] : &pages[random_below(&random, 16)];
        size_t *sum = block ? &ledger.heap : &ledger.pages;
        enum budget_level level = (enum budget_level)random_below(&random, BUDGET_LEVELS);
        unsigned thread = (unsigned)random_below(&random, 3);
        if (random_one_in(&random, 5000)) {
            ledger.limit = L / 2 + random_below(&random, L);
            ledger.overdraft = random_one_in(&random, 2);
            limit(ledger.limit, E, ledger.overdraft);
        } else if (*at != 0) {
            *sum -= *at;
            if (block) {
                give_block(thread, *at);
            } else {
                budget_give_back(&budget, 0, *at);
            }
            *at = 0;
        } else {
            size_t bytes = 16 * (1 + random_below(&random, random_one_in(&random, 4) ? 9000 : 100));
            size_t now = ledger.heap + ledger.pages, most = ceiling(&ledger, level);
            bytes = block ? bytes : bytes * 8;
            bool fits = now <= most && bytes <= most - now;
            os_error error =
                block ? take_block(thread, bytes, level) : budget_take(&budget, 0, bytes, level);
            assert_int_equal(error, fits ? OS_OK : HM_OVER_COMMIT);
            refused += !fits;
            if (fits) {
                *at = bytes;
                *sum += bytes;
                record(&ledger, level);
            }
        }
        credit += charged() > ledger.heap + ledger.pages;
        assert_int_equal(budget_in_use(&budget), ledger.heap + ledger.pages);
        assert_int_equal(budget_heap_in_use(&budget), ledger.heap);
        assert_int_equal(usage_peak(&budget.commit.used), ledger.peak);
        assert_int_equal(usage_peak(&budget.heap), ledger.heap_peak);
        assert_int_equal(budget.overdraft_peak, ledger.overdraft_peak);
    }
    assert_true(refused > 100 && credit > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_freed_block_pays_for_the_next, set_up),
        cmocka_unit_test_setup(credit_makes_no_peak, set_up),
        cmocka_unit_test_setup(credit_refuses_nobody, set_up),
        cmocka_unit_test_setup(near_a_limit_there_is_no_credit, set_up),
        cmocka_unit_test_setup(credit_buys_nothing_beyond_a_lowered_limit, set_up),
        cmocka_unit_test_setup(a_share_that_is_taken_is_passed_over, set_up),
        cmocka_unit_test_setup(a_share_gives_back_what_is_too_much, set_up),
        cmocka_unit_test_setup(a_share_counts_its_calls_and_its_blocks, set_up),
        cmocka_unit_test_setup(a_share_borrows_what_there_is_room_for_and_no_more, set_up),
        cmocka_unit_test_setup(what_is_borrowed_in_part_is_given_back, set_up),
        cmocka_unit_test_setup(random_blocks_and_pages_agree_with_a_ledger, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
