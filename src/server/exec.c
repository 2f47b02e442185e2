/* Commands inside running jobs: see exec.h.
 *
 * A session owns the upgraded connection and either a terminal's master side or three pipes. It
 * ends when the command's end is known and its output is drained, or when the client goes away;
 * in that case closing the descriptors is what the command notices. */
#include "server/exec.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/handlers.h"
#include "server/promotions.h"
#include "server/status.h"
#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SESSIONS_MAX = 64,
    ARGUMENTS_MAX = 256,
    FRAME_BYTES_MAX = 64 * 1024,
    READ_BYTES = 16 * 1024,
    INPUT_BYTES_MAX = 256 * 1024,
};

enum frame_kind { FRAME_STDIN, FRAME_STDOUT, FRAME_STDERR, FRAME_SIZE, FRAME_END };

struct session;

/* One of the command's descriptors, our side of it. */
struct session_pipe {
    struct session *session;
    enum frame_kind kind;
    int fd; /* -1: closed */
    struct event *event;
};

struct session {
    struct exec_sessions *owner;
    struct identity identity;
    char *team;
    uint64_t number;
    struct http_stream *stream;
    struct session_pipe in, out, err;
    struct strbuf frames;  /* from the client, not taken apart yet */
    struct strbuf waiting; /* input that the command has not read yet */
    bool terminal;
    bool input_ended;
    bool ended; /* the command has, with: */
    int wait_status;
    char text[200];
};

struct exec_sessions {
    struct server *server;
    uint64_t last_number;
    VEC(struct session *) list;
};

struct exec_sessions *exec_sessions_create(struct server *server)
{
    struct exec_sessions *sessions = mem_alloc(1, sizeof *sessions);
    sessions->server = server;
    return sessions;
}

static void pipe_close(struct session_pipe *pipe)
{
    if (pipe->event)
        event_free(pipe->event);
    if (pipe->fd >= 0)
        close(pipe->fd);
    pipe->event = NULL;
    pipe->fd = -1;
}

static void session_free(struct session *session)
{
    struct exec_sessions *owner = session->owner;
    for (size_t i = 0; i < owner->list.count; i++) {
        if (owner->list.items[i] == session) {
            vec_remove(&owner->list, i);
            break;
        }
    }
    pipe_close(&session->in);
    pipe_close(&session->out);
    pipe_close(&session->err);
    strbuf_finish(&session->frames);
    strbuf_finish(&session->waiting);
    free(session->team);
    free(session);
}

void exec_sessions_destroy(struct exec_sessions *sessions)
{
    if (!sessions)
        return;
    while (sessions->list.count > 0) {
        struct session *session = sessions->list.items[sessions->list.count - 1];
        if (session->stream)
            http_stream_close(session->stream);
        session_free(session);
    }
    vec_free(&sessions->list);
    free(sessions);
}

/* Whether the client's token and role still hold; who lost them neither reads nor writes any more.
 */
static bool session_allowed(const struct session *session)
{
    const struct server *server = session->owner->server;
    return identity_holds(server, &session->identity) &&
           identity_role(server->catalog, &session->identity, session->team) >= ROLE_MEMBER;
}

static void session_cut(struct session *session)
{
    if (session->stream)
        http_stream_close(session->stream);
    session_free(session);
}

/* ---- to the client ------------------------------------------------------------------------- */

static bool send_frame(
    struct session *session, enum frame_kind kind, const void *bytes, size_t length)
{
    unsigned char head[4] = {(unsigned char)kind, (unsigned char)(length >> 16),
        (unsigned char)(length >> 8), (unsigned char)length};
    http_stream_write(session->stream, head, sizeof head);
    return length == 0 || http_stream_write(session->stream, bytes, length);
}

/* When the command has ended and all its output is on the way, so is the session. */
static void finish_if_done(struct session *session)
{
    if (!session->ended || session->out.fd >= 0 || session->err.fd >= 0 || !session->stream)
        return;
    char end[1 + sizeof session->text];
    int status = session->wait_status;
    end[0] = (char)(status < 0            ? 127
                    : WIFEXITED(status)   ? WEXITSTATUS(status)
                    : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                          : 127);
    size_t length = strlen(session->text);
    memcpy(end + 1, session->text, length);
    send_frame(session, FRAME_END, end, 1 + length);
    http_stream_close(session->stream);
    session_free(session);
}

