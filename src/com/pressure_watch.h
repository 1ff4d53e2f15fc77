/* SPDX-License-Identifier: MIT
 *
 * When memory is low, and what is to be said of it.
 *
 * Low is what the CLR makes of it: every collection from then on is as thorough as it can be, until
 * Neutral or High is sent, and one collection is started if the last such was 8,192 ms ago. It is
 * low while any of these holds:
 *
 *   - 90 % of what a task-critical request may reach are charged; over below 80 %. With a limit of
 *     100 MiB and 10 MiB of it for emergencies that is at 81 MiB and below 72 MiB. Without a commit
 *     limit there is no such mark. A limit that is lowered below what is in use passes the mark.
 *   - a request was refused for lack of budget less than a second ago
 *   - the system's low memory notification is signalled, where it has one
 *   - the host said so (IHostMemoryPressure::NotifyMemory), until it says Neutral or High
 *
 * A Low stands for a second at least: the CLR's finalizer thread, which starts the collection, looks
 * for it only when it runs. It is repeated every 8.2 s as long as it lasts, and ended by one Neutral,
 * or by High if less than half of the limit is charged and the system or the host says there is
 * plenty. Without a Low nothing is sent.
 *
 * All of it is levels and flags, never a queue: the thread of pressure.c looks at them whenever
 * something wakes it, so a wake-up too many does no harm and two may fall together. It sleeps while
 * all is well; while it is low it looks every 100 ms for the end.
 */
#ifndef HOSTMEM_COM_PRESSURE_WATCH_H
#define HOSTMEM_COM_PRESSURE_WATCH_H

#include "com/pressure.h"

/* The thread's own. */
struct pressure_watch {
    struct pressure *pressure;
    HANDLE system_low; /* NULL where the system has no such notification */
    HANDLE system_high;
    bool low;            /* when it last looked */
    bool standing;       /* Low was told, and nothing since */
    bool over;           /* the mark, not yet below the second one */
    ULONGLONG told;      /* when the last Low returned */
    ULONGLONG low_until; /* at least */
};

void pressure_watch_open(struct pressure_watch *watch, struct pressure *pressure);
void pressure_watch_close(struct pressure_watch *watch);

/* For whoever was told nothing yet: what is over is not its business. */
void pressure_watch_start_over(struct pressure_watch *watch);

/* Look at everything. The EMemoryAvailable that is to be told now, or 0. The budget must be there. */
int pressure_watch_look(struct pressure_watch *watch);

/* It was told, and the call has returned. */
void pressure_watch_told(struct pressure_watch *watch, EMemoryAvailable message);

/* Sleep until there is reason to look again, `most` milliseconds at most. Not `active`: nobody wants
 * to know, and all news but `changed` can wait. */
void pressure_watch_wait(const struct pressure_watch *watch, bool active, DWORD most);

#endif
