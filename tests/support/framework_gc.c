/* SPDX-License-Identifier: MIT
 *
 * The collector: what it takes at its start (3.2) and what it does with it (3.3). Segments, in MiB:
 *
 *                      small objects        large objects       at the start, x64 and x86
 *     workstation      256    (x86: 16)     128    (x86: 16)    384 and 32
 *     server, a heap   4096   (x86: 64)     256    (x86: 32)    4352 and 96, times the processors
 *
 * With more than 4 processors server segments are smaller; at most 4 heaps are played here, with full
 * ones. Only little of it is committed.
 * The tables, for a heap of H bytes: one card for 256 bytes and one brick of two bytes for 4 KiB,
 * H / 2048 bytes each; one mark bit for 16 bytes, H / 128. On x86 cards and bricks are for half as
 * much, marks for 8 bytes: H / 1024 twice, and H / 64. 384 MiB: 192 KiB, 192 KiB and 3 MiB.
 *
 * The runtime's threads stand still during most of this (2.9): a host that waits for one of them
 * waits for ever.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

#define GROWTH (16 * PAGE)         /* a heap grows by at least this */
#define FIRST_COMMIT (2 * PAGE)    /* of a new segment */
#define DECOMMIT_KEEPS (32 * PAGE) /* free space that is kept behind the last object */
#define GROWN (200 * PAGE)         /* what this heap grows to: enough for a decommit */

static bool is_server(const struct clr *clr)
{
    return (clr->profile->startup_flags & SERVER_GC) != 0;
}

static bool is_concurrent(const struct clr *clr)
{
    return (clr->profile->startup_flags & CONCURRENT_GC) != 0;
}

static unsigned processors(void)
{
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors < MAX_HEAPS ? info.dwNumberOfProcessors : MAX_HEAPS;
}

static SIZE_T small_segment(const struct clr *clr)
{
    return MIB * (is_server(clr) ? (ON_X64 ? 4096 : 64) : (ON_X64 ? 256 : 16));
}

static SIZE_T large_segment(const struct clr *clr)
{
    return MIB * (is_server(clr) ? (ON_X64 ? 256 : 32) : (ON_X64 ? 128 : 16));
}

/* 3.3: the collector asks Windows itself which objects were changed while it looked at others. */
static DWORD heap_flags(const struct clr *clr)
{
    return MEM_RESERVE | (is_concurrent(clr) && clr->write_watch ? MEM_WRITE_WATCH : 0);
}

static void *reserve_heap(struct clr *clr, SIZE_T size, int if_refused)
{
    return ee_virtual_alloc(clr, NULL, size, heap_flags(clr), PAGE_READWRITE, if_refused);
}

static bool commit(struct clr *clr, char *address, SIZE_T size)
{
    return ee_virtual_alloc(clr, address, size, MEM_COMMIT, PAGE_READWRITE, RULE(10)) != NULL;
}

/* ---- 3.2: the start ---- */

/* 1. Is there a write watch? Without it there is no concurrent collection; that would be slow, but
 * right. A host that strips the flag and says yes corrupts the heap (rule 5). */
static void probe_write_watch(struct clr *clr)
{
    char *probe = ee_virtual_alloc(clr, NULL, GRANULARITY, MEM_RESERVE | MEM_WRITE_WATCH,
                                   PAGE_READWRITE, MAY_FAIL);
    clr->write_watch = probe != NULL;
    if (probe != NULL) {
        ee_virtual_free(clr, probe, 0, MEM_RELEASE, RULE(10));
    }
}

/* 2. All segments of all heaps in one piece; if that is too much, in two: small, large. */
static void reserve_heaps(struct clr *clr)
{
    SIZE_T small = small_segment(clr), large = large_segment(clr);
    clr->heap_count = is_server(clr) ? processors() : 1;
    SIZE_T all_small = clr->heap_count * small, all_large = clr->heap_count * large;
    char *base = reserve_heap(clr, all_small + all_large, MAY_FAIL);
    char *large_base = base + all_small;
    if (base == NULL && !is_broken(clr)) {
        base = reserve_heap(clr, all_small, RULE(10));
        large_base = reserve_heap(clr, all_large, RULE(10));
    }
    clr->initial = (struct region){base, all_small + all_large};
    for (unsigned i = 0; base != NULL && i < clr->heap_count; i++) {
        clr->heaps[i].small = (struct region){base + i * small, small};
        clr->heaps[i].large = (struct region){large_base + i * large, large};
    }
}

