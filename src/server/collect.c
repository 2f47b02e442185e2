/* Removing what nobody needs: see collect.h.
 *
 * Three steps: which versions are beyond what is kept is found on the long thread, with a reader of
 * its own; they are deleted in ticks, each after another look at what refers to it; then the
 * registry collects what is not reachable, on the long thread again. What is kept is decided there
 * in this order: trees that are on their way into a version, then the versions of the store. So a
 * tree that gets its version meanwhile is seen in the one or the other. */
#include "server/collect.h"

#include "base/log.h"
#include "base/map.h"
#include "base/quantity.h"
#include "base/vec.h"
#include "registry/registry.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/lineage.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "spec/spec.h"
#include "store/store.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_S = 3600, DAY_S = 24 * 3600, DELETED_A_TICK = 200 };

/* What a Dataset or Model keeps. */
struct rule {
    enum kind kind;
    char *artifact; /* "team/name" */
    struct artifact_retention keep;
};

/* A version, and what it was made of. */
struct candidate {
    enum kind kind;
    char *artifact;
    int64_t version;
    int64_t created_ms;
    bool kept;
    VEC(char *) made_of; /* ids, as versions_text writes them */
};

struct pair {
    char *team, *tree;
};

struct collector {
    struct server *server;
    struct event *timer;
    bool running;
    /* of the run */
    int64_t grace_ms, now_ms;
    VEC(struct rule) rules;
    VEC(struct candidate) candidates;
    VEC(struct pair) pairs;
    size_t next; /* of the candidates: the next to be deleted */
    struct collection result;
    struct error err;
    bool failed;
    void (*done)(void *context, const struct collection *result, const struct error *err);
    void *context;
};

/* ---- the end of a run ------------------------------------------------------------------------ */

static void forget_run(struct collector *collector)
{
    for (size_t i = 0; i < collector->rules.count; i++)
        free(collector->rules.items[i].artifact);
    for (size_t i = 0; i < collector->candidates.count; i++) {
        struct candidate *candidate = &collector->candidates.items[i];
        for (size_t m = 0; m < candidate->made_of.count; m++)
            free(candidate->made_of.items[m]);
        vec_free(&candidate->made_of);
        free(candidate->artifact);
    }
    for (size_t i = 0; i < collector->pairs.count; i++) {
        free(collector->pairs.items[i].team);
        free(collector->pairs.items[i].tree);
    }
    vec_free(&collector->rules);
    vec_free(&collector->candidates);
    vec_free(&collector->pairs);
}

static void finish(struct collector *collector, const struct error *err)
{
    struct collection result = collector->result;
    forget_run(collector);
    collector->running = false;
    if (err)
        log_warn("artifacts could not be collected: %s", err->text);
    else if (result.versions_removed || result.objects_removed)
        log_info("%" PRId64 " versions and %" PRId64 " objects (%" PRId64
                 " bytes) that nobody needs were removed",
            result.versions_removed, result.objects_removed, result.bytes_freed);
    if (collector->done)
        collector->done(collector->context, &result, err);
    collector->done = NULL;
}

/* ---- which versions are beyond what is kept (long thread) -------------------------------------
 */

static void made_of(
    struct candidate *candidate, enum kind kind, const struct doc *item, const char *name_key)
{
    const char *team = doc_get_string(item, "team"), *name = doc_get_string(item, name_key);
    char text[VERSION_TEXT];
    if (!team || !name)
        return;
    versions_text(kind, team, name, doc_get_int(item, "version", 0), text);
    vec_push(&candidate->made_of, mem_strdup(text));
}

static int take_candidate(void *context, const struct version *version, struct error *err)
{
    struct collector *collector = context;
    struct candidate candidate = {.kind = version->kind, .version = version->version};
    char artifact[VERSION_TEXT];
    const char *created = doc_get_string(version->doc, "createdAt");
    const struct doc *inputs = doc_get(doc_get(version->doc, "source"), "inputs");
    (void)err;
    snprintf(artifact, sizeof artifact, "%s/%s", version->team, version->name);
    candidate.artifact = mem_strdup(artifact);
    if (!created || quantity_parse_time(created, &candidate.created_ms, NULL) < 0)
        candidate.created_ms = collector->now_ms;
    candidate.kept = version->stage == STAGE_STAGING || version->stage == STAGE_PRODUCTION;
    for (const struct doc *input = inputs ? inputs->first : NULL; input; input = input->next) {
        const char *kind = doc_get_string(input, "kind");
        made_of(&candidate, kind && strcmp(kind, "model") == 0 ? KIND_MODEL : KIND_DATASET, input,
            "artifact");
    }
    if (doc_get(version->doc, "parent"))
        made_of(&candidate, KIND_MODEL, doc_get(version->doc, "parent"), "name");
    vec_push(&collector->candidates, candidate);
    return 0;
}

static const struct rule *rule_of(
    const struct collector *collector, const struct candidate *candidate)
{
    for (size_t i = 0; i < collector->rules.count; i++) {
        const struct rule *rule = &collector->rules.items[i];
        if (rule->kind == candidate->kind && strcmp(rule->artifact, candidate->artifact) == 0)
            return rule;
    }
    return NULL;
}

