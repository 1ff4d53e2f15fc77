/* SPDX-License-Identifier: MIT
 *
 * See page_pool.h. The list has the blocks with a free node. Whole ones stand at its end: nodes are
 * taken from the front, where blocks are in use anyway, and blocks go back from the end.
 */
#include "core/pages/page_pool.h"

_Static_assert(sizeof(struct page_node) == 8 + 8 * PAGE_NODE_WORDS, "a small header");
_Static_assert(PAGE_BLOCK_NODES == 120, "nodes in a block");

/* Free nodes that nobody was promised, beyond which a whole block goes back. */
#define SLACK (PAGE_BLOCK_NODES + PAGE_BLOCK_NODES / 2)

/* ---- the list of blocks ---- */

static void unlink_locked(struct page_pool *pool, struct page_block *block)
{
    *(block->previous != NULL ? &block->previous->next : &pool->first) = block->next;
    *(block->next != NULL ? &block->next->previous : &pool->last) = block->previous;
}

static void link_first_locked(struct page_pool *pool, struct page_block *block)
{
    block->previous = NULL;
    block->next = pool->first;
    *(block->next != NULL ? &block->next->previous : &pool->last) = block;
    pool->first = block;
}

static void link_last_locked(struct page_pool *pool, struct page_block *block)
{
    block->next = NULL;
    block->previous = pool->last;
    *(block->previous != NULL ? &block->previous->next : &pool->first) = block;
    pool->last = block;
}

static struct page_block *block_of(struct page_node *node)
{
    return (struct page_block *)(void *)((char *)(node - node->number) -
                                         offsetof(struct page_block, nodes));
}

/* ---- blocks ---- */

static bool grow_locked(struct page_pool *pool)
{
    struct page_block *block = table_memory_map(pool->memory, PAGE_BLOCK_BYTES);
    if (block == NULL) {
        return false;
    }
    block->free_count = PAGE_BLOCK_NODES;
    pool->free_count += PAGE_BLOCK_NODES;
    link_last_locked(pool, block);
    return true;
}

static void shrink_locked(struct page_pool *pool)
{
    while (pool->free_count - pool->promised >= SLACK &&
           pool->last->free_count == PAGE_BLOCK_NODES) {
        struct page_block *block = pool->last;
        unlink_locked(pool, block);
        pool->free_count -= PAGE_BLOCK_NODES;
        table_memory_release(pool->memory, block, PAGE_BLOCK_BYTES);
    }
}

os_error page_pool_create(struct page_pool *pool, struct table_memory *memory)
{
    *pool = (struct page_pool){.memory = memory};
    return grow_locked(pool) ? OS_OK : OS_NOT_ENOUGH_MEMORY;
}

void page_pool_destroy(struct page_pool *pool)
{
    while (pool->first != NULL) {
        struct page_block *block = pool->first;
        unlink_locked(pool, block);
        table_memory_release(pool->memory, block, PAGE_BLOCK_BYTES);
    }
}

/* ---- promises ---- */

bool page_pool_promise(struct page_pool *pool, size_t count)
{
    bool kept = true;
    if (count == 0) {
        return true;
    }
    os_lock_acquire(&pool->lock);
    while (kept && pool->free_count - pool->promised < count) {
        kept = grow_locked(pool);
    }
    if (kept) {
        pool->promised += count;
    } else {
        shrink_locked(pool); /* what was got before the one that failed */
    }
    os_lock_release(&pool->lock);
    return kept;
}

void page_pool_excuse(struct page_pool *pool, size_t count)
{
    if (count == 0) {
        return;
    }
    os_lock_acquire(&pool->lock);
    pool->promised -= count;
    shrink_locked(pool);
    os_lock_release(&pool->lock);
}

/* ---- nodes ---- */

struct page_node *page_pool_take(struct page_pool *pool)
{
    os_lock_acquire(&pool->lock);
    struct page_block *block = pool->first;
    struct page_node *node = block->free;
    if (node != NULL) {
        block->free = node->next_free;
        node->next_free = NULL;
    } else {
        node = &block->nodes[block->fresh];
        node->number = block->fresh++;
    }
    if (--block->free_count == 0) {
        unlink_locked(pool, block);
    }
    pool->free_count--;
    pool->promised--;
    os_lock_release(&pool->lock);
    return node;
}

void page_pool_give(struct page_pool *pool, struct page_node *node)
{
    os_lock_acquire(&pool->lock);
    struct page_block *block = block_of(node);
    node->next_free = block->free;
    block->free = node;
    pool->free_count++;
    block->free_count++;
    if (block->free_count == 1) {
        link_first_locked(pool, block);
    }
    if (block->free_count == PAGE_BLOCK_NODES) {
        unlink_locked(pool, block);
        link_last_locked(pool, block);
    }
    shrink_locked(pool);
    os_lock_release(&pool->lock);
}
