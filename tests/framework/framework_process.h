/* SPDX-License-Identifier: MIT
 *
 * A process that is a host with its CLR, from LoadLibrary to DLL_PROCESS_DETACH. Each test program is
 * its own child: it starts itself with "session", and the names of profile and fault.
 */
#ifndef TESTS_FRAMEWORK_FRAMEWORK_PROCESS_H
#define TESTS_FRAMEWORK_FRAMEWORK_PROCESS_H

#include "support/framework_session.h"

/* How a child ended. */
struct framework_end {
    bool in_time;
    bool detached;  /* it came to the calls in DLL_PROCESS_DETACH */
    DWORD code;     /* 0, or FOUND + the rule that was broken */
    bool came_back; /* from them */
};

#define FOUND 1000

struct framework_process {
    HANDLE process;
    HANDLE detaching, came_back; /* the last calls begin, and end */
};

/* fault: "" for none. dll_first: the CLR's DLL is loaded before hostmem.dll, so it goes after it. */
struct framework_process framework_start_process(const char *profile, const char *fault,
                                                 bool dll_first);
/* The child is killed when it takes longer than `life` until its last calls, or `last_calls` for
 * these; that is what a hang looks like. */
struct framework_end framework_wait(struct framework_process *child, DWORD life, DWORD last_calls);

/* The child's main: plays, and ends the process. */
int framework_child(char **argv, const struct disguise *disguise);

#endif
