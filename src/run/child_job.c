/* SPDX-License-Identifier: MIT */
#include "child_job.h"

#include <tlhelp32.h>

static HANDLE job;

/* What the program starts outside of every job is none of ours. */
static void set_flags(DWORD flags)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {.BasicLimitInformation.LimitFlags =
                                                       JOB_OBJECT_LIMIT_BREAKAWAY_OK | flags};
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof(limits));
}

void child_job_add(HANDLE process)
{
    job = CreateJobObjectW(NULL, NULL);
    set_flags(JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE);
    AssignProcessToJobObject(job, process);
}

void child_job_outlives_us(void)
{
    set_flags(0);
}

void child_job_end(void)
{
    child_job_outlives_us();
    CloseHandle(job);
}

/* ---- What was abandoned ---- */

/* A process of the job that nobody is going to resume. */
static BOOL is_abandoned(struct agent_table *table, DWORD process_id)
{
    const struct agent_block *block;
    for (LONG i = 0; (block = agent_block_at(table, i)) != NULL; i++) {
        if (block->process_id == process_id && !process_has_ended(block->process)) {
            return !block->handed_over && process_has_ended(table->blocks[block->creator].process);
        }
    }
    return TRUE;
}

static BOOL is_in(const JOBOBJECT_BASIC_PROCESS_ID_LIST *list, DWORD process_id)
{
    for (DWORD i = 0; i < list->NumberOfProcessIdsInList; i++) {
        if (list->ProcessIdList[i] == process_id) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A thread that is not suspended does not notice. */
static void resume_threads(struct agent_table *table, const JOBOBJECT_BASIC_PROCESS_ID_LIST *list)
{
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry = {.dwSize = sizeof(entry)};
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry)) {
        if (is_in(list, entry.th32OwnerProcessID) &&
            is_abandoned(table, entry.th32OwnerProcessID)) {
            HANDLE thread = OpenThread(THREAD_SUSPEND_RESUME, FALSE, entry.th32ThreadID);
            ResumeThread(thread);
            CloseHandle(thread);
        }
    }
    CloseHandle(snapshot);
}

void child_job_resume_abandoned(struct agent_table *table)
{
    struct agent_block *block;
    union {
        JOBOBJECT_BASIC_PROCESS_ID_LIST list;
        BYTE room[8192];
    } processes;
    for (LONG i = 0; (block = agent_block_at(table, i)) != NULL; i++) {
        if (block->starts != 0 && process_has_ended(block->process)) {
            block->starts = 0;
            if (QueryInformationJobObject(job, JobObjectBasicProcessIdList, &processes,
                                          sizeof(processes), NULL)) {
                resume_threads(table, &processes.list);
            }
        }
    }
}
