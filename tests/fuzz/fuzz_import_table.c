/* SPDX-License-Identifier: MIT
 *
 * The import tables of a loaded module. What the loader has seen to is true: the headers are where
 * they say, and the image is as large as they say. All else is the input's. To collect changes
 * nothing; to redirect changes all slots that were collected and no other byte, or nothing at all.
 */
#include "input.h"

#include "clr/import_table.h"

#include <sanitizer/asan_interface.h>

#include <string.h>

#define LARGEST 8192
#define FIRST_PROTECTION 0x02 /* PAGE_READONLY */

static _Alignas(16) uint8_t image[LARGEST];
static size_t image_size;
static uint8_t before[LARGEST];
static size_t writable; /* slots whose page is, and is not to stay so */

HRESULT IHostMemoryManager_VirtualProtect(IHostMemoryManager *manager, void *address, SIZE_T size,
                                          DWORD protect, DWORD *old_protect)
{
    uint8_t *slot = address;
    (void)manager;
    REQUIRE(slot >= image && size <= image_size && slot <= image + image_size - size);
    if (protect != PAGE_READWRITE) {
        REQUIRE(protect == FIRST_PROTECTION && writable-- > 0);
        return S_OK;
    }
    if (input_below(16) == 0) {
        return E_FAIL;
    }
    *old_protect = FIRST_PROTECTION;
    writable++;
    return S_OK;
}

static void replacement(void)
{
}

static import_function choose(const struct import *import, void *context)
{
    REQUIRE(context == image);
    return strlen(import->name) % 2 == 0 ? replacement : NULL;
}

static void redirect(struct import_slots *slots)
{
    HRESULT hr = import_table_redirect(NULL, slots);
    REQUIRE(writable == 0);
    for (size_t i = 0; hr == S_OK && i < slots->count; i++) {
        import_function now;
        memcpy(&now, slots->items[i].address, sizeof(now));
        REQUIRE(now == replacement);
        memcpy(before + ((uint8_t *)slots->items[i].address - image), &now, sizeof(now));
    }
    REQUIRE(memcmp(image, before, image_size) == 0);
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
    memcpy(before, image, size);
    writable = 0;
    HRESULT hr = import_table_collect(image, choose, image, &slots);
    REQUIRE(hr == S_OK || hr == HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT) ||
            hr == HRESULT_FROM_WIN32(ERROR_NOT_READY));
    REQUIRE(memcmp(image, before, size) == 0);
    if (hr == S_OK) {
        redirect(&slots);
    }
    __asan_unpoison_memory_region(image + size, LARGEST - size);
    return 0;
}
