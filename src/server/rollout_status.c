/* What is shown of a rollout: see rollout_status.h. Rows come from the store, so that what is shown
 * is committed, and are judged by the function that the core decides with. */
#include "server/rollout_status.h"

#include "base/clock.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "server/context.h"
#include "server/services_internal.h"
#include "server/status.h"
#include "store/store.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>

struct view_of {
    struct server *server;
    struct arena *arena;
    struct rollout_row row;
    struct evidence_row seen[ARM_COUNT];
    bool found, has[ARM_COUNT];
    int32_t replicas[ARM_COUNT], ready[ARM_COUNT];
    struct rollout_verdict verdict;
};

static const char *const test_names[TEST_COUNT] = {"errors", "latency", "quality", "differences"};

/* ---- reading --------------------------------------------------------------------------------- */

static int take_rollout(void *context, const void *row, struct error *err)
{
    struct view_of *view = context;
    (void)err;
    view->row = *(const struct rollout_row *)row;
    view->found = true;
    return 0;
}

static int take_evidence(void *context, const void *data, struct error *err)
{
    struct view_of *view = context;
    const struct evidence_row *row = data;
    (void)err;
    if (row->arm > ARM_MAIN && row->arm < ARM_COUNT) {
        view->seen[row->arm] = *row;
        view->has[row->arm] = true;
    }
    return 0;
}

static int take_replica(void *context, const void *data, struct error *err)
{
    struct view_of *view = context;
    const struct replica_row *row = data;
    (void)err;
    if ((unsigned)row->arm < ARM_COUNT) {
        view->replicas[row->arm]++;
        view->ready[row->arm] += row->ready;
    }
    return 0;
}

static int read_rows(struct view_of *view, enum row_kind kind, const char *column, uint64_t id,
    reader_row_fn *visit, struct error *err)
{
    struct row_condition condition = {column, ROW_EQUAL, (int64_t)id};
    struct row_query query = {
        .kind = kind, .conditions = &condition, .condition_count = 1, .limit = 1000};
    return reader_rows(view->server->reader, &query, visit, view, err);
}

