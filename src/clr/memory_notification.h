/* SPDX-License-Identifier: MIT
 *
 * What stands in for the OS's memory resource notifications: a pair of events that the memory
 * manager sets and resets through ICLRMemoryNotificationCallback, as the OS would do with the real
 * objects. "Low" is signalled while the manager says so; "high" while it does not.
 */
#ifndef CLR_MEMORY_NOTIFICATION_H
#define CLR_MEMORY_NOTIFICATION_H

#include <hostmem/hostmem.h>

/* Make the events, or reset them. Then memory_notification_callback() may be registered with the
 * manager, which has not said anything yet. Nothing to undo on failure. S_OK · HRESULT_FROM_WIN32(...) */
HRESULT memory_notification_prepare(void);

/* A static object: its references are not counted. */
ICLRMemoryNotificationCallback *memory_notification_callback(void);

/* A handle to wait for and to close; NULL, with LastError, for an unknown type, without memory, or
 * when 16 are open. */
HANDLE memory_notification_create(MEMORY_RESOURCE_NOTIFICATION_TYPE type);

/* `handle`, from memory_notification_create or not, is about to be closed. */
void memory_notification_forget(HANDLE handle);

/* Returns FALSE if `notification` is no handle from memory_notification_create. */
BOOL memory_notification_query(HANDLE notification, BOOL *signalled);

#endif
