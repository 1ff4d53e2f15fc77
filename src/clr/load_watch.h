/* SPDX-License-Identifier: MIT
 *
 * A call at the moment when a DLL of a given name has been mapped and its imports are filled in,
 * before its entry point runs: the loader tells those that LdrRegisterDllNotification has
 * registered. It holds its lock then, so what is called may load nothing and wait for nobody.
 */
#ifndef CLR_LOAD_WATCH_H
#define CLR_LOAD_WATCH_H

#include <hostmem/hostmem.h>

/* The longest name, with its end. */
#define LOAD_WATCH_NAME 64

typedef void load_watcher(HMODULE module);

/* Call `watcher` for every DLL called `name` that is loaded from now on, in the thread that loads
 * it. One watch at a time. This module must stay loaded until load_watch_end. */
HRESULT load_watch_begin(const WCHAR *name, load_watcher *watcher);

/* When it returns, no call is under way or comes any more. Not from a watcher. */
void load_watch_end(void);

#endif
