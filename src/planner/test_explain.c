/* Tests of forecasts, worked out by hand: every job took exactly ten minutes so far, so each moment
 * is known to the millisecond, in all runs. */
#include "core/test_help.h"
#include "planner/answer.h"
#include "planner/copy.h"
#include "planner/explain.h"
#include "planner/forward.h"
#include "wire/doc.h"

#include <stdio.h>

#define LENGTH_MS (10 * MINUTE_MS)

struct asked {
    struct arena *arena;
    struct history *history;
    struct copy *copy;
    const struct doc *answer;
};

static void pool_of(struct world *world, int64_t cpus)
{
    struct node nodes[] = {node_make("n", cpus, 64, 0)};
    world_pool(world, "p", nodes, 1);
}

/* A job of a name and CPUs that runs now. */
static uint64_t running(struct world *world, const char *team, const char *name, int64_t cpus)
{
    struct job job = job_make(team, name, cpus, 0);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    assert_int_equal(world_state(world, id), JOB_RUNNING);
    return id;
}

static uint64_t waiting(struct world *world, const char *team, const char *name, int64_t cpus)
{
    struct job job = job_make(team, name, cpus, 0);
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    return id;
}

/* Asks as the server does; what: the rest of the question. */
static struct asked ask(struct world *world, const char *kind, uint64_t job, const char *rest)
{
    struct asked asked = {arena_create(), history_create(), copy_create(), NULL};
    struct job_row like = {.id = 1, .size = 1};
    struct history_job known;
    struct strbuf out = {0};
    struct error err;
    history_describe(&like, NULL, "", "", "", &known);
    for (int i = 0; i < SKETCH_SAMPLES; i++)
        history_learn(asked.history, &known, LENGTH_MS);
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct stored_row *row = &world->rows.items[i];
        if (row->live && !row_type(row->kind)->history)
            copy_put(asked.copy, row->kind, row->bytes);
    }
    struct answer_state state = {
        .copy = asked.copy, .history = asked.history, .tick = 17, .now_ms = world->now_ms};
    char *question = arena_printf(
        asked.arena, "{\"ask\":\"%s\",\"job\":%llu%s}", kind, (unsigned long long)job, rest);
    answer_question(&state, question, strlen(question), &out);
    const struct doc *answer =
        doc_parse_json(asked.arena, out.text, out.length, DOC_BYTES_MAX, &err);
    assert_non_null(answer);
    assert_true(doc_get_int(answer, "tick", 0) == 17);
    asked.answer = doc_get(answer, kind) ? doc_get(answer, kind) : doc_get(answer, "error");
    strbuf_finish(&out);
    return asked;
}

static void finish(struct asked *asked)
{
    arena_destroy(asked->arena);
    history_destroy(asked->history);
    copy_destroy(asked->copy);
}

static const char *kind_of(const struct asked *asked)
{
    return doc_get_string(doc_get(asked->answer, "waits"), "kind");
}

static void assert_spread(const struct doc *spread, int64_t at_ms)
{
    assert_non_null(spread);
    assert_true(doc_get_int(spread, "low", 0) == at_ms);
    assert_true(doc_get_int(spread, "median", 0) == at_ms);
    assert_true(doc_get_int(spread, "high", 0) == at_ms);
    assert_true(doc_get_int(spread, "known", 0) == doc_get_int(spread, "of", -1));
}

static void room_comes_when_the_one_before_ends(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    (void)running(world, "t", "a", 3);
    int64_t begun_ms = world->now_ms;
    world_tick(world, 4 * MINUTE_MS);
    (void)waiting(world, "t", "b", 2);
    uint64_t c = waiting(world, "t", "c", 3);
    struct asked asked = ask(world, "explain", c, "");
    const struct doc *waits = doc_get(asked.answer, "waits");
    assert_string_equal(kind_of(&asked), "room");
    assert_true(doc_get_int(waits, "held", -1) == 0 && doc_get_int(waits, "need", 0) == 1);
    assert_true(doc_get_int(doc_get(waits, "nodes"), "matching", 0) == 1);
    /* a ends at 10 minutes; b goes first and leaves 2 of 4 CPUs, so c waits for b as well. */
    assert_spread(doc_get(asked.answer, "start"), begun_ms + 2 * LENGTH_MS);
    assert_spread(doc_get(asked.answer, "end"), begun_ms + 3 * LENGTH_MS);
    const struct doc *holders = doc_get(asked.answer, "holders");
    const struct doc *holder = doc_get(holders, "items")->first;
    assert_true(doc_get_int(holders, "count", 0) == 1);
    assert_string_equal(doc_get_string(holder, "name"), "a");
    assert_true(doc_get_int(holder, "holds", 0) == 3000);
    assert_spread(doc_get(holder, "end"), begun_ms + LENGTH_MS);
    const struct doc *ahead = doc_get(asked.answer, "ahead");
    assert_true(doc_get_int(ahead, "count", 0) == 1);
    assert_string_equal(doc_get_string(doc_get(ahead, "items")->first, "name"), "b");
    assert_spread(doc_get(doc_get(ahead, "items")->first, "start"), begun_ms + LENGTH_MS);
    finish(&asked);
}

