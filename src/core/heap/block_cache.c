/* SPDX-License-Identifier: MIT
 *
 * See block_cache.h.
 */
#include "core/heap/block_cache.h"

/* Take the oldest of a set out. */
static void *evict(struct block_cache *cache, struct block_set *set)
{
    void *block = set->entries[0].block;
    cache->bytes -= set->entries[0].bytes;
    set->count--;
    for (size_t i = 0; i < set->count; i++) {
        set->entries[i] = set->entries[i + 1];
    }
    return block;
}

/* The next set that has something to give. The cache is not empty. */
static struct block_set *next_to_give(struct block_cache *cache)
{
    do {
        cache->hand = (cache->hand + 1) % CACHE_SETS;
    } while (cache->sets[cache->hand].count == 0);
    return &cache->sets[cache->hand];
}

size_t block_cache_make_room(struct block_cache *cache, void *block, size_t bytes,
                             void *going[CACHE_GOING])
{
    struct block_set *set = block_cache_set(cache, bytes);
    size_t count = 0;
    if (bytes > CACHE_MOST) {
        going[0] = block;
        return 1;
    }
    if (set->count == CACHE_WAYS) {
        going[count++] = evict(cache, set);
    }
    while (bytes > CACHE_MOST - cache->bytes && count < CACHE_GOING - 1) {
        going[count++] = evict(cache, next_to_give(cache));
    }
    if (bytes > CACHE_MOST - cache->bytes) {
        going[count++] = block; /* many small ones: the next of this size finds more room */
        return count;
    }
    block_cache_put(cache, block, bytes, going);
    return count;
}
