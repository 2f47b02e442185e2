/* What answers cost whom: see cost_answers.h.
 *
 * What a replica cost is shared out over those who asked it, in proportion to the time that their
 * requests were in it. So the shares of a replica are all of its cost, its idle time too; one that
 * nobody asked stands under no name. Parts are made by running totals: nothing is lost by rounding.
 */
#include "server/cost_answers.h"

#include "base/map.h"
#include "base/vec.h"
#include "gateway/labels.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/cost_figures.h"
#include "server/cost_scope.h"
#include "server/cost_segments.h"
#include "server/serving_sums.h"
#include "server/serving_usage.h"
#include "server/status.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char label_prefix[] = "label:";

struct group {
    const char *key; /* "" where nobody is known */
    int64_t cost_nano;
    uint64_t asked;
    struct usage_counts counts;
};

/* A replica's time that was spent for a group. */
struct share {
    struct group *group;
    uint64_t busy_us;
};

struct replica {
    int64_t cost_nano;
    VEC(struct share) shares;
};

struct answers {
    struct arena *arena;
    struct cost_scope scope;
    const struct cost_query *query; /* with the widened range */
    struct segment_walk range;
    struct strmap by_key;
    VEC(struct group *) groups;
    struct idmap replica_of; /* by job */
    VEC(struct replica *) replicas;
    struct group total;
};

bool cost_is_of_answers(const struct cost_query *query)
{
    return query->answers || (query->by && strcmp(query->by, "key") == 0);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static const char *by_service(struct answers *answers, const struct serving_sum *sum)
{
    (void)answers;
    return sum->service;
}

static const char *by_version(struct answers *answers, const struct serving_sum *sum)
{
    (void)answers;
    return sum->model;
}

static const char *by_model(struct answers *answers, const struct serving_sum *sum)
{
    return arena_strndup(answers->arena, sum->model, strcspn(sum->model, ":"));
}

static const char *by_key(struct answers *answers, const struct serving_sum *sum)
{
    (void)answers;
    return sum->key;
}

static const char *by_team(struct answers *answers, const struct serving_sum *sum)
{
    (void)answers;
    return sum->team;
}

static const char *by_label(struct answers *answers, const struct serving_sum *sum)
{
    char value[LABEL_VALUE_BYTES + 1];
    const char *name = answers->query->by + strlen(label_prefix);
    if (labels_value(sum->labels, name, value) < 0)
        return "";
    return arena_strdup(answers->arena, value);
}

typedef const char *key_fn(struct answers *answers, const struct serving_sum *sum);

static const struct {
    const char *by;
    key_fn *key;
} kinds[] = {
    {"service", by_service},
    {"version", by_version},
    {"model", by_model},
    {"key", by_key},
    {"team", by_team},
};

/* NULL: there is no such kind. */
static key_fn *kind_of(const char *by)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].by, by) == 0)
            return kinds[i].key;
    }
    size_t prefix = strlen(label_prefix);
    return strncmp(by, label_prefix, prefix) == 0 && by[prefix] ? by_label : NULL;
}

static struct group *group_of(struct answers *answers, const char *key)
{
    struct group *group = strmap_get(&answers->by_key, key);
    if (group)
        return group;
    group = arena_alloc(answers->arena, 1, sizeof *group);
    group->key = arena_strdup(answers->arena, key);
    strmap_put(&answers->by_key, key, group);
    vec_push(&answers->groups, group);
    return group;
}

static struct replica *replica_of(struct answers *answers, uint64_t job)
{
    struct replica *replica = idmap_get(&answers->replica_of, job);
    if (replica)
        return replica;
    replica = arena_alloc(answers->arena, 1, sizeof *replica);
    idmap_put(&answers->replica_of, job, replica);
    vec_push(&answers->replicas, replica);
    return replica;
}

/* ---- collecting ------------------------------------------------------------------------------ */

static void add_segment(void *context, const struct segment *segment)
{
    struct answers *answers = context;
    struct segment held = *segment;
    if (!cost_scope_has_team(&answers->scope, segment->team) ||
        !segment_clip(&answers->range, &held))
        return;
    const struct cost_subject *subject = cost_scope_subject(&answers->scope, segment->job);
    if (subject->service && cost_scope_wants(&answers->scope, subject->service, subject->model))
        replica_of(answers, segment->job)->cost_nano += held.cost_nano;
}

static void add_share(struct replica *replica, struct group *group, uint64_t busy_us)
{
    for (size_t i = 0; i < replica->shares.count; i++) {
        if (replica->shares.items[i].group != group)
            continue;
        replica->shares.items[i].busy_us += busy_us;
        return;
    }
    vec_push(&replica->shares, ((struct share){group, busy_us}));
}

