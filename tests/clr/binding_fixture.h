/* SPDX-License-Identifier: MIT
 *
 * A real coreclr.dll, loaded, not started, and bound or not: setups of tests. What is bound is called
 * through the import slots of the module, as the runtime calls it.
 */
#ifndef TESTS_CLR_BINDING_FIXTURE_H
#define TESTS_CLR_BINDING_FIXTURE_H

#include "clr/coreclr.h"
#include "clr/imports.h"
#include "clr/recording_manager.h"
#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The runtime, and where its imports led before the binding and after it. */
extern HMODULE coreclr;
extern struct imports before, after;

/* The bound function of this name. */
#define FUNCTION(name) ((__typeof__(&name))(uintptr_t)imports_find(&after, #name))

/* Loaded and not bound. */
int load_runtime(void **state);

/* What the setups below bind with; none at first. */
extern HOSTMEM_BIND_OPTIONS bind_options;

/* Bound to the recording manager. */
int bind_recording_manager(void **state);

/* Bound to a manager of hostmem, which is *state. */
int bind_hostmem(void **state);

#endif
