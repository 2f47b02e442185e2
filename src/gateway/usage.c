/* Writing usage: see usage.h.
 *
 * The whole of the file's largest size is mapped at once, and space on the device is allocated for
 * the records in steps before one is touched: a page that cannot be backed would end the process
 * with SIGBUS. The file appears under its name only once it is complete and locked, so that a
 * reader never takes a young file for one whose gateway is gone. */
#include "gateway/usage.h"

#include "base/memory.h"
#include "gateway/usage_format.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    STEP = 64,                    /* records whose space is allocated together */
    OVERFLOW = 256,               /* the last records are kept for what does not fit */
    SLOTS = USAGE_SERIES_MAX * 2, /* a power of two: half empty at worst */
};

#define OTHER "other"

struct usage_file {
    struct usage_map *map;
    size_t count;     /* of records published */
    size_t allocated; /* of records with space on the device */
    int fd;           /* holds the lock */
    /* Open addressing over record numbers plus one, keyed so that names cannot aim for collisions.
     */
    uint16_t slots[SLOTS];
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
};

_Static_assert(USAGE_SERIES_MAX < UINT16_MAX, "a slot holds a record number");

static size_t bytes_of(size_t records)
{
    return offsetof(struct usage_map, records) + records * sizeof(struct usage_record);
}

/* Asked again for each new series: a device that was full may have space later. */
static bool allocate_to(struct usage_file *file, size_t records)
{
    while (file->allocated < records) {
        size_t next = file->allocated + STEP;
        next = next > USAGE_SERIES_MAX ? USAGE_SERIES_MAX : next;
        if (posix_fallocate(file->fd, 0, (off_t)bytes_of(next)) != 0)
            return false;
        file->allocated = next;
    }
    return true;
}

static int file_open(struct usage_file *file, const char *path, struct error *err)
{
    file->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file->fd < 0)
        return error_set_errno(err, "cannot create %s", path);
    if (flock(file->fd, LOCK_EX | LOCK_NB) < 0)
        return error_set_errno(err, "cannot lock %s", path);
    int rc = posix_fallocate(file->fd, 0, (off_t)bytes_of(STEP));
    if (rc != 0) {
        errno = rc;
        return error_set_errno(err, "cannot take space for %s", path);
    }
    file->allocated = STEP;
    file->map = mmap(NULL, sizeof *file->map, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->map == MAP_FAILED) {
        file->map = NULL;
        return error_set_errno(err, "cannot map %s", path);
    }
    return 0;
}

/* ---- series --------------------------------------------------------------------------------- */

/* Cut before the character that does not fit. */
static void copy_name(char out[USAGE_NAME], const char *text)
{
    size_t length = strnlen(text, USAGE_NAME);
    if (length >= USAGE_NAME) {
        length = USAGE_NAME - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    memset(out, 0, USAGE_NAME);
    memcpy(out, text, length);
}

static uint16_t *slot_of(struct usage_file *file, const struct usage_series *series)
{
    /* Of the names as far as they go, with their ends, which tell where one stops: most of the
     * struct is empty. */
    unsigned char bytes[crypto_shorthash_BYTES], text[sizeof *series];
    uint64_t hash;
    size_t service = strlen(series->service) + 1, key = strlen(series->key) + 1, length = 0;
    memcpy(text, series->service, service);
    memcpy(text + service, series->key, key);
    length = service + key;
    memcpy(text + length, &series->version, sizeof series->version);
    length += sizeof series->version;
    memcpy(text + length, &series->replica, sizeof series->replica);
    length += sizeof series->replica;
    crypto_shorthash(bytes, text, length, file->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    for (size_t i = hash % SLOTS;; i = (i + 1) % SLOTS) {
        uint16_t *slot = &file->slots[i];
        if (*slot == 0 || !memcmp(&file->map->records[*slot - 1].series, series, sizeof *series))
            return slot;
    }
}

/* NULL when fewer than `kept` records would be left. */
static struct usage_counts *find_or_add(
    struct usage_file *file, const struct usage_series *series, size_t kept)
{
    uint16_t *slot = slot_of(file, series);
    if (*slot == 0) {
        if (file->count + kept >= USAGE_SERIES_MAX || !allocate_to(file, file->count + 1))
            return NULL;
        struct usage_record *record = &file->map->records[file->count];
        record->series = *series;
        __atomic_store_n(&record->state, USAGE_PUBLISHED, __ATOMIC_RELEASE);
        *slot = (uint16_t)++file->count;
    }
    return &file->map->records[*slot - 1].counts;
}

static struct usage_counts *overflow_of(struct usage_file *file, const char *service)
{
    struct usage_series series;
    memset(&series, 0, sizeof series);
    series.version = USAGE_OVERFLOW_VERSION;
    copy_name(series.service, service);
    struct usage_counts *counts = find_or_add(file, &series, 0);
    if (counts)
        return counts;
    copy_name(series.service, OTHER);
    counts = find_or_add(file, &series, 0);
    assert(counts);
    return counts;
}

struct usage_counts *usage_counts_of(struct usage_file *file, const struct usage_series *series)
{
    /* Rebuilt field by field: what lies behind a text's end takes part in the comparison. */
    struct usage_series key;
    memset(&key, 0, sizeof key);
    copy_name(key.service, series->service);
    copy_name(key.key, series->key);
    key.version = series->version;
    key.replica = series->replica;
    struct usage_counts *counts = find_or_add(file, &key, OVERFLOW);
    return counts ? counts : overflow_of(file, key.service);
}

/* ---- the file ------------------------------------------------------------------------------- */

int usage_file_create(const char *folder, const char *incarnation, int worker,
    struct usage_file **ret, struct error *err)
{
    char hidden[4096], path[4096];
    assert(strlen(incarnation) > 0 && strlen(incarnation) <= 40 && worker >= 0);
    snprintf(hidden, sizeof hidden, "%s/.%s-%d", folder, incarnation, worker);
    snprintf(path, sizeof path, "%s/%s-%d", folder, incarnation, worker);
    struct usage_file *file = mem_alloc(1, sizeof *file);
    randombytes_buf(file->hash_key, sizeof file->hash_key);
    if (file_open(file, hidden, err) < 0) {
        if (file->fd >= 0)
            unlink(hidden);
        usage_file_close(file);
        return -1;
    }
    struct usage_header *header = &file->map->header;
    memcpy(header->magic, USAGE_MAGIC, sizeof header->magic);
    header->record_bytes = sizeof(struct usage_record);
    header->series_max = USAGE_SERIES_MAX;
    header->worker = (uint64_t)worker;
    memcpy(header->incarnation, incarnation, strlen(incarnation));
    /* Made now, while there is space: it takes what a full device leaves no room for. */
    overflow_of(file, OTHER);
    if (rename(hidden, path) < 0) {
        error_set_errno(err, "cannot rename %s", hidden);
        unlink(hidden);
        usage_file_close(file);
        return -1;
    }
    *ret = file;
    return 0;
}

void usage_file_close(struct usage_file *file)
{
    if (!file)
        return;
    if (file->map)
        munmap(file->map, sizeof *file->map);
    fd_scope(&file->fd);
    free(file);
}
