/* SPDX-License-Identifier: MIT
 *
 * Heaps over the fake OS with real memory behind its reservations, and a check of all they know at a
 * quiet moment: of every span, every list, every count, against each other and against the OS.
 */
#ifndef HOSTMEM_TESTS_HEAP_FIXTURE_H
#define HOSTMEM_TESTS_HEAP_FIXTURE_H

#include "support/fake_os.h"
#include "support/sizes.h"

#include "core/heap/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For programs with and without cmocka. */
#define HEAP_REQUIRE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Debug builds keep freed blocks for a while, and so their spans. */
#ifdef NDEBUG
#define NDEBUG_OR(release, debug) (release)
#else
#define NDEBUG_OR(release, debug) (debug)
#endif

static struct fake_os fake;
static struct table_memory table_memory;
static struct budget budget;
static struct site_table sites;
static struct heaps heaps;
static struct heap heap;
static char reported[256]; /* the last damage */

static void report(const char *damage)
{
    snprintf(reported, sizeof(reported), "%s", damage);
}

/* What may be committed; 0: no limit. */
static inline void set_limit(size_t commit)
{
    budget_set_limits(&budget,
                      &(struct budget_limits){.commit = commit != 0 ? commit : BUDGET_UNLIMITED,
                                              .reserve = BUDGET_UNLIMITED});
}

static inline size_t charged(void)
{
    return usage_current(&budget.committed[BUDGET_HEAP]);
}

static inline void heap_fixture_start(bool thread_safe)
{
    fake_os_init_default(&fake);
    fake.real_memory = true;
    table_memory = (struct table_memory){.os = &fake.os};
    budget_init(&budget);
    site_table_init(&sites, &table_memory);
    heaps_init(&heaps, &budget, &table_memory, &sites, report);
    memset(&heap, 0, sizeof(heap));
    HEAP_REQUIRE(heap_create(&heap, &heaps, thread_safe, false) == OS_OK);
    reported[0] = '\0';
}

/* Whether nothing is left. */
static inline bool heap_fixture_end(void)
{
    bool destroyed = heap_destroy(&heap) == OS_OK && budget_check(&budget) == NULL &&
                     budget_in_use(&budget) == 0;
    site_table_destroy(&sites);
    return destroyed && usage_current(&table_memory.committed) == 0 && fake.region_count == 0 &&
           fake_os_destroy(&fake) == 0;
}

/* ---- the check ---- */

static inline bool is_kept(const struct heap *of, const void *block)
{
    (void)of;
    (void)block;
#ifndef NDEBUG
    for (size_t i = 0; i < HEAP_FREED_KEPT; i++) {
        if (atomic_load(&of->freed[i]) == block) {
            return true;
        }
    }
#endif
    return false;
}

static inline bool is_in_bin(const struct heap *of, const struct span *span)
{
    const struct span *at = of->shares[span->share].bins[span->size_class].first, *before = NULL;
    for (; at != NULL && at != span; at = at->next) {
        before = at;
    }
    return at != NULL && at->previous == before;
}

static inline bool is_cached(const struct heap *of, const struct span *span)
{
    for (size_t i = 0; i <= HEAP_SHARES; i++) {
        for (size_t j = 0; j < of->shares[i].large_count; j++) {
            if (of->shares[i].large[j] == span) {
                return true;
            }
        }
    }
    return false;
}

/* NULL, or what is wrong with the blocks of a span. */
static inline const char *check_blocks(struct span *span)
{
    struct heap *of = atomic_load(&span->heap);
    uint32_t live = 0, kept = 0, free = 0, remote = 0;
    bool large = span->size_class == LARGE_CLASS;
    for (uint32_t i = 0; i < span->capacity; i++) {
        uint8_t state = atomic_load(&span_live(span)[i]);
        if (state != 0 && state != atomic_load(&span->generation)) {
            return "a block lives in another generation";
        }
        if (state != 0 && i >= (large ? 1 : span->untouched)) {
            return "a block is live that nobody was given";
        }
        live += state != 0;
        kept += i < span->count && state == 0 && is_kept(of, span_block(span, i));
    }
    if (large) {
        return live + is_cached(of, span) == 1 ? NULL : "a large block is lost";
    }
    for (uint32_t at = span->first_free; at != 0; at = span_links(span)[at - 1], free++) {
        if (at > span->untouched || free > span->count || span_live(span)[at - 1] != 0) {
            return "a list of free blocks is wrong";
        }
    }
    for (uint32_t at = atomic_load(&span->remote); at != 0; at = span_links(span)[at - 1]) {
        if (remote++ > span->count || span_live(span)[at - 1] != 0) {
            return "a list of remote blocks is wrong";
        }
    }
    if (live + remote + kept != span->live) {
        return "the count of live blocks is wrong";
    }
    if (span->live + free != span->untouched || span->untouched > span->usable ||
        span->usable > span->count || span->count > span->capacity) {
        return "blocks are lost";
    }
    bool room = free > 0 || span->untouched < span->count;
    if (span->listed != is_in_bin(of, span) || (room && !span->listed)) {
        return "a span with room is in no list";
    }
    return NULL;
}

/* NULL, or what is wrong with the heaps. */
static inline const char *check_heaps(void)
{
    struct span_table *table = &heaps.source.table;
    size_t committed = 0, reserved, by_os, kept = 0, by_shares = 0;
    for (struct span *span = span_table_next(table, NULL); span != NULL;
         span = span_table_next(table, span)) {
        struct heap *of = atomic_load(&span->heap);
        if (of == NULL) {
            continue;
        }
        const char *fault = check_blocks(span);
        if (fault != NULL) {
            return fault;
        }
        for (size_t at = 0; at < span->reserved; at += SLOT) {
            if (span_table_find(table, span->base + at) != span) {
                return "a slot leads to another span";
            }
        }
        if (fake_os_committed(&fake, span->base, span->reserved) != span->committed) {
            return "a span has other pages than it thinks";
        }
        committed += span->committed;
        kept += (span->size_class == LARGE_CLASS ? is_cached(of, span) : span->live == 0)
                    ? span->committed
                    : 0;
    }
    for (struct heap *of = heaps.first; of != NULL; of = of->next) {
        for (size_t i = 0; i <= HEAP_SHARES; i++) {
            by_shares += of->shares[i].kept;
            if (of->shares[i].kept > HEAP_KEPT_BYTES) {
                return "a share keeps too much";
            }
        }
    }
    fake_os_totals(&fake, &reserved, &by_os);
    return committed != charged() ? "the charge is not what the spans have"
           : committed != by_os   ? "the system has other pages than the spans"
           : kept != by_shares    ? "what shares keep is wrong"
                                  : NULL;
}

static inline struct heap_counts counts(void)
{
    struct heap_counts result;
    heaps_count(&heaps, &result);
    return result;
}

#endif
