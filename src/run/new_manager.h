/* SPDX-License-Identifier: MIT
 *
 * The manager that a program is run on.
 */
#ifndef RUN_NEW_MANAGER_H
#define RUN_NEW_MANAGER_H

#include <hostmem/hostmem.h>

#include "options.h"

/* What it is made with. */
HOSTMEM_OPTIONS new_manager_limits(const struct options *options);

/* faults  Size 0: none. Returns S_OK or what failed. */
HRESULT new_manager(const HOSTMEM_OPTIONS *limits, const HOSTMEM_FAULTS *faults,
                    IHostMemoryManager **manager);

#endif
