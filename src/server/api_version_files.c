/* GET /v1/models/{model}/versions/{version}/files/{path...}: one file of a version.
 *
 * The long way of a large file is walked in steps: a piece is read and checked on the artifacts'
 * thread, written on the loop, and the next is read when the client has taken it. Until the first
 * piece was checked nothing is answered, so that what is wrong then is a problem document; later
 * all that can be done is to cut the connection. */
#include "base/log.h"
#include "registry/registry.h"
#include "server/api_versions.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file_stream {
    struct call *call;
    struct server *server;
    struct http_request *request; /* NULL: the client is gone */
    struct identity identity;
    char *team;
    char *tree;
    char *path;
    char *name; /* of the version, for the log */
    int64_t offset;
    int64_t size;
    char digest[65];
    bool ranged;
    bool working; /* the thread has it */
    struct artifact_reader *reader;
    const void *bytes; /* of the reader, until it is asked again */
    size_t length;
    struct error err;
    bool failed;
};

static void stream_free(struct file_stream *stream)
{
    artifact_reader_close(stream->reader);
    artifacts_leave(stream->server->artifacts, ARTIFACTS_STREAMS);
    free(stream->team);
    free(stream->tree);
    free(stream->path);
    free(stream->name);
    free(stream);
}

static void on_gone(void *context)
{
    struct file_stream *stream = context;
    stream->request = NULL;
    if (!stream->working || artifacts_stopped(stream->server->artifacts))
        stream_free(stream);
}

/* ---- reading (the thread) ---------------------------------------------------------------------
 */

static void next_work(void *context)
{
    struct file_stream *stream = context;
    stream->failed =
        artifact_reader_next(stream->reader, &stream->bytes, &stream->length, &stream->err) < 0;
}

static int take_digest(void *context, const struct tree_file *file, struct error *err)
{
    struct file_stream *stream = context;
    (void)err;
    if (strcmp(file->path, stream->path) != 0)
        return 0;
    memcpy(stream->digest, file->digest, sizeof stream->digest);
    stream->size = file->size;
    return 0;
}

static void open_work(void *context)
{
    struct file_stream *stream = context;
    struct registry *registry = artifacts_registry(stream->server->artifacts);
    stream->failed = true;
    if (registry_files(registry, stream->tree, take_digest, stream, &stream->err) < 0)
        return;
    if (!stream->digest[0]) {
        error_set(&stream->err, ERR_NOT_FOUND, "%s has no file %.200s", stream->name, stream->path);
        return;
    }
    if (stream->offset > 0 && stream->offset >= stream->size) {
        stream->failed = false; /* answered with its own status */
        return;
    }
    if (artifact_reader_open(registry, stream->tree, stream->path, stream->offset, &stream->reader,
            &stream->size, &stream->err) < 0)
        return;
    next_work(stream);
}

/* ---- writing (the loop) -----------------------------------------------------------------------
 */

static void next_done(void *context);

/* Whether the reader's token and role still hold: who lost them is cut off. */
static bool may_read_on(const struct file_stream *stream)
{
    return identity_holds(stream->server, &stream->identity) &&
           identity_role(stream->server->catalog, &stream->identity, stream->team) >= ROLE_VIEWER;
}

static void cut(struct file_stream *stream)
{
    http_request_abort(stream->request);
    stream_free(stream);
}

static void read_next(struct file_stream *stream)
{
    struct error err;
    stream->working = true;
    if (artifacts_run(
            stream->server->artifacts, ARTIFACTS_SHORT, next_work, next_done, stream, &err) < 0) {
        log_warn("a download of %s was cut: %s", stream->name, err.text);
        cut(stream);
    }
}

static void on_drained(void *context)
{
    read_next(context);
}

/* The piece that was read goes out; the next is read at once or when the client has taken this. */
static void write_piece(struct file_stream *stream)
{
    if (stream->length == 0) {
        http_respond_end(stream->request);
        stream_free(stream);
    } else if (http_respond_write(stream->request, stream->bytes, stream->length)) {
        read_next(stream);
    }
}

