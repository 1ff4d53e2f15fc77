/* SPDX-License-Identifier: MIT
 *
 * hostmem.dll in the hands of a .NET Framework: every profile is a process of its own that plays the
 * life of a CLR, from LoadLibrary to the calls in DLL_PROCESS_DETACH. All run at once, because most
 * of a life is waiting: a Low stands for a second.
 */
#include "framework/framework_process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LIFE_MS 60000 /* a life takes two seconds, more on a machine that has much to do */

static void every_framework_lives_and_ends_on_hostmem(void **state)
{
    struct framework_process children[16];
    bool all_well = true;
    (void)state;
    if (!framework_can_stop_threads()) {
        print_message(
            "not asked: VirtualQuery while x86 threads are stopped, which crashes Wine\n");
    }
    assert_in_range(framework_profile_count, 1, 16);
    for (size_t i = 0; i < framework_profile_count; i++) {
        children[i] = framework_start_process(framework_profiles[i].name, "", i % 2 == 0);
    }
    for (size_t i = 0; i < framework_profile_count; i++) {
        struct framework_end end = framework_wait(&children[i], LIFE_MS, 20000);
        if (!end.in_time || end.code != 0 || !end.came_back) {
            print_error("%s: %s, code %lu, %s from the last calls\n", framework_profiles[i].name,
                        end.in_time ? "ended" : "hangs", end.code,
                        end.came_back ? "back" : "not back");
            all_well = false;
        }
    }
    assert_true(all_well);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_framework_lives_and_ends_on_hostmem),
    };
    if (argc == 7 && strcmp(argv[1], "session") == 0) {
        return framework_child(argv, NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
