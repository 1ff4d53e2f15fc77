/* SPDX-License-Identifier: MIT
 *
 * See page_tree.h. Every function goes down into those children that its range touches; the depth is
 * the level of the root, eight at most.
 */
#include "core/pages/page_tree.h"

#define LEAF_SHIFT 10
#define LEVEL_SHIFT (sizeof(void *) == 8 ? 4 : 5)

_Static_assert(PAGE_NODE_PAGES == (size_t)1 << LEAF_SHIFT, "a leaf");
_Static_assert(PAGE_NODE_CHILDREN == (size_t)1 << LEVEL_SHIFT, "any other node");

/* ---- bits ---- */

/* The bits of word `index` that lie in [first, end), which touches that word. */
static uint64_t word_mask(size_t index, size_t first, size_t end)
{
    uint64_t mask = ~(uint64_t)0;
    if (index == first / 64) {
        mask &= ~(uint64_t)0 << (first % 64);
    }
    if (index == (end - 1) / 64) {
        mask &= ~(uint64_t)0 >> (63 - (end - 1) % 64);
    }
    return mask;
}

size_t page_bits_count(const uint64_t *bits, size_t first, size_t end)
{
    size_t count = 0;
    for (size_t i = first / 64; first < end && i <= (end - 1) / 64; i++) {
        count += (size_t)__builtin_popcountll(bits[i] & word_mask(i, first, end));
    }
    return count;
}

void page_bits_set(uint64_t *bits, size_t first, size_t end, bool value)
{
    for (size_t i = first / 64; i <= (end - 1) / 64; i++) {
        uint64_t mask = word_mask(i, first, end);
        bits[i] = value ? bits[i] | mask : bits[i] & ~mask;
    }
}

/* The first page at or after `from` whose bit is `value`; `pages` when there is none. */
size_t page_bits_find(const uint64_t *bits, size_t from, size_t pages, bool value)
{
    while (from < pages) {
        uint64_t word = (value ? bits[from / 64] : ~bits[from / 64]) >> (from % 64);
        if (word != 0) {
            size_t found = from + (size_t)__builtin_ctzll(word);
            return found < pages ? found : pages;
        }
        from = (from / 64 + 1) * 64;
    }
    return pages;
}

/* ---- the tree ---- */

/* The pages that a node of this level stands for, as a power of two. */
static unsigned shift_of(unsigned level)
{
    return LEAF_SHIFT + LEVEL_SHIFT * level;
}

unsigned page_tree_level(size_t pages)
{
    unsigned level = 0;
    while ((pages - 1) >> shift_of(level) != 0) {
        level++;
    }
    return level;
}

/* The part of a range that lies in one child. */
struct part {
    size_t child;
    size_t first; /* from the start of the child */
    size_t end;
};

/* The part of [*first, end) in the first child that it touches; *first moves behind it. */
static struct part next_part(unsigned level, size_t *first, size_t end)
{
    unsigned shift = shift_of(level - 1);
    size_t child = *first >> shift, start = child << shift;
    size_t stop = start + ((size_t)1 << shift);
    struct part part = {child, *first - start, (stop < end ? stop : end) - start};
    *first = stop;
    return part;
}

size_t page_tree_count(const struct page_node *node, unsigned level, size_t first, size_t end)
{
    size_t count = 0;
    if (node == NULL) {
        return 0;
    }
    if (level == 0) {
        return page_bits_count(node->bits, first, end);
    }
    while (first < end) {
        struct part part = next_part(level, &first, end);
        count += page_tree_count(node->children[part.child], level - 1, part.first, part.end);
    }
    return count;
}

size_t page_tree_missing(const struct page_node *node, unsigned level, size_t first, size_t end)
{
    size_t missing = 0;
    if (node == NULL) {
        for (unsigned i = 0; i <= level; i++) {
            missing += ((end - 1) >> shift_of(i)) - (first >> shift_of(i)) + 1;
        }
        return missing;
    }
    while (level != 0 && first < end) {
        struct part part = next_part(level, &first, end);
        missing += page_tree_missing(node->children[part.child], level - 1, part.first, part.end);
    }
    return missing;
}

size_t page_tree_shared(unsigned level, size_t page, size_t other)
{
    size_t shared = 0;
    for (unsigned i = 0; i <= level; i++) {
        shared += page >> shift_of(i) == other >> shift_of(i);
    }
    return shared;
}

void page_tree_mark(struct page_node **node, unsigned level, size_t first, size_t end,
                    struct page_pool *pool)
{
    if (*node == NULL) {
        *node = page_pool_take(pool);
    }
    if (level == 0) {
        (*node)->used += (uint32_t)(end - first - page_bits_count((*node)->bits, first, end));
        page_bits_set((*node)->bits, first, end, true);
        return;
    }
    while (first < end) {
        struct part part = next_part(level, &first, end);
        struct page_node **child = &(*node)->children[part.child];
        (*node)->used += *child == NULL;
        page_tree_mark(child, level - 1, part.first, part.end, pool);
    }
}

void page_tree_clear(struct page_node **node, unsigned level, size_t first, size_t end,
                     struct page_pool *pool)
{
    if (level == 0) {
        (*node)->used -= (uint32_t)page_bits_count((*node)->bits, first, end);
        page_bits_set((*node)->bits, first, end, false);
    }
    while (level != 0 && first < end) {
        struct part part = next_part(level, &first, end);
        struct page_node **child = &(*node)->children[part.child];
        if (*child != NULL) {
            page_tree_clear(child, level - 1, part.first, part.end, pool);
            (*node)->used -= *child == NULL;
        }
    }
    if ((*node)->used == 0) {
        page_pool_give(pool, *node);
        *node = NULL;
    }
}

size_t page_tree_find(const struct page_node *node, unsigned level, size_t from, bool value)
{
    size_t pages = (size_t)1 << shift_of(level);
    if (node == NULL) {
        return value ? pages : from;
    }
    if (level == 0) {
        return page_bits_find(node->bits, from, pages, value);
    }
    while (from < pages) {
        struct part part = next_part(level, &from, pages);
        size_t found = page_tree_find(node->children[part.child], level - 1, part.first, value);
        if (found < part.end) {
            return (part.child << shift_of(level - 1)) + found;
        }
    }
    return pages;
}

bool page_tree_is_sound(const struct page_node *node, unsigned level)
{
    size_t used = 0;
    if (level == 0) {
        used = page_bits_count(node->bits, 0, PAGE_NODE_PAGES);
    }
    for (size_t i = 0; level != 0 && i < PAGE_NODE_CHILDREN; i++) {
        used += node->children[i] != NULL;
        if (node->children[i] != NULL && !page_tree_is_sound(node->children[i], level - 1)) {
            return false;
        }
    }
    return used != 0 && used == node->used;
}