/* The tables for a heap of `heap_size`; NULL leaves the old ones in use. */
static struct region make_cards(struct clr *clr, SIZE_T heap_size, SIZE_T *card_bytes)
{
    SIZE_T header = 0x68 + clr->heap_count * 24; /* makes all that follows unaligned */
    SIZE_T marks = heap_size / (ON_X64 ? 128 : 64);
    *card_bytes = header + 2 * heap_size / (ON_X64 ? 2048 : 1024);
    SIZE_T size = (*card_bytes + marks + GRANULARITY - 1) & ~(GRANULARITY - 1);
    char *base =
        ee_virtual_alloc(clr, NULL, size, MEM_RESERVE | (clr->write_watch ? MEM_WRITE_WATCH : 0),
                         PAGE_READWRITE, RULE(10));
    if (base != NULL) {
        commit(clr, base, *card_bytes); /* not a multiple of pages */
    }
    return (struct region){base, size};
}

/* 3. The mark array at the end is committed when a segment needs it. */
static void make_card_table(struct clr *clr)
{
    clr->cards = make_cards(clr, clr->initial.size, &clr->card_bytes);
}

/* 4. Mark lists come from the heap: 1 MiB on x64 workstation, 150 K pointers a heap on server. */
static void make_mark_list(struct clr *clr)
{
    clr->mark_list =
        ee_alloc(clr, is_server(clr) ? clr->heap_count * 150 * KIB * 8 : 1 * MIB, RULE(7));
}

/* 5. Two pages of every segment. */
static void commit_first_pages(struct clr *clr)
{
    for (unsigned i = 0; i < clr->heap_count && !is_broken(clr); i++) {
        commit(clr, clr->heaps[i].small.base, FIRST_COMMIT);
        commit(clr, clr->heaps[i].large.base, FIRST_COMMIT);
        clr->heaps[i].committed = FIRST_COMMIT;
    }
}

const struct step gc_start_steps[] = {
    {"3.2.1", "is there a write watch?", probe_write_watch},
    {"3.2.2", "the segments of all heaps", reserve_heaps},
    {"3.2.3", "card table", make_card_table},
    {"3.2.4", "mark lists", make_mark_list},
    {"3.2.5", "the first pages of the heaps", commit_first_pages},
    {"3.2.6", "how much memory is there?", ee_get_memory_load},
    {NULL, NULL, NULL},
};

/* ---- a collection ---- */

struct gc_work {
    struct clr *clr;
    struct gc_heap *heap;
    void (*work)(struct clr *clr, struct gc_heap *heap);
};

static DWORD WINAPI gc_thread(void *argument)
{
    struct gc_work *work = argument;
    clr_set_up_thread(work->clr);
    work->work(work->clr, work->heap);
    return 0;
}

/* With everybody else stopped: on the thread that ran out of memory, or, server, on one thread for
 * each heap, all at once. */
static void collect(struct clr *clr, void (*work)(struct clr *clr, struct gc_heap *heap))
{
    struct gc_work works[MAX_HEAPS];
    HANDLE threads[MAX_HEAPS];
    EnterCriticalSection(&clr->gc_lock);
    clr_suspend(clr);
    ee_get_memory_load(clr);
    for (unsigned i = 0; i < clr->heap_count; i++) {
        works[i] = (struct gc_work){clr, &clr->heaps[i], work};
        if (is_server(clr)) {
            threads[i] = CreateThread(NULL, 0, gc_thread, &works[i], 0, NULL);
        } else {
            work(clr, works[i].heap);
        }
    }
    for (unsigned i = 0; is_server(clr) && i < clr->heap_count; i++) {
        WaitForSingleObject(threads[i], INFINITE);
        CloseHandle(threads[i]);
    }
    clr_restart(clr);
    LeaveCriticalSection(&clr->gc_lock);
}

