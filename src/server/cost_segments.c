/* Charges and what is still open: see cost_segments.h.
 *
 * The core writes charges when an attempt gives back what it held. What an attempt holds now has no
 * charge yet: it is priced from its spans (what it held at earlier prices) and, since the last
 * change, at today's price to the moment of the question. */
#include "server/cost_segments.h"

#include "base/memory.h"
#include "core/core.h"
#include "server/context.h"
#include "server/cost.h"
#include "store/store.h"

#include <string.h>

enum { ROWS_MAX = 100000, ATTEMPTS_MAX = 1000 };
#define MS_PER_HOUR 3600000

int64_t segment_nano(int64_t hour_micro, int64_t ms)
{
    __int128 product = (__int128)hour_micro * 1000 * ms;
    return (int64_t)((product + MS_PER_HOUR / 2) / MS_PER_HOUR);
}

/* The part of amount that falls to part of whole, rounded half up. */
static int64_t share_of(int64_t amount, int64_t part, int64_t whole)
{
    if (whole <= 0 || part >= whole)
        return amount;
    return (int64_t)(((__int128)amount * part + whole / 2) / whole);
}

/* ---- charges and open segments ------------------------------------------------------------- */

bool segment_clip(const struct segment_walk *walk, struct segment *segment)
{
    int64_t whole = segment->end_ms - segment->begin_ms;
    int64_t begin = segment->begin_ms > walk->from_ms ? segment->begin_ms : walk->from_ms;
    int64_t end = segment->end_ms < walk->to_ms ? segment->end_ms : walk->to_ms;
    if (end <= begin)
        return false;
    segment->cost_nano = share_of(segment->cost_nano, end - begin, whole);
    segment->wasted_nano = share_of(segment->wasted_nano, end - begin, whole);
    segment->begin_ms = begin;
    segment->end_ms = end;
    return true;
}

static int visit_charge(void *context, const struct charge_row *row, struct error *err)
{
    struct segment_walk *walk = context;
    (void)err;
    struct segment segment = {
        .attempt = row->attempt,
        .job = row->job,
        .team = row->team,
        .pool = row->pool,
        .begin_ms = row->begin_ms,
        .end_ms = row->end_ms,
        .cost_nano = row->cost_nano,
        .wasted_nano = row->wasted_nano,
        .hour_micro = row->hour_micro,
        .accelerator_milli = row->accelerator_milli,
    };
    if (segment_clip(walk, &segment))
        walk->visit(walk->context, &segment);
    return 0;
}

/* A live attempt and what its placements have held so far: at earlier prices (spans) and since the
 * last change of prices. */
struct open_walk {
    struct segment_walk *walk;
    struct segment segment; /* of the placement that is looked at */
};

static void visit_open_part(
    struct open_walk *open, int64_t begin_ms, int64_t end_ms, int64_t hour_micro)
{
    struct segment segment = open->segment;
    segment.begin_ms = begin_ms;
    segment.end_ms = end_ms;
    if (end_ms <= begin_ms)
        return;
    segment.hour_micro = hour_micro;
    segment.cost_nano = segment_nano(hour_micro, end_ms - begin_ms);
    if (segment_clip(open->walk, &segment))
        open->walk->visit(open->walk->context, &segment);
}

static int visit_span(void *context, const void *data, struct error *err)
{
    struct open_walk *open = context;
    const struct span_row *row = data;
    (void)err;
    visit_open_part(open, row->begin_ms, row->end_ms, row->hour_micro);
    return 0;
}

static int visit_placement(void *context, const void *data, struct error *err)
{
    struct open_walk *open = context;
    const struct placement_row *row = data;
    struct store_reader *reader = open->walk->server->reader;
    struct node_row node;
    open->segment.pool = reader_row(reader, ROW_NODE, row->node, &node, NULL) == 0 ? node.pool : 0;
    open->segment.accelerator_milli = __builtin_popcountll(row->devices) * row->device_milli;
    struct row_condition conditions[] = {
        {"placement", ROW_EQUAL, (int64_t)row->id}, {"live", ROW_EQUAL, 1}};
    struct row_query spans = {.kind = ROW_SPAN,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .limit = ROWS_MAX};
    visit_open_part(open, row->since_ms, open->walk->to_ms,
        core_placement_hour_micro(open->walk->server->core, row->id));
    return reader_rows(reader, &spans, visit_span, open, err);
}

static int visit_open(void *context, const void *data, struct error *err)
{
    struct segment_walk *walk = context;
    const struct attempt_row *row = data;
    struct job_row job;
    if (row->state == ATTEMPT_ENDED ||
        reader_row(walk->server->reader, ROW_JOB, row->job, &job, NULL) < 0)
        return 0;
    struct open_walk open = {
        .walk = walk, .segment = {.attempt = row->id, .job = row->job, .team = job.team}};
    struct row_condition conditions[] = {
        {"attempt", ROW_EQUAL, (int64_t)row->id}, {"live", ROW_EQUAL, 1}};
    struct row_query placements = {.kind = ROW_PLACEMENT,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .limit = ROWS_MAX};
    return reader_rows(walk->server->reader, &placements, visit_placement, &open, err);
}

