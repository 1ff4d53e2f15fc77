/* SPDX-License-Identifier: MIT
 *
 * Sections of a bound runtime and threads: who waits for the room that another one makes, who charges a
 * page that two commit, and the last thread of a process, whose others have died with the lock.
 *
 * test_bind_sections_threads <framework folder> <program> <test>
 */
#include "clr/section_calls.h"
#include "support/thread.h"

static void close_after_a_while(void *section)
{
    Sleep(200);
    close_section(section);
}

static int bind_patient_manager(void **state)
{
    if (load_runtime(state) != 0) {
        return -1;
    }
    *state = CREATE_MANAGER(.CommitWaitMilliseconds = 60000); /* longer than the test may take */
    EXPECT_HR(HostMemBindRuntime(*state, coreclr, NULL), S_OK);
    imports_read(coreclr, &after);
    return 0;
}

/* Were the table locked meanwhile, nobody could make room. */
static void a_commit_waits_for_room_that_another_section_makes(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, SEC_RESERVE), other = new_section(MIB, 0);
    BYTE *view = new_view(section);
    struct thread thread;
    SET_LIMITS(manager, .CommitLimit = statistics_of(manager).ChargedCurrentBytes + PAGE);
    thread_start(&thread, close_after_a_while, other);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, MIB, MEM_COMMIT, PAGE_READWRITE), view);
    thread_join(&thread);
    assert_int_equal(foreign_commit(manager), MIB);
}

enum { THREADS = 4, SHARED_PAGES = 256 };
static BYTE *shared_view;

static void commit_every_page(void *failures)
{
    for (SIZE_T i = 0; i < SHARED_PAGES; i++) {
        BYTE *page = shared_view + i * PAGE;
        if (FUNCTION(VirtualAlloc)(page, PAGE, MEM_COMMIT, PAGE_READWRITE) != page) {
            InterlockedIncrement(failures);
        }
    }
}

static void threads_that_commit_the_same_pages_charge_them_once(void **state)
{
    IHostMemoryManager *manager = *state;
    for (int round = 0; round < 20; round++) {
        struct thread threads[THREADS];
        LONG failures = 0;
        HANDLE section = new_section(SHARED_PAGES * PAGE, SEC_RESERVE);
        shared_view = new_view(section);
        for (int i = 0; i < THREADS; i++) {
            thread_start(&threads[i], commit_every_page, &failures);
        }
        for (int i = 0; i < THREADS; i++) {
            thread_join(&threads[i]);
        }
        assert_int_equal(failures, 0);
        assert_int_equal(foreign_commit(manager), SHARED_PAGES * PAGE);
        close_section(section);
        assert_true(FUNCTION(UnmapViewOfFile)(shared_view));
        assert_int_equal(foreign_commit(manager), 0);
    }
}

/* ---- The end of the process ---- */

static volatile LONG at_work;

static void make_and_close_sections(void *unused)
{
    (void)unused;
    for (;;) {
        HANDLE section =
            FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, PAGE, NULL);
        FUNCTION(CloseHandle)(section);
        at_work = TRUE;
    }
}

/* When this thread is the last one. Without a word to cmocka, which is gone: the process hangs, or
 * ends with 1. */
static void WINAPI at_the_end(void *view)
{
    if (!FUNCTION(UnmapViewOfFile)(view)) {
        TerminateProcess(GetCurrentProcess(), 1);
    }
}

/* Threads end anywhere in what they do, with the lock in their hands. */
static void the_last_thread_passes_over_the_locks_of_the_dead(void **state)
{
    static struct thread threads[THREADS];
    (void)state;
    HANDLE section = new_section(MIB, 0);
    assert_true(FlsSetValue(FlsAlloc(at_the_end), new_view(section)));
    for (int i = 0; i < THREADS; i++) {
        thread_start(&threads[i], make_and_close_sections, NULL);
    }
    while (!at_work) {
        Sleep(1);
    }
}

int main(int argc, char **argv)
{
#define WITH(setup, name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        WITH(bind_patient_manager, a_commit_waits_for_room_that_another_section_makes),
        WITH(bind_hostmem, threads_that_commit_the_same_pages_charge_them_once),
        WITH(bind_hostmem, the_last_thread_passes_over_the_locks_of_the_dead),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
