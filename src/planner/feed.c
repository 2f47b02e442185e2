/* The feed's copy: see feed.h, and planner.c for the order of things. */
#include "planner/feed.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "planner/snapshot.h"
#include "store/store.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LESSONS_MAX = 20000,
    TICK_BYTES_MAX = 256 << 20, /* of rows of one tick */
};

struct feed_copy {
    char *data_dir;
    struct copy *copy;
    struct history *history;
    struct core_options options; /* of the server's core */
    struct strbuf rows;          /* of the tick that is coming in */
    int64_t rows_tick;
    int64_t tick; /* of the copy */
    bool greeted, ready, learned;
    struct feed_copy_stats stats;
};

struct feed_copy *feed_copy_create(const char *data_dir)
{
    struct feed_copy *feed = mem_alloc(1, sizeof *feed);
    feed->data_dir = mem_strdup(data_dir);
    feed->copy = copy_create();
    feed->history = history_create();
    return feed;
}

void feed_copy_destroy(struct feed_copy *feed)
{
    if (!feed)
        return;
    copy_destroy(feed->copy);
    history_destroy(feed->history);
    strbuf_finish(&feed->rows);
    free(feed->data_dir);
    free(feed);
}

void feed_copy_reset(struct feed_copy *feed)
{
    feed->greeted = feed->ready = false;
    strbuf_finish(&feed->rows);
    copy_clear(feed->copy);
}

/* ---- the snapshot -------------------------------------------------------------------------- */

static int read_snapshot(struct feed_copy *feed, struct error *err)
{
    struct store_reader *reader = NULL;
    int64_t begin_ns = clock_monotonic_ns(), tick;
    feed->ready = false;
    copy_clear(feed->copy);
    if (store_reader_open(feed->data_dir, NULL, &reader, err) < 0)
        return -1;
    int failed = snapshot_read(reader, feed->copy, &tick, err);
    if (!failed && !feed->learned) {
        struct error ignored;
        if (snapshot_learn(reader, feed->history, LESSONS_MAX, &ignored) < 0)
            log_warn("earlier jobs could not be read: %s", ignored.text);
        feed->learned = true;
    }
    store_reader_close(reader);
    if (failed)
        return -1;
    feed->tick = tick;
    feed->ready = true;
    feed->stats.snapshots++;
    feed->stats.snapshot_ns = clock_monotonic_ns() - begin_ns;
    log_info("following from tick %" PRId64 ", %zu jobs, read in %" PRId64 " ms", tick,
        copy_count(feed->copy, ROW_JOB), feed->stats.snapshot_ns / 1000000);
    return 0;
}

static int on_hello(struct feed_copy *feed, struct frame_cursor *body, struct error *err)
{
    if (frame_get_hello(body, &feed->options, err) < 0)
        return -1;
    feed->greeted = true;
    return read_snapshot(feed, err);
}

/* ---- a tick -------------------------------------------------------------------------------- */

static const char *text_of(const struct feed_copy *feed, uint32_t symbol)
{
    const struct symbol_row *row = symbol ? copy_find(feed->copy, ROW_SYMBOL, symbol) : NULL;
    return row ? row->text : "";
}

static void learn(struct feed_copy *feed, const struct attempt_row *attempt)
{
    const struct job_row *job = copy_find(feed->copy, ROW_JOB, attempt->job);
    struct history_job known;
    if (!snapshot_tells(attempt) || !job || job->service)
        return;
    const struct team_row *team = copy_find(feed->copy, ROW_TEAM, job->team);
    history_describe(job, copy_find(feed->copy, ROW_SHAPE, job->shape),
        team ? text_of(feed, team->name) : "", text_of(feed, job->name),
        text_of(feed, job->class_name), &known);
    history_learn(feed->history, &known, attempt->ended_ms - attempt->started_ms);
}

/* What is new first, so that attempts that ended still find their jobs' names; then what goes. */
static int apply_rows(struct feed_copy *feed, bool going, struct error *err)
{
    struct frame_cursor body = {(const unsigned char *)feed->rows.text, feed->rows.length};
    struct frame_row row;
    int more;
    while ((more = frame_get_row(&body, &row, err)) > 0) {
        if (!going && row.change == CHANGE_PUT)
            copy_put(feed->copy, row.kind, &row.row);
        else if (!going && row.change == CHANGE_RETIRE && row.kind == ROW_ATTEMPT)
            learn(feed, (const struct attempt_row *)(const void *)&row.row);
        else if (going && row.change != CHANGE_PUT)
            copy_remove(feed->copy, row.kind, row.row.id);
    }
    return more;
}

