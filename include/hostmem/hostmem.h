/* SPDX-License-Identifier: MIT
 *
 * hostmem: a memory manager for native programs that host a .NET runtime.
 *
 *     HostMemCreateManager       an IHostMemoryManager that knows every byte it hands out
 *     HostMemCreateHostControl   an IHostControl that gives it to the .NET Framework's CLR
 *     HostMemBindRuntime         gives it to a .NET Core runtime, which has no SetHostControl
 *     HostMemBindRuntimeOnLoad   the same, for a runtime that somebody else loads later
 *
 * The same manager comes from CoCreateInstance(CLSID_HostMemoryManager), registered or through the
 * manifest in the DLL. Link hostmem.dll's import library or the static library; the interface ids
 * are in the uuid library that both bring along.
 *
 * The manager also answers QueryInterface for IHostMemoryStatistics, -Limits, -Pressure, -Faults,
 * -Charge, -Events and IHostRuntimeLifetime, its heaps for IHostMallocBlocks. What each interface
 * method takes, returns and promises stands in the README and, for our own interfaces, in hostmem.idl.
 */
#ifndef HOSTMEM_HOSTMEM_H
#define HOSTMEM_HOSTMEM_H

#include <windows.h>

/* The header of the .NET Framework SDK declares the hosting interfaces; MinGW-w64's lacks those for
 * memory, and clrhosting.h adds them. */
#include <mscoree.h>
#ifndef __IHostMemoryManager_INTERFACE_DEFINED__
#include <hostmem/clrhosting.h>
#endif
#include <hostmem/hostmem_interfaces.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Later versions add fields at the end: set Size to sizeof(HOSTMEM_OPTIONS), the rest to 0. Amounts
 * above 2^47 (128 TiB, more than any process can have) are refused; in 32-bit processes a limit from
 * 4 GiB on is none. */
typedef struct HOSTMEM_OPTIONS {
    UINT32 Size;
    UINT32 Flags;               /* HOSTMEM_FLAG_* */
    UINT64 CommitLimit;         /* bytes of committed pages and heap blocks; 0: none */
    UINT64 ReserveLimit;        /* bytes of address space; 0: none */
    UINT64 EmergencyCommit;     /* bytes of CommitLimit kept for the critical levels */
    UINT64 AddressSpaceCushion; /* bytes reserved, to be given back by NeedsVirtualAddressSpace */
    UINT32 CommitWaitMilliseconds; /* how long a request waits for budget before it is refused; 0:
                                    * not at all, which is the only safe choice unless every limit
                                    * is lifted by a native thread that the CLR never waits for */
    UINT32 Reserved;               /* 0 */
} HOSTMEM_OPTIONS;

/* Create a memory manager. One manager serves one CLR; a process may have several.
 *
 * options  NULL for the defaults
 * manager  receives one reference. A CLR that was given the manager never releases it; without a
 *          CLR the last Release frees the manager's tables. Memory still allocated then stays with
 *          the process.
 *
 * Any thread. S_OK · E_POINTER · E_INVALIDARG: a Size no version has had (or above 4 KiB), fields or
 * flags set that this version does not know, an amount above 2^47, or an EmergencyCommit larger than
 * CommitLimit · E_OUTOFMEMORY. On failure *manager is NULL. */
HRESULT __cdecl HostMemCreateManager(const HOSTMEM_OPTIONS *options, IHostMemoryManager **manager);

/* Create the IHostControl to pass to ICLRRuntimeHost::SetHostControl, before Start.
 *
 * manager  what the CLR gets when it asks for IID_IHostMemoryManager; any implementation
 * next     the host's own IHostControl, or NULL. It is asked for every other manager, and is told
 *          of every AppDomain manager.
 * control  receives one reference; it holds one on `manager` and on `next`.
 *
 * Any thread. S_OK · E_POINTER: manager or control is NULL · E_OUTOFMEMORY. On failure *control is
 * NULL. */
HRESULT __cdecl HostMemCreateHostControl(IHostMemoryManager *manager, IHostControl *next,
                                         IHostControl **control);

