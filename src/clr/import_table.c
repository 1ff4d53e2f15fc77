/* SPDX-License-Identifier: MIT
 *
 * An image lists its imports by DLL: one descriptor each, with two parallel arrays. The name table
 * keeps the names, the address table (the slots) is what the loader filled and the code calls
 * through. Every offset is checked against SizeOfImage before it is followed: the image was
 * accepted by the loader, but not every loader checks what it does not need. Nor do they check that
 * entries are aligned, so entries are copied; a slot that is not, no code could call through safely.
 */
#include "import_table.h"

#include <stdint.h>
#include <string.h>

#define BAD_IMAGE HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT)

#define NOT_READY HRESULT_FROM_WIN32(ERROR_NOT_READY)

struct image {
    const BYTE *base;
    size_t size;
    IMAGE_DATA_DIRECTORY imports;
    IMAGE_DATA_DIRECTORY delayed;
};

/* A walk over an image's imports. */
struct walk {
    const struct image *image;
    import_chooser *choose;
    void *context;
    struct import_slots *slots;
};

/* The `size` bytes at `offset`, or NULL if they are not all inside the image. */
static const void *image_bytes(const struct image *image, size_t offset, size_t size)
{
    if (offset > image->size || size > image->size - offset) {
        return NULL;
    }
    return image->base + offset;
}

static BOOL image_read(const struct image *image, size_t offset, void *entry, size_t size)
{
    const void *bytes = image_bytes(image, offset, size);
    if (bytes) {
        memcpy(entry, bytes, size);
    }
    return bytes != NULL;
}

static const char *image_string(const struct image *image, size_t offset)
{
    if (offset >= image->size || !memchr(image->base + offset, 0, image->size - offset)) {
        return NULL;
    }
    return (const char *)image->base + offset;
}

BOOL import_table_is_module(HMODULE module)
{
    HMODULE found;
    return GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                  GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                              (const WCHAR *)module, &found) &&
           found == module;
}

/* Fills in `image`. FALSE if it is none. */
static BOOL open_image(HMODULE module, struct image *image)
{
    *image = (struct image){.base = (const BYTE *)module};
    image->size = sizeof(IMAGE_DOS_HEADER); /* for the first look */
    const IMAGE_DOS_HEADER *dos = image_bytes(image, 0, sizeof(*dos));
    if (dos->e_magic != IMAGE_DOS_SIGNATURE || dos->e_lfanew < 0) {
        return FALSE;
    }
    const IMAGE_NT_HEADERS *nt = (const IMAGE_NT_HEADERS *)(image->base + dos->e_lfanew);
    const IMAGE_OPTIONAL_HEADER *header = &nt->OptionalHeader;
    if (nt->Signature != IMAGE_NT_SIGNATURE || header->Magic != IMAGE_NT_OPTIONAL_HDR_MAGIC ||
        header->NumberOfRvaAndSizes <= IMAGE_DIRECTORY_ENTRY_IMPORT) {
        return FALSE;
    }
    image->size = header->SizeOfImage;
    image->imports = header->DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT];
    if (header->NumberOfRvaAndSizes > IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT) {
        image->delayed = header->DataDirectory[IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT];
    }
    return TRUE;
}

/* The import of the name table's `entry`, whose slot is at `slot`. */
static HRESULT collect_import(const struct walk *walk, const IMAGE_THUNK_DATA *entry,
                              const void *slot, HOSTMEM_FUNCTION_KIND kind)
{
    struct import import = {.kind = kind};
    memcpy(&import.current, slot, sizeof(import.current));
    import.name = image_string(walk->image, (size_t)entry->u1.AddressOfData +
                                                offsetof(IMAGE_IMPORT_BY_NAME, Name));
    if (!import.name) {
        return BAD_IMAGE;
    }
    /* In the file both tables are the same. */
    if (kind == HOSTMEM_FUNCTION_IMPORT && (UINT_PTR)import.current == entry->u1.AddressOfData) {
        return NOT_READY;
    }
    import_function replacement = walk->choose(&import, walk->context);
    struct import_slots *slots = walk->slots;
    if (!replacement) {
        return S_OK;
    }
    if (slots->count == sizeof(slots->items) / sizeof(slots->items[0])) {
        return BAD_IMAGE;
    }
    slots->items[slots->count++] = (struct import_slot){
        .address = (import_function *)(UINT_PTR)slot,
        .replacement = replacement,
    };
    return S_OK;
}

