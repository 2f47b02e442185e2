/* Headers of snapshots: see snapshot_entry.h. A header is read by taking its fields, writing the
 * header that such an entry has, and comparing all 512 bytes: so there is one form of each entry
 * and nothing hides in unused fields. */
#include "engine/snapshot_entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 100, PREFIX_SIZE = 155 };

struct ustar {
    char name[NAME_SIZE];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char target[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char device_major[8];
    char device_minor[8];
    char prefix[PREFIX_SIZE];
    char padding[12];
};
_Static_assert(sizeof(struct ustar) == SNAPSHOT_BLOCK, "a header is one block");

#define SIZE_LIMIT (UINT64_C(1) << 33) /* eleven octal digits */

/* Relative, of plain components: none empty, "." or "..", and not too many. */
static bool is_plain_path(const char *path)
{
    size_t depth = 0;
    for (const char *at = path;; at += strcspn(at, "/") + 1) {
        size_t length = strcspn(at, "/");
        if (length == 0 || (length == 1 && at[0] == '.') ||
            (length == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        if (++depth > SNAPSHOT_DEPTH_MAX)
            return false;
        if (at[length] == '\0')
            return true;
    }
}

/* Does the target, seen from the link, stay below the top? */
static bool is_inside(const char *path, const char *target)
{
    long depth = 0;
    if (*target == '\0' || *target == '/')
        return false;
    for (const char *at = path; (at = strchr(at, '/')); at++)
        depth++;
    for (const char *at = target;; at += strcspn(at, "/") + 1) {
        size_t length = strcspn(at, "/");
        if (length == 2 && !memcmp(at, "..", 2))
            depth--;
        else if (length > 0 && !(length == 1 && *at == '.'))
            depth++;
        if (depth < 0)
            return false;
        if (at[length] == '\0')
            return true;
    }
}

/* Splits a path into prefix and name as ustar does, at the last slash that lets both fit. */
static bool split_path(const char *path, struct ustar *header)
{
    size_t length = strlen(path);
    if (length <= NAME_SIZE) {
        memcpy(header->name, path, length);
        return true;
    }
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t head = (size_t)(slash - path), tail = length - head - 1;
        if (head > PREFIX_SIZE)
            return false;
        if (tail > NAME_SIZE)
            continue;
        memcpy(header->prefix, path, head);
        memcpy(header->name, slash + 1, tail);
        return true;
    }
    return false;
}

static void put_octal(char *field, size_t size, uint64_t value)
{
    char text[24];
    int used = snprintf(text, sizeof text, "%0*" PRIo64, (int)size - 1, value);
    assert(used == (int)size - 1);
    (void)used;
    memcpy(field, text, size);
}

static void put_checksum(struct ustar *header)
{
    unsigned sum = 0;
    memset(header->checksum, ' ', sizeof header->checksum);
    for (size_t i = 0; i < sizeof *header; i++)
        sum += ((const unsigned char *)header)[i];
    put_octal(header->checksum, 7, sum);
}

static unsigned mode_of(const struct snapshot_entry *entry)
{
    if (entry->type == SNAPSHOT_LINK)
        return 0777;
    return entry->type == SNAPSHOT_FOLDER || entry->executable ? 0755 : 0644;
}

bool snapshot_entry_encode(const struct snapshot_entry *entry, char block[SNAPSHOT_BLOCK])
{
    struct ustar header = {.type = (char)entry->type};
    char path[SNAPSHOT_PATH_MAX + 2];
    bool link = entry->type == SNAPSHOT_LINK, file = entry->type == SNAPSHOT_FILE;
    if (!is_plain_path(entry->path) || (link && !is_inside(entry->path, entry->target)) ||
        (file && entry->size >= SIZE_LIMIT))
        return false;
    snprintf(path, sizeof path, "%s%s", entry->path, entry->type == SNAPSHOT_FOLDER ? "/" : "");
    if (!split_path(path, &header))
        return false;
    put_octal(header.mode, sizeof header.mode, mode_of(entry));
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, file ? entry->size : 0);
    put_octal(header.mtime, sizeof header.mtime, 0);
    if (link)
        memcpy(header.target, entry->target, strlen(entry->target));
    memcpy(header.magic, "ustar", 6);
    memcpy(header.version, "00", 2);
    put_checksum(&header);
    memcpy(block, &header, sizeof header);
    return true;
}

bool snapshot_entry_decode(const char block[SNAPSHOT_BLOCK], struct snapshot_entry *ret)
{
    struct ustar header;
    struct snapshot_entry entry = {0};
    char again[SNAPSHOT_BLOCK], size[13] = "";
    memcpy(&header, block, sizeof header);
    int used = snprintf(entry.path, sizeof entry.path, "%.*s%s%.*s", PREFIX_SIZE, header.prefix,
        header.prefix[0] ? "/" : "", NAME_SIZE, header.name);
    if (used <= 0 || (size_t)used >= sizeof entry.path)
        return false;
    if (header.type != SNAPSHOT_FILE && header.type != SNAPSHOT_LINK &&
        header.type != SNAPSHOT_FOLDER)
        return false;
    entry.type = (enum snapshot_type)header.type;
    if (entry.type == SNAPSHOT_FOLDER && entry.path[used - 1] == '/')
        entry.path[used - 1] = '\0';
    memcpy(size, header.size, sizeof header.size);
    entry.size = entry.type == SNAPSHOT_FILE ? strtoull(size, NULL, 8) : 0;
    entry.executable = entry.type == SNAPSHOT_FILE && !memcmp(header.mode, "0000755", 7);
    memcpy(entry.target, header.target, sizeof header.target);
    if (!snapshot_entry_encode(&entry, again) || memcmp(again, block, sizeof again) != 0)
        return false;
    *ret = entry;
    return true;
}