/* Candidates come ascending, so that the newest of one artifact are its last. */
static void apply_rules(struct collector *collector)
{
    int64_t rank = 0;
    for (size_t i = collector->candidates.count; i-- > 0;) {
        struct candidate *candidate = &collector->candidates.items[i];
        const struct candidate *newer =
            i + 1 < collector->candidates.count ? &collector->candidates.items[i + 1] : NULL;
        bool same = newer && newer->kind == candidate->kind &&
                    strcmp(newer->artifact, candidate->artifact) == 0;
        const struct rule *rule = rule_of(collector, candidate);
        rank = same ? rank + 1 : 1;
        /* Only an age is given: the versions are unbounded in number then, not in age; the newest
         * stays in any case. */
        bool by_number = rule && rule->keep.versions > 0 && rank <= rule->keep.versions;
        bool by_age = rule && rule->keep.age_ms > 0 &&
                      candidate->created_ms > collector->now_ms - rule->keep.age_ms;
        candidate->kept |= !rule || rank == 1 || by_number || by_age;
    }
}

/* What a kept version was made of is kept too, and so on: a worklist over an index by id. */
static void keep_ancestors(struct collector *collector)
{
    struct strmap by_id = {0};
    VEC(struct candidate *) work = {0};
    for (size_t i = 0; i < collector->candidates.count; i++) {
        struct candidate *candidate = &collector->candidates.items[i];
        char text[VERSION_TEXT];
        snprintf(text, sizeof text, "%s/%s:%" PRId64, kind_singular(candidate->kind),
            candidate->artifact, candidate->version);
        strmap_put(&by_id, text, candidate);
        if (candidate->kept)
            vec_push(&work, candidate);
    }
    for (size_t i = 0; i < work.count; i++) {
        const struct candidate *candidate = work.items[i];
        for (size_t m = 0; m < candidate->made_of.count; m++) {
            struct candidate *ancestor = strmap_get(&by_id, candidate->made_of.items[m]);
            if (ancestor && !ancestor->kept) {
                ancestor->kept = true;
                vec_push(&work, ancestor);
            }
        }
    }
    vec_free(&work);
    strmap_finish(&by_id);
}

static int with_reader(struct collector *collector,
    int (*run)(struct collector *collector, struct store_reader *reader, struct error *err),
    struct error *err)
{
    const struct server_config *config = &collector->server->config;
    struct store_options options = {.vfs = config->vfs};
    struct store_reader *reader;
    if (store_reader_open(config->data_dir, &options, &reader, err) < 0)
        return -1;
    int rc = run(collector, reader, err);
    store_reader_close(reader);
    return rc;
}

static int find_candidates(
    struct collector *collector, struct store_reader *reader, struct error *err)
{
    if (versions_all(reader, KIND_DATASET, take_candidate, collector, err) < 0 ||
        versions_all(reader, KIND_MODEL, take_candidate, collector, err) < 0)
        return -1;
    apply_rules(collector);
    keep_ancestors(collector);
    return 0;
}

static void find_work(void *context)
{
    struct collector *collector = context;
    collector->failed = with_reader(collector, find_candidates, &collector->err) < 0;
}

/* ---- objects (long thread) --------------------------------------------------------------------
 */

static void add_pair(void *context, const char *team, const char *tree)
{
    struct collector *collector = context;
    struct pair pair = {mem_strdup(team), mem_strdup(tree)};
    vec_push(&collector->pairs, pair);
}

static int take_pair(void *context, const struct version *version, struct error *err)
{
    (void)err;
    add_pair(context, version->team, version->tree);
    return 0;
}

static int find_pairs(struct collector *collector, struct store_reader *reader, struct error *err)
{
    if (reader_begin(reader, err) < 0)
        return -1;
    int rc = versions_all(reader, KIND_DATASET, take_pair, collector, err) < 0 ||
                     versions_all(reader, KIND_MODEL, take_pair, collector, err) < 0
                 ? -1
                 : 0;
    reader_end(reader);
    return rc;
}

static void mark_pairs(void *context, registry_mark_fn *mark, void *mark_context)
{
    const struct collector *collector = context;
    for (size_t i = 0; i < collector->pairs.count; i++) {
        if (mark(mark_context, collector->pairs.items[i].team, collector->pairs.items[i].tree) < 0)
            return;
    }
}

static void collect_work(void *context)
{
    struct collector *collector = context;
    struct artifacts *artifacts = collector->server->artifacts;
    struct collect_result result;
    artifacts_kept(artifacts, add_pair, collector);
    collector->failed = with_reader(collector, find_pairs, &collector->err) < 0 ||
                        registry_collect(artifacts_registry(artifacts), collector->grace_ms,
                            mark_pairs, collector, &result, &collector->err) < 0;
    if (collector->failed)
        return;
    collector->result.objects_removed = result.objects_removed;
    collector->result.bytes_freed = result.bytes_freed;
    collector->result.objects_kept = result.objects_kept;
    collector->result.bytes_kept = result.bytes_kept;
}

