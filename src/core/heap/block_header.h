/* SPDX-License-Identifier: MIT
 *
 * What stands in front of the caller's bytes, and in debug builds around them.
 *
 *     release   | header |  the caller's bytes …
 *     debug     | header | seal |  the caller's bytes …  | seal |
 *
 * Each part is two pointers, which keeps the alignment. The header has the size as asked for and the
 * allocation site, and cannot be changed without being noticed: it is mixed with a secret of the
 * process and the block's own address, and the rest of its bits are a check of both.
 *
 *     64-bit    size 48, site 16, check 64 bits
 *     32-bit    size 32, site 16, check 16 bits
 *
 * So a header that is written over, copied from another block, or set to any constant is believed by
 * one chance in 2^64 (in 65,536). This finds accidents and blind writes; it is no cryptography, and
 * who can read headers can in the end write one.
 *
 * A freed block keeps its header until it is handed out again, which is when it is checked once more.
 * In debug builds the bytes of a freed block are FREED_BYTE for as long as nobody else has them. The
 * first byte of a seal is never 0: the byte that is written behind a block most often is the end of a
 * string.
 */
#ifndef HOSTMEM_CORE_BLOCK_HEADER_H
#define HOSTMEM_CORE_BLOCK_HEADER_H

#include "core/heap/size_class.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FREED_BYTE 0xdd
#define BLOCK_MIX_1 UINT64_C(0x9e3779b97f4a7c15)
#define BLOCK_MIX_2 UINT64_C(0xd6e8feb86659fd93)
#define BLOCK_MAX_SITE UINT16_MAX

struct block_header {
    uintptr_t words[2];
};

struct block_seal {
    uintptr_t words[2];
};

_Static_assert(sizeof(struct block_header) == BLOCK_ALIGNMENT, "the header keeps the alignment");
_Static_assert(sizeof(struct block_seal) == BLOCK_ALIGNMENT, "a seal keeps the alignment");

#ifdef NDEBUG
#define BLOCK_FRONT_BYTES sizeof(struct block_header)
#define BLOCK_TAIL_BYTES ((size_t)0)
#else
#define BLOCK_FRONT_BYTES (sizeof(struct block_header) + sizeof(struct block_seal))
#define BLOCK_TAIL_BYTES sizeof(struct block_seal)
#endif

/* What a header says. */
struct block {
    size_t size;   /* as asked for */
    uint32_t site; /* 0: none */
};

/* The largest size that a header, and the sum with what is around a block, has room for. */
#define BLOCK_MAX_SIZE (sizeof(void *) == 8 ? ((uint64_t)1 << 47) : ((uint64_t)1 << 31))

static inline struct block_header *block_header_of(const void *memory)
{
    return (struct block_header *)((uintptr_t)memory - BLOCK_FRONT_BYTES);
}

static inline uint64_t block_key(const void *memory, uint64_t secret)
{
    return ((uint64_t)(uintptr_t)memory ^ secret) * BLOCK_MIX_1;
}

#if UINTPTR_MAX > UINT32_MAX

static inline struct block_header block_encode(struct block block, uint64_t key)
{
    uint64_t word = block.size | (uint64_t)block.site << 48;
    return (struct block_header){{word ^ key, (word + key) * BLOCK_MIX_2}};
}

static inline bool block_decode(struct block_header header, uint64_t key, struct block *block)
{
    uint64_t word = header.words[0] ^ key;
    *block =
        (struct block){.size = word & (((uint64_t)1 << 48) - 1), .site = (uint32_t)(word >> 48)};
    return header.words[1] == (word + key) * BLOCK_MIX_2;
}

#else

static inline struct block_header block_encode(struct block block, uint64_t key)
{
    uint64_t low = (key >> 16) ^ (block.size | (uint64_t)block.site << 32);
    uint64_t check = ((low << 16) + key) * BLOCK_MIX_2;
    return (struct block_header){
        {(uint32_t)low, (uint32_t)(low >> 32 & 0xffff) | ((uint32_t)(check >> 48) << 16)}};
}

static inline bool block_decode(struct block_header header, uint64_t key, struct block *block)
{
    uint64_t low = header.words[0] | (uint64_t)(header.words[1] & 0xffff) << 32;
    uint64_t word = (key >> 16 ^ low);
    *block = (struct block){.size = (uint32_t)word, .site = (uint32_t)(word >> 32 & 0xffff)};
    struct block_header again = block_encode(*block, key);
    return header.words[1] == again.words[1];
}

#endif

#ifndef NDEBUG

static inline struct block_seal block_seal(struct block block, uint64_t key)
{
    uint64_t word = (key ^ block.size ^ (uint64_t)block.site << 20) * BLOCK_MIX_2;
    return (struct block_seal){{(uintptr_t)word | 1, (uintptr_t)(word >> 16)}};
}

static inline struct block_seal *block_front_seal(const void *memory)
{
    return (struct block_seal *)((uintptr_t)memory - sizeof(struct block_seal));
}

#endif

/* Fill in what surrounds the caller's bytes. */
static inline void block_write(void *memory, uint64_t secret, struct block block)
{
    uint64_t key = block_key(memory, secret);
    *block_header_of(memory) = block_encode(block, key);
#ifndef NDEBUG
    struct block_seal seal = block_seal(block, key);
    *block_front_seal(memory) = seal;
    memcpy((char *)memory + block.size, &seal, sizeof(seal));
#endif
}

/* Whether the header is as it was written; *block is what it says. */
static inline bool block_read(const void *memory, uint64_t secret, struct block *block)
{
    uint64_t key = block_key(memory, secret);
    bool intact = block_decode(*block_header_of(memory), key, block);
#ifndef NDEBUG
    if (intact) {
        struct block_seal seal = block_seal(*block, key);
        intact = memcmp(block_front_seal(memory), &seal, sizeof(seal)) == 0;
    }
#endif
    return intact;
}

/* Of a block whose header is intact: whether what stands behind its bytes is, too. */
static inline bool block_end_is_intact(const void *memory, uint64_t secret, struct block block)
{
#ifdef NDEBUG
    (void)memory;
    (void)secret;
    (void)block;
    return true;
#else
    struct block_seal seal = block_seal(block, block_key(memory, secret));
    return memcmp((const char *)memory + block.size, &seal, sizeof(seal)) == 0;
#endif
}

#endif
