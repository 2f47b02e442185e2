/* What a shim is told: by init about the ranks, by servers about the attempt. A message that is not
 * of the tables, or that says what cannot be, changes nothing. */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/shim_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

/* ---- What init says ---------------------------------------------------------------------- */

/* The kernel says who sent this: the pid of process 1 as this machine numbers it. It is waiting
 * for an answer, so the pid is its own for as long as this takes. */
static void take_hello(struct shim *shim, const struct record *message)
{
    (void)message;
    SCOPED(strbuf_finish) struct strbuf go = {0};
    if (shim->sandbox_pidfd >= 0 || shim->message.pid <= 1)
        return;
    shim->sandbox_pidfd = pidfd_open(shim->message.pid, 0);
    if (shim->sandbox_pidfd < 0)
        return;
    shim->sandbox_alive = true;
    event_assign(shim->sandbox_gone, shim->base, shim->sandbox_pidfd, EV_READ,
        event_get_callback(shim->sandbox_gone), shim);
    event_add(shim->sandbox_gone, NULL);
    shim->status.sandbox_pid = shim->message.pid;
    shim->status.sandbox_start = process_start_time(shim->message.pid);
    if (shim_publish(shim) < 0 || shim->facts.killed || !shim->bubblewrap_alive) {
        shim_kill_tree(shim);
        return;
    }
    record_put(&go, "type", "go");
    shim_ask_init(shim, &go, NULL, 0);
}

static void take_failed(struct shim *shim, const struct record *message)
{
    struct end_facts *facts = &shim->facts;
    const char *text = record_text(message, "text");
    if (facts->start_failed)
        return;
    facts->start_failed = true;
    facts->start_errno = (int)record_number(message, "errno", 0);
    snprintf(facts->start_text, sizeof facts->start_text, "%s%s%s", text ? text : "",
        facts->start_errno ? ": " : "", facts->start_errno ? strerror(facts->start_errno) : "");
    shim_kill_tree(shim);
}

/* The index of a rank on this node, or -1. */
static int rank_index(const struct shim *shim, const struct record *message)
{
    uint64_t rank = record_number(message, "rank", UINT64_MAX);
    uint64_t first = shim->files.place->first_rank;
    return rank >= first && rank < first + shim->files.place->ranks ? (int)(rank - first) : -1;
}

static void take_executed(struct shim *shim, const struct record *message)
{
    int i = rank_index(shim, message);
    if (i < 0 || shim->status.ranks[i] != RANK_STARTING)
        return;
    shim->status.ranks[i] = RANK_RUNNING;
    if (++shim->executed < shim->files.place->ranks)
        return;
    shim->status.state = shim->kill_at_ms ? ENGINE_ATTEMPT_STOPPING : ENGINE_ATTEMPT_RUNNING;
    shim->status.end.started_ms = clock_wall_ms();
    (void)!shim_publish(shim);
    if (shim->kill_at_ms)
        shim_send_term(shim);
    if (shim->files.launch.time_limit_ms)
        shim_set_timer(shim->time_over, (int64_t)shim->files.launch.time_limit_ms);
    shim_set_timer(shim->watch, 0);
}

static void take_exited(struct shim *shim, const struct record *message)
{
    int i = rank_index(shim, message);
    int status = (int)record_number(message, "status", UINT32_MAX);
    if (i < 0 || shim->status.ranks[i] >= 0 || status < 0)
        return;
    shim->status.ranks[i] = status;
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (failed && shim->facts.failed_rank < 0) {
        shim->facts.failed_rank = (int32_t)shim->files.place->first_rank + i;
        shim->facts.failed_status = status;
    }
    (void)!shim_publish(shim);
    if (failed)
        shim_end_gently(shim, CAUSE_RANK_FAILED, shim->files.launch.grace_ms);
}

static void take_usage(struct shim *shim, const struct record *message)
{
    usage_decode(message, &shim->usage);
    shim_watch_memory(shim);
    if (clock_boot_ms() >= shim->sample_at_ms)
        shim_tell_sample(shim);
}

static void take_exec_ended(struct shim *shim, const struct record *message)
{
    (void)message;
    SCOPED(strbuf_finish) struct strbuf copy = {0};
    strbuf_append(&copy, shim->message.text, shim->message.size);
    shim_clients_tell(shim->clients, &copy, false);
}

static const struct {
    const char *type;
    void (*take)(struct shim *shim, const struct record *message);
} init_messages[] = {
    {"hello", take_hello},
    {"failed", take_failed},
    {"executed", take_executed},
    {"exited", take_exited},
    {"usage", take_usage},
    {"exec-ended", take_exec_ended},
};

static void take_init_message(struct shim *shim)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record record;
    if (record_parse(arena, shim->message.text, shim->message.size, &record, NULL) < 0)
        return;
    const char *type = record_text(&record, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(init_messages); i++) {
        if (!strcmp(init_messages[i].type, type))
            init_messages[i].take(shim, &record);
    }
}

void shim_on_channel(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)events;
    for (;;) {
        int got = channel_receive(fd, false, &shim->message);
        if (got < 0)
            event_del(shim->channel_readable);
        if (got <= 0)
            return;
        take_init_message(shim);
        channel_message_finish(&shim->message);
    }
}

/* ---- What servers ask -------------------------------------------------------------------- */

static void do_stop(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)m;
    shim->facts.stop_asked = true;
    shim_end_gently(shim, CAUSE_STOP, record_number(request, "grace_ms", 0));
}

static void do_kill(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)request, (void)m;
    shim->facts.stop_asked = true;
    shim_end_now(shim, CAUSE_KILL);
}

static void do_exec(
    struct shim *shim, const struct record *request, const struct channel_message *m)
{
    (void)request;
    SCOPED(strbuf_finish) struct strbuf copy = {0};
    strbuf_append(&copy, m->text, m->size);
    if (m->fd_count == CHANNEL_FDS_MAX)
        shim_ask_init(shim, &copy, m->fds, m->fd_count);
}

static const struct {
    const char *type;
    void (*run)(struct shim *shim, const struct record *request, const struct channel_message *m);
} requests[] = {{"stop", do_stop}, {"kill", do_kill}, {"exec", do_exec}};

void shim_on_request(
    void *context, const struct record *request, const struct channel_message *message)
{
    const char *type = record_text(request, "type");
    for (size_t i = 0; type && i < ARRAY_LEN(requests); i++) {
        if (!strcmp(requests[i].type, type))
            requests[i].run(context, request, message);
    }
}
