/* The planner's process: see planner.h.
 *
 *     connect -> HELLO -> read the rows of tick T from the store -> apply T+1, T+2, ..
 *
 * The server says of each tick that became durable which rows it changed. What came before the
 * snapshot is passed over; when a tick is missing in between, the snapshot is read again, for by
 * then the store has it. Now and then the server sends the digest of a slice of its live state;
 * where that of the copy differs, this is said in the log and counted, and the snapshot is read
 * again. When the connection breaks (the server ended, or this process was too slow for its queue)
 * everything begins anew. */
#include "planner/planner.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "planner/children.h"
#include "planner/feed.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CONNECT_FIRST_MS = 50,
    CONNECT_MOST_MS = 2000,
    STATUS_MS = 1000,
    READ_BYTES = 256 << 10,
    OUT_BYTES_MAX = 32 << 20,
};

struct planner {
    const struct planner_config *config;
    struct feed_copy *feed;
    struct children *children;
    int socket; /* -1: not connected */
    struct strbuf in, out;
    int64_t connect_pause_ms, connect_due_ms, status_due_ms;
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
    stop_signal = number;
}

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

static struct answer_state state_of(const struct planner *planner)
{
    return (struct answer_state){.copy = feed_copy_rows(planner->feed),
        .core = feed_copy_options(planner->feed),
        .history = feed_copy_history(planner->feed),
        .tick = feed_copy_tick(planner->feed),
        .now_ms = clock_wall_ms()};
}

/* ---- what is sent -------------------------------------------------------------------------- */

static void put_answer(struct planner *planner, uint64_t number, const char *text, size_t length)
{
    if (planner->out.length + length > OUT_BYTES_MAX)
        return;
    size_t begin = frame_begin(&planner->out, FRAME_ANSWER);
    frame_put_u64(&planner->out, number);
    strbuf_append(&planner->out, text, length);
    frame_end(&planner->out, begin);
}

static void on_answer(void *context, uint64_t number, const char *text, size_t length)
{
    static const char none[] = "{\"error\":{\"code\":8,\"text\":\"no forecast could be made\"}}";
    put_answer(context, number, text ? text : none, text ? length : sizeof none - 1);
}

/* Number 0: what the planner says of itself. */
static void put_status(struct planner *planner)
{
    struct feed_copy_stats feed;
    struct children_stats children;
    char text[700];
    feed_copy_stats(planner->feed, &feed);
    children_stats(planner->children, &children);
    int length = snprintf(text, sizeof text,
        "{\"tick\":%" PRId64 ",\"ticks\":%" PRId64 ",\"lagNs\":%" PRId64 ",\"lagMaxNs\":%" PRId64
        ",\"slices\":%" PRId64 ",\"mismatches\":%" PRId64 ",\"snapshots\":%" PRId64
        ",\"snapshotNs\":%" PRId64 ",\"bytes\":%" PRId64 ",\"learned\":%" PRId64
        ",\"asked\":%" PRId64 ",\"remembered\":%" PRId64 ",\"failed\":%" PRId64
        ",\"forkNs\":%" PRId64 ",\"pid\":%d}",
        feed.tick, feed.ticks, feed.lag_ns, feed.lag_max_ns, feed.slices, feed.mismatches,
        feed.snapshots, feed.snapshot_ns, feed.bytes, feed.learned, children.asked,
        children.remembered, children.failed, children.fork_ns, (int)getpid());
    assert(length > 0 && (size_t)length < sizeof text);
    put_answer(planner, 0, text, (size_t)length);
    planner->status_due_ms = now_ms() + STATUS_MS;
}

/* ---- the connection ------------------------------------------------------------------------ */

static void connect_later(struct planner *planner)
{
    planner->connect_due_ms = now_ms() + planner->connect_pause_ms;
    planner->connect_pause_ms = planner->connect_pause_ms * 2 < CONNECT_MOST_MS
                                    ? planner->connect_pause_ms * 2
                                    : CONNECT_MOST_MS;
}

/* The pause grows while no server takes this planner: there is none, or it has another. */
static void disconnect(struct planner *planner, const char *why)
{
    if (planner->socket < 0)
        return;
    bool followed = feed_copy_ready(planner->feed);
    if (followed)
        log_info("the server is away: %s", why);
    close(planner->socket);
    planner->socket = -1;
    strbuf_clear(&planner->in);
    strbuf_clear(&planner->out);
    children_forget(planner->children);
    feed_copy_reset(planner->feed);
    if (followed)
        planner->connect_pause_ms = CONNECT_FIRST_MS;
    connect_later(planner);
}

/* Whoever listens there has to be root or of our own user: its questions name files of nobody, but
 * what it is told are names of jobs. */
static bool peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static int dial(const struct planner *planner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", planner->config->data_dir,
            FRAME_SOCKET) >= (int)sizeof address.sun_path)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || !peer_allowed(fd) ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void try_connect(struct planner *planner)
{
    planner->socket = dial(planner);
    if (planner->socket >= 0) {
        put_status(planner);
        return;
    }
    connect_later(planner);
}