int segments_walk(struct segment_walk *walk, uint64_t job, struct error *err)
{
    struct charge_filter filter = {.job = job, .from_ms = walk->from_ms, .to_ms = walk->to_ms};
    if (reader_charges(walk->server->reader, &filter, visit_charge, walk, err) < 0)
        return -1;
    struct row_condition conditions[] = {{"live", ROW_EQUAL, 1}, {"job", ROW_EQUAL, (int64_t)job}};
    struct row_query open = {.kind = ROW_ATTEMPT,
        .conditions = conditions,
        .condition_count = job ? 2 : 1,
        .limit = ROWS_MAX};
    return reader_rows(walk->server->reader, &open, visit_open, walk, err);
}

/* ---- one job ------------------------------------------------------------------------------- */

struct job_sum {
    int64_t cost_nano;
    int64_t wasted_nano;
};

static void add_to_job(void *context, const struct segment *segment)
{
    struct job_sum *sum = context;
    sum->cost_nano += segment->cost_nano;
    sum->wasted_nano += segment->wasted_nano;
}

void cost_job(struct server *server, uint64_t job, int64_t *ret_cost_nano, int64_t *ret_wasted_nano)
{
    struct job_sum sum = {0};
    struct segment_walk walk = {
        .server = server, .visit = add_to_job, .context = &sum, .to_ms = server_now_ms()};
    struct error ignored;
    int rc = segments_walk(&walk, job, &ignored);
    *ret_cost_nano = rc < 0 ? 0 : sum.cost_nano;
    *ret_wasted_nano = rc < 0 ? 0 : sum.wasted_nano;
}

struct cost_attempt {
    uint64_t id;
    int64_t number;
    int64_t start_ms;
};

struct cost_attempts {
    struct arena *arena;
    struct cost_attempt items[ATTEMPTS_MAX];
    size_t count;
    struct segment *held;
    size_t held_count, held_capacity;
};

static int take_attempt(void *context, const void *data, struct error *err)
{
    struct cost_attempts *attempts = context;
    const struct attempt_row *row = data;
    (void)err;
    if (attempts->count == ATTEMPTS_MAX)
        return 0;
    attempts->items[attempts->count++] = (struct cost_attempt){.id = row->id,
        .number = row->number,
        .start_ms = row->started_ms ? row->started_ms : row->admitted_ms};
    return 0;
}

static void take_segment(void *context, const struct segment *segment)
{
    struct cost_attempts *attempts = context;
    if (attempts->held_count == attempts->held_capacity) {
        size_t capacity = attempts->held_capacity ? attempts->held_capacity * 2 : 16;
        struct segment *held = arena_alloc(attempts->arena, capacity, sizeof *held);
        if (attempts->held_count)
            memcpy(held, attempts->held, attempts->held_count * sizeof *held);
        attempts->held = held;
        attempts->held_capacity = capacity;
    }
    attempts->held[attempts->held_count++] = *segment;
}

struct cost_attempts *cost_attempts_of(struct server *server, struct arena *arena, uint64_t job)
{
    struct cost_attempts *attempts = arena_alloc(arena, 1, sizeof *attempts);
    attempts->arena = arena;
    struct row_condition condition = {"job", ROW_EQUAL, (int64_t)job};
    struct row_query query = {
        .kind = ROW_ATTEMPT, .conditions = &condition, .condition_count = 1, .limit = ATTEMPTS_MAX};
    struct segment_walk walk = {
        .server = server, .visit = take_segment, .context = attempts, .to_ms = server_now_ms()};
    struct error ignored;
    if (reader_rows(server->reader, &query, take_attempt, attempts, &ignored) < 0 ||
        segments_walk(&walk, job, &ignored) < 0)
        attempts->count = 0;
    return attempts;
}

static const struct cost_attempt *find_attempt(const struct cost_attempts *attempts, int64_t number)
{
    for (size_t i = 0; i < attempts->count; i++) {
        if (attempts->items[i].number == number)
            return &attempts->items[i];
    }
    return NULL;
}

int64_t cost_attempt_start(const struct cost_attempts *attempts, int64_t number)
{
    const struct cost_attempt *item = find_attempt(attempts, number);
    return item ? item->start_ms : 0;
}

int64_t cost_attempt_between(
    const struct cost_attempts *attempts, int64_t number, int64_t begin_ms, int64_t end_ms)
{
    const struct cost_attempt *item = find_attempt(attempts, number);
    int64_t sum_nano = 0;
    for (size_t i = 0; item && i < attempts->held_count; i++) {
        const struct segment *held = &attempts->held[i];
        int64_t begin = held->begin_ms > begin_ms ? held->begin_ms : begin_ms;
        int64_t end = held->end_ms < end_ms ? held->end_ms : end_ms;
        if (held->attempt == item->id && end > begin)
            sum_nano += segment_nano(held->hour_micro, end - begin);
    }
    return sum_nano;
}
