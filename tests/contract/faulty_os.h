/* SPDX-License-Identifier: MIT
 *
 * The real OS with one call of it failing (test_faults.c, test_broken.c), or any by chance
 * (test_random_faults.c).
 */
#ifndef TESTS_CONTRACT_FAULTY_OS_H
#define TESTS_CONTRACT_FAULTY_OS_H

#include "os/os.h"

struct faulty_os {
    struct os os; /* what the manager calls */
    const struct os *real;
    unsigned calls;         /* since it was armed */
    unsigned fail_at;       /* 0: never */
    os_error error;         /* what the failing call says */
    bool failed;            /* it has */
    bool failed_for_tables; /* and the call was not one of the runtime's */
    unsigned one_in[2];    /* so many fail by chance; 0: none. Of the runtime's calls, and others */
    uint32_t random;       /* for that; not 0 */
    unsigned failures;     /* by chance */
    bool keeps_everything; /* besides, every release of the runtime's memory fails */
    uintptr_t last_reservation;
    int reservations;       /* of the runtime, not released yet */
    int table_reservations; /* likewise for the tables */
};

/* There is one: a fault is armed for the whole program. */
extern struct faulty_os faulty;

/* For cmocka_run_group_tests. */
int create_faulty_os(void **state);

/* From now on the `call`-th call of the OS fails, none for 0: with `error` when it is one of the
 * runtime's, of its heaps too, with ERROR_COMMITMENT_LIMIT in LastError when it is one for the tables. */
void arm(unsigned call, os_error error);

#endif