/* ---- 3.3: running ---- */

static void grow_heap(struct clr *clr, struct gc_heap *heap)
{
    while (heap->committed < GROWN && !is_broken(clr)) {
        if (!commit(clr, heap->small.base + heap->committed, GROWTH)) {
            return;
        }
        heap->small.base[heap->committed] = 1; /* an object */
        heap->committed += GROWTH;
    }
}

static void grow(struct clr *clr)
{
    collect(clr, grow_heap);
}

/* Neighbours share the page of marks at their border, so it is committed twice, and only what no
 * neighbour uses is decommitted. */
static void commit_marks(struct clr *clr)
{
    SIZE_T pitch = ON_X64 ? 128 : 64;
    for (unsigned i = 0; i < clr->heap_count && is_concurrent(clr) && !is_broken(clr); i++) {
        const struct region *segment = &clr->heaps[i].small;
        char *marks = clr->cards.base + clr->card_bytes;
        uintptr_t start = (uintptr_t)marks + (SIZE_T)(segment->base - clr->initial.base) / pitch;
        char *first = (char *)(start & ~(uintptr_t)(PAGE - 1));
        SIZE_T size = (start + segment->size / pitch + PAGE - 1 - (uintptr_t)first) & ~(PAGE - 1);
        commit(clr, first, size);
    }
}

/* Which of the first pages were written since the last reset; bit n is page n. */
static uint64_t written_pages(struct clr *clr, char *base, SIZE_T size)
{
    void *pages[64];
    ULONG_PTR count = ARRAYSIZE(pages);
    ULONG page_size;
    uint64_t written = 0;
    if (judge(clr, GetWriteWatch(0, base, size, pages, &count, &page_size) == 0, RULE(5),
              "GetWriteWatch fails on what was reserved with MEM_WRITE_WATCH")) {
        for (ULONG_PTR i = 0; i < count; i++) {
            written |= (uint64_t)1 << (SIZE_T)((char *)pages[i] - base) / PAGE;
        }
    }
    return written;
}

static void watch(struct clr *clr, char *base)
{
    const SIZE_T size = 16 * PAGE;
    ResetWriteWatch(base, size);
    judge(clr, written_pages(clr, base, size) == 0, RULE(5), "pages are written after a reset");
    base[3 * PAGE] = 2;
    base[7 * PAGE + 100] = 2;
    judge(clr, written_pages(clr, base, size) == (1 << 3 | 1 << 7), RULE(5),
          "the wrong pages are said to be written");
    ResetWriteWatch(base + 3 * PAGE, PAGE); /* a part of the reservation */
    judge(clr, written_pages(clr, base, size) == 1 << 7, RULE(5), "a reset took too much");
}

/* A concurrent collection looks at the heap while the program runs on, and then once more at what
 * was written meanwhile. Windows is asked directly, on the host's memory. The card table is watched
 * if there is much of it, concurrent or not. */
static void watch_writes(struct clr *clr)
{
    SIZE_T enough = is_server(clr) ? 180 * MIB * clr->heap_count : 40 * MIB;
    for (unsigned i = 0; i < clr->heap_count && is_concurrent(clr) && clr->write_watch; i++) {
        watch(clr, clr->heaps[i].small.base);
    }
    if (clr->write_watch && clr->initial.size >= enough) {
        watch(clr, clr->cards.base);
    }
}

static HANDLE background;

static DWORD WINAPI background_thread(void *argument)
{
    struct clr *clr = argument;
    clr_set_up_thread(clr);
    watch_writes(clr);
    return 0;
}

static void collect_in_background(struct clr *clr)
{
    background = CreateThread(NULL, 0, background_thread, clr, 0, NULL);
    WaitForSingleObject(background, INFINITE);
    CloseHandle(background);
}

