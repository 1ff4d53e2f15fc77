/* SPDX-License-Identifier: MIT
 *
 * Freed blocks of one heap that the next request of the same size gets, without the heap's being
 * asked: one such cache for every heap and heap share, guarded by the share.
 *
 * 64 sets of seven blocks. The set is the size in units of the alignment, modulo 64: up to 1 KiB each
 * size has a set of its own, above that several share one, and the size of each block is compared.
 * A cache holds CACHE_MOST bytes at most, so a heap keeps back no more than 1 MiB. When it is full,
 * a few blocks go for one that comes, taken from one set after the other, so that sizes nobody asks
 * for do not stay.
 *
 * Where a block is, and how large, stands in the cache and not in the freed memory: whoever still
 * writes there cannot lead us anywhere.
 */
#ifndef HOSTMEM_CORE_BLOCK_CACHE_H
#define HOSTMEM_CORE_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_SETS 64
#define CACHE_WAYS 7
#define CACHE_GOING 8 /* that go for one that comes, itself included */
#define CACHE_MOST ((size_t)128 * 1024)

struct block_set {
    size_t count;
    struct {
        void *block;
        size_t bytes;
    } entries[CACHE_WAYS]; /* the latest is the last */
};

struct block_cache {
    _Alignas(64) struct block_set sets[CACHE_SETS]; /* 8 KiB on 64-bit systems */
    size_t bytes;                                   /* of all blocks */
    size_t hand;                                    /* the set that gives the next block away */
};

static inline struct block_set *block_cache_set(struct block_cache *cache, size_t bytes)
{
    return &cache->sets[bytes / (2 * sizeof(void *)) % CACHE_SETS];
}

/* A block of exactly `bytes`, or NULL. */
static inline void *block_cache_take(struct block_cache *cache, size_t bytes)
{
    struct block_set *set = block_cache_set(cache, bytes);
    for (size_t i = set->count; i-- > 0;) {
        if (set->entries[i].bytes == bytes) {
            void *block = set->entries[i].block;
            set->entries[i] = set->entries[--set->count];
            cache->bytes -= bytes;
            return block;
        }
    }
    return NULL;
}

/* Make room for `block`, which does not fit, and keep it. What has to go instead, perhaps the block
 * itself: so many, into `going`. */
size_t block_cache_make_room(struct block_cache *cache, void *block, size_t bytes,
                             void *going[CACHE_GOING]);

/* Keep `block`; as above. */
static inline size_t block_cache_put(struct block_cache *cache, void *block, size_t bytes,
                                     void *going[CACHE_GOING])
{
    struct block_set *set = block_cache_set(cache, bytes);
    if (set->count == CACHE_WAYS || bytes > CACHE_MOST - cache->bytes) {
        return block_cache_make_room(cache, block, bytes, going);
    }
    set->entries[set->count].block = block;
    set->entries[set->count++].bytes = bytes;
    cache->bytes += bytes;
    return 0;
}

#endif