static void on_output(evutil_socket_t fd, short what, void *context)
{
    struct session_pipe *pipe = context;
    struct session *session = pipe->session;
    char bytes[READ_BYTES];
    (void)what;
    if (!session_allowed(session)) {
        session_cut(session);
        return;
    }
    ssize_t n = read((int)fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        if (!send_frame(session, pipe->kind, bytes, (size_t)n))
            event_del(pipe->event); /* goes on when the stream has drained */
        return;
    }
    /* A terminal's master gives EIO when the last process has let go of it. */
    if (pipe == &session->out && session->terminal)
        pipe_close(&session->in);
    pipe_close(pipe);
    finish_if_done(session);
}

static void on_stream_drained(void *context)
{
    struct session *session = context;
    if (session->out.event)
        event_add(session->out.event, NULL);
    if (session->err.event)
        event_add(session->err.event, NULL);
}

static void on_stream_closed(void *context)
{
    struct session *session = context;
    session->stream = NULL;
    session_free(session);
}

/* ---- from the client ----------------------------------------------------------------------- */

static void write_input(struct session *session)
{
    struct session_pipe *in = &session->in;
    while (in->fd >= 0 && session->waiting.length > 0) {
        ssize_t n = write(in->fd, session->waiting.text, session->waiting.length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            event_add(in->event, NULL);
            return;
        }
        if (n < 0) {
            pipe_close(in);
            return;
        }
        strbuf_consume(&session->waiting, (size_t)n);
    }
    if (session->input_ended && !session->terminal && session->waiting.length == 0)
        pipe_close(in);
    if (session->stream)
        http_stream_resume(session->stream);
}

static void on_input_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    write_input(((struct session_pipe *)context)->session);
}

static void set_window(struct session *session, const unsigned char *bytes, size_t length)
{
    if (!session->terminal || length != 4 || session->out.fd < 0)
        return;
    struct winsize size = {.ws_row = (unsigned short)(bytes[0] << 8 | bytes[1]),
        .ws_col = (unsigned short)(bytes[2] << 8 | bytes[3])};
    int ignored = ioctl(session->out.fd, TIOCSWINSZ, &size);
    (void)ignored;
}

static void take_frame(
    struct session *session, unsigned kind, const unsigned char *bytes, size_t length)
{
    if (kind == FRAME_SIZE) {
        set_window(session, bytes, length);
    } else if (kind == FRAME_STDIN && length == 0) {
        session->input_ended = true;
    } else if (kind == FRAME_STDIN && session->in.fd >= 0) {
        strbuf_append(&session->waiting, bytes, length);
    }
}

/* Takes whole frames out of what came. False when the client does not keep to the protocol. */
static bool take_frames(struct session *session)
{
    size_t used = 0;
    while (session->frames.length - used >= 4) {
        const unsigned char *frame = (const unsigned char *)session->frames.text + used;
        size_t length = (size_t)frame[1] << 16 | (size_t)frame[2] << 8 | frame[3];
        if (length > FRAME_BYTES_MAX)
            return false;
        if (session->frames.length - used < 4 + length)
            break;
        take_frame(session, frame[0], frame + 4, length);
        used += 4 + length;
    }
    strbuf_consume(&session->frames, used);
    return true;
}

static void on_stream_read(
    struct http_stream *stream, const char *bytes, size_t length, void *context)
{
    struct session *session = context;
    strbuf_append(&session->frames, bytes, length);
    /* The end of input is a frame: where the connection ends the client is gone. */
    if (!bytes || !session_allowed(session) || !take_frames(session)) {
        session_cut(session);
        return;
    }
    if (session->waiting.length > INPUT_BYTES_MAX)
        http_stream_pause(stream);
    write_input(session);
}

/* ---- starting ------------------------------------------------------------------------------ */

