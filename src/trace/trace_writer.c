/* SPDX-License-Identifier: MIT
 *
 * A ring has one writer, its thread, and one reader, whoever drains. `written` and `flushed` only
 * ever grow; their difference is what the ring holds.
 *
 * The place of a record in the file is the sum of all `flushed`: to move on in the ring is to move
 * on in the file, in one step. If the draining thread is ended between the write and that step, the
 * next one to drain writes the same bytes to the same place again.
 *
 * Draining is for one thread at a time, the one that has set `draining`. At the end close takes it
 * for good. The thread that drains may have been ended with it in hand, when the process ends: so
 * close waits for it only as long as that thread is alive.
 *
 * Who enters says so in his ring and then looks at the state; who stops changes the state and then
 * looks into the rings. Both are sequentially consistent, so one of the two sees the other.
 *
 * A thread leaves its ring when it has ended, and not before: it may call until its very last
 * moment. That is seen by its handle, at a quiet time, and the ring goes to the next new thread.
 * Rings are never freed: there are as many as there were threads at the same time.
 */
#include "trace/trace_writer.h"

#include <stdatomic.h>

#define RING_RECORDS 4096u
#define DRAIN_MS 100
#define END_MS 1000 /* how long the end waits for those that are inside */

enum state {
    OFF,    /* calls pass by */
    ON,     /* calls are recorded */
    ENDING, /* no call begins; those that are inside are recorded */
};

struct ring {
    struct ring *next;    /* in the list of all; set once */
    _Atomic DWORD thread; /* its number; 0: the ring is free */
    HANDLE handle;        /* of the thread; NULL: it could not be had, and the ring stays its own */
    _Alignas(64) _Atomic UINT64 written; /* by the thread */
    UINT64 room_until;                   /* the thread's own: `written` may grow up to here */
    _Atomic DWORD inside;                /* by the thread: calls, one in the other */
    _Alignas(64) _Atomic UINT64 flushed; /* by whoever drains */
    struct trace_record records[RING_RECORDS];
};

static struct {
    HANDLE file;
    HANDLE drainer; /* a thread */
    HANDLE wake;    /* auto reset: a ring is half full */
    DWORD slot;     /* TLS: the thread's ring */
    UINT64 begin_ticks;
    LARGE_INTEGER begin_time;
    struct trace_header header;
    struct ring *_Atomic rings;
    _Atomic enum state state;
    _Atomic DWORD ender; /* the thread that has stopped the trace */
    atomic_flag draining;
    atomic_bool failed;                      /* the file takes no more */
    _Alignas(64) _Atomic UINT32 next_number; /* alone: every call of every thread writes it */
} writer = {.draining = ATOMIC_FLAG_INIT};

static UINT64 load(const _Atomic UINT64 *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* ---- Draining ---- */

static bool write_at(UINT64 offset, const void *bytes, size_t size)
{
    OVERLAPPED place = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
    DWORD written;
    return WriteFile(writer.file, bytes, (DWORD)size, &written, &place) && written == size;
}

static UINT64 flushed_records(void)
{
    UINT64 total = 0;
    for (struct ring *ring = writer.rings; ring != NULL; ring = ring->next) {
        total += load(&ring->flushed);
    }
    return total;
}

/* A disk that is full stays full: what comes then goes nowhere, and is missing in the end. */
static void drain_ring(struct ring *ring, UINT64 *total)
{
    UINT64 flushed = load(&ring->flushed);
    /* Acquire: pairs with the release of trace_writer_add, the records are there. */
    UINT64 written = atomic_load_explicit(&ring->written, memory_order_acquire);
    while (flushed != written) {
        size_t at = flushed % RING_RECORDS, count = (size_t)(written - flushed);
        if (count > RING_RECORDS - at) {
            count = RING_RECORDS - at;
        }
        for (size_t i = at; i < at + count; i++) {
            ring->records[i].check = trace_check(&ring->records[i], sizeof(ring->records[i]));
        }
        if (!write_at(sizeof(struct trace_header) + *total * sizeof(struct trace_record),
                      &ring->records[at], count * sizeof(struct trace_record))) {
            writer.failed = true;
            return;
        }
        *total += count;
        flushed += count;
        /* Release: pairs with the acquire of has_room, the places can be written again. */
        atomic_store_explicit(&ring->flushed, flushed, memory_order_release);
    }
}

static void drain(void)
{
    UINT64 total = flushed_records();
    for (struct ring *ring = writer.rings; ring != NULL && !writer.failed; ring = ring->next) {
        drain_ring(ring, &total);
    }
}

/* Take back the rings of threads that have ended. Nothing in them is left: they were drained. */
static void free_rings(void)
{
    for (struct ring *ring = writer.rings; ring != NULL; ring = ring->next) {
        if (ring->thread != 0 && ring->handle != NULL &&
            WaitForSingleObject(ring->handle, 0) == WAIT_OBJECT_0 &&
            load(&ring->written) == load(&ring->flushed)) {
            CloseHandle(ring->handle);
            ring->handle = NULL;
            ring->inside = 0; /* it may have been ended inside */
            ring->thread = 0;
        }
    }
}

static bool write_header(void)
{
    LARGE_INTEGER now, frequency;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&frequency);
    writer.header.ticks = trace_writer_ticks() - writer.begin_ticks;
    writer.header.nanoseconds = (UINT64)((double)(now.QuadPart - writer.begin_time.QuadPart) * 1e9 /
                                         (double)frequency.QuadPart);
    writer.header.check = trace_check(&writer.header, sizeof(writer.header));
    return write_at(0, &writer.header, sizeof(writer.header));
}

