/* Snapshots of the store: see snapshot.h. */
#include "planner/snapshot.h"

#include "base/vec.h"
#include "store/store.h"

#include <stdio.h>

enum { PAGE = 50000 };

struct filling {
    struct copy *copy;
    enum row_kind kind;
    uint64_t last;
    size_t count;
};

static int on_row(void *context, const void *row, struct error *err)
{
    struct filling *filling = context;
    (void)err;
    copy_put(filling->copy, filling->kind, row);
    filling->last = *(const uint64_t *)row;
    filling->count++;
    return 0;
}

static int read_kind(
    struct store_reader *reader, struct copy *copy, enum row_kind kind, struct error *err)
{
    static const struct row_condition live = {"live", ROW_EQUAL, 1};
    struct filling filling = {.copy = copy, .kind = kind};
    do {
        struct row_query query = {.kind = kind,
            .conditions = &live,
            .condition_count = row_type(kind)->deleted ? 0 : 1,
            .after = filling.last,
            .limit = PAGE};
        filling.count = 0;
        if (reader_rows(reader, &query, on_row, &filling, err) < 0)
            return error_prefix(err, "reading the rows of %s", row_type(kind)->name);
    } while (filling.count == PAGE);
    return 0;
}

int snapshot_read(
    struct store_reader *reader, struct copy *copy, int64_t *ret_tick, struct error *err)
{
    int64_t tick;
    if (reader_begin(reader, err) < 0)
        return -1;
    int failed = reader_tick(reader, &tick, err);
    for (int kind = 0; !failed && kind < ROW_KIND_COUNT; kind++) {
        if (!row_type((enum row_kind)kind)->history)
            failed = read_kind(reader, copy, (enum row_kind)kind, err);
    }
    reader_end(reader);
    if (!failed)
        *ret_tick = tick;
    return failed;
}

/* ---- lengths ------------------------------------------------------------------------------- */

bool snapshot_tells(const struct attempt_row *attempt)
{
    switch (attempt->end_reason) {
    case END_SUCCEEDED:
    case END_EXIT:
    case END_SIGNAL:
    case END_OUT_OF_MEMORY:
    case END_DISK_QUOTA:
    case END_TIME_LIMIT: return attempt->started_ms > 0 && attempt->ended_ms >= attempt->started_ms;
    default: return false;
    }
}

struct lessons {
    VEC(struct attempt_row) attempts;
};

static int on_attempt(void *context, const void *row, struct error *err)
{
    struct lessons *lessons = context;
    (void)err;
    if (snapshot_tells(row))
        vec_push(&lessons->attempts, *(const struct attempt_row *)row);
    return 0;
}

/* A row that retention removed meanwhile is no failure. */
static void learn_one(
    struct store_reader *reader, struct history *history, const struct attempt_row *attempt)
{
    struct job_row job;
    struct shape_row shape;
    struct team_row team;
    struct history_job known;
    struct error err;
    if (reader_row(reader, ROW_JOB, attempt->job, &job, &err) < 0 || job.service ||
        reader_row(reader, ROW_TEAM, job.team, &team, &err) < 0)
        return;
    bool shaped = reader_row(reader, ROW_SHAPE, job.shape, &shape, &err) == 0;
    /* Texts of the reader are valid only until others are read: two at a time are safe. */
    char name[256], team_name[256];
    snprintf(name, sizeof name, "%s", reader_symbol(reader, job.name));
    snprintf(team_name, sizeof team_name, "%s", reader_symbol(reader, team.name));
    history_describe(&job, shaped ? &shape : NULL, team_name, name,
        reader_symbol(reader, job.class_name), &known);
    history_learn(history, &known, attempt->ended_ms - attempt->started_ms);
}

int snapshot_learn(
    struct store_reader *reader, struct history *history, size_t most, struct error *err)
{
    static const struct row_condition ended = {"live", ROW_EQUAL, 0};
    struct lessons lessons = {{0}};
    struct row_query query = {.kind = ROW_ATTEMPT,
        .conditions = &ended,
        .condition_count = 1,
        .descending = true,
        .limit = most};
    int failed = reader_rows(reader, &query, on_attempt, &lessons, err);
    for (size_t i = failed ? 0 : lessons.attempts.count; i-- > 0;)
        learn_one(reader, history, &lessons.attempts.items[i]);
    vec_free(&lessons.attempts);
    return failed;
}
