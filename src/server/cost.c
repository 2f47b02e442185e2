/* What things cost: see cost.h.
 *
 * The core writes charges when an attempt gives back what it held. What an attempt holds now has no
 * charge yet: it is priced from its spans (what it held at earlier prices) and, since the last
 * change, at today's price to the moment of the question. Idle capacity is what the nodes cost
 * less what was charged on them. */
#include "server/cost.h"

#include "base/map.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/status.h"
#include "server/ticker.h"
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 100000, ATTEMPTS_MAX = 1000, TEAM_DEPTH_MAX = 64 };
#define MS_PER_HOUR 3600000

/* Something held for a while, charged already or still open. */
struct segment {
    uint64_t attempt;
    uint64_t job;
    uint64_t team;
    uint64_t pool;
    int64_t begin_ms;
    int64_t end_ms;
    int64_t cost_nano;
    int64_t wasted_nano;
    int64_t hour_micro;
    int64_t accelerator_milli;
};

typedef void segment_fn(void *context, const struct segment *segment);

static int64_t span_nano(int64_t hour_micro, int64_t ms)
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

struct segment_walk {
    struct server *server;
    segment_fn *visit;
    void *context;
    int64_t from_ms;
    int64_t to_ms;
};

/* Cuts a segment to the time asked about; false when nothing is left. */
static bool clip(const struct segment_walk *walk, struct segment *segment)
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
    if (clip(walk, &segment))
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
    segment.cost_nano = span_nano(hour_micro, end_ms - begin_ms);
    if (clip(open->walk, &segment))
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

/* Visits everything held between from and to; of one job when job is not 0. */
static int walk_segments(struct segment_walk *walk, uint64_t job, struct error *err)
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
    int rc = walk_segments(&walk, job, &ignored);
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
        walk_segments(&walk, job, &ignored) < 0)
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
            sum_nano += span_nano(held->hour_micro, end - begin);
    }
    return sum_nano;
}

/* ---- what a job was ------------------------------------------------------------------------ */

static const char kept_collection[] = "cost-subject";

/* What costs are told apart by. */
struct subject {
    const char *name;
    const char *team;
    const char *state;
    const char *class_name;
    const struct doc *labels; /* or NULL */
};

static const struct doc *labels_of(
    struct server *server, struct arena *arena, const struct job_row *row)
{
    const struct doc *manifest =
        status_job_manifest(server, arena, row->array ? row->array : row->id);
    return doc_get(doc_get(manifest, "metadata"), "labels");
}

void cost_keep(struct tick *tick, const struct job_row *row)
{
    struct server *server = tick_server(tick);
    struct arena *arena = tick_arena(tick);
    const struct doc *labels = labels_of(server, arena, row);
    char key[DOCUMENT_KEY_TEXT];
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "name", reader_symbol(server->reader, row->name));
    doc_set_string(arena, doc, "team", names_team(server, row->team));
    doc_set_string(arena, doc, "state", job_state_names[row->state]);
    doc_set_string(arena, doc, "class", reader_symbol(server->reader, row->class_name));
    if (labels)
        doc_set(arena, doc, "labels", doc_copy(arena, labels));
    struct strbuf json = {0};
    doc_write_json(doc, 0, &json);
    names_document_key(row->id, NULL, key);
    store_txn_put_document(
        tick_txn(tick), kept_collection, key, "", strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
}

static void find_kept(
    struct server *server, struct arena *arena, uint64_t job, struct subject *subject)
{
    char key[DOCUMENT_KEY_TEXT];
    SCOPED(mem_scope) char *json = NULL;
    names_document_key(job, NULL, key);
    if (reader_document(server->reader, kept_collection, key, &json, NULL, NULL) < 0)
        return;
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL);
    *subject = (struct subject){.name = doc_get_string(doc, "name"),
        .team = doc_get_string(doc, "team"),
        .state = doc_get_string(doc, "state"),
        .class_name = doc_get_string(doc, "class"),
        .labels = doc_get(doc, "labels")};
}

static struct subject *find_subject(struct server *server, struct arena *arena, uint64_t job)
{
    struct subject *subject = arena_alloc(arena, 1, sizeof *subject);
    struct job_row row;
    if (reader_row(server->reader, ROW_JOB, job, &row, NULL) < 0) {
        find_kept(server, arena, job, subject);
        return subject;
    }
    subject->name = arena_strdup(arena, reader_symbol(server->reader, row.name));
    subject->team = arena_strdup(arena, names_team(server, row.team));
    subject->state = job_state_names[row.state];
    subject->class_name = arena_strdup(arena, reader_symbol(server->reader, row.class_name));
    subject->labels = labels_of(server, arena, &row);
    return subject;
}

/* ---- the report ---------------------------------------------------------------------------- */

struct group {
    const char *key;
    int64_t cost_nano;
    int64_t wasted_nano;
    int64_t held_ms; /* summed over placements */
    __int128 device_milli_ms;
    int64_t attempts;
    uint64_t job; /* by job: which */
};

