/* What services cost: see cost_serving.h.
 *
 * Two streams meet by the job of the replica: segments (what it held, at which price) and sums of
 * usage (what it answered). For models and versions a third comes in: the jobs that made them. */
#include "server/cost_serving.h"

#include "base/map.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/cost_figures.h"
#include "server/cost_made.h"
#include "server/cost_scope.h"
#include "server/cost_segments.h"
#include "server/names.h"
#include "server/serving_sums.h"
#include "server/serving_usage.h"
#include "server/status.h"
#include "wire/doc.h"

#include <stdio.h>
#include <string.h>

enum { IDLE_LISTED_MAX = 1000 };

enum by { BY_SERVICE, BY_MODEL, BY_VERSION, BY_COUNT };

static const char *const by_names[BY_COUNT] = {"service", "model", "version"};

struct group {
    const char *key; /* "" where no replica was asked, whose version one could know */
    int64_t cost_nano, wasted_nano;
    int64_t held_ms; /* summed over replicas */
    int64_t idle_ms; /* at least this long nobody asked a replica, summed over them */
    int64_t replicas;
    int64_t life_nano; /* cost of serving, whenever it was */
    int64_t training_nano, evaluation_nano;
    bool trained, evaluated; /* there is a job whose cost is known */
    struct usage_counts counts;
    uint64_t asked; /* requests that a replica was asked for */
};

struct replica {
    uint64_t job;
    struct group *group;
    int64_t cost_nano, held_ms;
    struct usage_counts counts;
};

/* A job that made or measured versions: usually one. */
struct maker {
    VEC(struct group *) groups;
    bool evaluation;
    bool charged;
    int64_t cost_nano;
};

struct serving {
    struct arena *arena;
    struct cost_scope scope;
    const struct cost_query *query; /* with the widened range */
    struct segment_walk range;      /* only for clipping */
    enum by by;
    struct strmap by_key;
    VEC(struct group *) groups;
    struct idmap replica_of; /* by job */
    VEC(struct replica *) replicas;
    struct idmap maker_of; /* by job */
    VEC(struct maker *) makers;
    struct group total;
};

static bool find_by(const char *text, enum by *ret)
{
    for (int i = 0; i < BY_COUNT; i++) {
        *ret = (enum by)i;
        if (strcmp(text, by_names[i]) == 0)
            return true;
    }
    return false;
}

