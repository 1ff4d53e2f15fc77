/* SPDX-License-Identifier: MIT
 *
 * Text and paths for the host: messages to stderr, strings made to measure, and a writer for
 * reports. Strings made here are never freed: there are a few dozen, and the process is short.
 */
#ifndef RUN_TEXT_H
#define RUN_TEXT_H

#include <windows.h>

/* printf for UTF-16; %ls is a string. Ends the process with exit code 2 without memory. */
WCHAR *text_format(const WCHAR *format, ...);
char *text_utf8(const WCHAR *text);

/* `argument` as a command line has it: in quotes if it needs them, and before a quote every backslash
 * twice. */
const WCHAR *text_quoted(const WCHAR *argument);

BOOL path_exists(const WCHAR *path);
WCHAR *path_full(const WCHAR *path);
WCHAR *path_folder(const WCHAR *path);     /* without the last part and its backslash */
const WCHAR *path_name(const WCHAR *path); /* the last part */
WCHAR *path_with_extension(const WCHAR *path, const WCHAR *extension); /* extension: L".x" */

/* One line on stderr, "hostmem-run: " before it. Returns EXIT_CODE_USAGE, to be returned. */
#define EXIT_CODE_USAGE 2
int text_fail(const WCHAR *format, ...);

/* Writes UTF-8 to a file or a console through a buffer. It uses no C runtime: a report may be
 * written while the process ends, when the C runtime has ended already. */
struct text_writer {
    HANDLE file;
    size_t used;
    char buffer[4096];
};

void text_write(struct text_writer *writer, const char *text);
void text_write_wide(struct text_writer *writer, const WCHAR *text);
void text_write_number(struct text_writer *writer, UINT64 number);
void text_write_hex(struct text_writer *writer, UINT64 number, int digits);
/* Right-aligned in `width` columns, with commas between the thousands. */
void text_write_count(struct text_writer *writer, UINT64 number, int width);
/* Left-aligned. */
void text_write_padded(struct text_writer *writer, const char *text, int width);
void text_flush(struct text_writer *writer);

#endif
