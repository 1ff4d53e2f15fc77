/* SPDX-License-Identifier: MIT
 *
 * Processes that this one starts: each gets a block in the table and an agent of its own, before it
 * begins.
 */
#ifndef AGENT_CHILDREN_H
#define AGENT_CHILDREN_H

#include <hostmem/hostmem.h>

#include "run/agent_block.h"

/* manager  for the protection of a page of kernel32.dll
 * mapping  of `table`; stays open
 * own      the block whose settings the others get */
HRESULT children_bind(IHostMemoryManager *manager, HANDLE mapping, struct agent_table *table,
                      struct agent_block *own);

#endif
