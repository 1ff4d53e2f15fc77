/* SPDX-License-Identifier: MIT
 *
 * The nodes that page sets are made of (page_tree.h), and the promise that they will be there.
 *
 * A node is 128 bytes of bits, or of pointers to nodes, and a header of 8. Blocks of 16 KiB hold 120
 * of them, and serve all regions of a table.
 *
 * Giving memory back never needs memory: a commit asks for what any later decommit of the same pages
 * can need, and that is a number, not yet nodes. The pool keeps as many nodes free as it has promised,
 * so that taking one of them cannot fail; they stay untouched until then.
 *
 * Blocks go back to the system as nodes and promises are returned. One and a half blocks' worth may
 * stay behind, so that a region that grows and shrinks by a page does not ask the system each time;
 * the first block is there from the start.
 *
 * Any thread may call; the lock is held for a moment, and inside a region's lock.
 */
#ifndef HOSTMEM_CORE_PAGE_POOL_H
#define HOSTMEM_CORE_PAGE_POOL_H

#include "core/pages/table_memory.h"
#include "os/os_lock.h"

#define PAGE_NODE_WORDS 16
#define PAGE_NODE_PAGES ((size_t)64 * PAGE_NODE_WORDS)
#define PAGE_NODE_CHILDREN (PAGE_NODE_WORDS * sizeof(uint64_t) / sizeof(void *))
#define PAGE_BLOCK_BYTES ((size_t)16 << 10)

/* All zero, but for its number, when it is taken and when it is given back. */
struct page_node {
    uint32_t number; /* of the node in its block */
    uint32_t used;   /* bits that are set, or children that are there */
    union {
        uint64_t bits[PAGE_NODE_WORDS];
        struct page_node *children[PAGE_NODE_CHILDREN];
        struct page_node *next_free;
    };
};

struct page_block {
    struct page_block *next; /* of the blocks with a free node; guarded by the pool's lock */
    struct page_block *previous;
    struct page_node *free; /* given back before */
    uint32_t fresh;         /* nodes from this one on were never taken */
    uint32_t free_count;    /* both */
    struct page_node nodes[];
};

#define PAGE_BLOCK_NODES ((PAGE_BLOCK_BYTES - sizeof(struct page_block)) / sizeof(struct page_node))

struct page_pool {
    struct table_memory *memory;
    struct os_lock lock;
    struct page_block *first; /* of those with a free node: whole ones last; guarded by lock, */
    struct page_block *last;
    size_t free_count; /* nodes in no tree, */
    size_t promised;   /* and how many of them have an owner */
};

/* OS_NOT_ENOUGH_MEMORY on failure. At destroy every node and every promise has been returned. */
os_error page_pool_create(struct page_pool *pool, struct table_memory *memory);
void page_pool_destroy(struct page_pool *pool);

/* Set `count` nodes aside. False: no memory, nothing promised. */
bool page_pool_promise(struct page_pool *pool, size_t count);

/* `count` of the promised nodes are not needed any more. */
void page_pool_excuse(struct page_pool *pool, size_t count);

/* One of the promised nodes; the promise is one less. */
struct page_node *page_pool_take(struct page_pool *pool);

/* Give back a node whose bits, or children, are all zero. */
void page_pool_give(struct page_pool *pool, struct page_node *node);

#endif
