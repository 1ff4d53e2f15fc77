/* SPDX-License-Identifier: MIT
 *
 * The job object that the program is in, with everything that it starts. When we are gone it ends them:
 * nobody is left to report them. When the program has ended by itself, what it started may live on.
 */
#ifndef RUN_CHILD_JOB_H
#define RUN_CHILD_JOB_H

#include "agent_block.h"

/* Make the job, of this process. */
void child_job_add(HANDLE process);

/* What is in it lives on when we end. */
void child_job_outlives_us(void);
void child_job_end(void);

/* A process that ends while it starts another one leaves that suspended for ever, with the streams that
 * it has inherited: it is resumed. To be called now and then, and when the program has ended. */
void child_job_resume_abandoned(struct agent_table *table);

/* Of NULL it is not known. */
static inline BOOL process_has_ended(HANDLE process)
{
    return process && WaitForSingleObject(process, 0) == WAIT_OBJECT_0;
}

#endif
