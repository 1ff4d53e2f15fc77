/* SPDX-License-Identifier: MIT
 *
 * A share of a heap: spans, and the counts of what was done with them.
 *
 * A heap has HEAP_SHARES of them. A thread that allocates takes the one that its number points to, or
 * the next that is free, by one locked instruction. A thread that frees takes the share that the
 * block's span belongs to; if somebody has it, the block is left on the span's remote list, and the
 * span on the share's list of pending ones, both without a lock: the owner collects them when it runs
 * out of blocks. So nobody waits for a thread that was suspended or ended inside a share.
 *
 * Only who finds all of them taken waits, for one more that has a lock and stays taken for all others
 * (heap.c). At process exit, where Windows ends all other threads, that lock is passed over.
 *
 *     bins      for each class of sizes, the spans that have room, the one used last first
 *     large     freed large blocks with their memory, for the next of their size
 *     kept      what may be given back: the commit of empty spans in the bins and of `large`,
 *               HEAP_KEPT_BYTES at most; beyond it a span is given back when its last block is freed
 *
 * A class grows in steps: one page, then twice as much each time, up to HEAP_STEP_BYTES. Its first span
 * has address space for HEAP_FIRST_BLOCKS blocks, so that the record of a class with few is small; those
 * behind a step of full size have HEAP_SPAN_BYTES, and none has more. A system call costs as much as some
 * sixty blocks of 64 bytes, and in a heap that grows in all sizes at once each class makes its own. What
 * a step was too large by goes back in a trim; after that, when the limit refuses a step, and when a span
 * has gone back, the class begins with one page again.
 *
 * Memory order: taking a share acquires what leaving it released, so everything in it is as the last
 * holder left it. The counts are atomic because reports read them at any time, relaxed because they
 * guard no other memory; only the holder writes them, so that needs no locked instruction.
 */
#ifndef HOSTMEM_CORE_HEAP_SHARE_H
#define HOSTMEM_CORE_HEAP_SHARE_H

#include "core/heap/span.h"

#define HEAP_SHARES 8
#define HEAP_LARGE_KEPT 8 /* large blocks */
#define HEAP_FIRST_BLOCKS ((size_t)2048)
#if UINTPTR_MAX > UINT32_MAX
#define HEAP_SPAN_BYTES ((size_t)1 << 20)
#define HEAP_STEP_BYTES ((size_t)256 << 10)
#define HEAP_KEPT_BYTES ((size_t)1 << 20)
#else
#define HEAP_SPAN_BYTES ((size_t)256 << 10)
#define HEAP_STEP_BYTES ((size_t)64 << 10)
#define HEAP_KEPT_BYTES ((size_t)512 << 10)
#endif

struct heap_bin {
    struct span *first; /* with room; NULL: none */
    size_t step;        /* bytes, the latest; 0: it begins again */
};

struct heap_share {
    _Alignas(64) atomic_bool taken;
    uint8_t number;
    /* Written by the holder. */
    _Atomic uint64_t allocs;
    _Atomic uint64_t frees;
    _Atomic size_t bytes; /* of blocks allocated less those freed here, modulo the word */
    size_t kept;
    size_t given_back; /* bytes of commit, so far */
    struct heap_bin bins[MAX_SIZE_CLASSES];
    uint32_t large_count;
    struct span *large[HEAP_LARGE_KEPT]; /* the latest last */
    /* Written by those who find the share taken. */
    _Alignas(64) _Atomic uint32_t pending; /* id of a span with blocks on its remote list */
};

/* What a share works for. */
struct heap_owner {
    struct span_source *source;
    struct heap *heap;
    uint32_t protect;
};

static inline bool heap_share_try(struct heap_share *share)
{
    return !atomic_load_explicit(&share->taken, memory_order_relaxed) &&
           !atomic_exchange_explicit(&share->taken, true, memory_order_acquire);
}

static inline void heap_share_leave(struct heap_share *share)
{
    atomic_store_explicit(&share->taken, false, memory_order_release);
}

/* Leave a claimed block to the holder of the share. */
void heap_share_leave_block(const struct heap_owner *owner, struct heap_share *share,
                            struct span *span, uint32_t index);

/* ---- for the holder ---- */

/* A block that is about to be somebody's. */
struct new_block {
    struct span *span;
    uint32_t index;
    bool recycled; /* it has the header of a freed block */
};

/* A block of `block_bytes` with header and all, at most SMALL_BYTES. OS_OK, or why there is none. */
os_error heap_share_alloc(const struct heap_owner *owner, struct heap_share *share,
                          size_t block_bytes, enum budget_level level, struct new_block *block);

/* The same for a large block. */
os_error heap_share_alloc_large(const struct heap_owner *owner, struct heap_share *share,
                                size_t block_bytes, enum budget_level level,
                                struct new_block *block);

/* Take a claimed block back. HM_BROKEN: as span_close. */
os_error heap_share_free(const struct heap_owner *owner, struct heap_share *share,
                         struct span *span, uint32_t index);
os_error heap_share_free_large(const struct heap_owner *owner, struct heap_share *share,
                               struct span *span);

/* Give back empty spans, and of others the pages that no block has had yet. The bytes in *given. */
os_error heap_share_trim(const struct heap_owner *owner, struct heap_share *share, size_t *given);

static inline void heap_share_count(_Atomic uint64_t *calls, _Atomic size_t *bytes, size_t more)
{
    atomic_store_explicit(calls, atomic_load_explicit(calls, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(bytes, atomic_load_explicit(bytes, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

#endif
