/* SPDX-License-Identifier: MIT
 *
 * Reads the headers of a program or DLL and says what a careful user would not want in it:
 *
 *     pe_check FILE [--def FILE] [--imports NAME,NAME…] [--version X.Y.Z] [--vtables]
 *
 *   always      can be moved by ASLR (DYNAMIC_BASE, and relocations to do it with), x64 over the
 *               whole address space (HIGH_ENTROPY_VA, LARGE_ADDRESS_AWARE, a base above 4 GiB); DEP
 *               (NX_COMPAT); no section that is both writable and executable
 *   --def       the exported names are those of the .def file, no more and no less
 *   --imports   nothing is imported from any other DLL
 *   --version   the version resource says X.Y.Z, as numbers and as text
 *   --vtables   every symbol called …_vtbl lies in a section that cannot be written
 *
 * One line for each fault, and exit code 1. It runs on the build machine, so that it needs no Wine
 * and reads x86 files as well. Offsets are those of the PE/COFF specification.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h> /* strncasecmp */

enum {
    FILE_RELOCS_STRIPPED = 0x0001,
    FILE_LARGE_ADDRESS_AWARE = 0x0020,
    DLL_HIGH_ENTROPY_VA = 0x0020,
    DLL_DYNAMIC_BASE = 0x0040,
    DLL_NX_COMPAT = 0x0100,
    DIRECTORY_EXPORT = 0,
    DIRECTORY_IMPORT = 1,
    DIRECTORY_RESOURCE = 2,
    DIRECTORY_RELOCATION = 5,
    DIRECTORY_DELAY_IMPORT = 13,
    RESOURCE_VERSION = 16,
    MAX_NAMES = 64
};
#define SECTION_EXECUTE 0x20000000u
#define SECTION_WRITE 0x80000000u

static struct {
    const char *path;
    unsigned char *bytes;
    size_t size;
    size_t coff;     /* offset of the COFF header */
    size_t optional; /* of the optional header */
    size_t sections; /* of the section headers */
    bool is64;
} image;

static int faults;

static void fault(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("%s: ", image.path);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    faults++;
}

static _Noreturn void give_up(const char *why)
{
    printf("%s: %s\n", image.path, why);
    exit(2);
}

/* ---- reading ---- */

static unsigned char *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    long length = -1;
    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (length = ftell(file)) < 0) {
        give_up("cannot be read");
    }
    unsigned char *bytes = malloc((size_t)length + 1);
    rewind(file);
    if (bytes == NULL || fread(bytes, 1, (size_t)length, file) != (size_t)length) {
        give_up("cannot be read");
    }
    fclose(file);
    bytes[length] = 0; /* so that every name in it ends */
    *size = (size_t)length;
    return bytes;
}

static uint64_t number_at(size_t offset, size_t bytes)
{
    uint64_t value = 0;
    if (offset > image.size || bytes > image.size - offset) {
        give_up("ends in the middle");
    }
    for (size_t i = bytes; i-- > 0;) {
        value = value << 8 | image.bytes[offset + i];
    }
    return value;
}

static uint16_t u16(size_t offset)
{
    return (uint16_t)number_at(offset, 2);
}
static uint32_t u32(size_t offset)
{
    return (uint32_t)number_at(offset, 4);
}

static const char *text_at(size_t offset)
{
    (void)number_at(offset, 1);
    return (const char *)image.bytes + offset;
}

static size_t section_count(void)
{
    return u16(image.coff + 2);
}
static size_t section_at(size_t index)
{
    return image.sections + index * 40;
}
static uint32_t section_flags(size_t index)
{
    return u32(section_at(index) + 36);
}

/* Where in the file the byte is that is loaded at `rva`. */
static size_t offset_of(uint32_t rva)
{
    for (size_t i = 0; i < section_count(); i++) {
        uint32_t at = u32(section_at(i) + 12), raw_size = u32(section_at(i) + 16);
        if (rva >= at && rva - at < raw_size) {
            return u32(section_at(i) + 20) + (rva - at);
        }
    }
    give_up("has an address outside of its sections");
}

/* False: the file has no such directory. */
static bool directory(unsigned index, uint32_t *rva, uint32_t *size)
{
    size_t count_at = image.optional + (image.is64 ? 108 : 92);
    if (index >= u32(count_at)) {
        return false;
    }
    *rva = u32(count_at + 4 + index * 8);
    *size = u32(count_at + 8 + index * 8);
    return *rva != 0 && *size != 0;
}

static void open_image(const char *path)
{
    image.path = path;
    image.bytes = read_whole(path, &image.size);
    if (image.size < 64 || u16(0) != 0x5a4d) {
        give_up("is no program");
    }
    size_t pe = u32(0x3c);
    if (u32(pe) != 0x4550) {
        give_up("is no program");
    }
    image.coff = pe + 4;
    image.optional = image.coff + 20;
    image.sections = image.optional + u16(image.coff + 16);
    image.is64 = u16(image.optional) == 0x20b;
}

