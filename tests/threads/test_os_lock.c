/* SPDX-License-Identifier: MIT
 *
 * The lock that guards regions and lists: it lets one thread in, its waiters sleep, and a waiter that
 * is suspended keeps nobody else from it. First as on Windows 7, which has no WaitOnAddress, then
 * with what this system has.
 */
#include "os/os_lock.h"
#include "support/thread.h"
#include "support/unit.h"

enum { THREADS = 4, ROUNDS = 300, HELD_MS = 400, PATIENCE_MS = 20000 };

static struct os_lock lock;
static unsigned long entered; /* guarded by lock */

static int take_the_system_functions(void **state)
{
    (void)state;
    os_lock_find_functions();
    return 0;
}

/* Every tenth time long enough that the others fall asleep. */
static void enter_often(void *wrong)
{
    for (int i = 0; i < ROUNDS; i++) {
        os_lock_acquire(&lock);
        unsigned long before = entered;
        if (i % 10 == 0) {
            thread_sleep(1);
        }
        if (entered != before) {
            atomic_store((atomic_bool *)wrong, true);
        }
        entered = before + 1;
        os_lock_release(&lock);
    }
}

static void one_thread_at_a_time(void **state)
{
    struct thread threads[THREADS];
    atomic_bool wrong = false;
    (void)state;
    entered = 0;
    for (int i = 0; i < THREADS; i++) {
        thread_start(&threads[i], enter_often, &wrong);
    }
    for (int i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
    }
    assert_int_equal(entered, THREADS * ROUNDS);
    assert_int_equal(atomic_load(&lock.word), 0);
    assert_false(atomic_load(&wrong));
}

/* ---- waiters ---- */

struct waiter {
    struct thread thread;
    HANDLE came;
    ULONGLONG busy_100ns; /* processor time of the wait */
};

static ULONGLONG processor_time(void)
{
    FILETIME start, end, kernel, user;
    GetThreadTimes(GetCurrentThread(), &start, &end, &kernel, &user);
    return kernel.dwLowDateTime + (ULONGLONG)user.dwLowDateTime;
}

static void enter_once(void *argument)
{
    struct waiter *waiter = argument;
    ULONGLONG before = processor_time();
    os_lock_acquire(&lock);
    waiter->busy_100ns = processor_time() - before;
    os_lock_release(&lock);
    SetEvent(waiter->came);
}

static void start_waiters(struct waiter *waiters, int count)
{
    os_lock_acquire(&lock);
    for (int i = 0; i < count; i++) {
        waiters[i].came = CreateEventW(NULL, TRUE, FALSE, NULL);
        assert_non_null(waiters[i].came);
        thread_start(&waiters[i].thread, enter_once, &waiters[i]);
    }
    thread_sleep(HELD_MS);
    assert_int_equal(atomic_load(&lock.word), 2); /* they have said so, and sleep */
}

static void join_waiters(struct waiter *waiters, int count)
{
    for (int i = 0; i < count; i++) {
        thread_join(&waiters[i].thread);
        CloseHandle(waiters[i].came);
    }
    assert_int_equal(atomic_load(&lock.word), 0);
}

static void who_waits_takes_no_processor_time(void **state)
{
    struct waiter waiter;
    (void)state;
    start_waiters(&waiter, 1);
    os_lock_release(&lock);
    join_waiters(&waiter, 1);
    assert_true(waiter.busy_100ns < (ULONGLONG)HELD_MS * 10000 / 2);
}

static void a_suspended_waiter_keeps_nobody_else_out(void **state)
{
    struct waiter waiters[THREADS];
    (void)state;
    start_waiters(waiters, THREADS);
    /* All but the last: who is woken first, whoever that is, may be one of them. */
    for (int i = 0; i < THREADS - 1; i++) {
        assert_int_equal(SuspendThread(waiters[i].thread.handle), 0);
    }
    os_lock_release(&lock);
    assert_int_equal(WaitForSingleObject(waiters[THREADS - 1].came, PATIENCE_MS), WAIT_OBJECT_0);
    for (int i = 0; i < THREADS - 1; i++) {
        assert_int_equal(ResumeThread(waiters[i].thread.handle), 1);
    }
    join_waiters(waiters, THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_at_a_time),
        cmocka_unit_test(who_waits_takes_no_processor_time),
        cmocka_unit_test(a_suspended_waiter_keeps_nobody_else_out),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests(tests, take_the_system_functions, NULL);
}
