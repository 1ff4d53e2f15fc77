/* SPDX-License-Identifier: MIT */
#ifndef HOSTMEM_TESTS_SIZES_H
#define HOSTMEM_TESTS_SIZES_H

#include <stddef.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define PAGE ((size_t)4096)
#define SLOT ((size_t)65536)

/* What an out-parameter holds before the call. */
#define POISON ((uintptr_t)0xDEADDEADu)

#endif