/* Space behind the last object goes back if it is a lot, and comes again as zeros. */
static void shrink_heap(struct clr *clr, struct gc_heap *heap)
{
    SIZE_T keep = FIRST_COMMIT + DECOMMIT_KEEPS;
    if (heap->committed <= keep) {
        return;
    }
    ee_virtual_free(clr, heap->small.base + keep, heap->committed - keep, MEM_DECOMMIT, RULE(9));
    heap->committed = keep;
    if (commit(clr, heap->small.base + keep, GROWTH)) {
        heap->committed += GROWTH;
    }
}

static void shrink(struct clr *clr)
{
    collect(clr, shrink_heap);
}

/* An array that no segment can hold has one of its own, in whole large segments; hundreds of MiB are
 * normal, and cost nothing until they are committed. Dead, its pages are reset, which changes nothing
 * that is counted, and unlocked; and then it goes. */
static void use_large_array(struct clr *clr)
{
    SIZE_T unit = large_segment(clr), array = unit + 4 * MIB;
    SIZE_T size = (array + unit - 1) / unit * unit;
    char *segment = reserve_heap(clr, size, RULE(10));
    if (segment == NULL || !commit(clr, segment, FIRST_COMMIT) || !commit(clr, segment, 1 * MIB)) {
        return;
    }
    segment[PAGE] = 1;
    ee_virtual_alloc(clr, segment + PAGE, 128 * KIB, MEM_RESET, PAGE_READWRITE, PITFALL(8));
    VirtualUnlock(segment + PAGE, 128 * KIB);
    judge_commit(clr);
    ee_virtual_free(clr, segment, 0, MEM_RELEASE, RULE(9));
}

/* A new segment may need larger tables. The old ones live until no heap uses them, so for a while
 * there are two. */
static void replace_card_table(struct clr *clr)
{
    SIZE_T card_bytes;
    struct region old = clr->cards, cards = make_cards(clr, 2 * clr->initial.size, &card_bytes);
    if (cards.base == NULL) {
        return;
    }
    memcpy(cards.base, old.base, clr->card_bytes);
    clr->cards = cards;
    clr->card_bytes = card_bytes;
    ee_virtual_free(clr, old.base, 0, MEM_RELEASE, RULE(9));
}

/* A segment that is not needed any more is released, or hoarded: all but its first pages are
 * decommitted, committed or not, and it waits for its next use. */
static void retire_segment(struct clr *clr)
{
    char *segment = reserve_heap(clr, small_segment(clr), RULE(10));
    if (segment == NULL || !commit(clr, segment, FIRST_COMMIT) ||
        !commit(clr, segment + FIRST_COMMIT, GROWTH)) {
        return;
    }
    segment[FIRST_COMMIT] = 1;
    if ((clr->profile->startup_flags & HOARD_GC_VM) != 0) {
        ee_virtual_free(clr, segment + FIRST_COMMIT, 4 * MIB, MEM_DECOMMIT, RULE(9));
        judge_commit(clr);
        commit(clr, segment + FIRST_COMMIT, GROWTH); /* used again: zeros (rule 6) */
    } else {
        ee_virtual_free(clr, segment, 0, MEM_RELEASE, RULE(9));
    }
}

static void stop_and(struct clr *clr, void (*work)(struct clr *clr))
{
    EnterCriticalSection(&clr->gc_lock);
    clr_suspend(clr);
    work(clr);
    clr_restart(clr);
    LeaveCriticalSection(&clr->gc_lock);
}

static void change_segments(struct clr *clr)
{
    stop_and(clr, use_large_array);
    stop_and(clr, replace_card_table);
    stop_and(clr, retire_segment);
}

const struct step gc_steps[] = {
    {"3.3", "heaps grow", grow},
    {"3.2.3", "mark arrays of neighbouring segments", commit_marks},
    {"3.3", "write watch, on a thread of its own", collect_in_background},
    {"3.3", "decommit, and growth again", shrink},
    {"3.3", "large arrays, MEM_RESET, a new card table, hoarding", change_segments},
    {NULL, NULL, NULL},
};
