/* Fetching versions: see artifact.h. The tree says which chunks make each file; what of a file is
 * there already is read and compared, the rest comes chunk by chunk, each checked by its digest. A
 * file grows under a name of its own and gets its name when its SHA-256 is right. */
#include "base/file.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/api.h"
#include "cli/artifact.h"
#include "cli/view.h"
#include "registry/registry.h"
#include "registry/tree.h"
#include "wire/url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_TRIES = 120, BUSY_PAUSE_MS = 500 };

struct pull {
    struct cli *cli;
    struct api *api;
    const char *team;
    struct tree tree;
    int folder;
    char *raw;  /* CHUNK_MAX */
    char *have; /* CHUNK_MAX */
    struct sha *whole, *one;
    int64_t fetched, kept;
};

static int fetch_chunk(
    struct pull *pull, const struct tree_chunk *chunk, size_t *ret_size, struct error *err)
{
    char hex[65], *packed = NULL;
    size_t length = 0;
    struct strbuf target = {0};
    digest_hex(&chunk->digest, hex);
    strbuf_printf(&target, "/v1/artifacts/chunks/%s", hex);
    url_add_query(&target, "team", pull->team);
    int rc = -1;
    for (int i = 0; rc < 0 && i < BUSY_TRIES; i++) {
        rc = api_fetch(pull->api, target.text, OBJECT_STORED_MAX, &packed, &length, err);
        if (rc < 0 && err->code != ERR_BUSY)
            break;
        if (rc < 0)
            cli_pause(BUSY_PAUSE_MS);
    }
    strbuf_finish(&target);
    if (rc < 0)
        return -1;
    rc = registry_unpack_chunk(packed, length, hex, pull->raw, ret_size, err);
    free(packed);
    if (rc == 0 && *ret_size != chunk->size)
        rc = error_set(err, ERR_CORRUPT, "the chunk %s is not as long as the tree says", hex);
    return rc;
}

/* Opens (makes) the folder that a path is in; *ret_name is what is left of the path. No symbolic
 * link is followed: the version decides about names, not about where they lead. */
static int open_parent(int folder, const char *path, const char **ret_name, struct error *err)
{
    int at = fcntl(folder, F_DUPFD_CLOEXEC, 0);
    for (const char *slash; at >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        char part[ARTIFACT_PATH_MAX + 1];
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        if (mkdirat(at, part, 0777) < 0 && errno != EEXIST) {
            error_set_errno(err, "cannot make the folder %s", part);
            close(at);
            return -1;
        }
        int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            error_set_errno(err, "cannot enter the folder %s", part);
        close(at);
        at = next;
        if (at < 0)
            return -1;
    }
    *ret_name = path;
    return at < 0 ? error_set_errno(err, "cannot open the folder") : at;
}

static ssize_t read_some(int fd, char *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, out + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)done;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* How many of the file's chunks an open file begins with; pull->whole has hashed
 * them. */
static size_t count_there(
    struct pull *pull, const struct tree_entry *file, int fd, int64_t *ret_bytes)
{
    size_t count = 0;
    *ret_bytes = 0;
    sha_start(pull->whole);
    for (; count < file->count; count++) {
        const struct tree_chunk *chunk = &pull->tree.chunks.items[file->first + count];
        if (read_some(fd, pull->have, chunk->size) != (ssize_t)chunk->size)
            break;
        struct digest digest = sha_of(pull->one, pull->have, chunk->size);
        if (memcmp(digest.bytes, chunk->digest.bytes, sizeof digest.bytes) != 0)
            break;
        sha_add(pull->whole, pull->have, chunk->size);
        *ret_bytes += chunk->size;
    }
    return count;
}

/* Whether the file is there already, every byte of it. */
static bool is_there(struct pull *pull, const struct tree_entry *file, int parent, const char *name)
{
    struct stat st;
    int64_t bytes;
    SCOPED(fd_scope) int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size != file->size)
        return false;
    return count_there(pull, file, fd, &bytes) == file->count;
}

static int fill_part(
    struct pull *pull, const struct tree_entry *file, int fd, const char *part, struct error *err)
{
    int64_t there;
    size_t done = count_there(pull, file, fd, &there);
    pull->kept += there;
    if (ftruncate(fd, there) < 0 || lseek(fd, there, SEEK_SET) < 0)
        return error_set_errno(err, "cannot go on with %s", part);
    for (; done < file->count; done++) {
        size_t size;
        if (fetch_chunk(pull, &pull->tree.chunks.items[file->first + done], &size, err) < 0 ||
            file_write_all(fd, pull->raw, size, err) < 0)
            return -1;
        sha_add(pull->whole, pull->raw, size);
        pull->fetched += (int64_t)size;
    }
    struct digest digest = sha_end(pull->whole);
    if (memcmp(digest.bytes, file->digest.bytes, sizeof digest.bytes) != 0)
        return error_set(err, ERR_CORRUPT, "%s is not what the version says", file->path);
    return fsync(fd) < 0 ? error_set_errno(err, "cannot keep %s", part) : 0;
}

