/* SPDX-License-Identifier: MIT */
#include "pe_file.h"

#include <string.h>

#define CLR_HEADER IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR

static BOOL read_at(HANDLE file, LONG offset, void *buffer, DWORD size)
{
    DWORD read;
    return SetFilePointer(file, offset, NULL, FILE_BEGIN) != INVALID_SET_FILE_POINTER &&
           ReadFile(file, buffer, size, &read, NULL) && read == size;
}

/* Both layouts of the optional header have the directories at their end; `header` holds either. */
static BOOL has_clr_header(const IMAGE_NT_HEADERS64 *header)
{
    IMAGE_NT_HEADERS32 header32;
    DWORD count = header->OptionalHeader.NumberOfRvaAndSizes;
    DWORD address = header->OptionalHeader.DataDirectory[CLR_HEADER].VirtualAddress;
    if (header->OptionalHeader.Magic == IMAGE_NT_OPTIONAL_HDR32_MAGIC) {
        memcpy(&header32, header, sizeof(header32));
        count = header32.OptionalHeader.NumberOfRvaAndSizes;
        address = header32.OptionalHeader.DataDirectory[CLR_HEADER].VirtualAddress;
    }
    return count > CLR_HEADER && address != 0;
}

static BOOL read_headers(HANDLE file, struct pe_file *result)
{
    IMAGE_DOS_HEADER dos;
    IMAGE_NT_HEADERS64 nt; /* the larger of the two */
    if (!read_at(file, 0, &dos, sizeof(dos)) || dos.e_magic != IMAGE_DOS_SIGNATURE ||
        !read_at(file, dos.e_lfanew, &nt, sizeof(nt)) || nt.Signature != IMAGE_NT_SIGNATURE) {
        return FALSE;
    }
    result->machine = nt.FileHeader.Machine;
    result->managed = has_clr_header(&nt);
    result->program = (nt.FileHeader.Characteristics & IMAGE_FILE_EXECUTABLE_IMAGE) &&
                      !(nt.FileHeader.Characteristics & IMAGE_FILE_DLL);
    return TRUE;
}

BOOL pe_file_read(const WCHAR *path, struct pe_file *result)
{
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        return FALSE;
    }
    BOOL done = read_headers(file, result);
    CloseHandle(file);
    return done;
}

const WCHAR *pe_machine_name(WORD machine)
{
    switch (machine) {
    case IMAGE_FILE_MACHINE_AMD64:
        return L"x64";
    case IMAGE_FILE_MACHINE_I386:
        return L"x86";
    case IMAGE_FILE_MACHINE_ARM64:
        return L"ARM64";
    default:
        return L"another processor";
    }
}

WORD pe_own_machine(void)
{
    const BYTE *base = (const BYTE *)GetModuleHandleW(NULL);
    const IMAGE_DOS_HEADER *dos = (const IMAGE_DOS_HEADER *)base;
    return ((const IMAGE_NT_HEADERS *)(base + dos->e_lfanew))->FileHeader.Machine;
}
