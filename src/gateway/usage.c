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
    RECENT = 256,
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
    uint16_t recent[RECENT]; /* the same numbers; 0: none */
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

/* Where a text ends in its room: before the character that does not fit. */
static size_t cut_length(const char *text, size_t room)
{
    size_t length = strnlen(text, room);
    if (length < room)
        return length;
    length = room - 1;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

/* A series as it is asked for: the caller's texts, as far as they go into a record. */
struct texts {
    const char *text[4];
    size_t length[4];
    int64_t version;
    uint64_t replica;
};

enum { TEXTS_BYTES = 2 * USAGE_NAME + USAGE_TEAM + USAGE_LABELS };

static struct texts texts_of(const struct usage_series *series)
{
    return (struct texts){{series->service, series->key, series->team, series->labels},
        {cut_length(series->service, USAGE_NAME), cut_length(series->key, USAGE_NAME),
            cut_length(series->team, USAGE_TEAM), cut_length(series->labels, USAGE_LABELS)},
        series->version, series->replica};
}

static bool is_text(const char *stored, const struct texts *texts, size_t i)
{
    return memcmp(stored, texts->text[i], texts->length[i]) == 0 && !stored[texts->length[i]];
}

static bool is_series(const struct usage_series *stored, const struct texts *texts)
{
    return stored->version == texts->version && stored->replica == texts->replica &&
           is_text(stored->service, texts, 0) && is_text(stored->key, texts, 1) &&
           is_text(stored->team, texts, 2) && is_text(stored->labels, texts, 3);
}

/* Of the names as far as they go, with their ends, which tell where one stops. */
static uint64_t hash_of(const struct usage_file *file, const struct texts *texts)
{
    unsigned char bytes[crypto_shorthash_BYTES], joined[TEXTS_BYTES + 16];
    size_t length = 0;
    uint64_t hash;
    for (size_t i = 0; i < ARRAY_LEN(texts->text); i++) {
        memcpy(joined + length, texts->text[i], texts->length[i]);
        length += texts->length[i];
        joined[length++] = 0;
    }
    memcpy(joined + length, &texts->version, sizeof texts->version);
    length += sizeof texts->version;
    memcpy(joined + length, &texts->replica, sizeof texts->replica);
    length += sizeof texts->replica;
    crypto_shorthash(bytes, joined, length, file->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return hash;
}

/* The one that was asked for last of those that share a place: nearly always the same again, which
 * saves the hash. */
static uint16_t *recent_of(struct usage_file *file, const struct texts *texts)
{
    return &file->recent[(texts->replica ^ (uint64_t)texts->version << 3 ^
                             (uint64_t)(unsigned char)texts->text[1][0] << 5) %
                         RECENT];
}

static uint16_t *slot_of(struct usage_file *file, const struct texts *texts)
{
    for (size_t i = hash_of(file, texts) % SLOTS;; i = (i + 1) % SLOTS) {
        uint16_t *slot = &file->slots[i];
        if (*slot == 0 || is_series(&file->map->records[*slot - 1].series, texts))
            return slot;
    }
}

/* The record is zeros. */
static void copy_series(struct usage_series *series, const struct texts *texts)
{
    char *const to[] = {series->service, series->key, series->team, series->labels};
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        memcpy(to[i], texts->text[i], texts->length[i]);
    series->version = texts->version;
    series->replica = texts->replica;
}

/* NULL when fewer than `kept` records would be left. */
static struct usage_counts *find_or_add(
    struct usage_file *file, const struct texts *texts, size_t kept)
{
    uint16_t *recent = recent_of(file, texts);
    if (*recent != 0 && is_series(&file->map->records[*recent - 1].series, texts))
        return &file->map->records[*recent - 1].counts;
    uint16_t *slot = slot_of(file, texts);
    if (*slot == 0) {
        if (file->count + kept >= USAGE_SERIES_MAX || !allocate_to(file, file->count + 1))
            return NULL;
        struct usage_record *record = &file->map->records[file->count];
        copy_series(&record->series, texts);
        __atomic_store_n(&record->state, USAGE_PUBLISHED, __ATOMIC_RELEASE);
        *slot = (uint16_t)++file->count;
    }
    *recent = *slot;
    return &file->map->records[*slot - 1].counts;
}

static struct usage_counts *overflow_of(struct usage_file *file, const char *service, size_t length)
{
    struct texts texts = {{service, "", "", ""}, {length, 0, 0, 0}, USAGE_OVERFLOW_VERSION, 0};
    struct usage_counts *counts = find_or_add(file, &texts, 0);
    if (counts)
        return counts;
    texts.text[0] = OTHER;
    texts.length[0] = strlen(OTHER);
    counts = find_or_add(file, &texts, 0);
    assert(counts);
    return counts;
}

struct usage_counts *usage_counts_of(struct usage_file *file, const struct usage_series *series)
{
    const struct texts texts = texts_of(series);
    struct usage_counts *counts = find_or_add(file, &texts, OVERFLOW);
    return counts ? counts : overflow_of(file, texts.text[0], texts.length[0]);
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
    header->header_bytes = sizeof *header;
    header->series_bytes = sizeof(struct usage_series);
    header->counters = USAGE_COUNTERS;
    /* Made now, while there is space: it takes what a full device leaves no room for. */
    overflow_of(file, OTHER, strlen(OTHER));
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
