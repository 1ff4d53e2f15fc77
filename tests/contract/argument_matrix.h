/* SPDX-License-Identifier: MIT
 *
 * The calls of test_argument_matrix.c, and the two sides that it makes them on.
 *
 * A side is a region with a fixed layout: 16 pages, of which 2, 3, 4 and 8 are committed, with free
 * memory behind it and, past a guard, far away. All that a call can do to it stays between guards,
 * so the two sides of a comparison have the same neighbours.
 */
#ifndef TESTS_CONTRACT_ARGUMENT_MATRIX_H
#define TESTS_CONTRACT_ARGUMENT_MATRIX_H

#include "contract/contract.h"

#define REGION_BYTES (16 * PAGE)
#define COMMITTED_BYTES (4 * PAGE)

/* ---- calls ---- */

enum address { AT_NULL, AT_BASE, AT_BASE_1, AT_PAGE_1, AT_LAST_PAGE, AT_LAST, AT_END, AT_FAR };

struct call {
    bool frees; /* VirtualFree; `protect` is 0 then */
    DWORD type;
    enum address address;
    SIZE_T size;
    DWORD protect;
};

/* Makes `visit` see every call; says how many there are. */
unsigned long for_each_call(void (*visit)(const struct call *call));
void print_call(const struct call *call);

/* ---- sides ---- */

struct answer {
    HRESULT hr;
    DWORD error; /* LastError */
    char *memory;
};

struct side {
    IHostMemoryManager *manager; /* NULL: Win32 */
    IHostMemoryStatistics *statistics;
    char *base;
    bool prepared; /* has the layout above */
    struct answer answer;
    struct picture region;
    struct picture created; /* the allocation that the call made outside the region, or empty */
    char *created_base;
};

struct answer side_alloc(const struct side *side, void *address, SIZE_T size, DWORD type,
                         DWORD protect);
struct answer side_free(const struct side *side, void *address, SIZE_T size, DWORD type);

/* A manager that counts right: at first, and after a call that it has miscounted. 0: no limit. */
void side_renew_manager(struct side *side, UINT64 commit_limit);
/* Makes the layout, whatever is there now. */
void side_prepare(struct side *side);
/* Makes the call and takes the pictures. */
void side_make_call(struct side *side, const struct call *call);
/* Gives back what the call created; false when the side does not know of it. */
bool side_release_created(struct side *side);
/* Gives back the region and the manager, whose last reference this must be. */
void side_destroy(struct side *side);

/* The bytes that a picture shows in any of these states. */
SIZE_T bytes_in_state(const struct picture *picture, DWORD states);

#endif
