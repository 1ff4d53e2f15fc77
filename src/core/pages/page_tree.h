/* SPDX-License-Identifier: MIT
 *
 * The pages of a region that are committed, as a tree of bitmaps. A leaf has one bit for each of 1,024
 * pages (4 MiB); each level above it 16 children (32 on 32-bit systems). 256 GiB are five levels,
 * leaves included, 8 TiB six.
 *
 * What is not there is not committed: a leaf has a bit set, and any other node a child. So the tree is
 * as large as what is committed. 256 GiB of committed pages take 9.3 MiB; a page that is alone takes a
 * leaf and the path to it; 1,000 of them all over 256 GiB take 0.3 MiB. Every second page of a range
 * costs the same as all of them.
 *
 * A range is half open, in pages from the start of what the node stands for; only that of a count may
 * be empty. `node` may be NULL, but not for page_tree_clear and page_tree_is_sound: nothing is
 * committed there. Whoever calls holds the region's lock.
 */
#ifndef HOSTMEM_CORE_PAGE_TREE_H
#define HOSTMEM_CORE_PAGE_TREE_H

#include "core/pages/page_pool.h"

/* The level of the root of a region of `pages` pages; leaves have level 0. */
unsigned page_tree_level(size_t pages);

/* How many pages of the range are committed. */
size_t page_tree_count(const struct page_node *node, unsigned level, size_t first, size_t end);

/* How many nodes are missing for all pages of the range. */
size_t page_tree_missing(const struct page_node *node, unsigned level, size_t first, size_t end);

/* How many nodes lead to both pages. */
size_t page_tree_shared(unsigned level, size_t page, size_t other);

/* Commit the range; the nodes that were missing have been promised. */
void page_tree_mark(struct page_node **node, unsigned level, size_t first, size_t end,
                    struct page_pool *pool);

/* Decommit the range and give back the nodes that are empty then. */
void page_tree_clear(struct page_node **node, unsigned level, size_t first, size_t end,
                     struct page_pool *pool);

/* The first page from `from` on that is committed, or with `value` false that is not; behind the last
 * page of the node when there is none. */
size_t page_tree_find(const struct page_node *node, unsigned level, size_t from, bool value);

/* Whether each node has as many bits or children as it says, and is not empty. */
bool page_tree_is_sound(const struct page_node *node, unsigned level);

/* The same for an array of words: the bits of pages [first, end). */
size_t page_bits_count(const uint64_t *bits, size_t first, size_t end);
void page_bits_set(uint64_t *bits, size_t first, size_t end, bool value);
size_t page_bits_find(const uint64_t *bits, size_t from, size_t pages, bool value);

#endif
