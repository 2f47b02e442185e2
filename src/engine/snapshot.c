/* Packing and unpacking work directories: see snapshot.h. Unpacking never resolves a path: it
 * keeps the folders that lead to the last entry open, and each entry is made by its last name in
 * the folder on top. Since entries must come in order, that is all there is to know. */
#include "engine/snapshot.h"

#include "base/file.h"
#include "base/vec.h"
#include "engine/snapshot_entry.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 * 1024, END_BLOCKS = 2 };

struct snapshot_limits snapshot_default_limits(void)
{
    return (struct snapshot_limits){.bytes = UINT64_C(1) << 30, .entries = 100000};
}

/* ---- Packing ----------------------------------------------------------------------------- */

struct packer {
    int fd;
    const struct snapshot_limits *limits;
    uint64_t bytes;
    uint64_t entries;
    crypto_hash_sha256_state hash;
    struct snapshot_entry entry; /* the one at hand; its path is the walk's */
    struct error *err;
};

static int pack_bytes(struct packer *packer, const char *bytes, size_t size)
{
    packer->bytes += size;
    if (packer->bytes > packer->limits->bytes)
        return error_set(packer->err, ERR_TOO_LARGE,
            "the work directory is larger than %" PRIu64 " bytes", packer->limits->bytes);
    crypto_hash_sha256_update(&packer->hash, (const unsigned char *)bytes, size);
    return file_write_all(packer->fd, bytes, size, packer->err);
}

static int pack_header(struct packer *packer)
{
    char block[SNAPSHOT_BLOCK];
    if (++packer->entries > packer->limits->entries)
        return error_set(packer->err, ERR_TOO_LARGE,
            "the work directory has more than %" PRIu64 " files", packer->limits->entries);
    if (!snapshot_entry_encode(&packer->entry, block))
        return error_set(packer->err, ERR_INVALID,
            "%s cannot be in a snapshot: its path or the "
            "target of the link is too long or leads outside",
            packer->entry.path);
    return pack_bytes(packer, block, sizeof block);
}

static int pack_content(struct packer *packer, int fd)
{
    static const char zeros[SNAPSHOT_BLOCK];
    char buffer[BUFFER_BYTES];
    uint64_t left = packer->entry.size;
    while (left > 0) {
        ssize_t n = read(fd, buffer, left < sizeof buffer ? (size_t)left : sizeof buffer);
        if (n < 0)
            return error_set_errno(packer->err, "cannot read %s", packer->entry.path);
        if (n == 0)
            return error_set(
                packer->err, ERR_CONFLICT, "%s changed while it was read", packer->entry.path);
        if (pack_bytes(packer, buffer, (size_t)n) < 0)
            return -1;
        left -= (uint64_t)n;
    }
    size_t over = packer->entry.size % SNAPSHOT_BLOCK;
    return over ? pack_bytes(packer, zeros, SNAPSHOT_BLOCK - over) : 0;
}

static int pack_file(struct packer *packer, int folder, const char *name)
{
    struct stat st;
    SCOPED(fd_scope) int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(packer->err, "cannot open %s", packer->entry.path);
    if (!S_ISREG(st.st_mode))
        return error_set(
            packer->err, ERR_CONFLICT, "%s changed while it was read", packer->entry.path);
    packer->entry.type = SNAPSHOT_FILE;
    packer->entry.size = (uint64_t)st.st_size;
    packer->entry.executable = st.st_mode & S_IXUSR;
    return pack_header(packer) < 0 ? -1 : pack_content(packer, fd);
}