static void a_limit_names_who_holds_it(void **state)
{
    struct world *world = *state;
    pool_of(world, 16);
    world_team_quota(world, "all", NULL, "cpu", 0, 4000);
    world_team_quota(world, "t", "all", "cpu", 0, 16000);
    world_team_quota(world, "u", "all", "cpu", 0, 16000);
    (void)running(world, "u", "a", 3);
    int64_t begun_ms = world->now_ms;
    uint64_t b = waiting(world, "t", "b", 2);
    struct asked asked = ask(world, "explain", b, "");
    const struct doc *waits = doc_get(asked.answer, "waits");
    assert_string_equal(kind_of(&asked), "limit");
    assert_string_equal(doc_get_string(waits, "team"), "all");
    assert_string_equal(doc_get_string(waits, "resource"), "cpu");
    assert_true(doc_get_int(waits, "held", 0) == 3000 && doc_get_int(waits, "limit", 0) == 4000 &&
                doc_get_int(waits, "need", 0) == 2000);
    const struct doc *holder = doc_get(doc_get(asked.answer, "holders"), "items")->first;
    assert_string_equal(doc_get_string(holder, "team"), "u");
    assert_spread(doc_get(asked.answer, "start"), begun_ms + LENGTH_MS);
    finish(&asked);
}

static void what_is_held_has_no_start_and_what_depends_on_it_neither(void **state)
{
    struct world *world = *state;
    struct dependency on[] = {{.job = "a"}};
    pool_of(world, 4);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    job.hold = true;
    uint64_t a = world_submit(world, &job);
    job = job_make("t", "b", 1, 0);
    job.depends_on.items = on;
    job.depends_on.count = 1;
    uint64_t b = world_submit(world, &job);
    world_tick(world, 0);
    struct asked asked = ask(world, "explain", a, "");
    assert_string_equal(kind_of(&asked), "held");
    assert_null(doc_get(asked.answer, "start"));
    finish(&asked);
    asked = ask(world, "explain", b, "");
    assert_string_equal(kind_of(&asked), "dependency");
    assert_string_equal(doc_get_string(doc_get(doc_get(asked.answer, "waits"), "on"), "name"), "a");
    assert_true(doc_get_int(doc_get(asked.answer, "start"), "known", -1) == 0);
    finish(&asked);
}

static void a_moment_is_when_it_starts(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    struct job job = job_make("t", "a", 1, 0);
    job.start_after_ms = world->now_ms + HOUR_MS;
    job.deadline_ms = world->now_ms + HOUR_MS + 5 * MINUTE_MS;
    int64_t at_ms = job.start_after_ms;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    struct asked asked = ask(world, "explain", a, "");
    assert_string_equal(kind_of(&asked), "moment");
    assert_true(doc_get_int(doc_get(asked.answer, "waits"), "until", 0) == at_ms);
    assert_spread(doc_get(asked.answer, "start"), at_ms);
    /* Ten minutes do not go into five. */
    assert_true(doc_get_int(doc_get(asked.answer, "deadline"), "late", 0) == 9);
    finish(&asked);
}

