/* SPDX-License-Identifier: MIT
 *
 * How critical a request of the bound runtime is: what a refusal would do to it.
 *
 * The CLR of the .NET Framework knows which locks the calling thread holds, and says so with each
 * request. Nothing outside the runtime knows, but what memory is for can be seen from the call, and
 * that decides what a refusal leads to:
 *
 *     eTaskCritical       the garbage collector's heap. It answers a refusal with a collection and
 *                         tries again, before anybody gets an OutOfMemoryException.
 *     eAppDomainCritical  other pages: what the loader keeps, code, the compiler's memory, handles.
 *                         No collection helps there, and a type that could not be loaded once
 *                         stays so as long as its domain lives.
 *     eProcessCritical    blocks of the native heap: the runtime asks for them in the middle of
 *                         what it cannot leave half done, a collection included. What clears a view
 *                         before it goes (bound_views.c). And everything until the runtime has
 *                         started: a refusal is for ever then.
 *
 * The collector's heap is what is reserved PAGE_READWRITE without a commit and has at least 16 MiB:
 * the smallest segment of an x86 runtime or of one with a heap hard limit. (Who sets GCSegmentSize
 * to less has a heap that counts as other pages.) Handle tables take 64 KiB, and the loader reserves
 * PAGE_NOACCESS. From .NET 8 on, string literals and the like are in 4 MiB of such memory that no
 * collection looks at; refused, that runtime crashes. Card tables of a large heap look the same and
 * rightly count as it: refused, the collector does without the new segment, or without collecting
 * concurrently.
 *
 * Any thread. No lock but for a new or released segment. Of requests that race with a segment's
 * release the level may be another one, nothing worse.
 */
#ifndef CLR_CRITICAL_LEVEL_H
#define CLR_CRITICAL_LEVEL_H

#include <hostmem/hostmem.h>

/* The level for a VirtualAlloc with these arguments. */
EMemoryCriticalLevel critical_level_of_pages(const void *address, SIZE_T size, DWORD type,
                                             DWORD protect);

/* The level for a HeapAlloc. */
EMemoryCriticalLevel critical_level_of_block(void);

/* A VirtualAlloc with these arguments reserved at `base`. A segment that was there is gone, whoever
 * has released it. */
void critical_level_reserved(const void *base, SIZE_T size, DWORD type, DWORD protect);

/* The reservation at `base` is about to be released: once it is, another thread may own the address.
 * The size of the segment that it was, or 0; to be put back if the system refuses. */
SIZE_T critical_level_release(const void *base);
void critical_level_put_back(const void *base, SIZE_T size);

#endif
