/* SPDX-License-Identifier: MIT
 *
 * What hostmem itself has to say, beside the errors of the OS and in the same type: bit 29, which
 * Windows leaves to programs, marks ours.
 */
#ifndef HOSTMEM_CORE_STATUS_H
#define HOSTMEM_CORE_STATUS_H

#include "os/os.h"

#define HM_FOREIGN ((os_error)0x20000001)      /* not memory that this host handed out */
#define HM_OVER_COMMIT ((os_error)0x20000002)  /* the budget refuses: too much committed */
#define HM_OVER_RESERVE ((os_error)0x20000003) /* the budget refuses: too much reserved */
#define HM_TIMED_OUT ((os_error)0x20000004)    /* the budget refused for as long as one waits */
#define HM_ABANDONED ((os_error)0x20000005)    /* shut down while waiting for budget */
#define HM_NOT_OWNER ((os_error)0x20000006)    /* a heap for one thread is entered by two */
#define HM_BROKEN ((os_error)0x20000007)       /* the OS and the tables no longer agree */
#define HM_UNAVAILABLE ((os_error)0x20000008)  /* broken or shut down before */
#define HM_INJECTED ((os_error)0x20000009)     /* refused on purpose */
#define HM_NO_RESULT ((os_error)0x2000000a)    /* no pointer to where the result goes */
#define HM_NO_BUFFER ((os_error)0x2000000b)    /* the same where Windows tries to write there */

#endif