static void a_place_that_is_kept_is_told_to_both_sides(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    struct job job = job_make("t", "a", 3, 0);
    job.time_limit_ms = 24 * HOUR_MS;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    int64_t begun_ms = core_attempt(world->core, core_job(world->core, a)->attempt)->admitted_ms;
    uint64_t b = waiting(world, "t", "b", 4);
    for (int i = 0; i < 60; i++)
        world_tick(world, MINUTE_MS);
    uint64_t c = waiting(world, "t", "c", 1);
    struct asked asked = ask(world, "explain", b, "");
    const struct doc *waits = doc_get(asked.answer, "waits");
    assert_string_equal(kind_of(&asked), "promise");
    assert_string_equal(doc_get_string(waits, "node"), "n");
    assert_true(doc_get_int(waits, "until", 0) >= begun_ms + 24 * HOUR_MS);
    assert_true(doc_get_int(doc_get(asked.answer, "holders"), "count", 0) == 1);
    finish(&asked);
    asked = ask(world, "explain", c, "");
    waits = doc_get(asked.answer, "waits");
    assert_string_equal(kind_of(&asked), "kept");
    assert_string_equal(doc_get_string(doc_get(waits, "on"), "name"), "b");
    assert_false(doc_get_bool(waits, "timeLimit", true));
    finish(&asked);
}

static void a_checkpoint_that_is_waited_for_is_told(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    struct job job = job_make("t", "a", 4, 0);
    job.priority = PRIORITY_LOW;
    job.checkpoint.interval_ms = 25 * MINUTE_MS;
    uint64_t a = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, a);
    int64_t begun_ms = world->now_ms;
    world_tick(world, 20 * MINUTE_MS);
    uint64_t b = waiting(world, "t", "b", 4);
    struct asked asked = ask(world, "explain", b, "");
    const struct doc *waits = doc_get(asked.answer, "waits");
    assert_string_equal(kind_of(&asked), "checkpoint");
    assert_string_equal(doc_get_string(doc_get(waits, "on"), "name"), "a");
    assert_true(doc_get_int(waits, "due", 0) == begun_ms + 25 * MINUTE_MS);
    assert_true(doc_get_int(waits, "until", 0) >= begun_ms + 40 * MINUTE_MS);
    assert_true(doc_get_int(waits, "more", -1) == 0);
    assert_true(doc_get_int(waits, "held", -1) == 0 && doc_get_int(waits, "need", 0) == 1);
    assert_true(doc_get_int(doc_get(asked.answer, "holders"), "count", 0) == 1);
    finish(&asked);
}

static void a_job_whose_pool_shrank_is_told_what_is_nearest(void **state)
{
    struct world *world = *state;
    pool_of(world, 8);
    world_team(world, "t");
    (void)running(world, "t", "a", 4);
    uint64_t b = waiting(world, "t", "b", 6);
    pool_of(world, 4);
    world_tick(world, 0);
    struct asked asked = ask(world, "explain", b, "");
    const struct doc *nearest = doc_get(doc_get(asked.answer, "waits"), "nearest");
    const struct doc *lack = doc_get(nearest, "lacks")->first;
    assert_string_equal(kind_of(&asked), "impossible");
    assert_string_equal(doc_get_string(nearest, "node"), "n");
    assert_string_equal(doc_get_string(lack, "what"), "cpu");
    assert_true(doc_get_int(lack, "need", 0) == 6000 && doc_get_int(lack, "has", 0) == 4000);
    assert_null(doc_get(asked.answer, "start"));
    finish(&asked);
}

static void nodes_that_take_no_work_are_named(void **state)
{
    struct world *world = *state;
    struct error err;
    pool_of(world, 4);
    world_team(world, "t");
    core_begin(world->core, world->now_ms);
    assert_int_equal(core_node_wish(world->core, "p", "n", NODE_CORDON, &err), 0);
    world_tick(world, 0);
    uint64_t a = waiting(world, "t", "a", 1);
    struct asked asked = ask(world, "explain", a, "");
    const struct doc *nodes = doc_get(doc_get(asked.answer, "waits"), "nodes");
    assert_string_equal(kind_of(&asked), "closed");
    assert_true(doc_get_int(nodes, "matching", 0) == 1 && doc_get_int(nodes, "open", -1) == 0);
    assert_string_equal(doc_get_string(doc_get(nodes, "closed")->first, "why"), "cordoned");
    finish(&asked);
}

static void what_runs_says_when_it_ends(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    uint64_t a = running(world, "t", "a", 1);
    int64_t begun_ms = world->now_ms;
    world_tick(world, 3 * MINUTE_MS);
    struct asked asked = ask(world, "explain", a, "");
    assert_null(doc_get(asked.answer, "waits"));
    assert_spread(doc_get(asked.answer, "end"), begun_ms + LENGTH_MS);
    assert_true(doc_get_int(doc_get(asked.answer, "basis"), "samples", 0) == SKETCH_SAMPLES);
    finish(&asked);
    asked = ask(world, "explain", a + 100, "");
    assert_true(doc_get_int(asked.answer, "code", 0) == ERR_NOT_FOUND);
    finish(&asked);
}

