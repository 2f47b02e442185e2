/* The planner's connection: see planner_link.h.
 *
 * Invariants:
 * 1. Of each tick that was gathered while the planner was connected, and is durable, it is sent all
 *    changed rows and then FRAME_TICK; of any other tick nothing. A tick that was being gathered or
 *    committed when it connected is in the store by the time the next one is sent.
 * 2. What waits to be sent is at most QUEUE_BYTES_MAX: beyond, the connection is closed. */
#include "server/planner_link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/vec.h"
#include "planner/frame.h"
#include "server/context.h"
#include "server/effects.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    QUEUE_BYTES_MAX = 64 << 20,
    QUESTIONS_MAX = 256,
    READ_BYTES = 64 << 10,
    SEND_BYTES_MAX = 256 << 10, /* of one turn of the loop */
    SLICE_ROWS = 256,
    SLICE_PAUSE_NS = 20 * 1000000,
    LOOK_MS = 500,
};

struct open_question {
    uint64_t number;
    planner_answer_fn *answer;
    void *context;
    int64_t due_ms;
};

/* What it said of itself last. */
struct planner_status {
    int64_t tick, lag_ns, lag_max_ns, slices, mismatches, snapshots, bytes, asked, fork_ns;
};

struct planner_link {
    struct server *server;
    int listen_fd, fd; /* -1: none */
    struct event *accept, *readable, *writable, *timer;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    struct strbuf in, out;
    size_t sent;        /* of out */
    struct strbuf rows; /* of the tick that is gathered: whole frames */
    size_t rows_begin;  /* where the frame begins that is being written; SIZE_MAX: none */
    bool gathering;     /* the planner was there when the tick began */
    VEC(struct open_question) questions;
    uint64_t number;
    int slice_kind;
    uint64_t slice_after;
    int64_t slice_ns;
    int64_t disconnects; /* because it was behind */
    struct planner_status status;
};

/* ---- the connection ------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

static void answer_all(struct planner_link *link)
{
    while (link->questions.count > 0) {
        struct open_question one = link->questions.items[link->questions.count - 1];
        link->questions.count--;
        one.answer(one.context, NULL, 0);
    }
}

static void hang_up(struct planner_link *link, const char *why)
{
    if (link->fd < 0)
        return;
    log_info("the planner is away: %s", why);
    event_del(link->readable);
    event_del(link->writable);
    event_free(link->readable);
    event_free(link->writable);
    link->readable = link->writable = NULL;
    close(link->fd);
    link->fd = -1;
    link->gathering = false;
    link->sent = 0;
    strbuf_finish(&link->in);
    strbuf_finish(&link->out);
    strbuf_finish(&link->rows);
    link->status = (struct planner_status){0};
    answer_all(link);
}

static void send_more(struct planner_link *link)
{
    size_t left = link->out.length - link->sent;
    if (left == 0)
        return;
    ssize_t count = send(link->fd, link->out.text + link->sent,
        left < SEND_BYTES_MAX ? left : SEND_BYTES_MAX, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EAGAIN && errno != EINTR) {
        hang_up(link, "it does not take what it is sent");
        return;
    }
    link->sent += count > 0 ? (size_t)count : 0;
    if (link->sent == link->out.length) {
        strbuf_clear(&link->out);
        link->sent = 0;
        return;
    }
    /* Moved only when half of it is gone, so that each byte is moved once on the average. */
    if (link->sent > link->out.length / 2) {
        strbuf_consume(&link->out, link->sent);
        link->sent = 0;
    }
    event_add(link->writable, NULL);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    send_more(context);
}

static void take_status(struct planner_link *link, const struct doc *doc)
{
    link->status = (struct planner_status){
        .tick = doc_get_int(doc, "tick", 0),
        .lag_ns = doc_get_int(doc, "lagNs", 0),
        .lag_max_ns = doc_get_int(doc, "lagMaxNs", 0),
        .slices = doc_get_int(doc, "slices", 0),
        .mismatches = doc_get_int(doc, "mismatches", 0),
        .snapshots = doc_get_int(doc, "snapshots", 0),
        .bytes = doc_get_int(doc, "bytes", 0),
        .asked = doc_get_int(doc, "asked", 0),
        .fork_ns = doc_get_int(doc, "forkNs", 0),
    };
}

static int take_answer(struct planner_link *link, struct frame_cursor body, struct error *err)
{
    uint64_t number;
    if (frame_get_u64(&body, &number, err) < 0)
        return -1;
    if (number == 0) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        const struct doc *doc =
            doc_parse_json(arena, (const char *)body.at, body.left, DOC_BYTES_MAX, err);
        if (!doc)
            return -1;
        take_status(link, doc);
        return 0;
    }
    for (size_t i = 0; i < link->questions.count; i++) {
        struct open_question one = link->questions.items[i];
        if (one.number != number)
            continue;
        vec_remove(&link->questions, i);
        one.answer(one.context, (const char *)body.at, body.left);
        return 0;
    }
    return 0;
}

