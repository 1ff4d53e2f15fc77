/* SPDX-License-Identifier: MIT
 *
 * As much of <windows.h> as the fuzzed files of src/run and src/clr need, for a native build: the
 * types, the layout of executable files, and a handful of functions over one file in memory, which
 * is the input. WCHAR is the native wide character, so that L"" and the wide functions fit.
 */
#ifndef HOSTMEM_FUZZ_WINDOWS_H
#define HOSTMEM_FUZZ_WINDOWS_H

#include <stddef.h>
#include <stdint.h>
#include <wchar.h>
#include <wctype.h>

typedef int BOOL;
typedef uint8_t BYTE;
typedef uint16_t WORD;
typedef uint32_t DWORD;
typedef int32_t LONG;
typedef int32_t HRESULT;
typedef uint32_t UINT32;
typedef uint64_t UINT64;
typedef uint64_t ULONGLONG;
typedef size_t SIZE_T;
typedef uintptr_t UINT_PTR;
typedef wchar_t WCHAR;
typedef void *HANDLE;
typedef void *HMODULE;

#define TRUE 1
#define FALSE 0
#define S_OK ((HRESULT)0)
#define E_FAIL ((HRESULT)0x80004005)
#define FAILED(hr) ((HRESULT)(hr) < 0)
#define ERROR_NOT_READY 21
#define ERROR_BAD_EXE_FORMAT 193
#define HRESULT_FROM_WIN32(error) ((HRESULT)((error) | 0x80070000u))
#define PAGE_READWRITE 0x04

/* ---- files ---- */

#define INVALID_HANDLE_VALUE ((HANDLE)(intptr_t)-1)
#define GENERIC_READ 0x80000000u
#define FILE_SHARE_READ 1
#define OPEN_EXISTING 3
#define FILE_BEGIN 0
#define INVALID_SET_FILE_POINTER ((DWORD)-1)
#define STD_OUTPUT_HANDLE ((DWORD)-11)
#define MAX_PATH 260

typedef struct {
    WCHAR cFileName[MAX_PATH];
} WIN32_FIND_DATAW;

/* The content of every file that is opened from now on. */
void shim_set_file(const uint8_t *data, size_t size);

HANDLE CreateFileW(const WCHAR *path, DWORD access, DWORD share, void *security, DWORD how,
                   DWORD flags, HANDLE template);
BOOL ReadFile(HANDLE file, void *buffer, DWORD size, DWORD *read, void *overlapped);
DWORD SetFilePointer(HANDLE file, LONG offset, LONG *high, DWORD from);
BOOL CloseHandle(HANDLE handle);
HANDLE GetStdHandle(DWORD which);
HANDLE FindFirstFileW(const WCHAR *pattern, WIN32_FIND_DATAW *found);
BOOL FindNextFileW(HANDLE search, WIN32_FIND_DATAW *found);
BOOL FindClose(HANDLE search);
HMODULE GetModuleHandleW(const WCHAR *name);
HANDLE GetCurrentProcess(void);
BOOL IsWow64Process(HANDLE process, BOOL *is);
const WCHAR *_wgetenv(const WCHAR *name);
int _wcsicmp(const WCHAR *a, const WCHAR *b);

/* ---- modules ---- */

#define GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS 4
#define GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT 2
BOOL GetModuleHandleExW(DWORD flags, const WCHAR *name, HMODULE *module);
void *InterlockedExchangePointer(void *volatile *target, void *value);

/* ---- executable files ---- */

#define IMAGE_DOS_SIGNATURE 0x5A4D
#define IMAGE_NT_SIGNATURE 0x00004550
#define IMAGE_NT_OPTIONAL_HDR32_MAGIC 0x10b
#define IMAGE_NT_OPTIONAL_HDR_MAGIC 0x20b
#define IMAGE_DIRECTORY_ENTRY_IMPORT 1
#define IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT 13
#define IMAGE_DIRECTORY_ENTRY_COM_DESCRIPTOR 14
#define IMAGE_FILE_MACHINE_I386 0x014c
#define IMAGE_FILE_MACHINE_AMD64 0x8664
#define IMAGE_FILE_EXECUTABLE_IMAGE 0x0002
#define IMAGE_FILE_DLL 0x2000
#define IMAGE_FILE_MACHINE_ARM64 0xAA64
#define IMAGE_SNAP_BY_ORDINAL(ordinal) (((ordinal) >> 63) != 0)

typedef struct {
    WORD e_magic;
    WORD unused[29];
    LONG e_lfanew;
} IMAGE_DOS_HEADER;

typedef struct {
    WORD Machine;
    WORD NumberOfSections;
    DWORD unused[3];
    WORD SizeOfOptionalHeader;
    WORD Characteristics;
} IMAGE_FILE_HEADER;

typedef struct {
    DWORD VirtualAddress;
    DWORD Size;
} IMAGE_DATA_DIRECTORY;

typedef struct {
    WORD Magic;
    WORD unused[27];
    DWORD SizeOfImage;
    DWORD rest[12];
    DWORD NumberOfRvaAndSizes; /* 108 */
    IMAGE_DATA_DIRECTORY DataDirectory[16];
} IMAGE_OPTIONAL_HEADER64, IMAGE_OPTIONAL_HEADER;

typedef struct {
    WORD Magic;
    WORD unused[27];
    DWORD SizeOfImage;
    DWORD rest[8];
    DWORD NumberOfRvaAndSizes; /* 92 */
    IMAGE_DATA_DIRECTORY DataDirectory[16];
} IMAGE_OPTIONAL_HEADER32;

typedef struct {
    DWORD Signature;
    IMAGE_FILE_HEADER FileHeader;
    IMAGE_OPTIONAL_HEADER64 OptionalHeader;
} IMAGE_NT_HEADERS64, IMAGE_NT_HEADERS;

typedef struct {
    DWORD Signature;
    IMAGE_FILE_HEADER FileHeader;
    IMAGE_OPTIONAL_HEADER32 OptionalHeader;
} IMAGE_NT_HEADERS32;

typedef struct {
    union {
        ULONGLONG AddressOfData;
        ULONGLONG Ordinal;
    } u1;
} IMAGE_THUNK_DATA;

typedef struct {
    WORD Hint;
    char Name[1];
} IMAGE_IMPORT_BY_NAME;

typedef struct {
    DWORD OriginalFirstThunk;
    DWORD unused[2];
    DWORD Name;
    DWORD FirstThunk;
} IMAGE_IMPORT_DESCRIPTOR;

typedef struct {
    union {
        struct {
            DWORD RvaBased : 1;
            DWORD ReservedAttributes : 31;
        };
    } Attributes;
    DWORD DllNameRVA;
    DWORD ModuleHandleRVA;
    DWORD ImportAddressTableRVA;
    DWORD ImportNameTableRVA;
    DWORD unused[3];
} IMAGE_DELAYLOAD_DESCRIPTOR;

_Static_assert(sizeof(IMAGE_DOS_HEADER) == 64, "as in winnt.h");
_Static_assert(sizeof(IMAGE_NT_HEADERS64) == 264 && sizeof(IMAGE_NT_HEADERS32) == 248, "as there");
_Static_assert(offsetof(IMAGE_OPTIONAL_HEADER64, SizeOfImage) == 56, "as there");
_Static_assert(sizeof(IMAGE_IMPORT_DESCRIPTOR) == 20, "as there");
_Static_assert(sizeof(IMAGE_DELAYLOAD_DESCRIPTOR) == 32, "as there");

#endif
