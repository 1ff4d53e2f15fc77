/* SPDX-License-Identifier: MIT
 *
 * Waiting for a lock: a short look whether it becomes free, for whoever holds one holds it for less
 * than a system call as a rule; then sleep until the word changes.
 *
 * Before it sleeps a thread says so in the word, by 2, and whoever finds the 2 when it releases the
 * lock wakes all sleepers: one alone might be suspended, by a debugger or the CLR, and the others
 * would sleep on though the lock is free. tests/model/os_lock.pml walks through all of it.
 *
 * Windows 7 has no WaitOnAddress: there a waiter looks every millisecond. It is looked up while no
 * lock is held, because GetProcAddress may have to wait for the loader, and a thread inside the
 * loader may wait for us.
 *
 * At process exit Windows ends every other thread before it detaches the DLLs, and the runtime
 * still frees memory then. A lock that one of the dead threads held will never be released; as
 * nobody else is left to protect against, it is passed over, and nobody is woken.
 */
#include "os/os_lock.h"

#include "os/os.h"

#include <stdbool.h>
#include <windows.h>

#define LOOKS 100

BOOLEAN NTAPI RtlDllShutdownInProgress(void); /* ntdll.dll; <winternl.h> lacks it */

typedef BOOL WINAPI wait_on_address_fn(volatile VOID *address, PVOID undesired, SIZE_T size,
                                       DWORD milliseconds);
typedef VOID WINAPI wake_by_address_fn(PVOID address);

static wait_on_address_fn *wait_on_address;
static wake_by_address_fn *wake_by_address;

void os_lock_find_functions(void)
{
    HMODULE kernelbase = GetModuleHandleW(L"kernelbase");
    if (kernelbase != NULL) {
        wait_on_address =
            (wait_on_address_fn *)(void (*)(void))GetProcAddress(kernelbase, "WaitOnAddress");
        wake_by_address =
            (wake_by_address_fn *)(void (*)(void))GetProcAddress(kernelbase, "WakeByAddressAll");
    }
}

bool os_process_is_ending(void)
{
    return RtlDllShutdownInProgress() != 0;
}

static bool becomes_free(struct os_lock *lock)
{
    for (int i = 0; i < LOOKS; i++) {
        uint32_t free = 0;
        /* Acquire: pairs with the release in os_lock_release. */
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&lock->word, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed)) {
            return true;
        }
        YieldProcessor();
    }
    return false;
}

static void sleep_while_held(struct os_lock *lock)
{
    uint32_t held = 2;
    if (wait_on_address != NULL) {
        wait_on_address(&lock->word, &held, sizeof(held), INFINITE);
    } else {
        Sleep(1);
    }
}

void os_lock_wait(struct os_lock *lock)
{
    if (os_process_is_ending() || becomes_free(lock)) {
        return;
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0) {
        sleep_while_held(lock);
    }
}

void os_lock_wake(struct os_lock *lock)
{
    if (wake_by_address != NULL && !os_process_is_ending()) {
        wake_by_address(&lock->word);
    }
}