#define POOL_OF_8                                                                                  \
    ",\"changes\":[{\"apiVersion\":\"muster/v1\",\"kind\":\"Pool\",\"metadata\":{\"name\":\"p\"}," \
    "\"spec\":{\"nodes\":[{\"name\":\"n\",\"cpu\":8,\"memory\":\"64Gi\",\"disk\":\"1Ti\"}]}}]"

static void more_nodes_start_what_waits_at_once(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    (void)running(world, "t", "a", 4);
    int64_t begun_ms = world->now_ms;
    uint64_t b = waiting(world, "t", "b", 4), digest = core_digest(world->core);
    struct asked asked = ask(world, "whatif", b, POOL_OF_8);
    const struct doc *total = doc_get(asked.answer, "total");
    const struct doc *job = doc_get(doc_get(asked.answer, "jobs"), "items")->first;
    assert_string_equal(doc_get_string(job, "name"), "b");
    assert_spread(doc_get(job, "today"), begun_ms + LENGTH_MS);
    assert_spread(doc_get(job, "changed"), begun_ms);
    assert_true(doc_get_int(total, "waiting", 0) == 1);
    assert_true(doc_get_int(doc_get(total, "today"), "waitMs", 0) == LENGTH_MS);
    assert_true(doc_get_int(doc_get(total, "changed"), "waitMs", -1) == 0);
    assert_true(doc_get_int(doc_get(total, "today"), "lastEnd", 0) == begun_ms + 2 * LENGTH_MS);
    assert_true(doc_get_int(doc_get(total, "changed"), "lastEnd", 0) == begun_ms + LENGTH_MS);
    assert_string_equal(doc_get_string(doc_get(asked.answer, "teams")->first, "team"), "t");
    assert_true(core_digest(world->core) == digest);
    finish(&asked);
}

static void whatif_shows_the_teams_that_may_be_seen(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    world_team(world, "u");
    (void)running(world, "t", "a", 4);
    (void)waiting(world, "u", "b", 4);
    uint64_t t = core_team_find(world->core, "t");
    char rest[64];
    snprintf(rest, sizeof rest, ",\"teams\":[%llu]", (unsigned long long)t);
    struct asked asked = ask(world, "whatif", 0, rest);
    assert_int_equal(doc_get(asked.answer, "teams")->count, 1);
    assert_true(doc_get_int(doc_get(asked.answer, "total"), "waiting", -1) == 0);
    assert_int_equal(doc_get(doc_get(asked.answer, "jobs"), "items")->count, 0);
    finish(&asked);
}

