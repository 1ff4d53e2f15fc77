/* SPDX-License-Identifier: MIT */
#ifndef HOSTMEM_FUZZ_SHIM_H
#define HOSTMEM_FUZZ_SHIM_H

#include <windows.h>

/* Before each input: the strings of the one before go. */
void shim_reset(void);

/* Room for a string of `length` characters. */
wchar_t *shim_string(size_t length);

#endif
