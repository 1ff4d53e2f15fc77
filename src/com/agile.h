/* SPDX-License-Identifier: MIT
 *
 * How an object tells COM that any thread may call it where it is. IAgileObject says so to whoever
 * asks; where an interface is marshaled into another apartment, and the global interface table does
 * that, IMarshal must say it: the system's free-threaded marshaler, aggregated, hands out the pointer
 * itself. Without it COM looks for a proxy, which local interfaces do not have.
 *
 * The marshaler is made when it is first asked for: a CLR never does.
 */
#ifndef HOSTMEM_COM_AGILE_H
#define HOSTMEM_COM_AGILE_H

#include <windows.h>

#include <stdatomic.h>
#include <unknwn.h>

/* All zero is valid. */
struct agile {
    _Atomic(IUnknown *) marshaler; /* owned: the inner unknown, or NULL */
};

/* The end of a QueryInterface: IAgileObject, IMarshal, or E_NOINTERFACE. `outer` is the object's
 * identity, `object` is not NULL. Also E_OUTOFMEMORY. */
HRESULT agile_query_interface(struct agile *agile, IUnknown *outer, REFIID iid, void **object);

/* At the object's end. */
void agile_destroy(struct agile *agile);

#endif