static int add_sum(void *context, const struct serving_sum *sum, struct error *err)
{
    struct answers *answers = context;
    char team[USAGE_NAME];
    (void)err;
    snprintf(team, sizeof team, "%.*s", (int)strcspn(sum->service, "/"), sum->service);
    if (!cost_scope_has_team_named(&answers->scope, team) ||
        (answers->query->job && answers->query->job != sum->replica) ||
        !cost_scope_wants(&answers->scope, sum->service, *sum->model ? sum->model : NULL))
        return 0;
    struct group *group = group_of(answers, kind_of(answers->query->by)(answers, sum));
    serving_counts_add(&group->counts, &sum->counts);
    if (!sum->replica)
        return 0;
    group->asked += cost_asked(&sum->counts);
    add_share(replica_of(answers, sum->replica), group, sum->counts.busy_us);
    return 0;
}

/* ---- sharing out ----------------------------------------------------------------------------- */

static int64_t part_of(int64_t whole, uint64_t done, uint64_t all)
{
    return (int64_t)((__int128)whole * done / all);
}

static void share_out(struct answers *answers, const struct replica *replica)
{
    uint64_t all = 0, done = 0;
    int64_t given = 0;
    for (size_t i = 0; i < replica->shares.count; i++)
        all += replica->shares.items[i].busy_us;
    if (all == 0 && replica->cost_nano > 0)
        group_of(answers, "")->cost_nano += replica->cost_nano;
    for (size_t i = 0; all > 0 && i < replica->shares.count; i++) {
        done += replica->shares.items[i].busy_us;
        int64_t until = part_of(replica->cost_nano, done, all);
        replica->shares.items[i].group->cost_nano += until - given;
        given = until;
    }
}

static void add_up(struct answers *answers)
{
    struct group *total = &answers->total;
    for (size_t i = 0; i < answers->replicas.count; i++)
        share_out(answers, answers->replicas.items[i]);
    for (size_t i = 0; i < answers->groups.count; i++) {
        const struct group *group = answers->groups.items[i];
        total->cost_nano += group->cost_nano;
        total->asked += group->asked;
        serving_counts_add(&total->counts, &group->counts);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_group(struct arena *arena, const struct group *group, struct doc *item)
{
    status_set_money(arena, item, "cost", group->cost_nano);
    cost_set_count(arena, item, "busySeconds", group->counts.busy_us / 1000000);
    cost_figures_write(arena, item, &group->counts, group->asked, group->cost_nano);
}

static struct doc *write_report(struct answers *answers)
{
    struct arena *arena = answers->arena;
    struct server *server = answers->scope.server;
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "currency", cost_currency(server));
    doc_set_string(arena, doc, "by", answers->query->by);
    doc_set_bool(arena, doc, "answers", true);
    status_set_time(arena, doc, "from", answers->range.from_ms);
    status_set_time(arena, doc, "to", answers->range.to_ms);
    status_set_time(
        arena, doc, "usageCollected", serving_usage_collected_ms(server->serving_usage));
    struct doc *items = doc_set(arena, doc, "items", doc_list(arena));
    for (size_t i = 0; i < answers->groups.count; i++) {
        const struct group *group = answers->groups.items[i];
        struct doc *item = doc_append(items, doc_map(arena));
        doc_set_string(arena, item, "key", group->key);
        write_group(arena, group, item);
    }
    write_group(arena, &answers->total, doc_set(arena, doc, "total", doc_map(arena)));
    return doc;
}

/* ---- the report ------------------------------------------------------------------------------ */

static int collect(struct answers *answers, int64_t usage_to_ms, struct error *err)
{
    const struct cost_query *query = answers->query;
    struct segment_walk walk = answers->range;
    walk.visit = add_segment;
    walk.context = answers;
    if (segments_walk(&walk, query->job, err) < 0 ||
        serving_sums_each(
            answers->scope.server->reader, query->from_ms, usage_to_ms, add_sum, answers, err) < 0)
        return -1;
    add_up(answers);
    return 0;
}

static void answers_finish(struct answers *answers)
{
    cost_scope_finish(&answers->scope);
    strmap_finish(&answers->by_key);
    idmap_finish(&answers->replica_of);
    for (size_t i = 0; i < answers->replicas.count; i++)
        vec_free(&answers->replicas.items[i]->shares);
    vec_free(&answers->replicas);
    vec_free(&answers->groups);
}

int cost_answers_report(struct server *server, struct arena *arena, const struct identity *identity,
    const struct cost_query *asked, struct doc **ret_report, struct error *err)
{
    struct cost_query query = *asked;
    if (!kind_of(query.by))
        return error_set(err, ERR_INVALID,
            "?by=: expected key, team, label:NAME, service, model or version of answers, got "
            "\"%s\"",
            query.by);
    int64_t usage_to_ms = query.to_ms;
    serving_range(query.now_ms, &query.from_ms, &usage_to_ms);
    query.to_ms = usage_to_ms < query.now_ms ? usage_to_ms : query.now_ms;
    struct answers answers = {.arena = arena, .query = &query};
    answers.range =
        (struct segment_walk){.server = server, .from_ms = query.from_ms, .to_ms = query.to_ms};
    int rc = cost_scope_init(&answers.scope, server, arena, identity, &query, err);
    if (rc == 0)
        rc = collect(&answers, usage_to_ms, err);
    if (rc == 0)
        *ret_report = write_report(&answers);
    answers_finish(&answers);
    return rc;
}
