/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static void *allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory) {
        ExitProcess((UINT)text_fail(L"out of memory"));
    }
    return memory;
}

static WCHAR *format_arguments(const WCHAR *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = _vscwprintf(format, again);
    va_end(again);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    WCHAR *text = allocate(size * sizeof(WCHAR));
    _vsnwprintf(text, size, format, arguments);
    text[size - 1] = 0;
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

char *text_utf8(const WCHAR *text)
{
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *utf8 = allocate((size_t)size + 1);
    WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, size, NULL, NULL);
    return utf8;
}

int text_fail(const WCHAR *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct text_writer writer = {.file = GetStdHandle(STD_ERROR_HANDLE)};
    text_write(&writer, "hostmem-run: ");
    text_write_wide(&writer, format_arguments(format, arguments));
    text_write(&writer, "\n");
    text_flush(&writer);
    va_end(arguments);
    return EXIT_CODE_USAGE;
}

const WCHAR *text_quoted(const WCHAR *argument)
{
    if (*argument && !wcspbrk(argument, L" \t\"")) {
        return argument;
    }
    /* At most each unit is doubled, between two quotes. */
    WCHAR *text = allocate((2 * wcslen(argument) + 3) * sizeof(WCHAR)), *end = text;
    size_t backslashes = 0;
    *end++ = L'"';
    for (;; argument++) {
        /* Backslashes are doubled before a quote, and nowhere else. */
        for (; backslashes > 0 && (!*argument || *argument == L'"'); backslashes--) {
            *end++ = L'\\';
        }
        if (!*argument) {
            break;
        }
        if (*argument == L'"') {
            *end++ = L'\\';
        }
        backslashes = *argument == L'\\' ? backslashes + 1 : 0;
        *end++ = *argument;
    }
    *end++ = L'"';
    *end = 0;
    return text;
}

/* ---- Paths ---- */

BOOL path_exists(const WCHAR *path)
{
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

WCHAR *path_full(const WCHAR *path)
{
    DWORD size = GetFullPathNameW(path, 0, NULL, NULL);
    WCHAR *full = allocate(((size_t)size + 1) * sizeof(WCHAR));
    full[0] = 0;
    GetFullPathNameW(path, size, full, NULL);
    size_t length = wcslen(full);
    if (length > 3 && full[length - 1] == L'\\') {
        full[length - 1] = 0;
    }
    return full;
}

const WCHAR *path_name(const WCHAR *path)
{
    const WCHAR *slash = wcsrchr(path, L'\\');
    return slash ? slash + 1 : path;
}

WCHAR *path_folder(const WCHAR *path)
{
    const WCHAR *name = path_name(path);
    return text_format(L"%.*ls", name > path ? (int)(name - path) - 1 : 0, path);
}

WCHAR *path_with_extension(const WCHAR *path, const WCHAR *extension)
{
    const WCHAR *dot = wcsrchr(path_name(path), L'.');
    return text_format(L"%.*ls%ls", dot ? (int)(dot - path) : (int)wcslen(path), path, extension);
}

/* ---- The writer ---- */

void text_flush(struct text_writer *writer)
{
    size_t done = 0;
    while (done < writer->used) {
        DWORD written;
        if (!WriteFile(writer->file, writer->buffer + done, (DWORD)(writer->used - done), &written,
                       NULL) ||
            written == 0) {
            break; /* closed pipe, full disk: nothing to tell it to */
        }
        done += written;
    }
    writer->used = 0;
}

static void write_byte(struct text_writer *writer, char byte)
{
    if (writer->used == sizeof(writer->buffer)) {
        text_flush(writer);
    }
    writer->buffer[writer->used++] = byte;
}

void text_write(struct text_writer *writer, const char *text)
{
    while (*text) {
        write_byte(writer, *text++);
    }
}

void text_write_wide(struct text_writer *writer, const WCHAR *text)
{
    while (*text) {
        int units = (text[0] & 0xfc00) == 0xd800 && (text[1] & 0xfc00) == 0xdc00 ? 2 : 1;
        char utf8[4];
        int size = WideCharToMultiByte(CP_UTF8, 0, text, units, utf8, sizeof(utf8), NULL, NULL);
        for (int i = 0; i < size; i++) {
            write_byte(writer, utf8[i]);
        }
        text += units;
    }
}

/* Writes the digits so that they end at `end`, and returns where they start. 26 characters hold
 * the largest number with its commas. */
static char *digits(char *end, UINT64 number, BOOL commas)
{
    int count = 0;
    do {
        if (commas && count > 0 && count % 3 == 0) {
            *--end = ',';
        }
        *--end = (char)('0' + number % 10);
        number /= 10;
        count++;
    } while (number);
    return end;
}

void text_write_number(struct text_writer *writer, UINT64 number)
{
    char text[27] = {0};
    text_write(writer, digits(text + 26, number, FALSE));
}

void text_write_count(struct text_writer *writer, UINT64 number, int width)
{
    char text[27] = {0};
    char *start = digits(text + 26, number, TRUE);
    for (int i = (int)(text + 26 - start); i < width; i++) {
        write_byte(writer, ' ');
    }
    text_write(writer, start);
}

void text_write_hex(struct text_writer *writer, UINT64 number, int count)
{
    text_write(writer, "0x");
    while (count-- > 0) {
        write_byte(writer, "0123456789abcdef"[number >> (4 * count) & 15]);
    }
}

void text_write_padded(struct text_writer *writer, const char *text, int width)
{
    text_write(writer, text);
    for (int i = (int)strlen(text); i < width; i++) {
        write_byte(writer, ' ');
    }
}
