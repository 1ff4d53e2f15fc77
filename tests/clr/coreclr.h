/* SPDX-License-Identifier: MIT
 *
 * A real coreclr.dll in this process, driven through its three exported functions: what a host does
 * that neither needs hostfxr nor hostmem-run. One runtime per process.
 */
#ifndef TESTS_CLR_CORECLR_H
#define TESTS_CLR_CORECLR_H

#include <windows.h>

struct CMUnitTest;

/* The main of `test <framework folder> <program> <name>`: runs the one test of that name, since a
 * process has one runtime and one binding. The program is args.exe, whose exit code is the number of
 * its arguments. */
int coreclr_test_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);

/* Paths as a command line has them; `framework` is the folder of coreclr.dll. */
void coreclr_use(const char *framework, const char *program);

/* The runtime, loaded and not started; NULL when it cannot be. */
HMODULE coreclr_load(void);

/* Start it; what coreclr_initialize returned. */
int coreclr_start(void);

/* Run the program with three arguments; its exit code. */
unsigned coreclr_run_program(void);

/* A function that calls the static method `type`.`method` of the program; NULL when there is none. */
void *coreclr_method(const char *type, const char *method);

#endif