struct report {
    struct server *server;
    struct arena *arena;
    const struct identity *identity;
    const struct cost_query *query;
    struct strmap by_key;
    VEC(struct group *) groups;
    struct idmap subjects;      /* job id -> struct subject, in the arena */
    struct idmap seen_teams;    /* team id -> yes or no */
    struct idmap seen_attempts; /* attempt id -> yes */
    struct group total;
};

static const char yes[] = "yes", no[] = "no";

/* Whether the team is the one that was asked about, or below it. */
static bool is_below(const struct catalog *catalog, const char *team, const char *asked)
{
    const struct team *at = catalog_team(catalog, team);
    for (int depth = 0; at && depth < TEAM_DEPTH_MAX; depth++) {
        if (strcmp(at->metadata.name, asked) == 0)
            return true;
        at = at->parent ? catalog_team(catalog, at->parent) : NULL;
    }
    return false;
}

static bool team_counts(struct report *report, uint64_t team)
{
    const char *answer = idmap_get(&report->seen_teams, team);
    const struct catalog *catalog = report->server->catalog;
    if (!answer) {
        const char *name = names_team(report->server, team);
        bool counts = report->query->team
                          ? is_below(catalog, name, report->query->team)
                          : identity_role(catalog, report->identity, name) >= ROLE_VIEWER;
        answer = counts ? yes : no;
        idmap_put(&report->seen_teams, team, (void *)(uintptr_t)answer);
    }
    return answer == yes;
}

static const struct subject *subject_of(struct report *report, uint64_t job)
{
    struct subject *subject = idmap_get(&report->subjects, job);
    if (!subject) {
        subject = find_subject(report->server, report->arena, job);
        idmap_put(&report->subjects, job, subject);
    }
    return subject;
}

static const char *job_key(struct report *report, uint64_t job)
{
    const char *by = report->query->by;
    char id[JOB_ID_TEXT];
    if (strcmp(by, "job") == 0)
        return arena_strdup(report->arena, names_job_id(job, id));
    const struct subject *subject = subject_of(report, job);
    const char *key = strcmp(by, "class") == 0 ? subject->class_name
                      : strcmp(by, "user") == 0
                          ? doc_get_string(subject->labels, "owner")
                          : doc_get_string(subject->labels, by + strlen("label:"));
    return key ? key : "";
}

static const char *pool_key(struct report *report, uint64_t pool)
{
    struct pool_row row;
    if (pool == 0 || reader_row(report->server->reader, ROW_POOL, pool, &row, NULL) < 0)
        return "";
    return arena_strdup(report->arena, reader_symbol(report->server->reader, row.name));
}

static const char *segment_key(struct report *report, const struct segment *segment)
{
    if (strcmp(report->query->by, "team") == 0)
        return arena_strdup(report->arena, names_team(report->server, segment->team));
    if (strcmp(report->query->by, "pool") == 0)
        return pool_key(report, segment->pool);
    return job_key(report, segment->job);
}

static void group_add(struct group *group, const struct segment *segment, bool first)
{
    group->cost_nano += segment->cost_nano;
    group->wasted_nano += segment->wasted_nano;
    group->held_ms += segment->end_ms - segment->begin_ms;
    group->device_milli_ms +=
        (__int128)segment->accelerator_milli * (segment->end_ms - segment->begin_ms);
    group->attempts += first;
    group->job = segment->job;
}

static void add_segment(void *context, const struct segment *segment)
{
    struct report *report = context;
    if (!team_counts(report, segment->team))
        return;
    const char *key = segment_key(report, segment);
    struct group *group = strmap_get(&report->by_key, key);
    if (!group) {
        group = arena_alloc(report->arena, 1, sizeof *group);
        group->key = arena_strdup(report->arena, key);
        strmap_put(&report->by_key, key, group);
        vec_push(&report->groups, group);
    }
    bool first = !idmap_get(&report->seen_attempts, segment->attempt);
    if (first)
        idmap_put(&report->seen_attempts, segment->attempt, (void *)(uintptr_t)yes);
    group_add(group, segment, first);
    group_add(&report->total, segment, first);
}

static void write_group(struct report *report, const struct group *group, struct doc *item)
{
    struct arena *arena = report->arena;
    status_set_money(arena, item, "cost", group->cost_nano);
    status_set_money(arena, item, "wasted", group->wasted_nano);
    doc_set_int(arena, item, "attempts", group->attempts);
    doc_set_int(arena, item, "heldSeconds", group->held_ms / 1000);
    doc_set_int(arena, item, "acceleratorSeconds", (int64_t)(group->device_milli_ms / 1000000));
}

/* Whose job it is, for people. */
static void write_job_names(struct report *report, uint64_t job, struct doc *item)
{
    const struct subject *subject = subject_of(report, job);
    doc_set_string(report->arena, item, "name", subject->name);
    doc_set_string(report->arena, item, "team", subject->team);
    doc_set_string(report->arena, item, "state", subject->state);
}

/* ---- idle capacity ------------------------------------------------------------------------- */

