/* What things cost, told apart by job, team, pool, class, user or label: see cost.h. What services
 * cost stands in cost_serving.c. Idle capacity is what the nodes cost less what was charged on
 * them. */
#include "server/cost.h"

#include "base/map.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/cost_answers.h"
#include "server/cost_scope.h"
#include "server/cost_segments.h"
#include "server/cost_serving.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/status.h"
#include "store/store.h"

#include <string.h>

enum { ROWS_MAX = 100000 };

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
    const struct cost_query *query;
    struct cost_scope scope;
    struct strmap by_key;
    VEC(struct group *) groups;
    struct idmap seen_attempts; /* attempt id -> yes */
    struct group total;
};

static const char yes[] = "yes";

static const char *job_key(struct report *report, uint64_t job)
{
    const char *by = report->query->by;
    char id[JOB_ID_TEXT];
    if (strcmp(by, "job") == 0)
        return arena_strdup(report->arena, names_job_id(job, id));
    const struct cost_subject *subject = cost_scope_subject(&report->scope, job);
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
    if (!cost_scope_has_team(&report->scope, segment->team))
        return;
    if (report->scope.narrowed) {
        const struct cost_subject *subject = cost_scope_subject(&report->scope, segment->job);
        if (!cost_scope_wants(&report->scope, subject->service, subject->model))
            return;
    }
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
    const struct cost_subject *subject = cost_scope_subject(&report->scope, job);
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
    if (segment_clip(&walk->time, &segment))
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
    segment.cost_nano = segment_nano(
        core_node_hour_micro(walk->time.server->core, row->id), segment.end_ms - segment.begin_ms);
    if (segment_clip(&walk->time, &segment))
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
        "?by=: expected job, team, pool, class, user, service, model, version or label:KEY, got "
        "\"%.40s\"",
        query->by);
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

const char *cost_currency(struct server *server)
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
    cost_scope_finish(&report->scope);
    strmap_finish(&report->by_key);
    idmap_finish(&report->seen_attempts);
    vec_free(&report->groups);
}

static void write_items(struct report *report, struct doc *items)
{
    for (size_t i = 0; i < report->groups.count; i++) {
        const struct group *group = report->groups.items[i];
        struct doc *item = doc_append(items, doc_map(report->arena));
        doc_set_string(report->arena, item, "key", group->key);
        if (strcmp(report->query->by, "job") == 0)
            write_job_names(report, group->job, item);
        write_group(report, group, item);
    }
}

static int write_report(struct report *report, struct doc *doc, struct error *err)
{
    const struct cost_query *query = report->query;
    struct segment_walk walk = {.server = report->server,
        .visit = add_segment,
        .context = report,
        .from_ms = query->from_ms,
        .to_ms = query->to_ms};
    if (segments_walk(&walk, query->job, err) < 0)
        return -1;
    struct arena *arena = report->arena;
    doc_set_string(arena, doc, "currency", cost_currency(report->server));
    doc_set_string(arena, doc, "by", query->by);
    write_items(report, doc_set(arena, doc, "items", doc_list(arena)));
    write_group(report, &report->total, doc_set(arena, doc, "total", doc_map(arena)));
    bool everything =
        !query->team && query->job == 0 && !report->scope.narrowed &&
        identity_role(report->server->catalog, report->scope.identity, ROOT_TEAM) >= ROLE_VIEWER;
    return everything ? write_idle(report, &walk, doc, err) : 0;
}

int cost_report(struct server *server, struct arena *arena, const struct identity *identity,
    const struct cost_query *asked, struct doc **ret_report, struct error *err)
{
    struct cost_query query = *asked;
    if (!query.by)
        query.by = query.model ? "version" : query.service || query.answers ? "service" : "team";
    if (query.to_ms == 0 || query.to_ms > query.now_ms)
        query.to_ms = query.now_ms;
    if (cost_is_of_answers(&query))
        return cost_answers_report(server, arena, identity, &query, ret_report, err);
    if (cost_is_serving(query.by))
        return cost_serving_report(server, arena, identity, &query, ret_report, err);
    if (check_query(&query, err) < 0)
        return -1;
    struct report report = {.server = server, .arena = arena, .query = &query};
    struct doc *doc = doc_map(arena);
    int rc = cost_scope_init(&report.scope, server, arena, identity, &query, err);
    report.scope.by_labels = strncmp(query.by, "label:", 6) == 0 || strcmp(query.by, "user") == 0;
    if (rc == 0)
        rc = write_report(&report, doc, err);
    report_finish(&report);
    if (rc == 0)
        *ret_report = doc;
    return rc;
}
