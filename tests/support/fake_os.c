/* SPDX-License-Identifier: MIT
 *
 * See fake_os.h. Here is what surrounds the address space: the recording and failing of calls, and
 * the memory for tables, which is real.
 */
#include "support/fake_space.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#endif

void fake_broken(const char *what)
{
    fprintf(stderr, "fake_os: %s\n", what);
    abort();
}

void *fake_allocate(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fake_broken("the test itself is out of memory");
    }
    return memory;
}

/* ---- recording and failing ---- */

static struct fake_os *fake_of(const struct os *os)
{
    return (struct fake_os *)(uintptr_t)os;
}

static bool is_the_one(struct fake_os *fake, enum fake_kind kind)
{
    return fake->fail_countdown > 0 &&
           (fake->fail_kind == FAKE_ANY_KIND || fake->fail_kind == kind) &&
           --fake->fail_countdown == 0;
}

static bool is_planned(struct fake_plan *plan, enum fake_kind kind)
{
    bool fails =
        plan != NULL && plan->one_in[kind] > 0 && random_one_in(&plan->random, plan->one_in[kind]);
    if (fails) {
        plan->failures++;
    }
    return fails;
}

/* The start of a call: whether it shall go on. */
static bool enter(struct fake_os *fake, enum fake_kind kind, uintptr_t address, size_t size,
                  uint32_t type, uint32_t protect)
{
    fake->calls[kind]++;
    fake->last[kind] = (struct fake_record){address, size, type, protect, OS_OK};
    if (fake->before != NULL) {
        fake->before(fake, kind);
    }
    if (kind >= FAKE_FALLIBLE_KINDS || !(is_the_one(fake, kind) || is_planned(fake->plan, kind))) {
        return true;
    }
    if (fake->failed_kind == FAKE_ANY_KIND) {
        fake->failed_kind = kind;
    }
    return false;
}

static os_error leave(struct fake_os *fake, enum fake_kind kind, os_error error)
{
    fake->last[kind].error = error;
    if (fake->after != NULL) {
        fake->after(fake, kind);
    }
    return error;
}

void fake_os_fail(struct fake_os *fake, enum fake_kind kind, size_t nth)
{
    fake->fail_kind = kind;
    fake->fail_countdown = nth;
    fake->failed_kind = FAKE_ANY_KIND;
}

void fake_os_follow(struct fake_os *fake, struct fake_plan *plan)
{
    fake->plan = plan;
    fake->failed_kind = FAKE_ANY_KIND;
}

size_t fake_os_calls(const struct fake_os *fake)
{
    size_t calls = 0;
    for (size_t kind = 0; kind < FAKE_KINDS; kind++) {
        calls += fake->calls[kind];
    }
    return calls;
}

/* ---- the address space: fake_space.c ---- */

static os_error fake_virtual_alloc(const struct os *os, uintptr_t address, size_t size,
                                   uint32_t type, uint32_t protect, uintptr_t *result)
{
    struct fake_os *fake = fake_of(os);
    os_error error = fake->fail_error;
    if (enter(fake, FAKE_VIRTUAL_ALLOC, address, size, type, protect)) {
        error = fake_space_alloc(fake, address, size, type, protect, result);
    }
    return leave(fake, FAKE_VIRTUAL_ALLOC, error);
}

static os_error fake_virtual_free(const struct os *os, uintptr_t address, size_t size,
                                  uint32_t type)
{
    struct fake_os *fake = fake_of(os);
    os_error error = fake->fail_error;
    if (enter(fake, FAKE_VIRTUAL_FREE, address, size, type, 0)) {
        error = fake_space_free(fake, address, size, type);
    }
    return leave(fake, FAKE_VIRTUAL_FREE, error);
}