struct idle_walk {
    struct segment_walk time;
    int64_t capacity_nano;
};

static int visit_capacity(void *context, const void *data, struct error *err)
{
    struct idle_walk *walk = context;
    const struct capacity_row *row = data;
    (void)err;
    struct segment segment = {
        .begin_ms = row->begin_ms, .end_ms = row->end_ms, .cost_nano = row->cost_nano};
    if (clip(&walk->time, &segment))
        walk->capacity_nano += segment.cost_nano;
    return 0;
}

static int visit_node(void *context, const void *data, struct error *err)
{
    struct idle_walk *walk = context;
    const struct node_row *row = data;
    (void)err;
    if (row->since_ms == 0 || row->since_ms >= walk->time.to_ms)
        return 0;
    struct segment segment = {.begin_ms = row->since_ms, .end_ms = walk->time.to_ms};
    segment.cost_nano = span_nano(
        core_node_hour_micro(walk->time.server->core, row->id), segment.end_ms - segment.begin_ms);
    if (clip(&walk->time, &segment))
        walk->capacity_nano += segment.cost_nano;
    return 0;
}

static int write_idle(
    struct report *report, const struct segment_walk *time, struct doc *doc, struct error *err)
{
    struct idle_walk walk = {.time = *time};
    struct store_reader *reader = report->server->reader;
    struct row_query capacity = {.kind = ROW_CAPACITY, .limit = ROWS_MAX};
    struct row_condition live = {"live", ROW_EQUAL, 1};
    struct row_query nodes = {
        .kind = ROW_NODE, .conditions = &live, .condition_count = 1, .limit = ROWS_MAX};
    if (reader_rows(reader, &capacity, visit_capacity, &walk, err) < 0 ||
        reader_rows(reader, &nodes, visit_node, &walk, err) < 0)
        return -1;
    int64_t idle_nano = walk.capacity_nano - report->total.cost_nano;
    status_set_money(report->arena, doc, "capacity", walk.capacity_nano);
    status_set_money(report->arena, doc, "idle", idle_nano > 0 ? idle_nano : 0);
    return 0;
}

static int check_query(const struct cost_query *query, struct error *err)
{
    static const char *const words[] = {"job", "team", "pool", "class", "user"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(query->by, words[i]) == 0)
            return 0;
    }
    if (strncmp(query->by, "label:", 6) == 0 && query->by[6] != '\0')
        return 0;
    return error_set(err, ERR_INVALID,
        "?by=: expected job, team, pool, class, user or label:KEY, got \"%.40s\"", query->by);
}

static int take_currency(void *context, const void *data, struct error *err)
{
    uint32_t *currency = context;
    const struct pool_row *row = data;
    (void)err;
    if (*currency == 0)
        *currency = row->currency;
    return 0;
}

static const char *currency_of(struct server *server)
{
    uint32_t currency = 0;
    struct row_query query = {.kind = ROW_POOL, .limit = 100};
    struct error ignored;
    if (reader_rows(server->reader, &query, take_currency, &currency, &ignored) < 0)
        return "";
    return reader_symbol(server->reader, currency);
}

static void report_finish(struct report *report)
{
    strmap_finish(&report->by_key);
    idmap_finish(&report->subjects);
    idmap_finish(&report->seen_teams);
    idmap_finish(&report->seen_attempts);
    vec_free(&report->groups);
}

int cost_report(struct server *server, struct arena *arena, const struct identity *identity,
    const struct cost_query *asked, struct doc **ret_report, struct error *err)
{
    struct cost_query query = *asked;
    if (!query.by)
        query.by = "team";
    if (check_query(&query, err) < 0)
        return -1;
    struct report report = {
        .server = server, .arena = arena, .identity = identity, .query = &query};
    struct segment_walk walk = {.server = server,
        .visit = add_segment,
        .context = &report,
        .from_ms = query.from_ms,
        .to_ms = query.to_ms && query.to_ms < query.now_ms ? query.to_ms : query.now_ms};
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "currency", currency_of(server));
    doc_set_string(arena, doc, "by", query.by);
    struct doc *items = doc_set(arena, doc, "items", doc_list(arena));
    struct doc *total = doc_set(arena, doc, "total", doc_map(arena));
    bool everything = !query.team && query.job == 0 &&
                      identity_role(server->catalog, identity, ROOT_TEAM) >= ROLE_VIEWER;
    int rc = walk_segments(&walk, query.job, err);
    for (size_t i = 0; rc == 0 && i < report.groups.count; i++) {
        struct doc *item = doc_append(items, doc_map(arena));
        doc_set_string(arena, item, "key", report.groups.items[i]->key);
        if (strcmp(query.by, "job") == 0)
            write_job_names(&report, report.groups.items[i]->job, item);
        write_group(&report, report.groups.items[i], item);
    }
    write_group(&report, &report.total, total);
    if (rc == 0 && everything)
        rc = write_idle(&report, &walk, doc, err);
    report_finish(&report);
    if (rc == 0)
        *ret_report = doc;
    return rc;
}
