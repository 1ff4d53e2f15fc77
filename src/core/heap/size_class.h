/* SPDX-License-Identifier: MIT
 *
 * The sizes that small blocks come in: what is asked for, with its header, is rounded up to the next.
 *
 *     1, 2, 3 … 16 units, then eight sizes to a doubling: 18 20 … 32 · 36 40 … 64 · … up to 32 KiB
 *
 * A unit is the alignment of blocks, 16 bytes on 64-bit and 8 on 32-bit systems, which makes 72 and
 * 80 classes. A ninth of a block at most is rounding, less on average: with half as many classes a heap of
 * mixed sizes was 5 % larger, and as much slower to grow. Larger blocks have pages of their own.
 */
#ifndef HOSTMEM_CORE_SIZE_CLASS_H
#define HOSTMEM_CORE_SIZE_CLASS_H

#include <stddef.h>

/* Blocks start on multiples of this: two pointers, as the system's heap has it. */
#define BLOCK_ALIGNMENT (2 * sizeof(void *))

#define SMALL_BYTES ((size_t)32 * 1024) /* the largest class */
#define FINE_CLASSES 16                 /* those a unit apart */
#define SIZE_CLASSES (sizeof(void *) == 8 ? 72 : 80)
#define MAX_SIZE_CLASSES 80

/* The class of a block of 1 to SMALL_BYTES bytes. */
static inline unsigned size_class_of(size_t bytes)
{
    size_t last = (bytes - 1) / BLOCK_ALIGNMENT; /* its last unit, from 0 */
    if (last < FINE_CLASSES) {
        return (unsigned)last;
    }
    unsigned shift = 28 - (unsigned)__builtin_clz((unsigned)last);
    return FINE_CLASSES + (shift - 1) * 8 + (unsigned)(last >> shift) - 8;
}

static inline size_t size_class_bytes(unsigned size_class)
{
    if (size_class < FINE_CLASSES) {
        return (size_class + 1) * BLOCK_ALIGNMENT;
    }
    unsigned coarse = size_class - FINE_CLASSES;
    return ((size_t)(coarse % 8 + 9) << (coarse / 8 + 1)) * BLOCK_ALIGNMENT;
}

#endif