static os_error fake_virtual_protect(const struct os *os, uintptr_t address, size_t size,
                                     uint32_t protect, uint32_t *old_protect)
{
    struct fake_os *fake = fake_of(os);
    os_error error = fake->fail_error;
    if (enter(fake, FAKE_VIRTUAL_PROTECT, address, size, 0, protect)) {
        error = fake_space_protect(fake, address, size, protect, old_protect);
    }
    return leave(fake, FAKE_VIRTUAL_PROTECT, error);
}

static os_error fake_virtual_query(const struct os *os, uintptr_t address, void *buffer,
                                   size_t length, size_t *written)
{
    struct fake_os *fake = fake_of(os);
    struct os_memory_info info;
    os_error error = OS_OK;
    if (!enter(fake, FAKE_VIRTUAL_QUERY, address, length, 0, 0)) {
        error = fake->fail_error;
    } else if (address > fake->os.max_address) {
        error = OS_INVALID_PARAMETER;
    } else if (length < sizeof(info)) {
        error = FAKE_BAD_LENGTH;
    } else {
        fake_space_query(fake, address & ~(PAGE_BYTES - 1), &info);
        memcpy(buffer, &info, sizeof(info));
        *written = sizeof(info);
    }
    return leave(fake, FAKE_VIRTUAL_QUERY, error);
}

/* ---- tables: real memory ---- */

static void *fake_table_reserve(const struct os *os, size_t size)
{
    struct fake_os *fake = fake_of(os);
    void *base = NULL;
    if (enter(fake, FAKE_TABLE_RESERVE, 0, size, 0, 0)) {
#ifdef _WIN32
        base = VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_NOACCESS);
#else
        base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        base = base == MAP_FAILED ? NULL : base;
#endif
        if (base == NULL) {
            fake_broken("no address space for a table");
        }
        size_t pages = (size + PAGE_BYTES - 1) / PAGE_BYTES;
        fake->tables = realloc(fake->tables, (fake->table_count + 1) * sizeof(*fake->tables));
        fake->tables[fake->table_count++] = (struct fake_table){.base = base, .page_count = pages};
    }
    leave(fake, FAKE_TABLE_RESERVE, base != NULL ? OS_OK : OS_NOT_ENOUGH_MEMORY);
    return base;
}

/* Tables are large, and committed from the front. */
static void know_pages(struct fake_table *table, size_t count)
{
    if (count > table->known_count) {
        table->committed = realloc(table->committed, count * sizeof(*table->committed));
        if (table->committed == NULL) {
            fake_broken("out of memory");
        }
        memset(table->committed + table->known_count, false, count - table->known_count);
        table->known_count = count;
    }
}