static int pack_link(struct packer *packer, int folder, const char *name)
{
    struct snapshot_entry *entry = &packer->entry;
    char target[SNAPSHOT_TARGET_MAX + 2];
    ssize_t n = readlinkat(folder, name, target, sizeof target);
    if (n < 0)
        return error_set_errno(packer->err, "cannot read the link %s", entry->path);
    if (n > SNAPSHOT_TARGET_MAX)
        return error_set(packer->err, ERR_INVALID,
            "the target of the link %s has more than %d "
            "bytes",
            entry->path, SNAPSHOT_TARGET_MAX);
    memset(entry->target, 0, sizeof entry->target);
    memcpy(entry->target, target, (size_t)n);
    entry->type = SNAPSHOT_LINK;
    return pack_header(packer);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
    VEC(char *) list;
};

static void names_finish(struct names *names)
{
    for (size_t i = 0; i < names->list.count; i++)
        free(names->list.items[i]);
    vec_free(&names->list);
}

static int list_folder(struct packer *packer, int fd, struct names *names)
{
    DIR *folder = fdopendir(dup(fd));
    if (!folder)
        return error_set_errno(packer->err, "cannot read the folder %s", packer->entry.path);
    rewinddir(folder);
    const struct dirent *entry;
    while ((entry = readdir(folder)) && names->list.count <= packer->limits->entries) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, ".git") != 0)
            vec_push(&names->list, mem_strdup(name));
    }
    closedir(folder);
    if (names->list.count > 0)
        qsort(names->list.items, names->list.count, sizeof names->list.items[0], compare_names);
    return 0;
}

static int pack_folder(struct packer *packer, int fd, size_t path_length);

static int pack_subfolder(struct packer *packer, int folder, const char *name, size_t path_length)
{
    packer->entry.type = SNAPSHOT_FOLDER;
    if (pack_header(packer) < 0)
        return -1;
    SCOPED(fd_scope) int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(packer->err, "cannot open the folder %s", packer->entry.path);
    return pack_folder(packer, fd, path_length);
}

static int pack_one(struct packer *packer, int folder, const char *name, size_t path_length)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(packer->err, "cannot stat %s", packer->entry.path);
    if (S_ISDIR(st.st_mode))
        return pack_subfolder(packer, folder, name, path_length);
    if (S_ISLNK(st.st_mode))
        return pack_link(packer, folder, name);
    if (S_ISREG(st.st_mode))
        return pack_file(packer, folder, name);
    return error_set(packer->err, ERR_INVALID, "%s is neither a file, a folder nor a symbolic link",
        packer->entry.path);
}

/* Packs what is in the folder whose path is the first path_length bytes of the entry's. It calls
 * itself through pack_subfolder, as deep as an entry's path may be. */
static int pack_folder(struct packer *packer, int fd, size_t path_length)
{
    SCOPED(names_finish) struct names names = {0};
    if (list_folder(packer, fd, &names) < 0)
        return -1;
    for (size_t i = 0; i < names.list.count; i++) {
        char *path = packer->entry.path;
        const char *name = names.list.items[i];
        size_t length = path_length + (path_length > 0) + strlen(name);
        if (length > SNAPSHOT_PATH_MAX)
            return error_set(packer->err, ERR_INVALID, "the path %.*s/%s has more than %d bytes",
                (int)path_length, path, name, SNAPSHOT_PATH_MAX);
        snprintf(path + path_length, sizeof packer->entry.path - path_length, "%s%s",
            path_length ? "/" : "", name);
        if (pack_one(packer, fd, name, length) < 0)
            return -1;
    }
    return 0;
}

int snapshot_pack(int folder_fd, int out_fd, const struct snapshot_limits *limits,
    char ret_digest[65], struct error *err)
{
    static const char end[END_BLOCKS * SNAPSHOT_BLOCK];
    struct packer packer = {.fd = out_fd, .limits = limits, .err = err};
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&packer.hash);
    if (pack_folder(&packer, folder_fd, 0) < 0 || pack_bytes(&packer, end, sizeof end) < 0)
        return -1;
    crypto_hash_sha256_final(&packer.hash, digest);
    sodium_bin2hex(ret_digest, 65, digest, sizeof digest);
    return 0;
}

/* ---- Reading ----------------------------------------------------------------------------- */