static void what_can_not_be_tried_is_refused(void **state)
{
    struct world *world = *state;
    pool_of(world, 4);
    world_team(world, "t");
    static const struct {
        const char *rest, *text;
    } cases[] = {
        {",\"policy\":\"nonsense\"", "there is no policy nonsense"},
        {",\"changes\":[{\"apiVersion\":\"muster/v1\",\"kind\":\"Team\",\"metadata\":{\"name\":"
         "\"v\"},\"spec\":{\"parent\":\"nobody\"}}]",
            "nobody"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct asked asked = ask(world, "whatif", 0, cases[i].rest);
        assert_true(doc_get_int(asked.answer, "code", 0) != 0);
        assert_non_null(strstr(doc_get_string(asked.answer, "text"), cases[i].text));
        finish(&asked);
    }
}

/* ---- several pools --------------------------------------------------------------------------- */

static void one_of(struct world *world, const char *name, int64_t after_ms)
{
    struct node node = node_make(name, 4, 64, 0);
    struct pool pool = {.metadata.name = name, .nodes = {&node, 1}};
    if (after_ms) {
        pool.burst = (struct burst){after_ms, 1000 * (int64_t)1000000, 24 * HOUR_MS};
        pool.prices = (struct prices){.currency = "EUR", .cpu_hour_micro = 1000000};
    }
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
}

static const struct doc *start_in(const struct asked *asked, const char *pool)
{
    const struct doc *pools = doc_get(asked->answer, "pools");
    for (const struct doc *one = pools ? pools->first : NULL; one; one = one->next) {
        if (!strcmp(doc_get_string(one, "pool"), pool))
            return doc_get(one, "start");
    }
    return NULL;
}

/* Of a moment that the job is offered a place at after it turned another down: a tick later for
 * each. */
static void assert_about(const struct doc *spread, int64_t at_ms)
{
    int64_t median = doc_get_int(spread, "median", 0);
    assert_in_range(median, at_ms, at_ms + 5);
    assert_true(doc_get_int(spread, "known", 0) == doc_get_int(spread, "of", -1));
}

static uint64_t three_that_run_and_one_that_waits(struct world *world, int64_t after_ms)
{
    one_of(world, "soon", 0);
    one_of(world, "later", 0);
    one_of(world, "cloud", after_ms);
    world_team(world, "t");
    struct job job = job_make("t", "x", 3, 0);
    (void)running(world, "t", "a", 3);
    world_tick(world, 4 * MINUTE_MS);
    (void)running(world, "t", "b", 3);
    job.time_limit_ms = HOUR_MS;
    uint64_t x = world_submit(world, &job);
    world_tick(world, 0);
    return x;
}

/* a ends in six minutes, b in ten; after that nobody would come to a pool at a price. */
static void each_pool_says_when_it_would_start(void **state)
{
    struct world *world = *state;
    uint64_t x = three_that_run_and_one_that_waits(world, HOUR_MS);
    int64_t now_ms = world->now_ms;
    struct asked asked = ask(world, "explain", x, "");
    assert_spread(doc_get(asked.answer, "start"), now_ms + 6 * MINUTE_MS);
    assert_spread(start_in(&asked, "soon"), now_ms + 6 * MINUTE_MS);
    assert_about(start_in(&asked, "later"), now_ms + 10 * MINUTE_MS);
    assert_true(doc_get_int(start_in(&asked, "cloud"), "known", -1) == 0);
    finish(&asked);
}

/* It comes by its policy in five minutes; when it would have started in the others is as if it had
 * stayed, one after the other. */
static void a_pool_that_it_bursts_to_does_not_hide_the_others(void **state)
{
    struct world *world = *state;
    uint64_t x = three_that_run_and_one_that_waits(world, 5 * MINUTE_MS);
    int64_t now_ms = world->now_ms;
    struct asked asked = ask(world, "explain", x, "");
    assert_about(start_in(&asked, "cloud"), now_ms + 5 * MINUTE_MS);
    assert_about(doc_get(asked.answer, "start"), now_ms + 5 * MINUTE_MS);
    assert_about(start_in(&asked, "soon"), now_ms + 6 * MINUTE_MS);
    assert_about(start_in(&asked, "later"), now_ms + 10 * MINUTE_MS);
    finish(&asked);
}

/* Who waits before it goes to the pool at a price, in the same run: it starts ten minutes sooner.
 */
static void those_before_it_burst_in_the_run(void **state)
{
    struct world *world = *state;
    (void)three_that_run_and_one_that_waits(world, 5 * MINUTE_MS);
    struct job job = job_make("t", "y", 3, 0);
    uint64_t y = world_submit(world, &job); /* without a limit it may not go there itself */
    world_tick(world, 0);
    int64_t now_ms = world->now_ms;
    struct asked asked = ask(world, "explain", y, "");
    assert_spread(start_in(&asked, "soon"), now_ms + 6 * MINUTE_MS);
    assert_about(start_in(&asked, "later"), now_ms + 10 * MINUTE_MS);
    assert_true(doc_get_int(start_in(&asked, "cloud"), "known", -1) == 0);
    finish(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(room_comes_when_the_one_before_ends),
        TEST(a_limit_names_who_holds_it),
        TEST(what_is_held_has_no_start_and_what_depends_on_it_neither),
        TEST(a_moment_is_when_it_starts),
        TEST(a_place_that_is_kept_is_told_to_both_sides),
        TEST(a_checkpoint_that_is_waited_for_is_told),
        TEST(a_job_whose_pool_shrank_is_told_what_is_nearest),
        TEST(nodes_that_take_no_work_are_named),
        TEST(what_runs_says_when_it_ends),
        TEST(more_nodes_start_what_waits_at_once),
        TEST(whatif_shows_the_teams_that_may_be_seen),
        TEST(what_can_not_be_tried_is_refused),
        TEST(each_pool_says_when_it_would_start),
        TEST(a_pool_that_it_bursts_to_does_not_hide_the_others),
        TEST(those_before_it_burst_in_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
