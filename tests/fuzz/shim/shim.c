/* SPDX-License-Identifier: MIT
 *
 * See windows.h. And src/run/text.h: strings are made in one buffer, which every input uses anew.
 */
#include "shim.h"

#include "run/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

static const uint8_t *content;
static size_t content_size, position;

static wchar_t strings[1 << 18];
static size_t strings_used;
static int messages, open_handles;

static const wchar_t *const *folders;
static size_t folder_count, next_folder;

void shim_set_file(const uint8_t *data, size_t size)
{
    content = data;
    content_size = size;
}

void shim_reset(void)
{
    strings_used = 0;
    messages = open_handles = 0;
    folder_count = 0;
}

void shim_set_folders(const wchar_t *const *names, size_t count)
{
    folders = names;
    folder_count = count;
}

int shim_open_handles(void)
{
    return open_handles;
}

int shim_messages(void)
{
    return messages;
}

wchar_t *shim_string(size_t length)
{
    wchar_t *string = strings + strings_used;
    if (length >= sizeof(strings) / sizeof(strings[0]) - strings_used) {
        abort(); /* no input is that long */
    }
    strings_used += length + 1;
    return string;
}

/* ---- windows.h ---- */

HANDLE CreateFileW(const WCHAR *path, DWORD access, DWORD share, void *security, DWORD how,
                   DWORD flags, HANDLE template)
{
    (void)path, (void)access, (void)share, (void)security, (void)how, (void)flags, (void)template;
    position = 0;
    open_handles++;
    return (HANDLE)&content;
}

BOOL ReadFile(HANDLE file, void *buffer, DWORD size, DWORD *read, void *overlapped)
{
    (void)file, (void)overlapped;
    size_t left = position < content_size ? content_size - position : 0;
    *read = size < left ? size : (DWORD)left;
    memcpy(buffer, content + (*read > 0 ? position : 0), *read);
    position += *read;
    return TRUE;
}

DWORD SetFilePointer(HANDLE file, LONG offset, LONG *high, DWORD from)
{
    (void)file, (void)high, (void)from;
    if (offset < 0) {
        return INVALID_SET_FILE_POINTER;
    }
    position = (size_t)offset;
    return (DWORD)offset;
}

BOOL CloseHandle(HANDLE handle)
{
    open_handles -= handle == (HANDLE)&content;
    return TRUE;
}

HANDLE GetStdHandle(DWORD which)
{
    (void)which;
    return NULL;
}

BOOL FindNextFileW(HANDLE search, WIN32_FIND_DATAW *found)
{
    (void)search;
    if (next_folder == folder_count) {
        return FALSE;
    }
    wcsncpy(found->cFileName, folders[next_folder++],
            sizeof(found->cFileName) / sizeof(found->cFileName[0]));
    return TRUE;
}

HANDLE FindFirstFileW(const WCHAR *pattern, WIN32_FIND_DATAW *found)
{
    (void)pattern;
    next_folder = 0;
    if (!FindNextFileW(NULL, found)) {
        return INVALID_HANDLE_VALUE;
    }
    open_handles++;
    return (HANDLE)&folders;
}

BOOL FindClose(HANDLE search)
{
    open_handles -= search == (HANDLE)&folders;
    return TRUE;
}

HMODULE GetModuleHandleW(const WCHAR *name)
{
    (void)name;
    return NULL;
}

HANDLE GetCurrentProcess(void)
{
    return INVALID_HANDLE_VALUE;
}

BOOL IsWow64Process(HANDLE process, BOOL *is)
{
    (void)process;
    *is = FALSE;
    return TRUE;
}

const WCHAR *_wgetenv(const WCHAR *name)
{
    (void)name;
    return NULL;
}

int _wcsicmp(const WCHAR *a, const WCHAR *b)
{
    while (*a != 0 && towlower((wint_t)*a) == towlower((wint_t)*b)) {
        a++;
        b++;
    }
    return (int)towlower((wint_t)*a) - (int)towlower((wint_t)*b);
}

BOOL GetModuleHandleExW(DWORD flags, const WCHAR *name, HMODULE *module)
{
    (void)flags, (void)name;
    *module = NULL;
    return FALSE;
}

void *InterlockedExchangePointer(void *volatile *target, void *value)
{
    void *before = *target;
    *target = value;
    return before;
}

/* ---- run/text.h ---- */

static WCHAR *format_arguments(const WCHAR *format, va_list arguments)
{
    static wchar_t buffer[1 << 17];
    int length = vswprintf(buffer, sizeof(buffer) / sizeof(buffer[0]), format, arguments);
    if (length < 0) {
        length = 0;
        buffer[0] = 0;
    }
    WCHAR *text = shim_string((size_t)length);
    wmemcpy(text, buffer, (size_t)length + 1);
    return text;
}

WCHAR *text_format(const WCHAR *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    WCHAR *text = format_arguments(format, arguments);
    va_end(arguments);
    return text;
}

int text_fail(const WCHAR *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    format_arguments(format, arguments);
    va_end(arguments);
    messages++;
    return EXIT_CODE_USAGE;
}

char *text_utf8(const WCHAR *text)
{
    (void)text;
    return (char *)shim_string(0); /* what it is for, no input has */
}

BOOL path_exists(const WCHAR *path)
{
    return wcschr(path, L'?') == NULL;
}

WCHAR *path_full(const WCHAR *path)
{
    return text_format(wcsncmp(path, L"C:\\", 3) == 0 ? L"%ls" : L"C:\\%ls", path);
}

const WCHAR *path_name(const WCHAR *path)
{
    const WCHAR *last = wcsrchr(path, L'\\');
    return last != NULL ? last + 1 : path;
}

WCHAR *path_with_extension(const WCHAR *path, const WCHAR *extension)
{
    return text_format(L"%ls%ls", path, extension);
}

void text_write(struct text_writer *writer, const char *text)
{
    (void)writer, (void)text;
}

void text_flush(struct text_writer *writer)
{
    (void)writer;
}
