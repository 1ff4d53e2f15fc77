/* SPDX-License-Identifier: MIT
 *
 * Structures of the public interface that may get more fields at the end. The first field, Size, is
 * the caller's: how long the structure was in the header that it was compiled with.
 *
 *     shorter than ours   of no version that there ever was: refused
 *     longer              of a later version. Given to us, it is accepted when all that we do not know
 *                         is 0, which means "as before"; filled by us, that part is 0.
 *     above 4 KiB         a Size that was never set: refused, before anything else is looked at
 *
 * So far each structure has had one version. One that grows needs the size of its first as well.
 */
#ifndef HOSTMEM_CORE_VERSIONED_H
#define HOSTMEM_CORE_VERSIONED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VERSIONED_MOST 4096

static inline uint32_t versioned_size(const void *structure)
{
    uint32_t size;
    memcpy(&size, structure, sizeof(size));
    return size;
}

static inline bool versioned_size_valid(const void *structure, size_t known)
{
    uint32_t size = versioned_size(structure);
    return size >= known && size <= VERSIONED_MOST;
}

/* Take over what we know of `given`, `known` bytes, with their number for a Size. False: refused. */
static inline bool versioned_read(void *result, size_t known, const void *given)
{
    const unsigned char *bytes = given;
    if (!versioned_size_valid(given, known)) {
        return false;
    }
    for (size_t i = known; i < versioned_size(given); i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    const uint32_t size = (uint32_t)known;
    memcpy(result, given, known);
    memcpy(result, &size, sizeof(size));
    return true;
}

/* Fill in *given, but its Size, from the `known` bytes of `source`. False: refused, and unchanged. */
static inline bool versioned_write(void *given, size_t known, const void *source)
{
    const size_t skip = sizeof(uint32_t);
    unsigned char *bytes = given;
    if (!versioned_size_valid(given, known)) {
        return false;
    }
    memcpy(bytes + skip, (const unsigned char *)source + skip, known - skip);
    memset(bytes + known, 0, versioned_size(given) - known);
    return true;
}

#endif