static void next_done(void *context)
{
    struct file_stream *stream = context;
    stream->working = false;
    if (!stream->request) {
        stream_free(stream);
    } else if (stream->failed) {
        log_error("a download of %s was cut: %s", stream->name, stream->err.text);
        cut(stream);
    } else if (!may_read_on(stream)) {
        cut(stream);
    } else {
        write_piece(stream);
    }
}

static void answer_beyond(struct file_stream *stream)
{
    char range[64];
    snprintf(range, sizeof range, "bytes */%" PRId64, stream->size);
    struct http_field field = {"Content-Range", range};
    struct http_request *request = stream->request;
    stream_free(stream);
    http_request_on_cancel(request, NULL, NULL);
    http_respond(request, 416, &field, 1, "", 0);
}

static void begin(struct file_stream *stream)
{
    char tag[80], range[96];
    snprintf(tag, sizeof tag, "\"sha256:%s\"", stream->digest);
    snprintf(range, sizeof range, "bytes %" PRId64 "-%" PRId64 "/%" PRId64, stream->offset,
        stream->size - 1, stream->size);
    struct http_field fields[] = {{"Content-Type", "application/octet-stream"}, {"ETag", tag},
        {"Accept-Ranges", "bytes"}, {"Content-Range", range}};
    bool partial = stream->ranged && stream->size > 0;
    http_request_on_drain(stream->request, on_drained, stream);
    http_respond_begin(stream->request, partial ? 206 : 200, fields, partial ? 4 : 3,
        stream->size - stream->offset);
}

static void open_done(void *context)
{
    struct file_stream *stream = context;
    stream->working = false;
    if (!stream->request) {
        stream_free(stream);
        return;
    }
    if (stream->failed) {
        struct call *call = stream->call;
        struct error err = stream->err;
        if (err.code == ERR_CORRUPT)
            log_error("%s cannot be read: %s", stream->name, err.text);
        http_request_on_cancel(stream->request, NULL, NULL);
        stream_free(stream);
        call_fail(call, &err);
        return;
    }
    if (!stream->reader) {
        answer_beyond(stream);
        return;
    }
    begin(stream);
    if (strcmp(http_request_method(stream->request), "HEAD") == 0)
        stream->length = 0;
    write_piece(stream);
}

/* ---- the request ------------------------------------------------------------------------------
 */

/* "bytes=N-", to go on where a download broke off. Other ranges are ignored, as RFC 9110 allows:
 * the whole file is the answer. */
static void take_range(struct file_stream *stream)
{
    const char *range = http_request_header(stream->request, "Range");
    if (!range || strncmp(range, "bytes=", 6) != 0)
        return;
    size_t digits = strspn(range + 6, "0123456789");
    if (digits == 0 || digits > 18 || strcmp(range + 6 + digits, "-") != 0)
        return;
    stream->offset = strtoll(range + 6, NULL, 10);
    stream->ranged = true;
}

void api_version_file(struct call *call)
{
    struct version version;
    struct error err;
    char name[VERSION_TEXT];
    if (call_version(call, &version, &err) < 0 ||
        artifacts_enter(call->server->artifacts, ARTIFACTS_STREAMS, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct file_stream *stream = mem_alloc(1, sizeof *stream);
    stream->call = call;
    stream->server = call->server;
    stream->request = call->request;
    stream->identity = call->identity;
    stream->team = mem_strdup(call->team);
    stream->tree = mem_strdup(version.tree);
    stream->path = mem_strdup(call->parameters[2]);
    stream->name =
        mem_strdup(versions_text(version.kind, version.team, version.name, version.version, name));
    take_range(stream);
    stream->working = true;
    if (artifacts_run(
            call->server->artifacts, ARTIFACTS_SHORT, open_work, open_done, stream, &err) < 0) {
        stream_free(stream);
        call_fail(call, &err);
        return;
    }
    http_request_on_cancel(call->request, on_gone, stream);
}
