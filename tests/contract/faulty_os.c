/* SPDX-License-Identifier: MIT
 *
 * See faulty_os.h. Each function of the seam counts, fails if it is its turn, and else calls the
 * real one.
 */
#include "contract/faulty_os.h"

#include "contract/contract.h"

struct faulty_os faulty;

static bool fails_by_chance(bool for_tables)
{
    unsigned one_in = faulty.one_in[for_tables];
    bool fails = one_in != 0 && next_random(&faulty.random) % one_in == 0;
    faulty.failures += fails;
    return fails;
}

/* Whether this call is to fail. Like Win32, it says so in LastError. */
static bool fails(bool for_tables)
{
    if (++faulty.calls != faulty.fail_at && !fails_by_chance(for_tables)) {
        return false;
    }
    faulty.failed = true;
    faulty.failed_for_tables = for_tables;
    SetLastError(for_tables ? ERROR_COMMITMENT_LIMIT : faulty.error);
    return true;
}

static os_error faulty_virtual_alloc(const struct os *os, uintptr_t address, size_t size,
                                     uint32_t type, uint32_t protect, uintptr_t *result)
{
    os_error error = faulty.error;
    (void)os;
    if (!fails(false)) {
        error = faulty.real->virtual_alloc(faulty.real, address, size, type, protect, result);
    }
    if (error == OS_OK && (type & OS_MEM_RESERVE) != 0) {
        faulty.reservations++;
        faulty.last_reservation = *result;
    }
    return error;
}

static os_error faulty_virtual_free(const struct os *os, uintptr_t address, size_t size,
                                    uint32_t type)
{
    os_error error = faulty.error;
    (void)os;
    if (!fails(false) && !faulty.keeps_everything) {
        error = faulty.real->virtual_free(faulty.real, address, size, type);
    }
    faulty.reservations -= error == OS_OK && (type & OS_MEM_RELEASE) != 0;
    return error;
}

static os_error faulty_virtual_protect(const struct os *os, uintptr_t address, size_t size,
                                       uint32_t protect, uint32_t *old)
{
    (void)os;
    return fails(false) ? faulty.error
                        : faulty.real->virtual_protect(faulty.real, address, size, protect, old);
}

static os_error faulty_virtual_query(const struct os *os, uintptr_t address, void *buffer,
                                     size_t length, size_t *written)
{
    (void)os;
    return fails(false) ? faulty.error
                        : faulty.real->virtual_query(faulty.real, address, buffer, length, written);
}

static os_error faulty_memory_load(const struct os *os, uint32_t *percent, uint64_t *available)
{
    (void)os;
    return fails(false) ? faulty.error : faulty.real->memory_load(faulty.real, percent, available);
}

static void *faulty_table_reserve(const struct os *os, size_t size)
{
    (void)os;
    void *address = fails(true) ? NULL : faulty.real->table_reserve(faulty.real, size);
    faulty.table_reservations += address != NULL;
    return address;
}

static bool faulty_table_commit(const struct os *os, void *address, size_t size)
{
    (void)os;
    return !fails(true) && faulty.real->table_commit(faulty.real, address, size);
}

static void faulty_table_release(const struct os *os, void *address)
{
    (void)os;
    faulty.real->table_release(faulty.real, address);
    faulty.table_reservations--;
}

void arm(unsigned call, os_error error)
{
    faulty.calls = 0;
    faulty.fail_at = call;
    faulty.error = error;
    faulty.failed = false;
    faulty.failed_for_tables = false;
}

int create_faulty_os(void **state)
{
    const struct os *real = os_system();
    (void)state;
    faulty = (struct faulty_os){.os = *real, .real = real};
    faulty.os.virtual_alloc = faulty_virtual_alloc;
    faulty.os.virtual_free = faulty_virtual_free;
    faulty.os.virtual_protect = faulty_virtual_protect;
    faulty.os.virtual_query = faulty_virtual_query;
    faulty.os.memory_load = faulty_memory_load;
    faulty.os.table_reserve = faulty_table_reserve;
    faulty.os.table_commit = faulty_table_commit;
    faulty.os.table_release = faulty_table_release;
    return 0;
}