bool cost_is_serving(const char *by)
{
    enum by ignored;
    return find_by(by, &ignored);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static struct group *group_of(struct serving *serving, const char *service, const char *model)
{
    const char *key = serving->by == BY_SERVICE ? service : model;
    if (serving->by == BY_MODEL && key)
        key = arena_strndup(serving->arena, key, strcspn(key, ":"));
    key = key ? key : "";
    struct group *group = strmap_get(&serving->by_key, key);
    if (group)
        return group;
    group = arena_alloc(serving->arena, 1, sizeof *group);
    group->key = arena_strdup(serving->arena, key);
    strmap_put(&serving->by_key, key, group);
    vec_push(&serving->groups, group);
    return group;
}

static struct replica *replica_of(struct serving *serving, uint64_t job, struct group *group)
{
    struct replica *replica = idmap_get(&serving->replica_of, job);
    if (replica)
        return replica;
    replica = arena_alloc(serving->arena, 1, sizeof *replica);
    replica->job = job;
    replica->group = group;
    idmap_put(&serving->replica_of, job, replica);
    vec_push(&serving->replicas, replica);
    return replica;
}

/* ---- what was held --------------------------------------------------------------------------- */

static void add_held(
    struct serving *serving, const struct cost_subject *subject, struct segment segment)
{
    struct group *group = group_of(serving, subject->service, subject->model);
    group->life_nano += segment.cost_nano;
    if (!segment_clip(&serving->range, &segment))
        return;
    struct replica *replica = replica_of(serving, segment.job, group);
    replica->cost_nano += segment.cost_nano;
    replica->held_ms += segment.end_ms - segment.begin_ms;
    group->cost_nano += segment.cost_nano;
    group->wasted_nano += segment.wasted_nano;
    group->held_ms += segment.end_ms - segment.begin_ms;
}

static void add_segment(void *context, const struct segment *segment)
{
    struct serving *serving = context;
    if (!cost_scope_has_team(&serving->scope, segment->team))
        return;
    const struct cost_subject *subject = cost_scope_subject(&serving->scope, segment->job);
    struct maker *maker =
        idmap_get(&serving->maker_of, subject->array ? subject->array : segment->job);
    if (maker) {
        maker->charged = true;
        maker->cost_nano += segment->cost_nano;
    }
    if (subject->service && cost_scope_wants(&serving->scope, subject->service, subject->model))
        add_held(serving, subject, *segment);
}

/* ---- what was answered -------------------------------------------------------------------------
 */

static int add_sum(void *context, const struct serving_sum *sum, struct error *err)
{
    struct serving *serving = context;
    char team[USAGE_NAME];
    (void)err;
    snprintf(team, sizeof team, "%.*s", (int)strcspn(sum->service, "/"), sum->service);
    const char *model = *sum->model ? sum->model : NULL;
    if (!cost_scope_has_team_named(&serving->scope, team) ||
        (serving->query->job && serving->query->job != sum->replica) ||
        !cost_scope_wants(&serving->scope, sum->service, model))
        return 0;
    struct group *group = group_of(serving, sum->service, model);
    serving_counts_add(&group->counts, &sum->counts);
    group->asked += sum->replica ? cost_asked(&sum->counts) : 0;
    if (sum->replica)
        serving_counts_add(&replica_of(serving, sum->replica, group)->counts, &sum->counts);
    return 0;
}

/* ---- what it cost to make ----------------------------------------------------------------------
 */

static void add_maker(void *context, const char *version, uint64_t job, bool evaluation)
{
    struct serving *serving = context;
    struct maker *maker = idmap_get(&serving->maker_of, job);
    if (!maker) {
        maker = mem_alloc(1, sizeof *maker);
        maker->evaluation = evaluation;
        idmap_put(&serving->maker_of, job, maker);
        vec_push(&serving->makers, maker);
    }
    struct group *group = group_of(serving, NULL, version);
    for (size_t i = 0; i < maker->groups.count; i++) {
        if (maker->groups.items[i] == group)
            return;
    }
    vec_push(&maker->groups, group);
}

/* Of versions that were only made, and of no service that was asked for, nothing is said. */
static bool is_shown(const struct serving *serving, const struct group *group)
{
    return group->held_ms > 0 || group->counts.requests > 0 ||
           (!serving->query->service && !serving->query->job &&
               (group->trained || group->evaluated));
}

static void add_made(struct group *group, const struct maker *maker)
{
    if (maker->evaluation) {
        group->evaluated = true;
        group->evaluation_nano += maker->cost_nano;
    } else {
        group->trained = true;
        group->training_nano += maker->cost_nano;
    }
}

/* A job that made several versions is counted in full for each of them, and once in the total. */
static void share_made(struct serving *serving)
{
    for (size_t i = 0; i < serving->makers.count; i++) {
        const struct maker *maker = serving->makers.items[i];
        bool counted = false;
        for (size_t n = 0; maker->charged && n < maker->groups.count; n++) {
            add_made(maker->groups.items[n], maker);
            if (!counted && is_shown(serving, maker->groups.items[n])) {
                add_made(&serving->total, maker);
                counted = true;
            }
        }
    }
}

/* ---- adding up ------------------------------------------------------------------------------- */

/* Time with requests is summed over requests, so that several at once count more than once: what is
 * left of the time held is at most what was idle, never more. */
static int64_t idle_ms(const struct replica *replica)
{
    uint64_t busy_ms = replica->counts.busy_us / 1000;
    return busy_ms < (uint64_t)replica->held_ms ? replica->held_ms - (int64_t)busy_ms : 0;
}

static void add_up(struct serving *serving)
{
    for (size_t i = 0; i < serving->replicas.count; i++) {
        const struct replica *replica = serving->replicas.items[i];
        replica->group->replicas += replica->held_ms > 0;
        replica->group->idle_ms += idle_ms(replica);
    }
    struct group *total = &serving->total;
    for (size_t i = 0; i < serving->groups.count; i++) {
        const struct group *group = serving->groups.items[i];
        if (!is_shown(serving, group))
            continue;
        total->cost_nano += group->cost_nano;
        total->wasted_nano += group->wasted_nano;
        total->held_ms += group->held_ms;
        total->idle_ms += group->idle_ms;
        total->replicas += group->replicas;
        total->life_nano += group->life_nano;
        total->asked += group->asked;
        serving_counts_add(&total->counts, &group->counts);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void set_known_money(
    struct arena *arena, struct doc *map, const char *name, bool known, int64_t nano)
{
    if (known)
        status_set_money(arena, map, name, nano);
    else
        doc_set(arena, map, name, doc_null(arena));
}

static void write_group(const struct serving *serving, const struct group *group, struct doc *item)
{
    struct arena *arena = serving->arena;
    status_set_money(arena, item, "cost", group->cost_nano);
    status_set_money(arena, item, "wasted", group->wasted_nano);
    doc_set_int(arena, item, "replicas", group->replicas);
    doc_set_int(arena, item, "heldSeconds", group->held_ms / 1000);
    cost_set_count(arena, item, "busySeconds", group->counts.busy_us / 1000000);
    doc_set_int(arena, item, "idleSecondsAtLeast", group->idle_ms / 1000);
    cost_set_share(arena, item, "idleShareAtLeast", group->idle_ms, group->held_ms);
    cost_figures_write(arena, item, &group->counts, group->asked, group->cost_nano);
    if (serving->by == BY_SERVICE)
        return;
    int64_t made_nano = group->training_nano + group->evaluation_nano;
    set_known_money(arena, item, "training", group->trained, group->training_nano);
    set_known_money(arena, item, "evaluation", group->evaluated, group->evaluation_nano);
    status_set_money(arena, item, "servingToDate", group->life_nano);
    cost_set_share(arena, item, "servingShare", group->life_nano, group->life_nano + made_nano);
}

/* "vision/digits:3": team, name and version, for people. */
static void write_names(const struct serving *serving, const char *key, struct doc *item)
{
    struct arena *arena = serving->arena;
    size_t team = strcspn(key, "/");
    doc_set_string(arena, item, "key", key);
    if (key[team] != '/')
        return;
    doc_set_string(arena, item, "team", arena_strndup(arena, key, team));
    doc_set_string(arena, item, "name", key + team + 1);
}

static void write_idle_replicas(
    struct serving *serving, const struct group *group, struct doc *item)
{
    struct arena *arena = serving->arena;
    struct doc *list = doc_set(arena, item, "idleReplicas", doc_list(arena));
    char id[JOB_ID_TEXT];
    for (size_t i = 0; i < serving->replicas.count && list->count < IDLE_LISTED_MAX; i++) {
        const struct replica *replica = serving->replicas.items[i];
        if (replica->group != group || replica->held_ms == 0 || cost_asked(&replica->counts) > 0)
            continue;
        struct doc *one = doc_append(list, doc_map(arena));
        doc_set_string(arena, one, "id", names_job_id(replica->job, id));
        doc_set_string(arena, one, "name", cost_scope_subject(&serving->scope, replica->job)->name);
        status_set_money(arena, one, "cost", replica->cost_nano);
        doc_set_int(arena, one, "heldSeconds", replica->held_ms / 1000);
    }
}

static struct doc *write_report(struct serving *serving)
{
    struct arena *arena = serving->arena;
    struct server *server = serving->scope.server;
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "currency", cost_currency(server));
    doc_set_string(arena, doc, "by", by_names[serving->by]);
    status_set_time(arena, doc, "from", serving->range.from_ms);
    status_set_time(arena, doc, "to", serving->range.to_ms);
    status_set_time(
        arena, doc, "usageCollected", serving_usage_collected_ms(server->serving_usage));
    struct doc *items = doc_set(arena, doc, "items", doc_list(arena));
    for (size_t i = 0; i < serving->groups.count; i++) {
        const struct group *group = serving->groups.items[i];
        if (!is_shown(serving, group))
            continue;
        struct doc *item = doc_append(items, doc_map(arena));
        write_names(serving, group->key, item);
        write_group(serving, group, item);
        write_idle_replicas(serving, group, item);
    }
    write_group(serving, &serving->total, doc_set(arena, doc, "total", doc_map(arena)));
    return doc;
}

/* ---- the report ------------------------------------------------------------------------------ */

static int collect(struct serving *serving, int64_t usage_to_ms, struct error *err)
{
    const struct cost_query *query = serving->query;
    struct server *server = serving->scope.server;
    struct segment_walk walk = serving->range;
    walk.visit = add_segment;
    walk.context = serving;
    /* A version's life is longer than what was asked about. */
    if (serving->by != BY_SERVICE) {
        walk.from_ms = 0;
        walk.to_ms = query->now_ms;
        if (cost_made_each(&serving->scope, add_maker, serving, err) < 0)
            return -1;
    }
    if (segments_walk(&walk, query->job, err) < 0 ||
        serving_sums_each(server->reader, query->from_ms, usage_to_ms, add_sum, serving, err) < 0)
        return -1;
    share_made(serving);
    add_up(serving);
    return 0;
}

static void serving_finish(struct serving *serving)
{
    cost_scope_finish(&serving->scope);
    strmap_finish(&serving->by_key);
    idmap_finish(&serving->replica_of);
    idmap_finish(&serving->maker_of);
    for (size_t i = 0; i < serving->makers.count; i++) {
        vec_free(&serving->makers.items[i]->groups);
        free(serving->makers.items[i]);
    }
    vec_free(&serving->makers);
    vec_free(&serving->groups);
    vec_free(&serving->replicas);
}

int cost_serving_report(struct server *server, struct arena *arena, const struct identity *identity,
    const struct cost_query *asked, struct doc **ret_report, struct error *err)
{
    struct cost_query query = *asked;
    int64_t usage_to_ms = query.to_ms;
    serving_range(query.now_ms, &query.from_ms, &usage_to_ms);
    query.to_ms = usage_to_ms < query.now_ms ? usage_to_ms : query.now_ms;
    struct serving serving = {.arena = arena, .query = &query};
    serving.range =
        (struct segment_walk){.server = server, .from_ms = query.from_ms, .to_ms = query.to_ms};
    int rc = -1;
    find_by(query.by, &serving.by);
    if (cost_scope_init(&serving.scope, server, arena, identity, &query, err) == 0)
        rc = collect(&serving, usage_to_ms, err);
    if (rc == 0)
        *ret_report = write_report(&serving);
    serving_finish(&serving);
    return rc;
}