static int take_frames(struct planner_link *link, struct error *err)
{
    size_t at = 0;
    for (;;) {
        struct frame frame;
        int64_t length = frame_read(link->in.text + at, link->in.length - at, &frame, err);
        if (length < 0)
            return -1;
        if (length == 0)
            break;
        if (frame.kind != FRAME_ANSWER)
            return error_set(err, ERR_INVALID, "a frame that only the server sends");
        if (take_answer(link, frame.body, err) < 0)
            return -1;
        at += (size_t)length;
    }
    strbuf_consume(&link->in, at);
    return 0;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct planner_link *link = context;
    char bytes[READ_BYTES];
    struct error err;
    (void)what;
    ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        hang_up(link, count == 0 ? "it closed the connection" : strerror(errno));
        return;
    }
    strbuf_append(&link->in, bytes, (size_t)count);
    if (take_frames(link, &err) < 0)
        hang_up(link, err.text);
}

static bool peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

/* One at a time: another is sent away, and comes again until the first is gone. */
static void on_accept(evutil_socket_t listener, short what, void *context)
{
    struct planner_link *link = context;
    (void)what;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (link->fd >= 0 || !peer_allowed(fd)) {
        close(fd);
        return;
    }
    link->fd = fd;
    link->slice_kind = 0;
    link->slice_after = 0;
    link->readable = event_new(link->server->base, fd, EV_READ | EV_PERSIST, on_readable, link);
    link->writable = event_new(link->server->base, fd, EV_WRITE, on_writable, link);
    assert(link->readable && link->writable);
    event_add(link->readable, NULL);
    const struct core_options options = effects_core_options(link->server);
    frame_put_hello(&link->out, &options);
    log_info("a planner is there");
    send_more(link);
}

/* ---- the feed ------------------------------------------------------------------------------ */

void planner_link_begin(struct planner_link *link)
{
    if (!link)
        return;
    link->gathering = link->fd >= 0;
    link->rows_begin = SIZE_MAX;
    strbuf_clear(&link->rows);
}

/* The tick's number is filled in when it is known to be durable. */
static void begin_rows(struct planner_link *link)
{
    link->rows_begin = frame_begin(&link->rows, FRAME_ROWS);
    frame_put_u64(&link->rows, (uint64_t)store_next_tick(link->server->store));
}

void planner_link_change(struct planner_link *link, const struct core_change *change)
{
    if (!link || !link->gathering || row_type(change->kind)->history)
        return;
    if (link->rows_begin == SIZE_MAX)
        begin_rows(link);
    frame_put_row(&link->rows, change);
    if (link->rows.length - link->rows_begin < FRAME_ROWS_BYTES)
        return;
    frame_end(&link->rows, link->rows_begin);
    link->rows_begin = SIZE_MAX;
}

static void send_slice(struct planner_link *link, int64_t tick)
{
    int64_t now_ns = clock_monotonic_ns();
    if (now_ns - link->slice_ns < SLICE_PAUSE_NS)
        return;
    link->slice_ns = now_ns;
    while (row_type((enum row_kind)link->slice_kind)->history)
        link->slice_kind = (link->slice_kind + 1) % ROW_KIND_COUNT;
    struct frame_slice slice = {
        .kind = (enum row_kind)link->slice_kind, .after = link->slice_after};
    slice.digest =
        core_digest_slice(link->server->core, slice.kind, slice.after, SLICE_ROWS, &slice.last);
    frame_put_slice(&link->out, tick, &slice);
    link->slice_after = slice.last;
    if (slice.last == UINT64_MAX) {
        link->slice_after = 0;
        link->slice_kind = (link->slice_kind + 1) % ROW_KIND_COUNT;
    }
}

void planner_link_committed(struct planner_link *link, int64_t tick)
{
    if (!link || !link->gathering)
        return;
    link->gathering = false;
    if (link->out.length - link->sent + link->rows.length > QUEUE_BYTES_MAX) {
        link->disconnects++;
        hang_up(link, "it is too far behind");
        return;
    }
    if (link->rows_begin != SIZE_MAX)
        frame_end(&link->rows, link->rows_begin);
    if (link->rows.length > 0)
        strbuf_append(&link->out, link->rows.text, link->rows.length);
    strbuf_clear(&link->rows);
    size_t begin = frame_begin(&link->out, FRAME_TICK);
    frame_put_u64(&link->out, (uint64_t)tick);
    frame_put_u64(&link->out, (uint64_t)clock_monotonic_ns());
    frame_end(&link->out, begin);
    send_slice(link, tick);
    send_more(link);
}

/* ---- questions ----------------------------------------------------------------------------- */

/* Only while there are questions. */
static void look_later(struct planner_link *link)
{
    struct timeval pause = {0, LOOK_MS * 1000};
    if (link->questions.count > 0)
        event_add(link->timer, &pause);
}

bool planner_link_ready(const struct planner_link *link)
{
    return link->fd >= 0 && link->status.snapshots > 0;
}

