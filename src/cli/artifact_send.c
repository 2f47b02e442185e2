/* Sending chunks: see artifact_send.h.
 *
 * The calling thread is one of the senders, with the connection that the push has already; the
 * others are helpers with a connection each (an HTTP client is one thread's). Every sender takes
 * the next chunk that nobody took, so the only thing they share is where they are. A helper that
 * cannot be started makes the push slower, not wrong. */
#include "cli/artifact_send.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "registry/registry.h"
#include "wire/url.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SENDERS = 4, /* hides the wait for a disk without filling the server's bound for a team */
    BUSY_TRIES = 120,
    BUSY_PAUSE_MS = 500,
};

struct sending;

struct sender {
    struct sending *sending;
    struct api *api;
    pthread_t thread;
    char *raw, *packed; /* CHUNK_MAX and OBJECT_STORED_MAX bytes */
};

struct sending {
    const struct artifact_send *what;
    struct sender senders[SENDERS];
    size_t started;

    pthread_mutex_t lock; /* of what follows, and of the terminal */
    size_t next;          /* of the missing: not taken yet */
    int64_t sent_bytes, sent_raw;
    const struct sender *failed; /* the first that did */
    struct error err;            /* its error */
};

static bool has_failed(struct sending *sending)
{
    pthread_mutex_lock(&sending->lock);
    bool failed = sending->failed != NULL;
    pthread_mutex_unlock(&sending->lock);
    return failed;
}

static int read_place(int folder, const struct chunk_place *place, char *raw, struct error *err)
{
    SCOPED(fd_scope) int fd = openat(folder, place->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", place->path);
    for (size_t done = 0; done < place->size;) {
        ssize_t n = pread(fd, raw + done, place->size - done, place->offset + (int64_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, "cannot read %s", place->path);
        if (n == 0)
            return error_set(err, ERR_CONFLICT, "%s became shorter while it was sent", place->path);
        done += (size_t)n;
    }
    return 0;
}

/* A server that is busy says so; it is asked again for a while. */
static int put_packed(struct sender *sender, const char *target, size_t size, struct error *err)
{
    for (int i = 0; i < BUSY_TRIES && !cli_interrupted(); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        if (api_send(sender->api, arena, "PUT", target, "application/octet-stream", sender->packed,
                size, 0, true, NULL, err) == 0)
            return 0;
        if (err->code != ERR_BUSY || has_failed(sender->sending))
            return -1;
        cli_pause(BUSY_PAUSE_MS);
    }
    return err->code == ERR_BUSY ? -1 : error_set(err, ERR_UNAVAILABLE, "interrupted");
}

static int send_place(
    struct sender *sender, const struct chunk_place *place, size_t *ret_size, struct error *err)
{
    const struct artifact_send *what = sender->sending->what;
    struct strbuf target = {0};
    char digest[65];
    if (read_place(what->folder, place, sender->raw, err) < 0)
        return -1;
    *ret_size = registry_pack_chunk(sender->raw, place->size, sender->packed, digest);
    if (strcmp(digest, place->digest) != 0)
        return error_set(err, ERR_CONFLICT, "%s changed while it was sent; try again", place->path);
    strbuf_printf(&target, "/v1/artifacts/chunks/%s", digest);
    url_add_query(&target, "team", what->team);
    int rc = put_packed(sender, target.text, *ret_size, err);
    strbuf_finish(&target);
    return rc;
}

/* With the lock, so that lines of two senders do not mix and the count never goes back. */
static void show_progress(const struct sending *sending)
{
    char done[QUANTITY_TEXT], all[QUANTITY_TEXT];
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%s of %s sent ", quantity_human_bytes(sending->sent_raw, done),
        quantity_human_bytes(sending->what->raw_bytes, all));
    if (sending->sent_raw == sending->what->raw_bytes)
        fputc('\n', stderr);
}

/* The next chunk, or NULL when there is none or one has failed. */
static const struct chunk_place *take_place(struct sending *sending)
{
    const struct artifact_send *what = sending->what;
    const struct chunk_place *place = NULL;
    pthread_mutex_lock(&sending->lock);
    if (!sending->failed && sending->next < what->count)
        place = &what->places[what->missing[sending->next++]];
    pthread_mutex_unlock(&sending->lock);
    return place;
}

static void *run_sender(void *argument)
{
    struct sender *sender = argument;
    struct sending *sending = sender->sending;
    const struct chunk_place *place;
    while ((place = take_place(sending)) != NULL) {
        struct error err = {0};
        size_t size = 0;
        int rc = send_place(sender, place, &size, &err);
        pthread_mutex_lock(&sending->lock);
        if (rc == 0) {
            sending->sent_bytes += (int64_t)size;
            sending->sent_raw += (int64_t)place->size;
            show_progress(sending);
        } else if (!sending->failed) {
            sending->failed = sender;
            sending->err = err;
        }
        pthread_mutex_unlock(&sending->lock);
    }
    return NULL;
}

/* Helpers, each with a connection; signals are the calling thread's, which may be pausing. */
static int start_helpers(struct sending *sending, struct error *err)
{
    sigset_t all, before;
    while (sending->started < SENDERS && sending->started < sending->what->count) {
        struct sender *sender = &sending->senders[sending->started];
        sender->sending = sending;
        sender->api = cli_api_another(sending->what->cli, err);
        if (!sender->api)
            return -1;
        sender->raw = mem_alloc(CHUNK_MAX, 1);
        sender->packed = mem_alloc(OBJECT_STORED_MAX, 1);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int rc = pthread_create(&sender->thread, NULL, run_sender, sender);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (rc != 0)
            break;
        sending->started++;
    }
    return 0;
}

static void stop(struct sending *sending, const struct sender *sender, const struct error *err)
{
    pthread_mutex_lock(&sending->lock);
    if (!sending->failed) {
        sending->failed = sender;
        sending->err = *err;
    }
    pthread_mutex_unlock(&sending->lock);
}

/* What the server said about the first failure is told from the connection that cli has: it gets
 * the one on which that was said. */
static void finish(struct sending *sending)
{
    struct cli *cli = sending->what->cli;
    for (size_t i = 1; i < SENDERS; i++) {
        struct sender *sender = &sending->senders[i];
        if (sender->api && sending->failed == sender) {
            struct api *other = cli->api;
            cli->api = sender->api;
            sender->api = other;
        }
        api_destroy(sender->api);
    }
    for (size_t i = 0; i < SENDERS; i++) {
        mem_scope(&sending->senders[i].raw);
        mem_scope(&sending->senders[i].packed);
    }
    pthread_mutex_destroy(&sending->lock);
}

int artifact_send_chunks(const struct artifact_send *send, int64_t *sent_bytes, struct error *err)
{
    struct sending sending = {.what = send, .started = 1};
    struct sender *self = &sending.senders[0];
    struct error trouble;
    *self = (struct sender){.sending = &sending, .api = cli_api(send->cli, err)};
    if (!self->api)
        return -1;
    self->raw = mem_alloc(CHUNK_MAX, 1);
    self->packed = mem_alloc(OBJECT_STORED_MAX, 1);
    pthread_mutex_init(&sending.lock, NULL);
    if (start_helpers(&sending, &trouble) < 0)
        stop(&sending, self, &trouble);
    run_sender(self);
    for (size_t i = 1; i < sending.started; i++)
        pthread_join(sending.senders[i].thread, NULL);
    *sent_bytes += sending.sent_bytes;
    if (sending.failed && err)
        *err = sending.err;
    finish(&sending);
    return sending.failed ? -1 : 0;
}