static void collect_done(void *context)
{
    struct collector *collector = context;
    finish(collector, collector->failed ? &collector->err : NULL);
}

static void start_collect(struct collector *collector)
{
    struct error err;
    if (artifacts_run(collector->server->artifacts, ARTIFACTS_LONG, collect_work, collect_done,
            collector, &err) < 0)
        finish(collector, &err);
}

/* ---- deleting versions (ticks) ----------------------------------------------------------------
 */

static int delete_one(
    struct tick *tick, const struct candidate *candidate, bool *ret_deleted, struct error *err)
{
    struct server *server = tick_server(tick);
    const char *slash = strchr(candidate->artifact, '/');
    const char *team =
        arena_strndup(tick_arena(tick), candidate->artifact, (size_t)(slash - candidate->artifact));
    struct version version;
    if (versions_get(server, tick_arena(tick), candidate->kind, team, slash + 1, candidate->version,
            &version, NULL) < 0 ||
        lineage_referrer(server, tick_arena(tick), &version))
        return 0;
    *ret_deleted = true;
    return versions_delete(tick, &version, err);
}

static int run_delete(struct tick *tick, void *context, struct error *err)
{
    struct collector *collector = context;
    size_t end = collector->next + DELETED_A_TICK;
    bool deleted = false;
    for (size_t i = collector->next; i < end && i < collector->candidates.count; i++) {
        bool one = false;
        if (collector->candidates.items[i].kept)
            continue;
        if (delete_one(tick, &collector->candidates.items[i], &one, err) < 0) {
            if (deleted)
                tick_spoil(tick);
            return -1;
        }
        deleted |= one;
        collector->result.versions_removed += one;
    }
    return 0;
}

static void delete_next(struct collector *collector);

static void deleted(void *context, const struct error *err)
{
    struct collector *collector = context;
    if (err) {
        finish(collector, err);
        return;
    }
    collector->next += DELETED_A_TICK;
    delete_next(collector);
}

static void delete_next(struct collector *collector)
{
    struct error err;
    while (collector->next < collector->candidates.count &&
           collector->candidates.items[collector->next].kept)
        collector->next++;
    if (collector->next >= collector->candidates.count)
        start_collect(collector);
    else if (ticker_submit(
                 collector->server->ticker, "muster", run_delete, deleted, collector, &err) < 0)
        finish(collector, &err);
}

static void find_done(void *context)
{
    struct collector *collector = context;
    if (collector->failed)
        finish(collector, &collector->err);
    else
        delete_next(collector);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static void add_rules(struct collector *collector, enum kind kind)
{
    const struct catalog *catalog = collector->server->catalog;
    for (size_t i = 0; i < catalog_count(catalog, kind); i++) {
        const struct catalog_entry *entry = catalog_at(catalog, kind, i);
        struct rule rule = {.kind = kind,
            .keep = kind == KIND_DATASET ? entry->manifest->dataset.retention
                                         : entry->manifest->model.retention};
        if (rule.keep.versions <= 0 && rule.keep.age_ms <= 0)
            continue;
        rule.artifact = mem_strdup(entry->name);
        vec_push(&collector->rules, rule);
    }
}

int collector_run(struct collector *collector, int64_t grace_ms,
    void (*done)(void *context, const struct collection *result, const struct error *err),
    void *context, struct error *err)
{
    if (collector->running)
        return error_set(err, ERR_CONFLICT, "artifacts are being collected already");
    collector->grace_ms = grace_ms;
    collector->now_ms = server_now_ms();
    collector->next = 0;
    collector->result = (struct collection){0};
    add_rules(collector, KIND_DATASET);
    add_rules(collector, KIND_MODEL);
    if (artifacts_run(collector->server->artifacts, ARTIFACTS_LONG, find_work, find_done, collector,
            err) < 0) {
        forget_run(collector);
        return -1;
    }
    collector->running = true;
    collector->done = done;
    collector->context = context;
    return 0;
}

static void on_day(evutil_socket_t fd, short what, void *context)
{
    struct collector *collector = context;
    struct timeval period = {.tv_sec = DAY_S};
    struct error err;
    (void)fd, (void)what;
    event_add(collector->timer, &period);
    if (collector_run(collector, COLLECT_GRACE_S * 1000LL, NULL, NULL, &err) < 0)
        log_warn("artifacts are not collected today: %s", err.text);
}

struct collector *collector_create(struct server *server)
{
    struct collector *collector = mem_alloc(1, sizeof *collector);
    struct timeval period = {.tv_sec = FIRST_S};
    collector->server = server;
    collector->timer = event_new(server->base, -1, 0, on_day, collector);
    assert(collector->timer);
    event_add(collector->timer, &period);
    return collector;
}

void collector_destroy(struct collector *collector)
{
    if (!collector)
        return;
    forget_run(collector);
    event_free(collector->timer);
    free(collector);
}
