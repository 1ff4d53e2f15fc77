/* SPDX-License-Identifier: MIT */
#ifndef HOSTMEM_FUZZ_SHIM_H
#define HOSTMEM_FUZZ_SHIM_H

#include <windows.h>

/* Before each input: the strings and folders of the one before go. */
void shim_reset(void);

/* What is in every folder. */
void shim_set_folders(const wchar_t *const *names, size_t count);

/* Files and searches that are not closed. */
int shim_open_handles(void);

/* How many lines text_fail has written since. */
int shim_messages(void);

/* Room for a string of `length` characters. */
wchar_t *shim_string(size_t length);

#endif