/* The imports of one DLL, from the parallel arrays at the offsets `names` and `addresses`. */
static HRESULT collect_from_dll(const struct walk *walk, size_t names, size_t addresses,
                                HOSTMEM_FUNCTION_KIND kind)
{
    for (;; names += sizeof(IMAGE_THUNK_DATA), addresses += sizeof(IMAGE_THUNK_DATA)) {
        IMAGE_THUNK_DATA entry;
        const void *slot = image_bytes(walk->image, addresses, sizeof(import_function));
        if (!image_read(walk->image, names, &entry, sizeof(entry)) || !slot ||
            (uintptr_t)slot % sizeof(import_function) != 0) {
            return BAD_IMAGE;
        }
        if (entry.u1.AddressOfData == 0) {
            return S_OK;
        }
        if (!IMAGE_SNAP_BY_ORDINAL(entry.u1.Ordinal)) {
            HRESULT hr = collect_import(walk, &entry, slot, kind);
            if (hr != S_OK) {
                return hr;
            }
        }
    }
}

static HRESULT collect_imports(const struct walk *walk)
{
    size_t offset = walk->image->imports.VirtualAddress;
    HRESULT hr = S_OK;
    for (; offset != 0 && hr == S_OK; offset += sizeof(IMAGE_IMPORT_DESCRIPTOR)) {
        IMAGE_IMPORT_DESCRIPTOR dll;
        if (!image_read(walk->image, offset, &dll, sizeof(dll))) {
            return BAD_IMAGE;
        }
        if (dll.Name == 0) {
            break;
        }
        if (dll.OriginalFirstThunk != 0) {
            hr = collect_from_dll(walk, dll.OriginalFirstThunk, dll.FirstThunk,
                                  HOSTMEM_FUNCTION_IMPORT);
        }
    }
    return hr;
}

static HRESULT collect_delayed(const struct walk *walk)
{
    size_t offset = walk->image->delayed.VirtualAddress;
    HRESULT hr = S_OK;
    for (; offset != 0 && hr == S_OK; offset += sizeof(IMAGE_DELAYLOAD_DESCRIPTOR)) {
        IMAGE_DELAYLOAD_DESCRIPTOR dll;
        if (!image_read(walk->image, offset, &dll, sizeof(dll))) {
            return BAD_IMAGE;
        }
        if (dll.DllNameRVA == 0) {
            break;
        }
        if (dll.Attributes.RvaBased) { /* as every linker of this century makes it */
            hr = collect_from_dll(walk, dll.ImportNameTableRVA, dll.ImportAddressTableRVA,
                                  HOSTMEM_FUNCTION_DELAY_LOADED);
        }
    }
    return hr;
}

HRESULT import_table_collect(HMODULE module, import_chooser *choose, void *context,
                             struct import_slots *slots)
{
    struct image image;
    const struct walk walk = {&image, choose, context, slots};
    slots->count = 0;
    if (!open_image(module, &image)) {
        return BAD_IMAGE;
    }
    HRESULT hr = collect_imports(&walk);
    return hr == S_OK ? collect_delayed(&walk) : hr;
}

/* Undo make_writable for the first `count` slots. Last one first: of two slots on one page the
 * first knows the protection that the page had in the beginning. */
static void restore_protection(IHostMemoryManager *manager, struct import_slots *slots,
                               size_t count)
{
    while (count > 0) {
        struct import_slot *slot = &slots->items[--count];
        DWORD ignored;
        IHostMemoryManager_VirtualProtect(manager, slot->address, sizeof(*slot->address),
                                          slot->protection, &ignored);
    }
}

static HRESULT make_writable(IHostMemoryManager *manager, struct import_slots *slots)
{
    for (size_t i = 0; i < slots->count; i++) {
        struct import_slot *slot = &slots->items[i];
        HRESULT hr = IHostMemoryManager_VirtualProtect(
            manager, slot->address, sizeof(*slot->address), PAGE_READWRITE, &slot->protection);
        if (hr != S_OK) {
            restore_protection(manager, slots, i);
            return FAILED(hr) ? hr : E_FAIL; /* by the contract only S_OK is success */
        }
    }
    return S_OK;
}

HRESULT import_table_redirect(IHostMemoryManager *manager, struct import_slots *slots)
{
    HRESULT hr = make_writable(manager, slots);
    if (hr != S_OK) {
        return hr;
    }
    for (size_t i = 0; i < slots->count; i++) {
        struct import_slot *slot = &slots->items[i];
        InterlockedExchangePointer((void *volatile *)slot->address,
                                   (void *)(uintptr_t)slot->replacement);
    }
    restore_protection(manager, slots, slots->count);
    return S_OK;
}
