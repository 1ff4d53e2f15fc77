/* SPDX-License-Identifier: MIT
 *
 * The CLR calls the host through one small function for each method (2.2), and so does its stand-in.
 * Each poisons its out-locals, sets LastError to a marker, calls, has the judge look at what came
 * back, and gives its caller what the CLR's function gives: NULL, FALSE or 0 on failure.
 */
#ifndef TESTS_SUPPORT_FRAMEWORK_CALLS_H
#define TESTS_SUPPORT_FRAMEWORK_CALLS_H

#include "support/framework_session.h"

/* What a failure means: 0, it may happen (a search for free space); MUST_FAIL, a success is wrong;
 * else the rule that it breaks. */
enum { MAY_FAIL = 0, MUST_FAIL = -1 };

void *ee_virtual_alloc(struct clr *clr, void *address, SIZE_T size, DWORD type, DWORD protect,
                       int if_refused);
bool ee_virtual_free(struct clr *clr, void *address, SIZE_T size, DWORD type, int if_refused);
SIZE_T ee_virtual_query(struct clr *clr, const void *address, MEMORY_BASIC_INFORMATION *info,
                        SIZE_T length);
bool ee_virtual_protect(struct clr *clr, void *address, SIZE_T size, DWORD protect, DWORD *old,
                        int if_refused);
void *ee_alloc(struct clr *clr, SIZE_T size, int if_refused);
bool ee_free(struct clr *clr, void *block, int if_refused);
void ee_get_memory_load(struct clr *clr);
bool ee_needs_address_space(struct clr *clr, void *address, SIZE_T size);
void ee_acquired_address_space(struct clr *clr, void *address, SIZE_T size);
void ee_released_address_space(struct clr *clr, void *address);

/* SetHostControl's own calls (2.1). */
HRESULT ee_get_host_manager(struct clr *clr, IHostControl *control, REFIID iid, void **result);
HRESULT ee_create_malloc(struct clr *clr, IHostMemoryManager *manager);
void ee_register_callback(struct clr *clr, IHostMemoryManager *manager);

/* What the judge and 2.3 must know of the calling thread. */
struct clr_thread {
    bool is_clr;         /* not one that the host made */
    int inside;          /* in a method of the host */
    int locks;           /* managed locks it holds: a failure would leave shared state broken */
    bool default_domain; /* else it runs code of another AppDomain */
};
struct clr_thread *this_thread(void);

EMemoryCriticalLevel critical_level(const struct clr *clr);

#endif