static int on_ask(struct planner *planner, struct frame_cursor body, struct error *err)
{
    uint64_t number;
    if (frame_get_u64(&body, &number, err) < 0)
        return -1;
    if (!feed_copy_ready(planner->feed)) {
        on_answer(planner, number, NULL, 0);
        return 0;
    }
    struct answer_state state = state_of(planner);
    children_ask(planner->children, number, (const char *)body.at, body.left, &state, now_ms());
    return 0;
}

static int take_frame(struct planner *planner, const struct frame *frame, struct error *err)
{
    if (frame->kind == FRAME_ASK)
        return on_ask(planner, frame->body, err);
    bool ready = feed_copy_ready(planner->feed);
    int failed = feed_copy_take(planner->feed, frame, err);
    if (!failed && !ready && feed_copy_ready(planner->feed))
        put_status(planner);
    return failed;
}

static int take_frames(struct planner *planner, struct error *err)
{
    size_t at = 0;
    for (;;) {
        struct frame frame;
        int64_t length = frame_read(planner->in.text + at, planner->in.length - at, &frame, err);
        if (length < 0 || (length > 0 && take_frame(planner, &frame, err) < 0))
            return -1;
        if (length == 0)
            break;
        at += (size_t)length;
    }
    strbuf_consume(&planner->in, at);
    return 0;
}

/* -1: ERR_CONFLICT ends the planner, anything else the connection. */
static int read_socket(struct planner *planner, struct error *err)
{
    static char bytes[READ_BYTES];
    ssize_t count = recv(planner->socket, bytes, sizeof bytes, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (count < 0)
        return error_set_errno(err, "reading");
    if (count == 0)
        return error_set(err, ERR_UNAVAILABLE, "it closed the connection");
    strbuf_append(&planner->in, bytes, (size_t)count);
    return take_frames(planner, err);
}

static int write_socket(struct planner *planner, struct error *err)
{
    if (planner->out.length == 0)
        return 0;
    ssize_t count = send(planner->socket, planner->out.text, planner->out.length, MSG_NOSIGNAL);
    if (count < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : error_set_errno(err, "writing");
    strbuf_consume(&planner->out, (size_t)count);
    return 0;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int wait_ms(const struct planner *planner)
{
    int64_t now = now_ms(), left = STATUS_MS, due = children_due_ms(planner->children, now);
    if (due >= 0)
        left = sooner(left, due);
    left = sooner(
        left, (planner->socket < 0 ? planner->connect_due_ms : planner->status_due_ms) - now);
    return left < 0 ? 0 : (int)left;
}

static int turn(struct planner *planner, const sigset_t *unblocked, struct error *err)
{
    struct pollfd fds[CHILDREN_MAX + 1];
    int count = children_poll(planner->children, fds);
    int64_t left = wait_ms(planner);
    struct timespec wait = {left / 1000, left % 1000 * 1000000};
    if (planner->socket >= 0)
        fds[count++] = (struct pollfd){.fd = planner->socket,
            .events = (short)(POLLIN | (planner->out.length > 0 ? POLLOUT : 0))};
    if (ppoll(fds, (nfds_t)count, &wait, unblocked) < 0 && errno != EINTR)
        return error_set_errno(err, "waiting");
    struct answer_state state = state_of(planner);
    children_run(planner->children, &state, now_ms());
    if (planner->socket < 0) {
        if (now_ms() >= planner->connect_due_ms)
            try_connect(planner);
        return 0;
    }
    if (now_ms() >= planner->status_due_ms)
        put_status(planner);
    struct error why;
    if (read_socket(planner, &why) < 0 || write_socket(planner, &why) < 0) {
        if (why.code == ERR_CONFLICT)
            return error_set(err, ERR_CONFLICT, "%s", why.text);
        disconnect(planner, why.text);
    }
    return 0;
}

static void watch_signals(sigset_t *ret_before)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, ret_before);
    sigdelset(ret_before, SIGTERM);
    sigdelset(ret_before, SIGINT);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

int planner_run(const struct planner_config *config, struct error *err)
{
    struct planner planner = {.config = config, .socket = -1, .connect_pause_ms = CONNECT_FIRST_MS};
    sigset_t unblocked;
    int failed = 0;
    stop_signal = 0;
    watch_signals(&unblocked);
    planner.feed = feed_copy_create(config->data_dir);
    planner.children = children_create(on_answer, &planner);
    while (!stop_signal && !failed)
        failed = turn(&planner, &unblocked, err);
    children_destroy(planner.children);
    feed_copy_destroy(planner.feed);
    if (planner.socket >= 0)
        close(planner.socket);
    strbuf_finish(&planner.in);
    strbuf_finish(&planner.out);
    return failed;
}
