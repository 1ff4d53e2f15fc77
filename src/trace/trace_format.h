/* SPDX-License-Identifier: MIT
 *
 * The file of a trace, version 1: a header of 128 bytes, then one record of 64 bytes per call, to
 * the end of the file. All numbers are little-endian; the two structs below are the file's bytes.
 *
 * A record is a cache line, written whole by the thread that made the call. So 16,000 calls, what a
 * small program makes in 0.1 s, are 1 MB. Of varints a record would take a third, but then a call
 * would be encoded while the runtime waits, and one wrong byte would spoil all that follows it.
 *
 * Order. The records of one thread stand in its order; those of several threads are mixed. The
 * total order is `sequence`, which counts from 0 over all threads. It is taken after the call when
 * the call gives memory out, and before the call when it takes memory back. No record can then name
 * memory before the record that made it, and two records never hold the same memory at a time. A
 * call that overlaps another one has its place somewhere in that overlap.
 *
 * Completeness. `missing` is the count of calls that got a number but have no record: their
 * threads were ended inside them, or there was no memory for a buffer. A full buffer is no reason:
 * the caller waits until it is written. A file in which `closed` is 0 is of a process that was
 * terminated without a word: whole is what comes before the first number that is not there, and
 * `ticks` and `nanoseconds` are of a moment a tenth of a second or so before the end, or 0. Header and
 * records carry a checksum each, so that a changed byte is noticed, whichever it is.
 *
 * What the fields of a record hold, by method; a field that is not named is 0:
 *
 *   CreateMalloc                        type: MALLOC_* · result: the heap's number, from 1
 *   VirtualAlloc                        address size type protect level · result: the address
 *   VirtualFree                         address size type
 *   VirtualQuery                        address · size: of the buffer · result: bytes written ·
 *                                       type: its State and Type in one · protect: its Protect
 *   VirtualProtect                      address size protect · result: the old protection
 *   GetMemoryLoad                       type: the load · result: bytes available
 *   RegisterMemoryNotificationCallback  address
 *   NeedsVirtualAddressSpace            address size
 *   AcquiredVirtualAddressSpace         address size
 *   ReleasedVirtualAddressSpace         address
 *   Alloc                               type: the heap's number · size level · result: the block
 *   DebugAlloc                          as Alloc · protect: the line; the file is not recorded
 *   Free                                type: the heap's number · address
 *   ReleaseMalloc                       type: the heap's number; its last reference went
 *
 * The callers of IHostMallocBlocks, which is no interface of the CLR's, are not recorded, nor is what
 * other code in the process does to memory by itself: trace_plan.h says how that shows.
 */
#ifndef TRACE_TRACE_FORMAT_H
#define TRACE_TRACE_FORMAT_H

#include <stdint.h>
#include <string.h>

#define TRACE_MAGIC "HMTRACE\n" /* 8 bytes, without the 0 */
#define TRACE_VERSION 1u
#define TRACE_SEQUENCE_END UINT32_MAX /* no record has this number */
#define TRACE_HEAPS_MAX 65536u

/* The order of HOSTMEM_CALLS, and one more. */
enum trace_method {
    TRACE_CREATE_MALLOC,
    TRACE_VIRTUAL_ALLOC,
    TRACE_VIRTUAL_FREE,
    TRACE_VIRTUAL_QUERY,
    TRACE_VIRTUAL_PROTECT,
    TRACE_GET_MEMORY_LOAD,
    TRACE_REGISTER_CALLBACK,
    TRACE_NEEDS_ADDRESS_SPACE,
    TRACE_ACQUIRED_ADDRESS_SPACE,
    TRACE_RELEASED_ADDRESS_SPACE,
    TRACE_ALLOC,
    TRACE_DEBUG_ALLOC,
    TRACE_FREE,
    TRACE_RELEASE_MALLOC,
    TRACE_METHOD_COUNT
};

struct trace_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* 128 */
    uint32_t record_bytes; /* 64 */
    uint32_t pointer_bytes;
    uint32_t page_bytes;
    uint32_t closed;        /* 1: everything below is as it was at the end */
    uint64_t records;       /* in the file */
    uint64_t missing;       /* calls without a record */
    uint64_t ticks;         /* from the opening of the file to its end … */
    uint64_t nanoseconds;   /* … and the same in nanoseconds */
    uint64_t started;       /* in 100 ns since 1601, UTC */
    uint64_t commit_limit;  /* what the manager was made with: bytes, 0 for none */
    uint64_t emergency;     /* bytes of commit_limit */
    uint64_t reserve_limit; /* bytes, 0 for none */
    uint64_t cushion;       /* bytes */
    uint32_t flags;         /* HOSTMEM_FLAG_* */
    uint32_t zero[4];
    uint32_t check;
};

struct trace_record {
    uint64_t address;
    uint64_t size; /* bytes */
    uint64_t result;
    uint64_t begin;    /* ticks since the opening of the file, when the call came in */
    uint32_t duration; /* ticks, without the recording; UINT32_MAX: that many or more */
    uint32_t sequence;
    uint32_t thread; /* the system's number, which later threads can have again */
    uint32_t type;
    uint32_t protect;
    uint32_t hresult;
    uint8_t method; /* enum trace_method */
    uint8_t level;  /* EMemoryCriticalLevel */
    uint16_t zero;
    uint32_t check;
};

_Static_assert(sizeof(struct trace_header) == 128, "the header's bytes in the file");
_Static_assert(sizeof(struct trace_record) == 64, "a record's bytes in the file");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's byte order");

/* The checksum of `bytes` bytes, a multiple of 8, the last four of which are the checksum's place
 * and count as 0. Each step is one to one in the word it takes in, so the 64 bits differ when one
 * word does. */
static inline uint32_t trace_check(const void *data, size_t bytes)
{
    uint64_t hash = 0x9e3779b97f4a7c15u, word;
    for (size_t at = 0; at < bytes; at += sizeof(word)) {
        memcpy(&word, (const char *)data + at, sizeof(word));
        if (at + sizeof(word) == bytes) {
            word &= UINT32_MAX;
        }
        hash = (hash ^ word) * 0xd6e8feb86659fd93u;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

#endif
