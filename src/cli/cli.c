/* The surroundings of a verb: see cli.h. The only state of the process is the flag a signal sets.
 */
#include "cli/cli.h"

#include "base/memory.h"
#include "cli/api.h"
#include "cli/endpoint.h"
#include "cli/text.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t watched_fd = -1;

static void on_interrupt(int signal_number)
{
    /* The second time nobody is to wait for a polite end. */
    if (interrupted)
        _exit(128 + signal_number);
    interrupted = signal_number;
    if (watched_fd >= 0)
        shutdown(watched_fd, SHUT_RDWR);
}

void cli_catch_interrupts(int fd)
{
    /* Without SA_RESTART: what blocks is to notice. */
    struct sigaction action = {.sa_handler = on_interrupt};
    watched_fd = fd;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_pause(int64_t ms)
{
    assert(ms >= 0);
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

void cli_init(struct cli *cli, const struct arguments *args)
{
    *cli = (struct cli){.args = args, .arena = arena_create()};
    const char *term = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    cli->terminal = isatty(STDOUT_FILENO);
    cli->colour = cli->terminal && !(no_colour && *no_colour) && !(term && !strcmp(term, "dumb"));
    /* A closed pipe is an error of write, not a death in the middle of a request. */
    signal(SIGPIPE, SIG_IGN);
}

void cli_finish(struct cli *cli)
{
    api_destroy(cli->api);
    strbuf_finish(&cli->problem);
    arena_destroy(cli->arena);
    *cli = (struct cli){0};
}

static const char *variable(const char *name)
{
    return getenv(name);
}

struct api *cli_api(struct cli *cli, struct error *err)
{
    assert(arguments_verb(cli->args)->scope == VERB_REMOTE);
    if (!cli->api)
        cli->api = cli_api_another(cli, err);
    return cli->api;
}

struct api *cli_api_another(struct cli *cli, struct error *err)
{
    struct endpoint_sources sources = {arguments_text(cli->args, "endpoint"),
        arguments_text(cli->args, "ca"), arguments_text(cli->args, "token-file"), variable};
    struct endpoint endpoint;
    if (endpoint_resolve(cli->arena, &sources, &endpoint, err) < 0)
        return NULL;
    return api_create(&endpoint, err);
}

int cli_write(struct cli *cli, const void *bytes, size_t length, struct error *err)
{
    (void)cli;
    const char *next = bytes;
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, next, length);
        if (n < 0 && errno == EINTR)
            continue;
        /* `muster get jobs | head`: the reader has what it wanted. */
        if (n < 0 && errno == EPIPE)
            _exit(128 + SIGPIPE);
        if (n < 0)
            return error_set_errno(err, "cannot write to standard output");
        next += n;
        length -= (size_t)n;
    }
    return 0;
}

int cli_puts(struct cli *cli, const char *text, struct error *err)
{
    return cli_write(cli, text, strlen(text), err);
}

int cli_write_doc(struct cli *cli, const struct doc *doc, const char *format, struct error *err)
{
    struct strbuf text = {0};
    if (!strcmp(format, "yaml"))
        doc_write_yaml(doc, &text);
    else
        doc_write_json(doc, 2, &text);
    if (text.length == 0 || text.text[text.length - 1] != '\n')
        strbuf_putc(&text, '\n');
    int failed = cli_write(cli, text.text, text.length, err);
    strbuf_finish(&text);
    return failed;
}

void cli_note(struct cli *cli, const char *format, ...)
{
    (void)cli;
    struct strbuf raw = {0}, safe = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&raw, format, args);
    va_end(args);
    text_append_safe(&safe, strbuf_text(&raw));
    fprintf(stderr, "muster: %s\n", strbuf_text(&safe));
    strbuf_finish(&raw);
    strbuf_finish(&safe);
}
