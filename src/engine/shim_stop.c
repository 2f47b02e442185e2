/* How a shim ends its attempt: the ranks are told, have their grace, and are killed. The first
 * cause is the one that counts, whatever comes after it. */
#include "base/clock.h"
#include "engine/shim_state.h"

#include <signal.h>
#include <sys/pidfd.h>

void shim_kill_tree(struct shim *shim)
{
    shim->facts.killed = true;
    if (shim->sandbox_pidfd >= 0)
        pidfd_send_signal(shim->sandbox_pidfd, SIGKILL, NULL, 0);
    else if (shim->bubblewrap_alive)
        pidfd_send_signal(shim->bubblewrap_pidfd, SIGKILL, NULL, 0);
}

void shim_send_term(struct shim *shim)
{
    SCOPED(strbuf_finish) struct strbuf message = {0};
    record_put(&message, "type", "signal");
    record_put_number(&message, "signal", SIGTERM);
    shim_ask_init(shim, &message, NULL, 0);
}

static void note_cause(struct shim *shim, enum end_cause cause)
{
    if (shim->facts.cause == CAUSE_NONE)
        shim->facts.cause = cause;
    if (shim->status.state == ENGINE_ATTEMPT_RUNNING) {
        shim->status.state = ENGINE_ATTEMPT_STOPPING;
        (void)!shim_publish(shim);
    }
}

void shim_end_now(struct shim *shim, enum end_cause cause)
{
    note_cause(shim, cause);
    shim_kill_tree(shim);
}

void shim_end_gently(struct shim *shim, enum end_cause cause, uint64_t grace_ms)
{
    int64_t now = clock_boot_ms();
    int64_t kill_at = grace_ms > INT32_MAX ? now + INT32_MAX : now + (int64_t)grace_ms;
    bool first = shim->kill_at_ms == 0;
    bool running = shim->status.state == ENGINE_ATTEMPT_RUNNING;
    note_cause(shim, cause);
    if (first || kill_at < shim->kill_at_ms) {
        shim->kill_at_ms = kill_at;
        shim_set_timer(shim->grace_over, kill_at - now);
    }
    if (first && running)
        shim_send_term(shim);
}

void shim_on_grace_over(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events;
    shim_kill_tree(context);
}

void shim_on_time_over(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    shim_end_gently(shim, CAUSE_TIME, shim->files.launch.grace_ms);
}

/* The machine shuts down: the job gets the chance to save its state that a stop gives it. */
void shim_on_shutdown(evutil_socket_t number, short events, void *context)
{
    struct shim *shim = context;
    (void)number, (void)events;
    shim->facts.stop_asked = true;
    shim_end_gently(shim, CAUSE_STOP, shim->files.launch.grace_ms);
}
