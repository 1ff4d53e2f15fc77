/* SPDX-License-Identifier: MIT
 *
 * The manager that a program is run on.
 */
#ifndef RUN_NEW_MANAGER_H
#define RUN_NEW_MANAGER_H

#include <hostmem/hostmem.h>

/* faults  Size 0: none. Returns S_OK or what failed. */
HRESULT new_manager(const HOSTMEM_OPTIONS *limits, const HOSTMEM_FAULTS *faults,
                    IHostMemoryManager **manager);

#endif
