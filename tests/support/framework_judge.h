/* SPDX-License-Identifier: MIT
 *
 * What every call is judged by. The judge believes nobody: after each success it asks Windows itself
 * what the memory looks like now. All functions may be called on any thread.
 */
#ifndef TESTS_SUPPORT_FRAMEWORK_JUDGE_H
#define TESTS_SUPPORT_FRAMEWORK_JUDGE_H

#include "support/framework_session.h"

/* What out-locals and LastError are before each call. Windows has no error with bit 29. */
#define POISON_POINTER ((void *)(uintptr_t)0xdeadbeef)
#define POISON_SIZE ((SIZE_T)0xdeadbeef)
#define POISON_DWORD ((DWORD)0xdeadbeef)
#define MARKER ((DWORD)0x2bad1dea)

/* Records that `rule` was broken unless `fair`; gives `fair`. */
bool judge(struct clr *clr, bool fair, int rule, const char *format, ...)
    __attribute__((format(gnu_printf, 4, 5)));
bool is_broken(const struct clr *clr);

/* Rules 1 and 14, item 33: what the HRESULT is, and LastError with it. True: a success. */
bool judge_result(struct clr *clr, const char *call, HRESULT hr, DWORD error);
/* A failure: whether it may be, and that it left NULL or 0 behind (rule 2). */
void judge_failure(struct clr *clr, const char *call, HRESULT hr, bool cleared, int if_refused);

/* Which of the first 64 pages of a range have no content yet. */
struct fresh_pages {
    const char *base;
    uint64_t pages;
};
struct fresh_pages remember_fresh_pages(void *address, SIZE_T size, DWORD type);

/* A VirtualAlloc that succeeded: rules 4, 5, 6; items 6 and 32. */
void judge_memory(struct clr *clr, const char *memory, void *address, SIZE_T size, DWORD type,
                  DWORD protect);
void judge_zero(struct clr *clr, struct fresh_pages fresh, const char *memory, SIZE_T size,
                DWORD type, DWORD protect);
void judge_freed(struct clr *clr, char *address, SIZE_T size, DWORD type);
void judge_block(struct clr *clr, char *block, SIZE_T size);

/* Rule 9: what the host counted is what Windows says. Nobody may be changing memory. */
void judge_commit(struct clr *clr);

/* Rule 13: an exception that leaves a method is seen on its way. */
void judge_exceptions(struct clr *clr);

#endif
