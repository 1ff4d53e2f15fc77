/* SPDX-License-Identifier: MIT
 *
 * Between fake_os.c and fake_space.c only.
 */
#ifndef HOSTMEM_TESTS_FAKE_SPACE_H
#define HOSTMEM_TESTS_FAKE_SPACE_H

#include "support/fake_os.h"

#define PAGE_BYTES ((size_t)4096)
#define GRANULARITY ((size_t)65536)

/* The fake itself is misused or cannot go on: say so and end the program. */
void fake_broken(const char *what);
/* Zeroed, never NULL. */
void *fake_allocate(size_t count, size_t size);

os_error fake_space_alloc(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type,
                          uint32_t protect, uintptr_t *result);
os_error fake_space_free(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type);
os_error fake_space_protect(struct fake_os *fake, uintptr_t address, size_t size, uint32_t protect,
                            uint32_t *old_protect);
/* `begin` is a page's first address. */
void fake_space_query(const struct fake_os *fake, uintptr_t begin, struct os_memory_info *info);
void fake_space_clear(struct fake_os *fake);

#endif