static int on_rows(struct feed_copy *feed, struct frame_cursor *body, struct error *err)
{
    uint64_t tick;
    if (frame_get_u64(body, &tick, err) < 0)
        return -1;
    if ((int64_t)tick != feed->rows_tick) {
        strbuf_clear(&feed->rows);
        feed->rows_tick = (int64_t)tick;
    }
    if (feed->rows.length + body->left > TICK_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE, "a tick of more than %d bytes", TICK_BYTES_MAX);
    strbuf_append(&feed->rows, body->at, body->left);
    return 0;
}

static void count_lag(struct feed_copy *feed, uint64_t committed_ns)
{
    int64_t lag_ns = clock_monotonic_ns() - (int64_t)committed_ns;
    feed->stats.lag_ns = lag_ns;
    feed->stats.lag_max_ns = lag_ns > feed->stats.lag_max_ns ? lag_ns : feed->stats.lag_max_ns;
    feed->stats.ticks++;
}

static int on_tick(struct feed_copy *feed, struct frame_cursor *body, struct error *err)
{
    uint64_t tick, committed_ns;
    if (frame_get_u64(body, &tick, err) < 0 || frame_get_u64(body, &committed_ns, err) < 0)
        return -1;
    int failed = 0;
    if (feed->rows_tick != (int64_t)tick)
        strbuf_clear(&feed->rows);
    if ((int64_t)tick > feed->tick + 1) {
        failed = read_snapshot(feed, err);
        if (!failed && feed->tick < (int64_t)tick)
            return error_set(err, ERR_CORRUPT, "the store does not have tick %" PRIu64, tick);
    } else if ((int64_t)tick == feed->tick + 1) {
        failed = apply_rows(feed, false, err) < 0 || apply_rows(feed, true, err) < 0 ? -1 : 0;
        feed->tick = (int64_t)tick;
        count_lag(feed, committed_ns);
    }
    strbuf_clear(&feed->rows);
    return failed;
}

/* A slice is of the state after the newest tick that was sent; a snapshot may be newer. */
static int on_slice(struct feed_copy *feed, struct frame_cursor *body, struct error *err)
{
    struct frame_slice slice;
    uint64_t tick;
    if (frame_get_u64(body, &tick, err) < 0 || frame_get_slice(body, &slice, err) < 0)
        return -1;
    if ((int64_t)tick != feed->tick)
        return 0;
    feed->stats.slices++;
    if (copy_digest(feed->copy, slice.kind, slice.after, slice.last) == slice.digest)
        return 0;
    feed->stats.mismatches++;
    log_error("the copy differs from the live state: tick %" PRIu64 ", %s %" PRIu64 " to %" PRIu64
              "; it is read again",
        tick, row_type(slice.kind)->name, slice.after + 1, slice.last);
    return read_snapshot(feed, err);
}

int feed_copy_take(struct feed_copy *feed, const struct frame *frame, struct error *err)
{
    struct frame_cursor body = frame->body;
    if (feed->greeted != (frame->kind != FRAME_HELLO))
        return error_set(err, ERR_INVALID, "frames in a wrong order");
    switch (frame->kind) {
    case FRAME_HELLO: return on_hello(feed, &body, err);
    case FRAME_ROWS: return on_rows(feed, &body, err);
    case FRAME_TICK: return on_tick(feed, &body, err);
    case FRAME_SLICE: return on_slice(feed, &body, err);
    default: return error_set(err, ERR_INVALID, "a frame of kind %d", (int)frame->kind);
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

bool feed_copy_ready(const struct feed_copy *feed)
{
    return feed->ready;
}

const struct core_options *feed_copy_options(const struct feed_copy *feed)
{
    return &feed->options;
}

const struct copy *feed_copy_rows(const struct feed_copy *feed)
{
    return feed->copy;
}

const struct history *feed_copy_history(const struct feed_copy *feed)
{
    return feed->history;
}

int64_t feed_copy_tick(const struct feed_copy *feed)
{
    return feed->tick;
}

void feed_copy_stats(const struct feed_copy *feed, struct feed_copy_stats *ret)
{
    *ret = feed->stats;
    ret->tick = feed->tick;
    ret->bytes = (int64_t)copy_bytes(feed->copy);
    ret->learned = history_learned(feed->history);
}