static void pipe_init(struct session *session, struct session_pipe *pipe, enum frame_kind kind,
    int fd, event_callback_fn callback, short what)
{
    struct event_base *base = session->owner->server->base;
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    *pipe = (struct session_pipe){.session = session, .kind = kind, .fd = fd};
    pipe->event = event_new(base, fd, what, callback, pipe);
    assert(pipe->event);
}

/* A terminal: one descriptor for both directions; ours is duplicated, so that each side can be
 * closed on its own. */
static int open_terminal(struct session *session, int theirs[3], struct error *err)
{
    int master, slave;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
        return error_set_errno(err, "cannot open a terminal");
    fcntl(master, F_SETFD, FD_CLOEXEC);
    fcntl(slave, F_SETFD, FD_CLOEXEC);
    int input = fcntl(master, F_DUPFD_CLOEXEC, 0);
    if (input < 0) {
        close(master);
        close(slave);
        return error_set_errno(err, "cannot open a terminal");
    }
    theirs[0] = theirs[1] = theirs[2] = slave;
    pipe_init(session, &session->in, FRAME_STDIN, input, on_input_writable, EV_WRITE);
    pipe_init(session, &session->out, FRAME_STDOUT, master, on_output, EV_READ | EV_PERSIST);
    return 0;
}

static int open_pipes(struct session *session, int theirs[3], struct error *err)
{
    int in[2], out[2], errors[2];
    if (pipe2(in, O_CLOEXEC) < 0)
        return error_set_errno(err, "cannot open a pipe");
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return error_set_errno(err, "cannot open a pipe");
    }
    if (pipe2(errors, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        close(out[0]);
        close(out[1]);
        return error_set_errno(err, "cannot open a pipe");
    }
    theirs[0] = in[0];
    theirs[1] = out[1];
    theirs[2] = errors[1];
    pipe_init(session, &session->in, FRAME_STDIN, in[1], on_input_writable, EV_WRITE);
    pipe_init(session, &session->out, FRAME_STDOUT, out[0], on_output, EV_READ | EV_PERSIST);
    pipe_init(session, &session->err, FRAME_STDERR, errors[0], on_output, EV_READ | EV_PERSIST);
    return 0;
}

static void close_theirs(const int theirs[3])
{
    for (int i = 0; i < 3; i++) {
        bool repeated = i > 0 && theirs[i] == theirs[0];
        if (theirs[i] >= 0 && !repeated)
            close(theirs[i]);
    }
}

static void on_upgraded(struct http_stream *stream, void *context)
{
    struct session *session = context;
    session->stream = stream;
    http_stream_set_callbacks(stream, on_stream_read, on_stream_drained, on_stream_closed, session);
    on_stream_drained(session);
    finish_if_done(session);
}

/* The command's arguments: every ?command= in order. A query has no more parameters than fit. */
static const char *const *read_command(struct call *call, struct error *err)
{
    const char **argv = arena_alloc(call->arena, ARGUMENTS_MAX + 1, sizeof *argv);
    struct http_field parameter;
    size_t count = 0;
    for (size_t i = 0; http_request_query_at(call->request, i, &parameter); i++) {
        if (strcmp(parameter.name, "command") != 0)
            continue;
        assert(count < ARGUMENTS_MAX);
        argv[count++] = arena_strdup(call->arena, parameter.value);
    }
    if (count == 0) {
        error_set(err, ERR_INVALID, "?command=: expected the command to run, one each argument");
        return NULL;
    }
    return argv;
}

static int start_command(
    struct call *call, struct session *session, uint64_t attempt, struct error *err)
{
    int theirs[3] = {-1, -1, -1};
    const char *const *argv = read_command(call, err);
    if (!argv)
        return -1;
    int rc =
        session->terminal ? open_terminal(session, theirs, err) : open_pipes(session, theirs, err);
    if (rc < 0)
        return -1;
    struct exec_request request = {.exec = session->number,
        .argv = argv,
        .fds = {theirs[0], theirs[1], theirs[2]},
        .terminal = session->terminal};
    rc = engine_exec(engines_with(call->server, attempt), attempt, &request, err);
    close_theirs(theirs);
    return rc;
}