struct unpacker {
    int fd;
    bool write; /* make the files, or only check */
    const struct snapshot_limits *limits;
    uint64_t bytes;
    uint64_t entries;
    crypto_hash_sha256_state hash;
    int folders[SNAPSHOT_DEPTH_MAX + 1]; /* open, from the top down; -1 when only checking */
    char parent[SNAPSHOT_PATH_MAX + 1];  /* path of the last of them, "" for the top */
    size_t depth;
    struct snapshot_entry last; /* its path is "" before the first */
    struct error *err;
};

static int refuse(struct unpacker *unpacker, const char *why)
{
    return error_set(
        unpacker->err, ERR_INVALID, "not a snapshot: entry %" PRIu64 " %s", unpacker->entries, why);
}

/* Reads exactly size bytes. */
static int take_bytes(struct unpacker *unpacker, char *to, size_t size)
{
    unpacker->bytes += size;
    if (unpacker->bytes > unpacker->limits->bytes)
        return error_set(unpacker->err, ERR_TOO_LARGE,
            "the snapshot is larger than %" PRIu64 " bytes", unpacker->limits->bytes);
    for (size_t got = 0; got < size;) {
        ssize_t n = read(unpacker->fd, to + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(unpacker->err, "cannot read the snapshot");
        if (n == 0)
            return refuse(unpacker, "is cut off");
        got += (size_t)n;
    }
    crypto_hash_sha256_update(&unpacker->hash, (const unsigned char *)to, size);
    return 0;
}

static bool all_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

/* The order of a walk: by components, so a slash comes before every other byte. */
static int compare_paths(const char *a, const char *b)
{
    for (; *a && *a == *b; a++)
        b++;
    int left = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
    int right = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;
    return left - right;
}

static void leave_folder(struct unpacker *unpacker)
{
    assert(unpacker->depth > 0);
    fd_scope(&unpacker->folders[unpacker->depth--]);
    char *slash = strrchr(unpacker->parent, '/');
    *(slash ? slash : unpacker->parent) = '\0';
}

/* Makes the folder of `path` the innermost one. Gives the last name of the path. */
static int find_parent(struct unpacker *unpacker, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    while (unpacker->depth > 0 &&
           (strlen(unpacker->parent) != length || strncmp(unpacker->parent, path, length) != 0))
        leave_folder(unpacker);
    if (strlen(unpacker->parent) != length)
        return refuse(unpacker, "is in a folder that is not there");
    *ret_name = slash ? slash + 1 : path;
    return 0;
}

static int enter_folder(struct unpacker *unpacker, const char *name)
{
    const char *path = unpacker->last.path;
    int parent = unpacker->folders[unpacker->depth], fd = -1;
    if (unpacker->depth == SNAPSHOT_DEPTH_MAX)
        return refuse(unpacker, "is too deep");
    if (unpacker->write) {
        if (mkdirat(parent, name, 0755) < 0)
            return error_set_errno(unpacker->err, "cannot make the folder %s", path);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_set_errno(unpacker->err, "cannot open the folder %s", path);
    }
    unpacker->folders[++unpacker->depth] = fd;
    memcpy(unpacker->parent, path, strlen(path) + 1);
    return 0;
}

/* Copies the content; fd is -1 when only checking. */
static int take_content(struct unpacker *unpacker, int fd)
{
    char buffer[BUFFER_BYTES];
    uint64_t size = unpacker->last.size,
             padding = (SNAPSHOT_BLOCK - size % SNAPSHOT_BLOCK) % SNAPSHOT_BLOCK;
    for (uint64_t left = size; left > 0;) {
        size_t part = left < sizeof buffer ? (size_t)left : sizeof buffer;
        if (take_bytes(unpacker, buffer, part) < 0)
            return -1;
        if (fd >= 0 && file_write_all(fd, buffer, part, unpacker->err) < 0)
            return error_prefix(unpacker->err, "%s", unpacker->last.path);
        left -= part;
    }
    if (take_bytes(unpacker, buffer, padding) < 0)
        return -1;
    return all_zero(buffer, padding) ? 0 : refuse(unpacker, "has padding that is not zero");
}

static int take_file(struct unpacker *unpacker, const char *name)
{
    SCOPED(fd_scope) int fd = -1;
    if (unpacker->write) {
        fd = openat(unpacker->folders[unpacker->depth], name,
            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return error_set_errno(unpacker->err, "cannot make %s", unpacker->last.path);
    }
    if (take_content(unpacker, fd) < 0)
        return -1;
    if (fd >= 0 && fchmod(fd, unpacker->last.executable ? 0755 : 0644) < 0)
        return error_set_errno(unpacker->err, "cannot set the mode of %s", unpacker->last.path);
    return 0;
}

static int take_link(struct unpacker *unpacker, const char *name)
{
    int folder = unpacker->folders[unpacker->depth];
    if (unpacker->write && symlinkat(unpacker->last.target, folder, name) < 0)
        return error_set_errno(unpacker->err, "cannot make the link %s", unpacker->last.path);
    return 0;
}

static int take_entry(struct unpacker *unpacker, const char *block)
{
    struct snapshot_entry entry;
    const char *name = NULL;
    if (++unpacker->entries > unpacker->limits->entries)
        return error_set(unpacker->err, ERR_TOO_LARGE,
            "the snapshot has more than %" PRIu64 " entries", unpacker->limits->entries);
    if (!snapshot_entry_decode(block, &entry))
        return refuse(unpacker, "has a header that is not canonical or leads outside");
    if (compare_paths(unpacker->last.path, entry.path) >= 0)
        return refuse(unpacker, "is out of order");
    unpacker->last = entry;
    if (find_parent(unpacker, unpacker->last.path, &name) < 0)
        return -1;
    if (entry.type == SNAPSHOT_FOLDER)
        return enter_folder(unpacker, name);
    return entry.type == SNAPSHOT_FILE ? take_file(unpacker, name) : take_link(unpacker, name);
}

/* The second block of zeros, and then nothing. */
static int take_end(struct unpacker *unpacker)
{
    char block[SNAPSHOT_BLOCK];
    if (take_bytes(unpacker, block, sizeof block) < 0)
        return -1;
    if (!all_zero(block, sizeof block) || read(unpacker->fd, block, 1) != 0)
        return refuse(unpacker, "is followed by something else");
    return 0;
}

static int take_all(struct unpacker *unpacker)
{
    char block[SNAPSHOT_BLOCK];
    int result = 0;
    crypto_hash_sha256_init(&unpacker->hash);
    if (lseek(unpacker->fd, 0, SEEK_SET) < 0 && errno != ESPIPE)
        return error_set_errno(unpacker->err, "cannot read the snapshot");
    for (;;) {
        result = take_bytes(unpacker, block, sizeof block);
        if (result < 0 || all_zero(block, sizeof block))
            break;
        result = take_entry(unpacker, block);
        if (result < 0)
            break;
    }
    while (unpacker->depth > 0)
        leave_folder(unpacker);
    return result < 0 ? -1 : take_end(unpacker);
}

int snapshot_unpack(int fd, int folder_fd, const struct snapshot_limits *limits, struct error *err)
{
    struct unpacker unpacker = {
        .fd = fd, .write = true, .limits = limits, .folders = {folder_fd}, .err = err};
    return take_all(&unpacker);
}

int snapshot_verify(
    int fd, const struct snapshot_limits *limits, char ret_digest[65], struct error *err)
{
    struct unpacker unpacker = {.fd = fd, .limits = limits, .folders = {-1}, .err = err};
    unsigned char digest[crypto_hash_sha256_BYTES];
    if (take_all(&unpacker) < 0)
        return -1;
    crypto_hash_sha256_final(&unpacker.hash, digest);
    sodium_bin2hex(ret_digest, 65, digest, sizeof digest);
    return 0;
}
