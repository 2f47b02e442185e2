/* muster exec: a command inside a running job.
 *
 * The connection is upgraded to muster-exec: frames of one byte kind, three bytes length
 * (big-endian) and payload. Sent: 0 standard input (an empty one ends it), 3 the window's size
 * (rows, columns, two bytes each). Received: 1 standard output, 2 standard error, 4 the end (the
 * exit status in one byte, then text). A terminal that was made raw is given back on every way
 * out, signals included. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum frame_kind { FRAME_INPUT, FRAME_OUTPUT, FRAME_ERROR, FRAME_WINDOW, FRAME_END };
enum { FRAME_HEAD = 4, FRAME_BYTES_MAX = 1 << 20, PIECE = 16 * 1024 };

static const struct option_spec options[] = {
    {"tty", 't', OPTION_FLAG, NULL, "give the command a terminal: for shells and editors"},
    {"rank", 'r', OPTION_NUMBER, "N", "in the environment of this rank; 0 by default"},
    JOB_TEAM_OPTION,
    {NULL},
};

/* What a signal handler has to undo; there is one terminal. */
static struct termios terminal_before;
static volatile sig_atomic_t terminal_raw;
static volatile sig_atomic_t window_changed;

static void restore_terminal(void)
{
    if (terminal_raw)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_before);
    terminal_raw = 0;
}

static void on_end_signal(int number)
{
    restore_terminal();
    _exit(128 + number);
}

static void on_window(int number)
{
    (void)number;
    window_changed = 1;
}

static int make_raw(struct error *err)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    if (tcgetattr(STDIN_FILENO, &terminal_before) < 0)
        return error_set_errno(err, "cannot read the terminal's settings");
    struct sigaction end = {.sa_handler = on_end_signal};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        sigaction(ends[i], &end, NULL);
    struct sigaction window = {.sa_handler = on_window};
    sigaction(SIGWINCH, &window, NULL);
    struct termios raw = terminal_before;
    cfmakeraw(&raw);
    terminal_raw = 1;
    atexit(restore_terminal);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
        return error_set_errno(err, "cannot set the terminal");
    return 0;
}

struct session {
    struct cli *cli;
    struct http_client *http;
    struct strbuf received;
    bool input_open;
    bool ended;
};

static int send_frame(struct session *session, enum frame_kind kind, const void *bytes,
    size_t length, struct error *err)
{
    assert(length <= PIECE);
    unsigned char frame[FRAME_HEAD + PIECE] = {(unsigned char)kind, (unsigned char)(length >> 16),
        (unsigned char)(length >> 8), (unsigned char)length};
    memcpy(frame + FRAME_HEAD, bytes, length);
    return http_client_write(session->http, frame, FRAME_HEAD + length, err);
}

static int send_window(struct session *session, struct error *err)
{
    struct winsize size;
    window_changed = 0;
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    unsigned char bytes[] = {(unsigned char)(size.ws_row >> 8), (unsigned char)size.ws_row,
        (unsigned char)(size.ws_col >> 8), (unsigned char)size.ws_col};
    return send_frame(session, FRAME_WINDOW, bytes, sizeof bytes, err);
}

static int forward_input(struct session *session, struct error *err)
{
    char piece[PIECE];
    ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0) {
        session->input_open = false;
        n = 0;
    }
    return send_frame(session, FRAME_INPUT, piece, (size_t)n, err);
}

static int take_frame(struct session *session, enum frame_kind kind, const char *payload,
    size_t length, struct error *err)
{
    if (kind == FRAME_OUTPUT)
        return cli_write(session->cli, payload, length, err);
    if (kind == FRAME_ERROR)
        return file_write_all(STDERR_FILENO, payload, length, err);
    if (kind != FRAME_END)
        return 0; /* of a later version */
    session->ended = true;
    session->cli->exit_status = length > 0 ? (unsigned char)payload[0] : 1;
    if (length > 1) {
        restore_terminal();
        cli_note(session->cli, "%.*s", (int)length - 1, payload + 1);
    }
    return 0;
}

static int take_frames(struct session *session, struct error *err)
{
    struct strbuf *received = &session->received;
    while (!session->ended && received->length >= FRAME_HEAD) {
        const unsigned char *head = (const unsigned char *)received->text;
        size_t length = (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (length > FRAME_BYTES_MAX)
            return error_set(err, ERR_INVALID, "the server sent a frame that is too long");
        if (received->length < FRAME_HEAD + length)
            break;
        if (take_frame(
                session, (enum frame_kind)head[0], received->text + FRAME_HEAD, length, err) < 0)
            return -1;
        strbuf_consume(received, FRAME_HEAD + length);
    }
    return 0;
}

static int forward_output(struct session *session, struct error *err)
{
    char piece[PIECE];
    ssize_t n = http_client_read(session->http, piece, sizeof piece, 0, err);
    if (n < 0 && err->code == ERR_BUSY)
        return 0;
    if (n < 0)
        return -1;
    if (n == 0)
        return error_set(err, ERR_UNAVAILABLE, "the connection ended before the command did");
    strbuf_append(&session->received, piece, (size_t)n);
    return take_frames(session, err);
}

static int pump(struct session *session, struct error *err)
{
    while (!session->ended) {
        struct pollfd fds[] = {{http_client_fd(session->http), POLLIN, 0},
            {session->input_open ? STDIN_FILENO : -1, POLLIN, 0}};
        bool pending = http_client_pending(session->http);
        int ready = poll(fds, ARRAY_LEN(fds), pending ? 0 : -1);
        if (ready < 0 && errno != EINTR)
            return error_set_errno(err, "cannot wait for the connection");
        if (window_changed && send_window(session, err) < 0)
            return -1;
        if (ready < 0)
            continue;
        if ((pending || fds[0].revents) && forward_output(session, err) < 0)
            return -1;
        if (!session->ended && fds[1].revents && forward_input(session, err) < 0)
            return -1;
    }
    return 0;
}

static void append_target(struct cli *cli, bool tty, struct strbuf *target)
{
    char *const *command = arguments_command(cli->args);
    job_append_target(cli, target, arguments_operand(cli->args, 0), "/exec");
    for (size_t i = 0; command[i]; i++)
        url_add_query(target, "command", command[i]);
    if (arguments_text(cli->args, "rank"))
        url_add_query(target, "rank", arguments_text(cli->args, "rank"));
    if (tty)
        url_add_query(target, "tty", "true");
}

static int run(struct cli *cli, struct error *err)
{
    bool tty = arguments_flag(cli->args, "tty");
    if (tty && !isatty(STDIN_FILENO))
        return error_set(err, ERR_INVALID, "-t needs a terminal as standard input");
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct strbuf target = {0};
    append_target(cli, tty, &target);
    int failed = api_upgrade(api, target.text, "muster-exec", err);
    strbuf_finish(&target);
    if (failed)
        return -1;
    struct session session = {.cli = cli, .http = api_http(api), .input_open = true};
    failed = tty && (make_raw(err) < 0 || send_window(&session, err) < 0);
    if (!failed)
        failed = pump(&session, err);
    restore_terminal();
    strbuf_finish(&session.received);
    return failed ? -1 : 0;
}

const struct verb verb_exec = {
    .name = "exec",
    .operands = "JOB -- COMMAND...",
    .summary = "run a command inside a running job",
    .description =
        "The command runs in the job's sandbox, as the job's user, and ends with the job at the "
        "latest. Its exit status becomes that of muster exec.",
    .examples = "muster exec vision/train -- nvidia-smi\n"
                "muster exec -t vision/train -- bash",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