/* HOSTMEM_BIND_OPTIONS.Flags: malloc, calloc, realloc, free and their kind, as the module imports
 * them from the universal C runtime, lead to the manager's heap as well; from .NET 5 on most of the
 * runtime's small blocks are there. A block that comes from elsewhere is freed where it came from. A
 * block that leaves the module must come back to be freed: runtimes see to that, a program with
 * native code in the same executable may not, so it is off by default. It stays off for a module
 * that imports functions for such blocks which have no counterpart here, _expand for instance. */
#define HOSTMEM_BIND_CRT_HEAP 1u

/* What a binding does besides. Later versions add fields at the end: set Size to
 * sizeof(HOSTMEM_BIND_OPTIONS), the rest to 0. A longer one is accepted as long as the fields that
 * this version does not know are 0. */
typedef struct HOSTMEM_BIND_OPTIONS {
    UINT32 Size;
    UINT32 Flags; /* HOSTMEM_BIND_* */

    /* Called once, when the runtime has started and none of its program has run: on a thread of the
     * runtime, while that makes a request for memory. It may end the process, and must call nothing
     * of the runtime. (2.0, and a runtime that is linked into an executable, do not tell when they
     * have started: there it is when the finalizer thread begins, before the first assembly is
     * loaded.) NULL: nothing is called. */
    void(CALLBACK *OnStart)(void *context);

    /* Called when the runtime is about to end the process by TerminateProcess or
     * RaiseFailFastException, where nobody else is asked: Environment.FailFast, a stack overflow,
     * memory that it cannot do without. (ExitProcess and an unhandled exception have hooks of their
     * own; a process that is ended from outside has none.)
     *
     * exitCode  what the process will end with, the exception's code for RaiseFailFastException
     *
     * It is called on the thread that ends the process, which may be out of stack, and may hold any
     * lock: do the work on another thread, and wait for that so long and no longer. When it returns,
     * the process ends. Several threads may come at a time, and one may come twice. NULL: nothing is
     * called. */
    void(CALLBACK *OnTermination)(void *context, UINT32 exitCode);

    void *Context; /* handed to both */
} HOSTMEM_BIND_OPTIONS;

/* Give a .NET Core runtime (coreclr.dll of any version, or a program that contains it) to a manager:
 * the module's imports of the memory functions are redirected to the interface, and the binding
 * does what the hosting layer of the .NET Framework did in between.
 *
 * manager  any implementation. Heap functions are redirected only if its heap answers
 *          IHostMallocBlocks. The binding keeps a reference for the life of the process.
 * runtime  the loaded module, not yet started: load it by its full path, bind, then start it with
 *          hostfxr_main or coreclr_initialize, which find the module that is loaded already.
 * options  copied; NULL for the defaults: no flags, no callbacks
 *
 * Any thread, before the runtime is started; not from DllMain. One binding per process, for ever.
 * On failure nothing of the module has changed. A manager that refuses
 * RegisterMemoryNotificationCallback is bound all the same; the runtime then keeps the system's
 * memory resource notifications.
 *
 * HeapFree, HeapReAlloc, HeapSize and HeapValidate go on to the system for a block of the process heap
 * that the manager's heap does not know, and wait there for the process heap's lock, as they do in
 * a runtime that is not bound; with HOSTMEM_BIND_CRT_HEAP so do free, realloc, _msize and _aligned_free,
 * for a block of the C runtime. A thread that is suspended, or was ended with TerminateThread, while it
 * has that lock lets them wait as long. No other bound function of the heap comes there, and for the
 * manager's own blocks none does. At process exit Windows takes the lock before it ends the other
 * threads: the last one can free blocks of either kind.
 *
 * S_OK
 * E_POINTER                      manager or runtime is NULL
 * E_INVALIDARG                   options: a Size no version has had, unknown flags, or fields set
 *                                that this version does not know
 * HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT)        the module is no runtime: it exports neither
 *                                coreclr_initialize nor g_CLREngineMetrics, or does not import
 *                                VirtualAlloc
 * HRESULT_FROM_WIN32(ERROR_ALREADY_INITIALIZED)   a runtime is bound already, or waited for
 * HRESULT_FROM_WIN32(ERROR_SERVICE_ALREADY_RUNNING)  the runtime has begun to start
 * HRESULT_FROM_WIN32(ERROR_NOT_READY)             the loader is still at work on the module
 * or what CreateMalloc or VirtualProtect returned; E_FAIL for a success that is not S_OK. */
