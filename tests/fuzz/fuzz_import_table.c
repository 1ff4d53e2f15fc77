/* SPDX-License-Identifier: MIT
 *
 * The import tables of a loaded module. What the loader has seen to is true: the headers are where
 * they say, and the image is as large as they say. All else is the input's.
 */
#include "input.h"

#include "clr/import_table.h"

#include <sanitizer/asan_interface.h>

#include <string.h>

#define LARGEST 8192

static _Alignas(16) uint8_t image[LARGEST];
static size_t image_size;

HRESULT IHostMemoryManager_VirtualProtect(IHostMemoryManager *manager, void *address, SIZE_T size,
                                          DWORD protect, DWORD *old_protect)
{
    uint8_t *slot = address;
    (void)manager;
    REQUIRE(slot >= image && size <= image_size && slot <= image + image_size - size);
    *old_protect = protect;
    return input_below(16) == 0 ? E_FAIL : S_OK;
}

static void replacement(void)
{
}

static import_function choose(const char *name, import_function current, void *context)
{
    (void)current;
    REQUIRE(context == image);
    return strlen(name) % 2 == 0 ? replacement : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct import_slots slots;
    IMAGE_DOS_HEADER *dos = (IMAGE_DOS_HEADER *)image;
    if (size < sizeof(*dos) + sizeof(IMAGE_NT_HEADERS) || size > LARGEST) {
        return 0;
    }
    memset(image, 0, sizeof(image));
    memcpy(image, data, size);
    image_size = size;
    input_bytes = data;
    input_left = size;
    dos->e_lfanew = (LONG)sizeof(*dos);
    IMAGE_NT_HEADERS *nt = (IMAGE_NT_HEADERS *)(image + dos->e_lfanew);
    nt->OptionalHeader.SizeOfImage = (DWORD)size;
    __asan_poison_memory_region(image + size, LARGEST - size);
    if (import_table_collect(image, choose, image, &slots) == S_OK &&
        import_table_redirect(NULL, &slots) == S_OK) {
        for (size_t i = 0; i < slots.count; i++) {
            import_function now;
            memcpy(&now, slots.items[i].address, sizeof(now));
            REQUIRE(now == replacement);
        }
    }
    __asan_unpoison_memory_region(image + size, LARGEST - size);
    return 0;
}
