/* SPDX-License-Identifier: MIT
 *
 * The value of --fault: KEY=VALUE, with commas between them. Each key fills one field of
 * HOSTMEM_FAULTS; what is not given is what a user who tests a managed program wants.
 */
#include "options.h"
#include "text.h"

#include <stdint.h>
#include <wchar.h>

struct name {
    const WCHAR *name;
    UINT32 bit;
};

static const struct name levels[] = {{L"task", HOSTMEM_FAULT_TASK},
                                     {L"appdomain", HOSTMEM_FAULT_APP_DOMAIN},
                                     {L"process", HOSTMEM_FAULT_PROCESS},
                                     {NULL, 0}};
static const struct name methods[] = {
    {L"VirtualAlloc", HOSTMEM_FAULT_VIRTUAL_ALLOC}, {L"Alloc", HOSTMEM_FAULT_ALLOC}, {NULL, 0}};

/* Cuts `text` at the first `separator`, and returns what stands behind it or NULL. */
static WCHAR *cut(WCHAR *text, WCHAR separator)
{
    WCHAR *end = wcschr(text, separator);
    if (end) {
        *end++ = 0;
    }
    return end;
}

/* Names with a plus between them, as a mask. */
static BOOL parse_names(WCHAR *text, const struct name *names, UINT32 *mask)
{
    *mask = 0;
    for (WCHAR *rest; text; text = rest) {
        const struct name *name = names;
        rest = cut(text, L'+');
        while (name->name && _wcsicmp(name->name, text) != 0) {
            name++;
        }
        *mask |= name->bit;
        if (!name->name) {
            return FALSE;
        }
    }
    return TRUE;
}

static BOOL parse_rate(WCHAR *text, HOSTMEM_FAULTS *faults)
{
    UINT64 numerator, denominator;
    const WCHAR *behind = cut(text, L'/');
    if (!behind || !options_parse_size(text, &numerator) ||
        !options_parse_size(behind, &denominator) || denominator == 0 || denominator > UINT32_MAX ||
        numerator > denominator) {
        return FALSE;
    }
    faults->RateNumerator = (UINT32)numerator;
    faults->RateDenominator = (UINT32)denominator;
    return TRUE;
}

/* `value` may be changed; `whole` is for the message. */
static int parse_rule(const WCHAR *key, WCHAR *value, HOSTMEM_FAULTS *faults)
{
    const WCHAR *whole = text_format(L"%ls", value);
    const struct {
        const WCHAR *key;
        UINT64 *number;
    } numbers[] = {{L"seed", &faults->Seed},
                   {L"size", &faults->MinimumBytes},
                   {L"skip", &faults->Skip},
                   {L"count", &faults->Count}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (wcscmp(key, numbers[i].key) == 0) {
            return options_parse_size(value, numbers[i].number)
                       ? -1
                       : text_fail(L"--fault %ls=%ls: use a number", key, whole);
        }
    }
    if (wcscmp(key, L"rate") == 0) {
        return parse_rate(value, faults)
                   ? -1
                   : text_fail(L"--fault rate=%ls: use a part of 1 such as 1/1000", whole);
    }
    if (wcscmp(key, L"level") == 0) {
        return parse_names(value, levels, &faults->Levels)
                   ? -1
                   : text_fail(L"--fault level=%ls: use task, appdomain, process, or several with "
                               L"a + between them",
                               whole);
    }
    if (wcscmp(key, L"method") == 0) {
        return parse_names(value, methods, &faults->Methods)
                   ? -1
                   : text_fail(L"--fault method=%ls: use VirtualAlloc, Alloc or VirtualAlloc+Alloc",
                               whole);
    }
    return text_fail(L"--fault %ls: there are rate, seed, level, method, size, skip and count",
                     key);
}

int fault_option_parse(const WCHAR *value, HOSTMEM_FAULTS *faults)
{
    *faults = (HOSTMEM_FAULTS){.Size = sizeof(*faults),
                               .Levels = HOSTMEM_FAULT_TASK,
                               .Methods = HOSTMEM_FAULT_VIRTUAL_ALLOC | HOSTMEM_FAULT_ALLOC,
                               .RateNumerator = 1,
                               .RateDenominator = 1000,
                               .Seed = 1};
    WCHAR *key = text_format(L"%ls", value), *next;
    for (; key; key = next) {
        next = cut(key, L',');
        WCHAR *setting = cut(key, L'=');
        if (!setting || !*setting) {
            return text_fail(L"--fault %ls: write KEY=VALUE, as in seed=1,level=task,rate=1/1000",
                             key);
        }
        int result = parse_rule(key, setting, faults);
        if (result >= 0) {
            return result;
        }
    }
    return -1;
}
