/* One attempt as its shim sees it, for the files shim*.c alone. All of it belongs to one thread,
 * the loop of `base`. */
#pragma once

#include "engine/channel.h"
#include "engine/end.h"
#include "engine/init_usage.h"
#include "engine/joblog.h"
#include "engine/shim_clients.h"
#include "engine/shim_setup.h"
#include "engine/status.h"
#include "engine/tree.h"

#include <event2/event.h>

struct shim_stream {
    struct shim *shim;
    int fd; /* -1: it ended */
    struct event *readable;
    struct joblog_stream text;
};

struct shim {
    struct shim_files files;
    struct shim_child child;
    struct status status;
    struct event_base *base;
    struct shim_clients *clients;
    struct joblog_writer *log;
    struct shim_stream *streams; /* two a rank */
    uint32_t stream_count;
    uint32_t open_streams;
    char trouble[200]; /* what bubblewrap said */

    struct event *channel_readable;
    struct event *bubblewrap_gone;
    struct event *sandbox_gone;
    struct event *drained;
    struct event *grace_over;
    struct event *time_over;
    struct event *watch;
    struct event *shutdown;
    int bubblewrap_pidfd;
    int sandbox_pidfd; /* -1: not known yet */
    bool bubblewrap_alive;
    bool sandbox_alive;

    struct end_facts facts;
    int64_t kill_at_ms; /* boot clock; 0: no stop under way */
    uint32_t executed;

    struct usage_total usage; /* as init last told */
    uint64_t memory_peak_bytes;
    uint64_t disk_bytes;
    struct tree_measure checkpoint;
    int64_t sample_at_ms; /* boot clock: when the next sample is due */
    struct channel_message message;
};

/* ---- shim.c ------------------------------------------------------------------------------ */

/* Stores the status and tells it. A status that cannot be stored is told all the same: a full
 * disk must not stop the reports of a job that runs. -1: it could not be stored. */
int shim_publish(struct shim *shim);
/* Adds `timer`, `ms` from now; at once where that is past. */
void shim_set_timer(struct event *timer, int64_t ms);
/* Sends init a message with `count` descriptors; it is lost where init does not read. */
void shim_ask_init(struct shim *shim, const struct strbuf *message, const int *fds, size_t count);
/* Ends the attempt, if its processes are gone and their output is read. */
void shim_finish_if_over(struct shim *shim);

/* ---- shim_stop.c ------------------------------------------------------------------------- */

/* Kills what runs, without a word about why. */
void shim_kill_tree(struct shim *shim);
/* SIGTERM to every rank. */
void shim_send_term(struct shim *shim);
/* Ends the attempt now; `cause` counts unless there is an earlier one. */
void shim_end_now(struct shim *shim, enum end_cause cause);
/* Tells the ranks to end, and kills them when the grace is over. A second call may only bring
 * the end nearer. Ranks that are still being started are told once they all are. */
void shim_end_gently(struct shim *shim, enum end_cause cause, uint64_t grace_ms);
/* The events of the grace, of the time limit, and of SIGTERM to the shim itself. */
void shim_on_grace_over(evutil_socket_t fd, short events, void *context);
void shim_on_time_over(evutil_socket_t fd, short events, void *context);
void shim_on_shutdown(evutil_socket_t number, short events, void *context);

/* ---- shim_watch.c ------------------------------------------------------------------------ */

/* Begins to log what the ranks write. */
void shim_open_streams(struct shim *shim);
/* Nobody is left who could write: ends the streams that are still open. */
void shim_on_drained(evutil_socket_t fd, short events, void *context);
/* Tells what the attempt uses; the next sample is due `sample_ms` later. */
void shim_tell_sample(struct shim *shim);
/* Measures what it may write to; too much of it ends the attempt. */
void shim_watch_disk(struct shim *shim);
/* Looks at the memory that init told, where no control group bounds it. */
void shim_watch_memory(struct shim *shim);
void shim_on_watch(evutil_socket_t fd, short events, void *context);

/* ---- shim_messages.c --------------------------------------------------------------------- */

/* Reads all that init has said. Its last messages stay readable after it has ended: they are read
 * before the end is decided. */
void shim_on_channel(evutil_socket_t fd, short events, void *context);
/* What a server asks: stop, kill, exec. */
void shim_on_request(
    void *context, const struct record *request, const struct channel_message *message);
