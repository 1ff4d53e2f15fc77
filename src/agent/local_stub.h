#pragma GCC diagnostic ignored "-Wpedantic"
typedef struct HOSTMEM_BINDING {
    UINT32 Size;
    HRESULT Result;
    HMODULE Runtime;
} HOSTMEM_BINDING;
static HRESULT local_result = S_FALSE;
static HMODULE local_runtime;
static IHostMemoryManager *local_manager;
static HRESULT HostMemGetBinding(HOSTMEM_BINDING *b)
{
    b->Result = local_result;
    b->Runtime = local_runtime;
    return S_OK;
}
typedef struct {
    USHORT Length, Max;
    WCHAR *Buffer;
} local_us;
typedef struct {
    ULONG Flags;
    const local_us *Full;
    const local_us *Base;
    void *Dll;
    ULONG Size;
} local_data;
static VOID CALLBACK local_cb(ULONG reason, const local_data *d, void *c)
{
    (void)c;
    if (reason == 1 && d->Base->Length == 22 && d->Base->Buffer[0] == 'c' &&
        d->Base->Buffer[6] == 'r') {
        local_runtime = d->Dll;
        local_result = HostMemBindRuntime(local_manager, d->Dll);
    }
}
static HRESULT HostMemBindRuntimeOnLoad(IHostMemoryManager *m, const WCHAR *n)
{
    (void)n;
    static void *cookie;
    local_manager = m;
    typedef LONG(NTAPI * reg)(ULONG, void *, void *, void **);
    return ((reg)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"),
                                                "LdrRegisterDllNotification"))(
        0, (void *)(ULONG_PTR)local_cb, NULL, &cookie);
}