static int find_attempt(struct call *call, uint64_t *ret_attempt, struct error *err)
{
    struct job_row job;
    if (reader_row(call->server->reader, ROW_JOB, call->job, &job, err) < 0)
        return -1;
    if (job.attempt == 0 || job.state != JOB_RUNNING)
        return error_set(
            err, ERR_CONFLICT, "the job does not run now (it is %s)", job_state_names[job.state]);
    *ret_attempt = job.attempt;
    return 0;
}

/* All ranks share a sandbox; an environment of another rank than the first is not made up. */
static int check_rank(struct call *call, struct error *err)
{
    int64_t rank;
    if (call_query_int(call, "rank", 0, &rank, err) < 0)
        return -1;
    if (rank != 0)
        return error_set(err, ERR_INVALID,
            "?rank=: expected 0: commands run in the sandbox that all ranks share, with the "
            "environment of the first");
    return 0;
}

/* What the evaluation of a promotion measures decides about a stage: whoever asked for the stage is
 * not to write the measure. Administrators are whom gates do not hold. */
static int check_evaluation(struct call *call, struct error *err)
{
    const struct job_row *row = core_job(call->server->core, call->job);
    const struct doc *manifest =
        row ? status_job_manifest(call->server, call->arena, row->array ? row->array : row->id)
            : NULL;
    if (!doc_get(doc_get(doc_get(manifest, "metadata"), "labels"), PROMOTION_LABEL))
        return 0;
    if (identity_require(call->server->catalog, &call->identity, call->team, ROLE_ADMIN, err) == 0)
        return 0;
    return error_prefix(err, "the job evaluates a version for a promotion");
}

/* What may keep a command from starting; asked before its audit event is written and again after.
 */
static int check_start(struct call *call, uint64_t *ret_attempt, struct error *err)
{
    if (!http_request_wants_upgrade(call->request, "muster-exec"))
        return error_set(
            err, ERR_INVALID, "this route takes Upgrade: muster-exec (see docs/api.md)");
    if (call->server->execs->list.count >= SESSIONS_MAX)
        return error_set(
            err, ERR_BUSY, "%d commands run in jobs already; try again later", SESSIONS_MAX);
    if (call_one_job(call, err) < 0 || check_rank(call, err) < 0 || check_evaluation(call, err) < 0)
        return -1;
    return find_attempt(call, ret_attempt, err);
}

static void start_session(struct call *call)
{
    struct exec_sessions *sessions = call->server->execs;
    struct error err;
    uint64_t attempt = 0;
    if (check_start(call, &attempt, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct session *session = mem_alloc(1, sizeof *session);
    session->owner = sessions;
    session->identity = call->identity;
    session->team = mem_strdup(call->team);
    session->number = ++sessions->last_number;
    session->in.fd = session->out.fd = session->err.fd = -1;
    session->terminal = call_query_flag(call, "tty");
    vec_push(&sessions->list, session);
    if (start_command(call, session, attempt, &err) < 0) {
        session_free(session);
        call_fail(call, &err);
        return;
    }
    http_respond_upgrade(call->request, "muster-exec", on_upgraded, session);
}

/* Who went into which job is in the audit log before the command runs; what the command was is not,
 * for arguments may hold what nobody else should read. */
static int run_audit(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct job_row job;
    if (reader_row(call->server->reader, ROW_JOB, call->job, &job, err) < 0)
        return -1;
    tick_audit(
        tick, "job-exec", "job", reader_symbol(call->server->reader, job.name), call->team, NULL);
    return 0;
}

void api_job_exec(struct call *call)
{
    struct error err;
    uint64_t attempt;
    if (check_start(call, &attempt, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run_audit, start_session);
}

void exec_ended(struct exec_sessions *sessions, const struct report *report)
{
    for (size_t i = 0; i < sessions->list.count; i++) {
        struct session *session = sessions->list.items[i];
        if (session->number != report->exec.exec)
            continue;
        session->ended = true;
        session->wait_status = report->exec.wait_status;
        if (report->exec.text)
            snprintf(session->text, sizeof session->text, "%s", report->exec.text);
        finish_if_done(session);
        return;
    }
}
