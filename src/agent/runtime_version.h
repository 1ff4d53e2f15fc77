/* SPDX-License-Identifier: MIT
 *
 * Which version of .NET a loaded runtime is.
 */
#ifndef AGENT_RUNTIME_VERSION_H
#define AGENT_RUNTIME_VERSION_H

#include <windows.h>

/* path  of the module. Leaves "3.1.2" for instance in `version`, "" if it cannot be told. */
void runtime_version(HMODULE runtime, const WCHAR *path, WCHAR *version, size_t capacity);

#endif
