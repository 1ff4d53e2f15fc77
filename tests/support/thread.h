/* SPDX-License-Identifier: MIT
 *
 * Threads for tests, on both systems: start, join, sleep, and a clock of whole milliseconds.
 */
#ifndef HOSTMEM_TESTS_THREAD_H
#define HOSTMEM_TESTS_THREAD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <time.h>
#endif

struct thread {
    void (*run)(void *argument);
    void *argument;
#ifdef _WIN32
    HANDLE handle;
#else
    pthread_t handle;
#endif
};

#ifdef _WIN32
static inline DWORD WINAPI thread_main(LPVOID thread)
{
    ((struct thread *)thread)->run(((struct thread *)thread)->argument);
    return 0;
}
#else
static inline void *thread_main(void *thread)
{
    ((struct thread *)thread)->run(((struct thread *)thread)->argument);
    return NULL;
}
#endif

/* `thread` stays where it is until it is joined. */
static inline void thread_start(struct thread *thread, void (*run)(void *argument), void *argument)
{
    thread->run = run;
    thread->argument = argument;
#ifdef _WIN32
    thread->handle = CreateThread(NULL, 0, thread_main, thread, 0, NULL);
    int failed = thread->handle == NULL;
#else
    int failed = pthread_create(&thread->handle, NULL, thread_main, thread) != 0;
#endif
    if (failed) {
        fprintf(stderr, "no thread\n");
        abort();
    }
}

static inline void thread_join(struct thread *thread)
{
#ifdef _WIN32
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
#else
    pthread_join(thread->handle, NULL);
#endif
}

static inline uint64_t thread_milliseconds(void)
{
#ifdef _WIN32
    return GetTickCount64();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
#endif
}

static inline void thread_sleep(unsigned milliseconds)
{
#ifdef _WIN32
    Sleep(milliseconds);
#else
    nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000,
                                 .tv_nsec = (long)(milliseconds % 1000) * 1000000},
              NULL);
#endif
}

#endif