/* What the ticks are worth, for the reader of a trace that nobody comes to close. */
static void keep_time(void)
{
    static ULONGLONG last;
    ULONGLONG now = GetTickCount64();
    if (now - last >= DRAIN_MS) {
        last = now;
        write_header();
    }
}

static DWORD WINAPI drain_for_ever(void *unused)
{
    (void)unused;
    for (;;) {
        DWORD woken = WaitForSingleObject(writer.wake, DRAIN_MS);
        if (atomic_flag_test_and_set(&writer.draining)) {
            return 0; /* close has it */
        }
        drain();
        keep_time();
        if (woken == WAIT_TIMEOUT) {
            free_rings();
        }
        atomic_flag_clear(&writer.draining);
    }
}

static bool drainer_is_alive(void)
{
    return WaitForSingleObject(writer.drainer, 0) == WAIT_TIMEOUT;
}

/* ---- Recording ---- */

UINT32 trace_writer_number(void)
{
    UINT32 number = atomic_fetch_add_explicit(&writer.next_number, 1, memory_order_relaxed);
    if (number >= TRACE_SEQUENCE_END - 65536) { /* all threads have stopped before it wraps */
        writer.state = OFF;
    }
    return number;
}

static struct ring *free_ring(DWORD thread)
{
    for (struct ring *ring = writer.rings; ring != NULL; ring = ring->next) {
        DWORD nobody = 0;
        if (atomic_compare_exchange_strong(&ring->thread, &nobody, thread)) {
            return ring;
        }
    }
    return NULL;
}

