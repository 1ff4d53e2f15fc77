/* SPDX-License-Identifier: MIT
 *
 * An operating system for tests: the seam of os.h over an address space that exists on paper only.
 *
 * VirtualAlloc, VirtualFree, VirtualProtect and VirtualQuery follow Win32: 64 KiB granularity, pages
 * of 4 KiB, its rounding and its error codes. The model is as naive as can be, so that it can serve
 * as the oracle as well: a sorted array of reservations, each with one 16-bit word per page that is
 * the PAGE_* of a committed page and 0 for any other. 256 GiB are 64 Mi words, which the C library
 * hands out untouched.
 *
 * The memory for tables is real, and that of reservations if a test asks for it: then it can be used
 * as far as it is committed, and lies where the real system wants it. Every call is counted and its arguments are kept; the n-th call can
 * be made to fail, or any call by chance, and a hook can look around, or act as another thread would,
 * before or after one.
 * Single-threaded.
 */
#ifndef HOSTMEM_TESTS_FAKE_OS_H
#define HOSTMEM_TESTS_FAKE_OS_H

#include "os/os.h"
#include "support/random.h"

#define FAKE_MEM_PRIVATE 0x00020000u
#define FAKE_MEM_WRITE_WATCH 0x00200000u
#define FAKE_PAGE_READONLY 0x02u
#define FAKE_PAGE_EXECUTE_READWRITE 0x40u
#define FAKE_PAGE_GUARD 0x100u
#define FAKE_BAD_LENGTH ((os_error)24)
#define FAKE_COMMITMENT_LIMIT ((os_error)1455)

enum fake_kind {
    FAKE_VIRTUAL_ALLOC,
    FAKE_VIRTUAL_FREE,
    FAKE_VIRTUAL_PROTECT,
    FAKE_VIRTUAL_QUERY,
    FAKE_TABLE_RESERVE,
    FAKE_TABLE_COMMIT,
    FAKE_MEMORY_LOAD,
    FAKE_FALLIBLE_KINDS, /* those below cannot fail */
    FAKE_TABLE_RELEASE = FAKE_FALLIBLE_KINDS,
    FAKE_JOB_MEMORY,
    FAKE_KINDS,
    FAKE_ANY_KIND = FAKE_KINDS
};

struct fake_record {
    uintptr_t address; /* of tables as well */
    size_t size;
    uint32_t type;
    uint32_t protect;
    os_error error;
};

struct fake_region {
    uintptr_t base;
    size_t page_count;
    uint32_t type;
    uint32_t protect;
    bool foreign;
    uint16_t *pages; /* PAGE_* of a committed page, 0 for any other */
    void *mapping;   /* of a region with memory behind it: what was mapped for it */
    size_t mapping_size;
};

struct fake_table {
    char *base;
    size_t page_count;
    bool *committed; /* of the first known_count pages, the rest is not */
    size_t known_count;
};

/* Which calls fail by chance: of each kind one in so many, none for 0. */
struct fake_plan {
    struct random random;
    size_t one_in[FAKE_FALLIBLE_KINDS];
    uint64_t failures; /* so far */
};

struct fake_os {
    struct os os;                 /* first: what the code under test sees */
    uintptr_t lowest;             /* where reservations without an address may start */
    bool real_memory;             /* from now on those have memory that can be used */
    struct fake_region **regions; /* ascending */
    size_t region_count;
    struct fake_table *tables;
    size_t table_count;

    uint32_t load_percent;
    uint64_t available;
    uint64_t job_limit; /* 0: in no job object */
    uint64_t job_used;

    size_t calls[FAKE_KINDS];
    struct fake_record last[FAKE_KINDS];
    size_t fail_countdown; /* see fake_os_fail */
    enum fake_kind fail_kind;
    enum fake_kind
        failed_kind;     /* the first that was failed; FAKE_ANY_KIND: none since fake_os_fail */
    os_error fail_error; /* what a failed virtual_* call returns; FAKE_COMMITMENT_LIMIT */

    struct fake_plan *plan; /* in force; NULL: none */

    void (*before)(struct fake_os *fake, enum fake_kind kind); /* may be NULL */
    void (*after)(struct fake_os *fake, enum fake_kind kind);  /* may be NULL */
    void *context;                                             /* for the hooks */
};

/* Reservations start at `lowest` or above, and the last byte of one is `max_address` at most. */
void fake_os_init(struct fake_os *fake, uintptr_t lowest, uintptr_t max_address);
/* The usual user space: 128 TiB, on 32-bit systems 2 GiB. */
void fake_os_init_default(struct fake_os *fake);
/* How many tables the code under test left behind; frees everything. */
size_t fake_os_destroy(struct fake_os *fake);

/* Make the `nth` call from now on (1 is the next) of `kind`, or FAKE_ANY_KIND, fail, once; 0: none. */
void fake_os_fail(struct fake_os *fake, enum fake_kind kind, size_t nth);

/* From now on calls fail by chance; NULL: none does. Forgets which call was failed before. */
void fake_os_follow(struct fake_os *fake, struct fake_plan *plan);

/* How often the code under test has called any of the functions so far. */
size_t fake_os_calls(const struct fake_os *fake);

/* A committed area that is not the host's: a view, by its type. Counted by no call. */
uintptr_t fake_os_add_foreign(struct fake_os *fake, uintptr_t address, size_t size);

/* Free the reservation that `address` lies in, as somebody else would. Counted by no call. */
void fake_os_forget(struct fake_os *fake, uintptr_t address);

/* The oracle. All of these look at every page, and count no call. */
struct fake_region *fake_os_region(const struct fake_os *fake, uintptr_t address);
size_t fake_os_committed(const struct fake_os *fake, uintptr_t base, size_t size);
/* Bytes of all that is not foreign. */
void fake_os_totals(const struct fake_os *fake, size_t *reserved, size_t *committed);
/* A number that is the same when all reservations and all pages are. */
uint64_t fake_os_picture(const struct fake_os *fake);
/* Bytes of table memory that are committed. */
size_t fake_os_table_committed(const struct fake_os *fake);

#endif
