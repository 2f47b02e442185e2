/* The registry: opening it, and chunks one by one. See registry.h. */
#include "registry/registry.h"

#include "base/clock.h"
#include "base/file.h"
#include "registry/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_root(struct registry *registry, const char *data_dir, struct error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/registry", data_dir);
    int done = file_make_dirs(path.text, 0711, err);
    if (done == 0) {
        registry->root_fd = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (registry->root_fd < 0)
            done = error_set_errno(err, "cannot open %s", path.text);
    }
    strbuf_finish(&path);
    return done;
}

int registry_open(const char *data_dir, struct registry **ret, struct error *err)
{
    struct registry *registry = mem_alloc(1, sizeof *registry);
    registry->root_fd = registry->cache_fd = -1;
    pthread_mutex_init(&registry->uploads_lock, NULL);
    pthread_mutex_init(&registry->cache_lock, NULL);
    pthread_cond_init(&registry->cache_filled, NULL);
    objects_init(&registry->objects);
    if (open_root(registry, data_dir, err) < 0 ||
        objects_open(&registry->objects, registry->root_fd, err) < 0 ||
        cache_open(registry, data_dir, err) < 0) {
        registry_close(registry);
        return -1;
    }
    *ret = registry;
    return 0;
}

void registry_close(struct registry *registry)
{
    if (!registry)
        return;
    assert(!registry->uploads && registry->filling.count == 0);
    cache_close(registry);
    objects_close(&registry->objects);
    fd_scope(&registry->root_fd);
    pthread_mutex_destroy(&registry->uploads_lock);
    pthread_mutex_destroy(&registry->cache_lock);
    pthread_cond_destroy(&registry->cache_filled);
    free(registry);
}

void upload_begin(struct registry *registry, struct upload *upload)
{
    upload->since_ms = clock_wall_ms();
    pthread_mutex_lock(&registry->uploads_lock);
    upload->next = registry->uploads;
    registry->uploads = upload;
    pthread_mutex_unlock(&registry->uploads_lock);
}

void upload_end(struct registry *registry, struct upload *upload)
{
    pthread_mutex_lock(&registry->uploads_lock);
    struct upload **at = &registry->uploads;
    while (*at != upload)
        at = &(*at)->next;
    *at = upload->next;
    pthread_mutex_unlock(&registry->uploads_lock);
}

void chunk_buffers_init(struct chunk_buffers *buffers)
{
    buffers->codec = codec_create();
    buffers->stored = mem_alloc(OBJECT_STORED_MAX, 1);
    buffers->raw = mem_alloc(CHUNK_MAX, 1);
}

void chunk_buffers_finish(struct chunk_buffers *buffers)
{
    codec_destroy(buffers->codec);
    free(buffers->stored);
    free(buffers->raw);
    *buffers = (struct chunk_buffers){0};
}

int parse_digest(const char *text, struct digest *ret, struct error *err)
{
    if (digest_parse_text(text, ret))
        return 0;
    return error_set(
        err, ERR_INVALID, "\"%.80s\" is not a SHA-256 as 64 lower-case hex digits", text);
}

/* ---- chunks -------------------------------------------------------------------------------- */

int registry_missing(struct registry *registry, const char *team, const char (*digests)[65],
    size_t count, bool *ret_missing, struct error *err)
{
    struct digest digest;
    bool held;
    if (objects_check_team(team, err) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (parse_digest(digests[i], &digest, err) < 0 ||
            object_hold(&registry->objects, team, OBJECT_CHUNK, &digest, HOLD_OWN, &held, err) < 0)
            return -1;
        ret_missing[i] = !held;
    }
    return 0;
}

size_t registry_pack_chunk(const void *raw, size_t size, void *out, char ret_digest[65])
{
    SCOPED(codec_scope) struct codec *codec = codec_create();
    struct digest digest = sha_of(codec_sha(codec), raw, size);
    assert(size > 0 && size <= CHUNK_MAX);
    digest_hex(&digest, ret_digest);
    return codec_pack(codec, raw, size, out);
}

/* Unpacks into raw, which has CHUNK_MAX bytes. */
static int unpack(struct codec *codec, const void *stored, size_t size, const struct digest *digest,
    void *raw, size_t *ret_size, struct error *err)
{
    size_t length;
    if (codec_length(stored, size, CHUNK_MAX, &length, err) < 0 ||
        codec_unpack(codec, stored, size, digest, raw, length, err) < 0)
        return -1;
    *ret_size = length;
    return 0;
}

int registry_unpack_chunk(const void *stored, size_t size, const char *digest, void *raw,
    size_t *ret_size, struct error *err)
{
    struct digest wanted;
    if (parse_digest(digest, &wanted, err) < 0)
        return -1;
    SCOPED(codec_scope) struct codec *codec = codec_create();
    if (unpack(codec, stored, size, &wanted, raw, ret_size, err) < 0)
        return error_prefix(err, "chunk %s", digest);
    return 0;
}

static int keep_chunk(struct registry *registry, const char *team, const struct digest *digest,
    const void *stored, size_t size, size_t raw_size, struct error *err)
{
    struct batch batch;
    batch_init(&batch, &registry->objects, team);
    int done = batch_add(&batch, OBJECT_CHUNK, digest, stored, size, raw_size, err);
    if (done == 0)
        done = batch_flush(&batch, err);
    batch_finish(&batch);
    return done;
}

/* The bytes are checked also when the object is there: who does not have them must not come to hold
 * it. */
int registry_put_chunk(struct registry *registry, const char *team, const char *digest,
    const void *stored, size_t size, struct error *err)
{
    struct digest wanted;
    size_t raw_size;
    bool held;
    if (objects_check_team(team, err) < 0 || parse_digest(digest, &wanted, err) < 0)
        return -1;
    if (size > OBJECT_STORED_MAX)
        return error_set(err, ERR_TOO_LARGE, "a chunk takes at most %d bytes", OBJECT_STORED_MAX);
    SCOPED(mem_scope) void *raw = mem_alloc(CHUNK_MAX, 1);
    if (registry_unpack_chunk(stored, size, digest, raw, &raw_size, err) < 0 ||
        object_hold(&registry->objects, team, OBJECT_CHUNK, &wanted, HOLD_TAKE, &held, err) < 0)
        return -1;
    return held ? 0 : keep_chunk(registry, team, &wanted, stored, size, raw_size, err);
}

int registry_get_chunk(struct registry *registry, const char *team, const char *digest,
    void **ret_stored, size_t *ret_size, struct error *err)
{
    struct digest wanted;
    struct chunk_buffers buffers;
    size_t size, raw_size;
    if (objects_check_team(team, err) < 0 || parse_digest(digest, &wanted, err) < 0)
        return -1;
    chunk_buffers_init(&buffers);
    int done = object_read(&registry->objects, team, OBJECT_CHUNK, &wanted, buffers.stored,
        OBJECT_STORED_MAX, &size, err);
    if (done == 0 &&
        unpack(buffers.codec, buffers.stored, size, &wanted, buffers.raw, &raw_size, err) < 0) {
        if (err)
            err->code = ERR_CORRUPT;
        done = error_prefix(err, "chunk %s was changed on the disk", digest);
    }
    if (done == 0) {
        *ret_stored = mem_resize(buffers.stored, size, 1);
        *ret_size = size;
        buffers.stored = NULL;
    }
    chunk_buffers_finish(&buffers);
    return done;
}
