/* Uploads of work directories, and backups of the store. */
#include "base/file.h"
#include "base/log.h"
#include "engine/snapshot.h"
#include "engine/worker.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/snapshots.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { ROOM_SHARE = 10 };

/* ---- snapshots ----------------------------------------------------------------------------- */

/* An upload: pieces go to a temporary file; the chores thread checks it and gives it its name. */
struct upload {
    struct call *call;
    char *data_dir;
    char path[4096];
    int fd;
    struct error err;
    bool failed;
    char digest[65];
};

static void upload_free(struct upload *upload)
{
    if (upload->fd >= 0)
        close(upload->fd);
    if (upload->path[0])
        unlink(upload->path);
    free(upload->data_dir);
    free(upload);
}

static void on_upload_gone(void *context)
{
    upload_free(context);
}

/* Makes the new name as durable as the answer that tells of it. */
static int sync_folder(const char *data_dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/snapshots", data_dir);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

static void upload_work(void *context)
{
    struct upload *upload = context;
    struct snapshot_limits limits = snapshot_default_limits();
    char final[4096];
    upload->failed = true;
    if (lseek(upload->fd, 0, SEEK_SET) < 0 || fsync(upload->fd) < 0) {
        error_set_errno(&upload->err, "the upload cannot be kept");
        return;
    }
    if (snapshot_verify(upload->fd, &limits, upload->digest, &upload->err) < 0)
        return;
    snapshots_path(upload->data_dir, upload->digest, final, sizeof final);
    if (rename(upload->path, final) < 0 || sync_folder(upload->data_dir) < 0) {
        error_set_errno(&upload->err, "the upload cannot be kept");
        return;
    }
    upload->path[0] = '\0';
    upload->failed = false;
}

static void upload_done(void *context)
{
    struct upload *upload = context;
    struct call *call = upload->call;
    if (upload->failed) {
        call_fail(call, &upload->err);
    } else {
        struct doc *body = doc_map(call->arena);
        doc_set_string(
            call->arena, body, "digest", arena_printf(call->arena, "sha256:%s", upload->digest));
        call_answer(call, 201, body);
    }
    upload_free(upload);
}

static void fail_upload(struct upload *upload)
{
    struct call *call = upload->call;
    http_request_on_cancel(call->request, NULL, NULL);
    call_fail(call, &upload->err);
    upload_free(upload);
}

static void on_upload_piece(
    struct http_request *request, const char *bytes, size_t length, void *ctx)
{
    struct upload *upload = ctx;
    if (upload->failed)
        return;
    if (bytes) {
        upload->failed = file_write_all(upload->fd, bytes, length, &upload->err) < 0;
        if (upload->failed)
            fail_upload(upload);
        return;
    }
    http_request_on_cancel(request, NULL, NULL);
    if (worker_run(upload->call->server->chores, upload_work, upload_done, upload, &upload->err) <
        0)
        fail_upload(upload);
}

/* Uploads are kept for a day at least, so they must not fill the disk that the store is on: a tenth
 * of it stays free. */
static int check_room(const char *data_dir, struct error *err)
{
    struct statvfs volume;
    if (statvfs(data_dir, &volume) < 0)
        return error_set_errno(err, "cannot look at the disk of %s", data_dir);
    if (volume.f_bavail < volume.f_blocks / ROOM_SHARE)
        return error_set(err, ERR_FULL,
            "less than a %dth of the server's disk is free; work directories are not taken now",
            ROOM_SHARE);
    return 0;
}

void api_snapshot_create(struct call *call)
{
    struct error err;
    if (check_room(call->server->config.data_dir, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct upload *upload = mem_alloc(1, sizeof *upload);
    upload->call = call;
    upload->data_dir = mem_strdup(call->server->config.data_dir);
    snprintf(upload->path, sizeof upload->path, "%s/snapshots/upload-XXXXXX", upload->data_dir);
    upload->fd = mkostemp(upload->path, O_CLOEXEC);
    if (upload->fd < 0) {
        error_set_errno(&err, "cannot make a file for the upload");
        upload->path[0] = '\0';
        upload_free(upload);
        call_fail(call, &err);
        return;
    }
    http_request_on_cancel(call->request, on_upload_gone, upload);
    http_request_read(call->request, snapshot_default_limits().bytes, on_upload_piece, upload);
}

/* ---- backup -------------------------------------------------------------------------------- */

/* The store is the commit thread's while commits go on, so that is where a backup is made; commits
 * wait for as long as it takes. */
struct backup {
    struct call *call;
    struct store *store;
    char path[4096];
    struct error err;
    bool failed;
};

static void backup_work(void *context)
{
    struct backup *backup = context;
    backup->failed = store_backup(backup->store, backup->path, &backup->err) < 0;
}

static void backup_done(void *context)
{
    struct backup *backup = context;
    struct call *call = backup->call;
    if (backup->failed) {
        call_fail(call, &backup->err);
    } else {
        struct doc *body = doc_map(call->arena);
        doc_set_string(call->arena, body, "path", backup->path);
        call_answer(call, 201, body);
    }
    free(backup);
}

/* A name for a file below the backup folder, and nothing else. */
static bool backup_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= 100 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
               length;
}

static void on_backup_body(struct call *call, const struct doc *body)
{
    const char *name = doc_get_string(body, "path");
    struct error err;
    if (!name || !backup_name_valid(name)) {
        error_set(&err, ERR_INVALID,
            "path: expected a file name of letters, digits, - _ and . (it is written below the "
            "backup folder of the data directory)");
        call_fail(call, &err);
        return;
    }
    struct backup *backup = mem_alloc(1, sizeof *backup);
    backup->call = call;
    backup->store = call->server->store;
    snprintf(
        backup->path, sizeof backup->path, "%s/backup/%s", call->server->config.data_dir, name);
    if (worker_run(call->server->commits, backup_work, backup_done, backup, &err) < 0) {
        free(backup);
        call_fail(call, &err);
    }
}

void api_backup(struct call *call)
{
    call_body(call, 4096, on_backup_body);
}
