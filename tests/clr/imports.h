/* SPDX-License-Identifier: MIT
 *
 * A look at the import slots of a loaded module, for tests of the binding: what is in them, and
 * what protection their pages have. Written on its own; the code under test does its own walking.
 */
#ifndef TESTS_CLR_IMPORTS_H
#define TESTS_CLR_IMPORTS_H

#include <windows.h>
#include <string.h>

#define IMPORTS_MAX 2048

struct imports {
    size_t count;
    const char *names[IMPORTS_MAX]; /* in the module; NULL for an ordinal */
    void **slots[IMPORTS_MAX];
    void *values[IMPORTS_MAX];
    DWORD protections[IMPORTS_MAX];
};

static inline void imports_add(struct imports *imports, BYTE *base, const IMAGE_THUNK_DATA *entry,
                               void **slot)
{
    MEMORY_BASIC_INFORMATION page = {0};
    size_t i = imports->count++;
    const IMAGE_IMPORT_BY_NAME *name = (const void *)(base + entry->u1.AddressOfData);
    VirtualQuery(slot, &page, sizeof(page));
    imports->names[i] = IMAGE_SNAP_BY_ORDINAL(entry->u1.Ordinal) ? NULL : (const char *)name->Name;
    imports->slots[i] = slot;
    imports->values[i] = *slot;
    imports->protections[i] = page.Protect;
}

/* Fills `imports` with the module's imports as they are now. */
static inline void imports_read(HMODULE module, struct imports *imports)
{
    BYTE *base = (BYTE *)module;
    const IMAGE_NT_HEADERS *nt =
        (const IMAGE_NT_HEADERS *)(base + ((const IMAGE_DOS_HEADER *)base)->e_lfanew);
    DWORD table = nt->OptionalHeader.DataDirectory[IMAGE_DIRECTORY_ENTRY_IMPORT].VirtualAddress;
    const IMAGE_IMPORT_DESCRIPTOR *dll = (const IMAGE_IMPORT_DESCRIPTOR *)(base + table);
    memset(imports, 0, sizeof(*imports));
    for (; table != 0 && dll->Name != 0; dll++) {
        const IMAGE_THUNK_DATA *entry = (const IMAGE_THUNK_DATA *)(base + dll->OriginalFirstThunk);
        void **slot = (void **)(base + dll->FirstThunk);
        for (; entry->u1.AddressOfData != 0 && imports->count < IMPORTS_MAX; entry++) {
            imports_add(imports, base, entry, slot++);
        }
    }
}

/* Whether the two pictures of one module differ in no slot and no protection. */
static inline BOOL imports_equal(const struct imports *a, const struct imports *b)
{
    return a->count == b->count &&
           memcmp(a->values, b->values, a->count * sizeof(a->values[0])) == 0 &&
           memcmp(a->protections, b->protections, a->count * sizeof(a->protections[0])) == 0;
}

/* Where the import `name` leads, or NULL. */
static inline void *imports_find(const struct imports *imports, const char *name)
{
    for (size_t i = 0; i < imports->count; i++) {
        if (imports->names[i] != NULL && strcmp(imports->names[i], name) == 0) {
            return imports->values[i];
        }
    }
    return NULL;
}

#endif