/* Its own memory from the system: neither the manager nor a heap knows of it. */
static struct ring *new_ring(DWORD thread)
{
    struct ring *ring = VirtualAlloc(NULL, sizeof(*ring), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (ring != NULL) {
        ring->thread = thread;
        ring->room_until = RING_RECORDS;
        ring->next = writer.rings;
        while (!atomic_compare_exchange_weak(&writer.rings, &ring->next, ring)) {
        }
    }
    return ring;
}

/* The ring of a thread that calls for the first time. NULL: there is no memory for one. */
static struct ring *adopt_ring(void)
{
    DWORD thread = GetCurrentThreadId();
    struct ring *ring = free_ring(thread);
    if (ring == NULL) {
        ring = new_ring(thread);
    }
    if (ring != NULL) {
        ring->handle = OpenThread(SYNCHRONIZE, FALSE, thread);
        TlsSetValue(writer.slot, ring);
    }
    return ring;
}

static bool has_room(struct ring *ring, UINT64 written)
{
    if (written == ring->room_until) {
        ring->room_until =
            atomic_load_explicit(&ring->flushed, memory_order_acquire) + RING_RECORDS;
    }
    return written != ring->room_until;
}

static bool wait_for_room(struct ring *ring, UINT64 written)
{
    while (!has_room(ring, written)) {
        if (writer.failed || writer.state == OFF || !drainer_is_alive()) {
            return false;
        }
        SetEvent(writer.wake);
        Sleep(1);
    }
    return true;
}

static struct ring *own_ring(void)
{
    struct ring *ring = TlsGetValue(writer.slot);
    return ring != NULL ? ring : adopt_ring();
}

/* Without a ring nobody knows that the call is inside, and it will be missing. */
static bool enter(void)
{
    struct ring *ring = own_ring();
    DWORD inside = ring != NULL ? ring->inside : 0;
    if (ring != NULL) {
        ring->inside = inside + 1;
    }
    if (writer.state == ON || inside != 0) {
        return true;
    }
    if (ring != NULL) {
        ring->inside = 0;
    }
    /* Not for ever: this thread may hold what the one that ends the trace needs, the loader's lock. */
    ULONGLONG start = GetTickCount64();
    while (writer.state == ENDING && writer.ender != GetCurrentThreadId() &&
           GetTickCount64() - start < 2 * END_MS) {
        Sleep(1);
    }
    return false;
}

bool trace_writer_enter(void)
{
    if (atomic_load_explicit(&writer.state, memory_order_relaxed) == OFF) {
        return false; /* for good */
    }
    DWORD last_error = GetLastError();
    bool entered = enter();
    SetLastError(last_error);
    return entered;
}

static void add(struct ring *ring, struct trace_record *record)
{
    UINT64 written = load(&ring->written);
    if (!wait_for_room(ring, written)) {
        return; /* its number is missing now */
    }
    record->thread = ring->thread;
    record->begin -= writer.begin_ticks;
    ring->records[written % RING_RECORDS] = *record;
    /* Release: pairs with the acquire of drain_ring. */
    atomic_store_explicit(&ring->written, written + 1, memory_order_release);
    /* The next one is still with the processor that wrote it to the file. */
    __builtin_prefetch(&ring->records[(written + 1) % RING_RECORDS], 1);
    if ((written + 1) % (RING_RECORDS / 2) == 0) {
        SetEvent(writer.wake);
    }
}

void trace_writer_add(struct trace_record *record)
{
    DWORD last_error = GetLastError();
    struct ring *ring = TlsGetValue(writer.slot);
    if (ring != NULL) {
        add(ring, record);
        /* Release: who finds nobody inside finds the record written. */
        atomic_store_explicit(&ring->inside, ring->inside - 1, memory_order_release);
    }
    SetLastError(last_error);
}

/* ---- The file ---- */

DWORD trace_writer_open(const WCHAR *path, const struct trace_header *about)
{
    SYSTEM_INFO system;
    FILETIME now;
    writer.file = CreateFileW(path, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS,
                              FILE_ATTRIBUTE_NORMAL, NULL);
    if (writer.file == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    GetSystemInfo(&system);
    GetSystemTimeAsFileTime(&now);
    writer.header = *about;
    memcpy(writer.header.magic, TRACE_MAGIC, sizeof(writer.header.magic));
    writer.header.version = TRACE_VERSION;
    writer.header.header_bytes = sizeof(struct trace_header);
    writer.header.record_bytes = sizeof(struct trace_record);
    writer.header.pointer_bytes = sizeof(void *);
    writer.header.page_bytes = system.dwPageSize;
    writer.header.started = (UINT64)now.dwHighDateTime << 32 | now.dwLowDateTime;
    writer.slot = TlsAlloc();
    writer.wake = CreateEventW(NULL, FALSE, FALSE, NULL);
    QueryPerformanceCounter(&writer.begin_time);
    writer.begin_ticks = trace_writer_ticks();
    if (writer.slot == TLS_OUT_OF_INDEXES || writer.wake == NULL || !write_header()) {
        return GetLastError();
    }
    writer.drainer = CreateThread(NULL, 64 * 1024, drain_for_ever, NULL,
                                  STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (writer.drainer == NULL) {
        return GetLastError();
    }
    writer.state = ON;
    return ERROR_SUCCESS;
}

/* Whether a call is inside that can still come out. */
static bool is_busy(const struct ring *ring)
{
    return ring->inside != 0 && ring->thread != writer.ender &&
           (ring->handle == NULL || WaitForSingleObject(ring->handle, 0) == WAIT_TIMEOUT);
}

void trace_writer_stop(void)
{
    ULONGLONG start = GetTickCount64();
    enum state on = ON;
    writer.ender = GetCurrentThreadId();
    if (!atomic_compare_exchange_strong(&writer.state, &on, ENDING)) {
        return;
    }
    for (const struct ring *ring = writer.rings; ring != NULL; ring = ring->next) {
        while (is_busy(ring) && GetTickCount64() - start < END_MS) {
            Sleep(1);
        }
    }
}

UINT64 trace_writer_close(void)
{
    writer.state = OFF;
    while (atomic_flag_test_and_set(&writer.draining) && drainer_is_alive()) {
        Sleep(1);
    }
    drain();
    writer.header.records = flushed_records();
    writer.header.missing = writer.next_number - writer.header.records;
    writer.header.closed = 1;
    bool whole = write_header();
    CloseHandle(writer.file);
    return whole ? writer.header.missing : writer.header.records + writer.header.missing;
}