static int pull_file(struct pull *pull, const struct tree_entry *file, struct error *err)
{
    const char *name;
    char hex[65], part[96];
    SCOPED(fd_scope) int parent = open_parent(pull->folder, file->path, &name, err);
    if (parent < 0)
        return error_prefix(err, "%s", file->path);
    if (is_there(pull, file, parent, name)) {
        pull->kept += file->size;
        return 0;
    }
    /* Named by what it will be, so that no other version's part is taken for it. */
    digest_hex(&file->digest, hex);
    snprintf(part, sizeof part, ".muster-part-%.32s", hex);
    SCOPED(fd_scope)
    int fd = openat(parent, part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0)
        return error_set_errno(err, "cannot make a file for %s", file->path);
    if (fill_part(pull, file, fd, part, err) < 0)
        return -1;
    if (renameat(parent, part, parent, name) < 0)
        return error_set_errno(err, "cannot give %s its name", file->path);
    return 0;
}

static int read_tree(struct pull *pull, enum kind kind, const struct reference *reference,
    const char *digest, struct error *err)
{
    struct strbuf target = {0};
    char *text = NULL, hex[80];
    size_t size = 0;
    artifact_append_version(&target, kind, reference, "/tree");
    int rc = api_fetch(pull->api, target.text, TREE_BYTES_MAX, &text, &size, err);
    strbuf_finish(&target);
    if (rc == 0)
        rc = tree_parse(text, size, &pull->tree, err);
    free(text);
    if (rc < 0)
        return -1;
    struct digest whole = tree_artifact_digest(&pull->tree);
    snprintf(hex, sizeof hex, "sha256:");
    digest_hex(&whole, hex + 7);
    if (!digest || strcmp(hex, digest) != 0)
        return error_set(err, ERR_CORRUPT, "the server's list of files is not that of %s",
            digest ? digest : "the version");
    return 0;
}

static int pull_files(struct pull *pull, struct error *err)
{
    for (size_t i = 0; i < pull->tree.files.count; i++) {
        if (cli_interrupted())
            return error_set(err, ERR_UNAVAILABLE, "interrupted; the same call goes on");
        if (pull_file(pull, &pull->tree.files.items[i], err) < 0)
            return -1;
    }
    return 0;
}

int artifact_pull_folder(struct cli *cli, enum kind kind, const struct reference *reference,
    const char *folder, const struct doc **ret_version, struct error *err)
{
    struct strbuf target = {0};
    const struct doc *version = NULL;
    char got[QUANTITY_TEXT], had[QUANTITY_TEXT];
    struct pull pull = {.cli = cli, .api = cli_api(cli, err), .team = reference->team};
    artifact_append_version(&target, kind, reference, "");
    int rc = pull.api ? api_get(pull.api, cli->arena, target.text, &version, err) : -1;
    strbuf_finish(&target);
    if (rc < 0)
        return -1;
    /* From here on exactly this version, whatever is newest meanwhile. */
    struct reference exact = *reference;
    exact.which = REFERENCE_VERSION;
    exact.version = doc_get_int(version, "version", 0);
    if (file_make_dirs(folder, 0777, err) < 0)
        return -1;
    pull.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (pull.folder < 0)
        return error_set_errno(err, "cannot open the folder %s", folder);
    pull.raw = mem_alloc(CHUNK_MAX, 1);
    pull.have = mem_alloc(CHUNK_MAX, 1);
    pull.whole = sha_create();
    pull.one = sha_create();
    if (read_tree(&pull, kind, &exact, doc_get_string(version, "digest"), err) < 0 ||
        pull_files(&pull, err) < 0)
        rc = -1;
    if (rc == 0)
        cli_note(cli, "%s fetched, %s were there", quantity_human_bytes(pull.fetched, got),
            quantity_human_bytes(pull.kept, had));
    tree_finish(&pull.tree);
    free(pull.raw);
    free(pull.have);
    sha_destroy(pull.whole);
    sha_destroy(pull.one);
    close(pull.folder);
    *ret_version = version;
    return rc;
}