/* ---- the checks ---- */

static void check_flags(void)
{
    uint16_t file = u16(image.coff + 18), dll = u16(image.optional + 70);
    if ((dll & DLL_DYNAMIC_BASE) == 0) {
        fault("not DYNAMIC_BASE: always loaded at the same address");
    }
    if ((dll & DLL_NX_COMPAT) == 0) {
        fault("not NX_COMPAT: data can be executed");
    }
    if (!image.is64 || (dll & DLL_DYNAMIC_BASE) == 0) {
        return;
    }
    if ((dll & DLL_HIGH_ENTROPY_VA) == 0 || (file & FILE_LARGE_ADDRESS_AWARE) == 0) {
        fault("not HIGH_ENTROPY_VA: loaded in a small part of the address space");
    }
    uint64_t base = number_at(image.optional + 24, 8);
    if (base >> 32 == 0) {
        fault("its base %#" PRIx64 " is below 4 GiB: loaded in a small part of the address space",
              base);
    }
}

static void check_sections(void)
{
    for (size_t i = 0; i < section_count(); i++) {
        uint32_t flags = section_flags(i);
        if ((flags & SECTION_WRITE) != 0 && (flags & SECTION_EXECUTE) != 0) {
            fault("section %.8s is writable and executable", text_at(section_at(i)));
        }
    }
}

/* DYNAMIC_BASE moves nothing that has no relocations. Code and data always need some. */
static void check_relocations(void)
{
    uint32_t rva, size;
    size_t entries = 0;
    if (directory(DIRECTORY_RELOCATION, &rva, &size)) {
        size_t at = offset_of(rva), end = at + size;
        while (at + 8 <= end && u32(at + 4) >= 8) {
            for (size_t entry = at + 8; entry < at + u32(at + 4); entry += 2) {
                entries += u16(entry) >> 12 != 0; /* 0 is padding */
            }
            at += u32(at + 4);
        }
    }
    if (entries == 0 || (u16(image.coff + 18) & FILE_RELOCS_STRIPPED) != 0) {
        fault("no relocations: cannot be moved");
    }
}

/* `allowed`: names with commas between them. DLL names have no case. */
static bool is_allowed(const char *name, const char *allowed)
{
    while (*allowed != '\0') {
        size_t length = strcspn(allowed, ",");
        if (strlen(name) == length && strncasecmp(name, allowed, length) == 0) {
            return true;
        }
        allowed += length + (allowed[length] == ',');
    }
    return false;
}

static void check_imports(const char *allowed)
{
    uint32_t rva, size;
    size_t count = 0;
    if (directory(DIRECTORY_DELAY_IMPORT, &rva, &size)) {
        fault("imports with a delay, which nobody has looked at");
    }
    if (directory(DIRECTORY_IMPORT, &rva, &size)) {
        for (size_t at = offset_of(rva); u32(at + 12) != 0; at += 20, count++) {
            const char *name = text_at(offset_of(u32(at + 12)));
            if (!is_allowed(name, allowed)) {
                fault("imports from %s", name);
            }
        }
    }
    if (count == 0) {
        fault("imports from no DLL at all");
    }
}

/* The names below EXPORTS. */
static size_t read_def(const char *path, char names[MAX_NAMES][MAX_NAMES])
{
    char line[256];
    size_t count = 0;
    bool exports = false;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        give_up("the .def file cannot be read");
    }
    while (fgets(line, sizeof(line), file) != NULL && count < MAX_NAMES) {
        if (strncmp(line, "EXPORTS", 7) == 0) {
            exports = true;
        } else if (exports && sscanf(line, " %63[A-Za-z0-9_]", names[count]) == 1) {
            count++;
        }
    }
    fclose(file);
    return count;
}

static void check_exports(const char *def)
{
    static char wanted[MAX_NAMES][MAX_NAMES];
    bool found[MAX_NAMES] = {false};
    size_t count = read_def(def, wanted);
    uint32_t rva, size, names = 0;
    size_t at = 0;
    if (directory(DIRECTORY_EXPORT, &rva, &size)) {
        at = offset_of(rva);
        names = u32(at + 24);
        if (u32(at + 20) != names) {
            fault("exports %" PRIu32 " functions under %" PRIu32 " names", u32(at + 20), names);
        }
    }
    for (uint32_t i = 0; i < names; i++) {
        const char *name = text_at(offset_of(u32(offset_of(u32(at + 32)) + i * 4)));
        bool known = false;
        for (size_t j = 0; j < count; j++) {
            if (strcmp(name, wanted[j]) == 0) {
                known = found[j] = true;
            }
        }
        if (!known) {
            fault("exports %s, which is not in the .def file", name);
        }
    }
    for (size_t j = 0; j < count; j++) {
        if (!found[j]) {
            fault("does not export %s", wanted[j]);
        }
    }
    if (count == 0) {
        fault("the .def file names no export");
    }
}