HRESULT __cdecl HostMemBindRuntime(IHostMemoryManager *manager, HMODULE runtime,
                                   const HOSTMEM_BIND_OPTIONS *options);

/* The same for a runtime that is not loaded yet, and will be by hostfxr, nethost or whoever: it is
 * bound when the loader has mapped it and before any of its code has run. If it is loaded already,
 * the call is a HostMemBindRuntime.
 *
 * module  the DLL's file name, without a folder; without an extension, .dll; NULL: L"coreclr.dll"
 *
 * S_OK says that the runtime is waited for, or bound: HostMemGetBinding tells. If it cannot be bound
 * when it is loaded, that tells why, and the manager is released by the next call of a function of the
 * binding. The module that contains this function stays loaded. Any thread; not from DllMain.
 * E_POINTER: manager is NULL · E_INVALIDARG: a name with a folder, or too long, or what it is for
 * HostMemBindRuntime · HRESULT_FROM_WIN32(ERROR_PROC_NOT_FOUND): the loader of this system tells
 * nobody · E_OUTOFMEMORY · and what else HostMemBindRuntime returns. */
HRESULT __cdecl HostMemBindRuntimeOnLoad(IHostMemoryManager *manager, const WCHAR *module,
                                         const HOSTMEM_BIND_OPTIONS *options);

/* Wait no more, and give the manager back. A load that is under way is waited for. S_OK: nothing is
 * bound · S_FALSE: nothing was waited for · HRESULT_FROM_WIN32(ERROR_ALREADY_INITIALIZED): too late,
 * the runtime is bound. Any thread; not from DllMain. */
HRESULT __cdecl HostMemCancelBindRuntimeOnLoad(void);

/* How a bound runtime can reach a function for memory, and where that leads. */
typedef enum HOSTMEM_FUNCTION_KIND {
    HOSTMEM_FUNCTION_IMPORT,
    HOSTMEM_FUNCTION_DELAY_LOADED, /* an import that is filled in when it is first called */
    HOSTMEM_FUNCTION_LOOKED_UP     /* asked for with GetProcAddress since the binding */
} HOSTMEM_FUNCTION_KIND;

typedef enum HOSTMEM_FUNCTION_STATE {
    HOSTMEM_FUNCTION_BOUND,     /* to the manager */
    HOSTMEM_FUNCTION_PASSED_ON, /* to the system, and that is right: see the README */
    HOSTMEM_FUNCTION_UNKNOWN    /* to the system; by its name it may be a way around the manager */
} HOSTMEM_FUNCTION_STATE;

typedef struct HOSTMEM_FUNCTION {
    CHAR Name[48];
    UINT32 Kind;  /* HOSTMEM_FUNCTION_KIND */
    UINT32 State; /* HOSTMEM_FUNCTION_STATE */
} HOSTMEM_FUNCTION;

typedef struct HOSTMEM_BINDING {
    UINT32 Size;       /* set by the caller: sizeof(HOSTMEM_BINDING) */
    HRESULT Result;    /* S_OK: bound · S_FALSE: waited for · what the last attempt failed with ·
                      * HRESULT_FROM_WIN32(ERROR_NOT_FOUND): there was none */
    HMODULE Runtime;   /* the bound module; NULL while there is none */
    SIZE_T TableBytes; /* what the binding committed for its table of sections */
    UINT32 BoundFunctions;
    UINT32 PassedOnFunctions;
    UINT32 UnknownFunctions;
    UINT32 FreedBehind;    /* views and handles of sections that others unmapped or closed */
    UINT32 RefusedRefunds; /* of sections, by the manager: it has lost count */
    UINT32 Reserved;
} HOSTMEM_BINDING;

/* What has come of the binding. Fields of a longer Size that this version does not know become 0. Any
 * thread. S_OK · E_POINTER · E_INVALIDARG: a Size no version has had. */
HRESULT __cdecl HostMemGetBinding(HOSTMEM_BINDING *binding);

/* Up to `capacity` functions for memory that the bound runtime can reach, from the first-th on, in the
 * order they were met. Any thread. S_OK · E_POINTER. */
HRESULT __cdecl HostMemGetFunctions(UINT32 first, UINT32 capacity, HOSTMEM_FUNCTION *functions,
                                    UINT32 *count);

#ifdef __cplusplus
}
#endif

#endif
