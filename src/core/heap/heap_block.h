/* SPDX-License-Identifier: MIT
 *
 * A block of a heap: what stands in front of the caller's bytes and, in debug builds, what shows
 * that somebody has written where nothing of his is.
 *
 *     release   | size | site |  the caller's bytes …
 *     debug     | size | site | seal |  the caller's bytes …  | seal |
 *
 * Each part is two pointers, 16 bytes on 64-bit and 8 on 32-bit systems, which keeps the alignment
 * the OS heap gives. A seal is a number made from the block's address, size and site, so that no
 * seal fits another block, and a header that was written does not fit its seal. The first byte of a
 * seal is never 0: the byte that is written behind a block most often is the end of a string.
 *
 * A block that was freed keeps its seals, and its bytes are FREED_BYTE, for as long as nobody else
 * has the memory: who reads them reads nonsense, and who writes is found out.
 */
#ifndef HOSTMEM_CORE_HEAP_BLOCK_H
#define HOSTMEM_CORE_HEAP_BLOCK_H

#include "core/heap/block_map.h"

#include <string.h>

struct alloc_site;

#define FREED_BYTE 0xdd

struct block_seal {
    uintptr_t words[2];
};

struct block_header {
    size_t size;             /* as asked for */
    struct alloc_site *site; /* of DebugAlloc, or NULL */
#ifndef NDEBUG
    struct block_seal seal;
#endif
};

_Static_assert(sizeof(struct block_header) % BLOCK_ALIGNMENT == 0,
               "the header keeps the alignment");

#ifdef NDEBUG

#define BLOCK_TAIL_BYTES 0
_Static_assert(sizeof(struct block_header) == BLOCK_ALIGNMENT, "release builds pay for no seal");

static inline void block_seal(struct block_header *block)
{
    (void)block;
}

static inline const char *block_damage(const struct block_header *block)
{
    (void)block;
    return NULL;
}

static inline bool block_header_is_intact(const struct block_header *block)
{
    (void)block;
    return true;
}

#else

#define BLOCK_TAIL_BYTES sizeof(struct block_seal)
_Static_assert(sizeof(struct block_seal) == BLOCK_ALIGNMENT, "a seal keeps the alignment");

static inline struct block_seal block_make_seal(const struct block_header *block)
{
    uintptr_t word = ((uintptr_t)block ^ block->size ^ (uintptr_t)block->site) *
                     (uintptr_t)UINT64_C(0x9e3779b97f4a7c15);
    return (struct block_seal){{word | 1, ~word}};
}

static inline unsigned char *block_tail(const struct block_header *block)
{
    return (unsigned char *)(block + 1) + block->size;
}

/* Seal a block whose size and site are filled in. */
static inline void block_seal(struct block_header *block)
{
    block->seal = block_make_seal(block);
    memcpy(block_tail(block), &block->seal, sizeof(block->seal));
}

/* Whether size and site are what they were when the block was sealed. */
static inline bool block_header_is_intact(const struct block_header *block)
{
    struct block_seal seal = block_make_seal(block);
    return memcmp(&block->seal, &seal, sizeof(seal)) == 0;
}

/* NULL, or what has happened to a sealed block. Without its header the end is not known. */
static inline const char *block_damage(const struct block_header *block)
{
    if (!block_header_is_intact(block)) {
        return "was written in front of its beginning";
    }
    return memcmp(block_tail(block), &block->seal, sizeof(block->seal)) == 0
               ? NULL
               : "was written behind its end";
}

static inline void block_mark_freed(struct block_header *block)
{
    memset(block + 1, FREED_BYTE, block->size);
}

/* NULL, or what has happened to a block since it was marked as freed. */
static inline const char *block_freed_damage(const struct block_header *block)
{
    const unsigned char *bytes = (const unsigned char *)(block + 1);
    if (block_damage(block) != NULL) {
        return "was written around after it had been freed";
    }
    for (size_t i = 0; i < block->size; i++) {
        if (bytes[i] != FREED_BYTE) {
            return "was written after it had been freed";
        }
    }
    return NULL;
}

#endif
#endif