/* The only language of the only resource of a type, as an offset in the file; 0: there is none. */
static size_t resource(unsigned type, uint32_t *size)
{
    uint32_t rva, directory_size;
    if (!directory(DIRECTORY_RESOURCE, &rva, &directory_size)) {
        return 0;
    }
    size_t root = offset_of(rva), at = root;
    for (int level = 0; level < 3; level++) {
        uint32_t entries = (uint32_t)u16(at + 12) + u16(at + 14), i = 0;
        while (level == 0 && i < entries && u32(at + 16 + i * 8) != type) {
            i++;
        }
        if (i == entries) {
            return 0;
        }
        at = root + (u32(at + 16 + i * 8 + 4) & 0x7fffffff);
    }
    *size = u32(at + 4);
    return offset_of(u32(at));
}

/* Whether [at, at + size) has the UTF-16 string `text` with its end, and where it goes on. */
static size_t find_wide(size_t at, uint32_t size, const char *text)
{
    size_t length = strlen(text) + 1;
    for (size_t end = at + size; at + 2 * length <= end; at += 2) {
        size_t i = 0;
        while (i < length && u16(at + 2 * i) == (unsigned char)text[i]) {
            i++;
        }
        if (i == length) {
            return at + 2 * length;
        }
    }
    return 0;
}

static void check_version(const char *version)
{
    unsigned major = 0, minor = 0, patch = 0;
    uint32_t size = 0;
    size_t at = resource(RESOURCE_VERSION, &size);
    if (at == 0) {
        fault("no version resource");
        return;
    }
    if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3) {
        give_up("--version wants X.Y.Z");
    }
    /* VS_FIXEDFILEINFO stands behind the key VS_VERSION_INFO, aligned to 4 bytes. */
    size_t fixed = at + 40;
    if (size < 92 || u32(fixed) != 0xfeef04bd) {
        fault("the version resource has no numbers");
        return;
    }
    for (size_t field = 8; field <= 16; field += 8) { /* of the file, of the product */
        if (u32(fixed + field) != (major << 16 | minor) || u32(fixed + field + 4) != patch << 16) {
            fault("its version is %u.%u.%u, not %s", u16(fixed + field + 2), u16(fixed + field),
                  u16(fixed + field + 6), version);
        }
    }
    static const char *const keys[] = {"FileVersion", "ProductVersion"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t value = find_wide(at, size, keys[i]);
        if (value != 0 && (value - at) % 4 != 0) {
            value += 2;
        }
        if (value == 0 || find_wide(value, (uint32_t)(2 * strlen(version) + 2), version) == 0) {
            fault("%s is not the text %s", keys[i], version);
        }
    }
}

/* From the symbols, so of a file that was not stripped. */
static void check_vtables(void)
{
    static const char suffix[] = "_vtbl";
    size_t symbols = u32(image.coff + 8), count = u32(image.coff + 12), found = 0;
    size_t strings = symbols + count * 18;
    for (size_t i = 0; i < count; i++) {
        size_t at = symbols + i * 18;
        char short_name[9] = {0};
        const char *name = short_name;
        if (u32(at) == 0) {
            name = text_at(strings + u32(at + 4));
        } else {
            memcpy(short_name, text_at(at), 8);
        }
        size_t length = strlen(name), section = u16(at + 12);
        i += image.bytes[at + 17]; /* auxiliary records */
        /* A reference to a vtable (.refptr.…) is none. */
        if (name[0] == '.' || length < strlen(suffix) ||
            strcmp(name + length - strlen(suffix), suffix) != 0 || section == 0 ||
            section > section_count()) {
            continue;
        }
        found++;
        if ((section_flags(section - 1) & SECTION_WRITE) != 0) {
            fault("%s lies in section %.8s, which is writable", name,
                  text_at(section_at(section - 1)));
        }
    }
    if (found == 0) {
        fault("no vtable found");
    }
}

int main(int argc, char **argv)
{
    const char *def = NULL, *imports = NULL, *version = NULL;
    bool vtables = false;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--vtables") == 0) {
            vtables = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--def") == 0) {
            def = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--imports") == 0) {
            imports = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--version") == 0) {
            version = argv[++i];
        } else {
            fprintf(stderr, "pe_check: what is %s?\n", argv[i]);
            return 2;
        }
    }
    if (argc < 2) {
        fprintf(stderr, "usage: pe_check FILE [--def FILE] [--imports LIST] [--version X.Y.Z] "
                        "[--vtables]\n");
        return 2;
    }
    open_image(argv[1]);
    check_flags();
    check_sections();
    check_relocations();
    if (imports != NULL) {
        check_imports(imports);
    }
    if (def != NULL) {
        check_exports(def);
    }
    if (version != NULL) {
        check_version(version);
    }
    if (vtables) {
        check_vtables();
    }
    if (faults == 0) {
        printf("%s: nothing wrong\n", image.path);
    }
    return faults == 0 ? 0 : 1;
}