int planner_link_ask(struct planner_link *link, const char *text, size_t length, int64_t wait_ms,
    planner_answer_fn *answer, void *context, struct error *err)
{
    if (!planner_link_ready(link))
        return error_set(err, ERR_UNAVAILABLE, "there is no planner now");
    if (link->questions.count >= QUESTIONS_MAX)
        return error_set(err, ERR_BUSY, "too many questions wait for the planner");
    if (length > FRAME_BODY_MAX / 2)
        return error_set(err, ERR_TOO_LARGE, "a question of more than 8 MiB");
    vec_push(&link->questions, ((struct open_question){.number = ++link->number,
                                   .answer = answer,
                                   .context = context,
                                   .due_ms = now_ms() + wait_ms}));
    size_t begin = frame_begin(&link->out, FRAME_ASK);
    frame_put_u64(&link->out, link->number);
    strbuf_append(&link->out, text, length);
    frame_end(&link->out, begin);
    event_add(link->writable, NULL);
    look_later(link);
    return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct planner_link *link = context;
    int64_t now = now_ms();
    (void)fd, (void)what;
    for (size_t i = 0; i < link->questions.count;) {
        struct open_question one = link->questions.items[i];
        if (one.due_ms > now) {
            i++;
            continue;
        }
        vec_remove(&link->questions, i);
        one.answer(one.context, NULL, 0);
    }
    look_later(link);
}

/* ---- figures ------------------------------------------------------------------------------- */

void planner_link_figures(const struct planner_link *link, struct strbuf *out)
{
    const struct planner_status *status = &link->status;
    const struct {
        const char *name, *type, *help;
        int64_t value;
    } rows[] = {
        {"planner_up", "gauge", "Whether a planner is connected.", link->fd >= 0},
        {"planner_tick", "gauge", "The tick that the planner's copy is of.", status->tick},
        {"planner_queue_bytes", "gauge", "Changes that wait to be taken by the planner.",
            (int64_t)(link->out.length - link->sent)},
        {"planner_lag_nanoseconds", "gauge", "From the last tick's commit to the planner's copy.",
            status->lag_ns},
        {"planner_lag_most_nanoseconds", "gauge", "The longest of these.", status->lag_max_ns},
        {"planner_fork_nanoseconds", "gauge", "What the planner's last fork took.",
            status->fork_ns},
        {"planner_bytes", "gauge", "Rows of the planner's copy.", status->bytes},
        {"planner_slices_total", "counter", "Slices of the copy compared with the live state.",
            status->slices},
        {"planner_mismatches_total", "counter", "Of them, those that differed.",
            status->mismatches},
        {"planner_snapshots_total", "counter", "Times the copy was read from the store.",
            status->snapshots},
        {"planner_asked_total", "counter", "Questions to the planner.", status->asked},
        {"planner_behind_total", "counter", "Times a planner was too far behind.",
            link->disconnects},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        strbuf_printf(out, "# HELP muster_%s %s\n# TYPE muster_%s %s\nmuster_%s %" PRId64 "\n",
            rows[i].name, rows[i].help, rows[i].name, rows[i].type, rows[i].name, rows[i].value);
}

/* ---- life ---------------------------------------------------------------------------------- */

/* The data directory is this server's alone: what is there is left from one before. */
static int listen_at(struct planner_link *link, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(
        link->path, sizeof link->path, "%s/%s", link->server->config.data_dir, FRAME_SOCKET);
    if (length >= (int)sizeof link->path) {
        link->path[0] = '\0';
        return error_set(err, ERR_INVALID, "the data directory's path is too long for a socket");
    }
    memcpy(address.sun_path, link->path, sizeof address.sun_path);
    unlink(link->path);
    link->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody can connect before listen(), so the mode is right when it first matters. */
    if (link->listen_fd < 0 ||
        bind(link->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(link->path, 0600) < 0 || listen(link->listen_fd, 4) < 0)
        return error_set_errno(err, "%s", link->path);
    return 0;
}

struct planner_link *planner_link_create(struct server *server)
{
    struct planner_link *link = mem_alloc(1, sizeof *link);
    struct error err;
    *link = (struct planner_link){.server = server, .listen_fd = -1, .fd = -1};
    link->timer = event_new(server->base, -1, EV_TIMEOUT, on_timer, link);
    assert(link->timer);
    if (listen_at(link, &err) < 0) {
        log_warn("no planner can connect: %s", err.text);
        return link;
    }
    link->accept = event_new(server->base, link->listen_fd, EV_READ | EV_PERSIST, on_accept, link);
    assert(link->accept);
    event_add(link->accept, NULL);
    return link;
}

void planner_link_destroy(struct planner_link *link)
{
    if (!link)
        return;
    hang_up(link, "the server is stopping");
    answer_all(link);
    vec_free(&link->questions);
    if (link->accept)
        event_free(link->accept);
    event_free(link->timer);
    if (link->listen_fd >= 0)
        close(link->listen_fd);
    if (link->path[0])
        unlink(link->path);
    free(link);
}