static bool fake_table_commit(const struct os *os, void *address, size_t size)
{
    struct fake_os *fake = fake_of(os);
    bool done = enter(fake, FAKE_TABLE_COMMIT, (uintptr_t)address, size, 0, 0);
    if (done) {
        struct fake_table *table = fake->tables;
        size_t i = 0;
        while (i < fake->table_count &&
               (uintptr_t)address - (uintptr_t)table[i].base >= table[i].page_count * PAGE_BYTES) {
            i++;
        }
        if (i == fake->table_count || size == 0 || (uintptr_t)address % PAGE_BYTES != 0) {
            fake_broken("a commit outside any table");
        }
        size_t first = ((uintptr_t)address - (uintptr_t)table[i].base) / PAGE_BYTES;
        size_t count = (size + PAGE_BYTES - 1) / PAGE_BYTES;
        if (count > table[i].page_count - first) {
            fake_broken("a commit past the end of a table");
        }
        know_pages(&table[i], first + count);
        memset(&table[i].committed[first], true, count);
#ifdef _WIN32
        if (VirtualAlloc(address, size, MEM_COMMIT, PAGE_READWRITE) == NULL) {
#else
        if (mprotect(address, size, PROT_READ | PROT_WRITE) != 0) {
#endif
            fake_broken("no memory for a table");
        }
    }
    leave(fake, FAKE_TABLE_COMMIT, done ? OS_OK : OS_NOT_ENOUGH_MEMORY);
    return done;
}

static void drop_table(struct fake_os *fake, size_t at)
{
#ifdef _WIN32
    VirtualFree(fake->tables[at].base, 0, MEM_RELEASE);
#else
    munmap(fake->tables[at].base, fake->tables[at].page_count * PAGE_BYTES);
#endif
    free(fake->tables[at].committed);
    fake->tables[at] = fake->tables[--fake->table_count];
}

static void fake_table_release(const struct os *os, void *address)
{
    struct fake_os *fake = fake_of(os);
    enter(fake, FAKE_TABLE_RELEASE, (uintptr_t)address, 0, 0, 0);
    size_t at = 0;
    while (at < fake->table_count && fake->tables[at].base != address) {
        at++;
    }
    if (at == fake->table_count) {
        fake_broken("a release of something that is no table");
    }
    drop_table(fake, at);
    leave(fake, FAKE_TABLE_RELEASE, OS_OK);
}

static os_error fake_memory_load(const struct os *os, uint32_t *load_percent, uint64_t *available)
{
    struct fake_os *fake = fake_of(os);
    if (!enter(fake, FAKE_MEMORY_LOAD, 0, 0, 0, 0)) {
        return leave(fake, FAKE_MEMORY_LOAD, fake->fail_error);
    }
    *load_percent = fake->load_percent;
    *available = fake->available;
    return leave(fake, FAKE_MEMORY_LOAD, OS_OK);
}

static bool fake_job_memory(const struct os *os, uint64_t *limit, uint64_t *used)
{
    struct fake_os *fake = fake_of(os);
    enter(fake, FAKE_JOB_MEMORY, 0, 0, 0, 0);
    if (fake->job_limit != 0) {
        *limit = fake->job_limit;
        *used = fake->job_used;
    }
    leave(fake, FAKE_JOB_MEMORY, OS_OK);
    return fake->job_limit != 0;
}

size_t fake_os_table_committed(const struct fake_os *fake)
{
    size_t pages = 0;
    for (size_t i = 0; i < fake->table_count; i++) {
        for (size_t page = 0; page < fake->tables[i].known_count; page++) {
            pages += fake->tables[i].committed[page];
        }
    }
    return pages * PAGE_BYTES;
}

/* ---- beginning and end ---- */

void fake_os_init(struct fake_os *fake, uintptr_t lowest, uintptr_t max_address)
{
    *fake = (struct fake_os){
        .os = {.page_size = PAGE_BYTES,
               .granularity = GRANULARITY,
               .max_address = max_address,
               .virtual_alloc = fake_virtual_alloc,
               .virtual_free = fake_virtual_free,
               .virtual_protect = fake_virtual_protect,
               .virtual_query = fake_virtual_query,
               .table_reserve = fake_table_reserve,
               .table_commit = fake_table_commit,
               .table_release = fake_table_release,
               .memory_load = fake_memory_load,
               .job_memory = fake_job_memory},
        .lowest = lowest,
        .load_percent = 50,
        .available = (uint64_t)4 << 30,
        .fail_kind = FAKE_ANY_KIND,
        .failed_kind = FAKE_ANY_KIND,
        .fail_error = FAKE_COMMITMENT_LIMIT,
    };
}

void fake_os_init_default(struct fake_os *fake)
{
#if UINTPTR_MAX > UINT32_MAX
    fake_os_init(fake, GRANULARITY, ((uintptr_t)1 << 47) - GRANULARITY - 1);
#else
    fake_os_init(fake, GRANULARITY, ((uintptr_t)1 << 31) - GRANULARITY - 1);
#endif
}

size_t fake_os_destroy(struct fake_os *fake)
{
    size_t left = fake->table_count;
    fake_space_clear(fake);
    while (fake->table_count > 0) {
        drop_table(fake, 0);
    }
    free(fake->tables);
    fake->tables = NULL;
    return left;
}
