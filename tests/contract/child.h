/* SPDX-License-Identifier: MIT
 *
 * Tests of what ends a process, or might: the program starts itself as a child with one argument,
 * and looks at how the child ends.
 */
#ifndef TESTS_CONTRACT_CHILD_H
#define TESTS_CONTRACT_CHILD_H

#include <windows.h>

/* Exit codes of children that do what they should, or find something wrong. */
enum { CAME_BACK = 77, WRONG_ANSWER = 78 };

/* Runs this program with `argument` and returns its exit code. A child that has not ended after
 * `seconds` is killed, and the test fails. */
DWORD run_child(const char *argument, DWORD seconds);

/* For main: the argument of run_child in a child, NULL in the parent. A child that crashes opens no
 * window. */
const char *child_argument(int argc, char **argv);

#endif