static int read_all(struct view_of *view, uint64_t service, struct error *err)
{
    if (read_rows(view, ROW_ROLLOUT, "service", service, take_rollout, err) < 0)
        return -1;
    if (!view->found)
        return 0;
    if (read_rows(view, ROW_EVIDENCE, "rollout", view->row.id, take_evidence, err) < 0 ||
        read_rows(view, ROW_REPLICA, "service", service, take_replica, err) < 0)
        return -1;
    view->verdict =
        core_rollout_judge(&view->row, view->has[ARM_BASELINE] ? &view->seen[ARM_BASELINE] : NULL,
            &view->seen[ARM_CANARY], clock_wall_ms());
    return 0;
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Why it ended or stands still, as of the row. */
static const char *const because_words[REASON_COUNT] = {
    [REASON_NONE] = "",
    [REASON_COMMAND] = "somebody said so",
    [REASON_READY] = "its replicas did not get ready",
    [REASON_SAMPLE] = "there were too few requests",
    [REASON_BAKE] = "its time was not over",
    [REASON_ERRORS] = "the canary fails more often than the baseline",
    [REASON_LATENCY] = "the canary is slower than the baseline",
    [REASON_QUALITY] = "the canary's answers have lower scores than the baseline's",
    [REASON_DIFFERENCES] = "too many of its answers differ",
    [REASON_GUARD_ERRORS] = "the canary fails more often than the guard bears",
    [REASON_GUARD_LATENCY] = "the canary is slower than the guard bears",
    [REASON_PATIENCE] = "nothing was shown in time",
    [REASON_PASSED] = "every step has passed",
};

static int64_t seen_in_step(const struct view_of *view, enum replica_arm arm)
{
    const struct evidence_row *seen = &view->seen[arm];
    bool shadow = view->row.plan.strategy == ROLLOUT_SHADOW;
    return (shadow ? seen->compared : seen->requests) - view->row.step_seen[arm];
}

static const char *say_sample(const struct view_of *view)
{
    const char *baseline = "";
    if (view->has[ARM_BASELINE])
        baseline =
            arena_printf(view->arena, ", the baseline %" PRId64, seen_in_step(view, ARM_BASELINE));
    return arena_printf(view->arena,
        "waits for requests: of %" PRId64 " in this step the canary had %" PRId64 "%s",
        view->row.plan.requests_min, seen_in_step(view, ARM_CANARY), baseline);
}

static const char *say_missing(const struct view_of *view)
{
    static const char *const words[REASON_COUNT] = {
        [REASON_ERRORS] = "it is not shown yet that the canary fails no more often",
        [REASON_LATENCY] = "it is not shown yet that the canary is no slower",
        [REASON_QUALITY] = "it is not shown yet that the canary's scores are no lower",
        [REASON_DIFFERENCES] = "it is not shown yet that few enough answers differ",
    };
    const struct rollout_row *row = &view->row;
    char moment[QUANTITY_TEXT];
    enum rollout_reason missing = view->verdict.missing;
    if (missing == REASON_SAMPLE)
        return say_sample(view);
    if (missing == REASON_BAKE)
        return arena_printf(view->arena, "the step lasts until %s",
            quantity_time(row->step_ms + row->plan.bakes_ms[row->step], moment));
    return words[missing] ? words[missing] : "the step has passed";
}

static const char *say(const struct view_of *view)
{
    const struct rollout_row *row = &view->row;
    const char *because = because_words[row->reason];
    switch ((enum rollout_state)row->state) {
    case ROLLOUT_IDLE: return "no revision is being tried";
    case ROLLOUT_PROMOTED: return arena_printf(view->arena, "promoted: %s", because);
    case ROLLOUT_ABORTED:
        return arena_printf(
            view->arena, "aborted: %s; revision %d stays", because, (int)row->stable);
    case ROLLOUT_STARTING:
    case ROLLOUT_TESTING: break;
    }
    if (row->paused)
        return arena_printf(
            view->arena, "paused: %s; go on with muster rollout resume, promote or abort", because);
    if (row->state == ROLLOUT_STARTING)
        return arena_printf(view->arena, "its replicas get ready: %d of %d",
            (int)(view->ready[ARM_BASELINE] + view->ready[ARM_CANARY]),
            (int)(view->replicas[ARM_BASELINE] + view->replicas[ARM_CANARY]));
    return say_missing(view);
}

/* ---- the document ---------------------------------------------------------------------------- */

/* Which latency so many of a million are at or below, at most: the bound of its bucket. */
static int64_t latency_us(const struct evidence_row *seen, int64_t per_million)
{
    int64_t sum = 0, count = 0;
    for (size_t i = 0; i < ROLLOUT_BUCKETS; i++)
        count += seen->within[i];
    for (size_t i = 0; i < ROLLOUT_BUCKETS - 1; i++) {
        sum += seen->within[i];
        if (sum * 1000000 >= count * per_million)
            return (int64_t)64 << i;
    }
    return INT64_MAX;
}

static const char *thousandths(struct arena *arena, int64_t value)
{
    return arena_printf(arena, "%s%" PRId64 ".%03" PRId64, value < 0 ? "-" : "",
        (value < 0 ? -value : value) / 1000, (value < 0 ? -value : value) % 1000);
}

static void set_latency(const struct view_of *view, struct doc *item, const char *member,
    const struct evidence_row *seen, int64_t per_million)
{
    int64_t us = seen->requests > 0 ? latency_us(seen, per_million) : INT64_MAX;
    if (us != INT64_MAX)
        doc_set(view->arena, item, member, doc_number(view->arena, thousandths(view->arena, us)));
}

static void set_score(const struct view_of *view, struct doc *item, const struct evidence_row *seen)
{
    int64_t posts = 0, sum = 0;
    for (int i = 0; i < ROLLOUT_SCORES; i++) {
        posts += seen->scores[i];
        sum += seen->scores[i] * i * 1000 / (ROLLOUT_SCORES - 1);
    }
    if (posts == 0)
        return;
    doc_set_int(view->arena, item, "scores", posts);
    doc_set(view->arena, item, "scoreMean",
        doc_number(view->arena, thousandths(view->arena, sum / posts)));
}

static void add_arm(
    const struct view_of *view, struct doc *list, enum replica_arm arm, int32_t revision)
{
    struct arena *arena = view->arena;
    const struct evidence_row *seen = &view->seen[arm];
    struct doc *item = doc_append(list, doc_map(arena));
    const struct revision *made =
        services_revision_of(view->server->services, view->row.service, revision);
    doc_set_string(arena, item, "arm", replica_arm_names[arm]);
    doc_set_int(arena, item, "revision", revision);
    if (made)
        doc_set_int(arena, item, "version", made->version);
    doc_set_int(arena, item, "replicas", view->replicas[arm]);
    doc_set_int(arena, item, "ready", view->ready[arm]);
    if (!view->has[arm])
        return;
    doc_set_int(arena, item, "requests", seen->requests);
    doc_set_int(arena, item, "errors", seen->errors);
    set_latency(view, item, "p50MsAtMost", seen, 500000);
    set_latency(view, item, "p99MsAtMost", seen, 990000);
    set_score(view, item, seen);
    if (view->row.plan.strategy == ROLLOUT_SHADOW) {
        doc_set_int(arena, item, "compared", seen->compared);
        doc_set_int(arena, item, "differing", seen->differing);
    }
}

static void set_bits(struct arena *arena, struct doc *item, const char *member, int64_t bits)
{
    doc_set(arena, item, member,
        doc_number(
            arena, thousandths(arena, bits / 1024 * 1000 / ((1 << CORE_BITS_SHIFT) / 1024))));
}

static void add_test(const struct view_of *view, struct doc *list, int test)
{
    const struct rollout_verdict *verdict = &view->verdict;
    struct arena *arena = view->arena;
    struct doc *item = doc_append(list, doc_map(arena));
    bool worse = verdict->worse[test] >= verdict->alarm_bits;
    bool fine = verdict->fine[test] >= verdict->pass_bits;
    doc_set_string(arena, item, "test", test_names[test]);
    doc_set_string(arena, item, "says", worse ? "worse" : fine ? "no worse" : "not decided");
    set_bits(arena, item, "worseBits", verdict->worse[test]);
    set_bits(arena, item, "alarmBits", verdict->alarm_bits);
    set_bits(arena, item, "noWorseBits", verdict->fine[test]);
    set_bits(arena, item, "passBits", verdict->pass_bits);
    if (test == TEST_LATENCY)
        doc_set(arena, item, "atMs",
            doc_number(arena, thousandths(arena, (int64_t)64 << verdict->bucket)));
}

static bool is_tried(const struct rollout_row *row)
{
    return row->state == ROLLOUT_STARTING || row->state == ROLLOUT_TESTING;
}

static void set_moving(const struct view_of *view, struct doc *doc)
{
    const struct rollout_row *row = &view->row;
    struct arena *arena = view->arena;
    doc_set_bool(arena, doc, "paused", row->paused);
    doc_set_int(arena, doc, "step", row->step + 1);
    doc_set_int(arena, doc, "steps", row->plan.steps);
    doc_set_int(arena, doc, "weight", row->plan.weights[row->step]);
    status_set_time(arena, doc, "stepSince", row->step_ms);
}

static struct doc *whole(const struct view_of *view, int32_t newest)
{
    const struct rollout_row *row = &view->row;
    struct arena *arena = view->arena;
    struct doc *doc = doc_map(arena), *arms = doc_list(arena), *tests = doc_list(arena);
    doc_set_string(arena, doc, "strategy", rollout_strategy_names[row->plan.strategy]);
    doc_set_string(arena, doc, "state", row->paused ? "paused" : rollout_state_names[row->state]);
    if (row->reason != REASON_NONE)
        doc_set_string(arena, doc, "because", rollout_reason_names[row->reason]);
    doc_set_string(arena, doc, "says", say(view));
    status_set_time(arena, doc, "since", row->began_ms);
    if (is_tried(row))
        set_moving(view, doc);
    int32_t stable =
        row->state == ROLLOUT_IDLE || row->state == ROLLOUT_PROMOTED ? newest : row->stable;
    add_arm(view, arms, ARM_MAIN, stable);
    if (row->state != ROLLOUT_IDLE && view->has[ARM_BASELINE])
        add_arm(view, arms, ARM_BASELINE, row->stable);
    if (row->state != ROLLOUT_IDLE)
        add_arm(view, arms, ARM_CANARY, newest);
    for (int test = 0; row->state != ROLLOUT_IDLE && test < TEST_COUNT; test++) {
        if (view->verdict.made & 1u << test)
            add_test(view, tests, test);
    }
    doc_set(arena, doc, "arms", arms);
    doc_set(arena, doc, "tests", tests);
    return doc;
}

int rollout_status(struct server *server, struct arena *arena, const char *team, const char *name,
    struct doc **ret, struct error *err)
{
    struct view_of view = {.server = server, .arena = arena};
    uint64_t id = core_service_find(server->core, team, name);
    struct service_row service;
    if (!id || reader_row(server->reader, ROW_SERVICE, id, &service, err) < 0)
        return error_set(err, ERR_NOT_FOUND, "there is no service %s/%s", team, name);
    if (read_all(&view, id, err) < 0)
        return -1;
    if (!view.found)
        return error_set(err, ERR_NOT_FOUND,
            "the service %s/%s has no rollout: its spec.rollout.strategy is none", team, name);
    *ret = whole(&view, service.revision);
    doc_set_string(arena, *ret, "service", arena_printf(arena, "%s/%s", team, name));
    return 0;
}

const char *rollout_line(struct server *server, struct arena *arena, uint64_t service)
{
    struct view_of view = {.server = server, .arena = arena};
    if (read_all(&view, service, NULL) < 0 || !view.found || view.row.state == ROLLOUT_IDLE)
        return NULL;
    const struct rollout_row *row = &view.row;
    if (!is_tried(row))
        return say(&view);
    return arena_printf(arena, "%s, step %d of %d: %s", rollout_strategy_names[row->plan.strategy],
        (int)row->step + 1, (int)row->plan.steps, say(&view));
}
