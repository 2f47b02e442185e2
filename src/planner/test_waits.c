/* The broker by forecast: what the planner says of a state goes to the core of that state, as the
 * server does it, and the job goes where the core's own bound would not have sent it. Every job
 * took ten minutes so far. */
#include "core/test_help.h"
#include "planner/answer.h"
#include "planner/copy.h"
#include "wire/doc.h"

#include <stdio.h>

#define LENGTH_MS (10 * MINUTE_MS)

/* Four devices of one's own, eight at a price after half an hour's wait. */
static void begin(struct world *world)
{
    struct node own_node = node_make("own", 32, 128, 4);
    struct node cloud_node = node_make("cloud", 64, 256, 8);
    struct named_price price = {cloud_node.capacity.accelerator, 3000000};
    struct pool own = {.metadata.name = "own", .nodes = {&own_node, 1}};
    struct pool cloud = {.metadata.name = "cloud",
        .burst = {30 * MINUTE_MS, 1000 * (int64_t)1000000, 24 * HOUR_MS},
        .nodes = {&cloud_node, 1},
        .prices = {.currency = "EUR", .accelerators = {&price, 1}}};
    assert_int_equal(core_pool_put(world->core, &own, NULL), 0);
    assert_int_equal(core_pool_put(world->core, &cloud, NULL), 0);
    world_team(world, "t");
}

static uint64_t submit(struct world *world, const char *name, int64_t limit_ms)
{
    struct job job = job_make("t", name, 1, 4);
    job.time_limit_ms = limit_ms;
    job.grace_ms = 0;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    return id;
}

enum { TOLD_MAX = 8 };

/* Asks the planner about the stored state, all jobs having taken so long so far, and tells the
 * core. Returns how many it was told, and which. */
static size_t tell(struct world *world, int64_t length_ms, struct core_forecast told[TOLD_MAX])
{
    struct arena *arena = arena_create();
    struct history *history = history_create();
    struct copy *copy = copy_create();
    struct job_row like = {.id = 1, .size = 1};
    struct history_job known;
    struct strbuf out = {0};
    history_describe(&like, NULL, "", "", "", &known);
    for (int i = 0; i < SKETCH_SAMPLES; i++)
        history_learn(history, &known, length_ms);
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct stored_row *row = &world->rows.items[i];
        if (row->live && !row_type(row->kind)->history)
            copy_put(copy, row->kind, row->bytes);
    }
    struct answer_state state = {
        .copy = copy, .history = history, .tick = 1, .now_ms = world->now_ms};
    static const char question[] = "{\"ask\":\"waits\"}";
    answer_question(&state, question, sizeof question - 1, &out);
    const struct doc *answer = doc_parse_json(arena, out.text, out.length, DOC_BYTES_MAX, NULL);
    size_t count = 0;
    assert_non_null(doc_get(answer, "waits"));
    for (const struct doc *one = doc_get(answer, "waits")->first; one; one = one->next)
        told[count++] = (struct core_forecast){(uint64_t)doc_get_int(one, "job", 0),
            doc_get_int(one, "atMs", 0), doc_get_int(one, "startMs", 0)};
    assert_int_equal(core_forecast_put(world->core, told, count, NULL), 0);
    strbuf_finish(&out);
    arena_destroy(arena);
    history_destroy(history);
    copy_destroy(copy);
    return count;
}

/* The one that runs may take ten hours and will take ten minutes, as all have. */
static void a_job_stays_that_its_limit_would_send(void **state)
{
    struct world *world = *state;
    struct core_forecast told[TOLD_MAX];
    begin(world);
    core_forecast_expect(world->core, 15000);
    uint64_t first = submit(world, "first", 10 * HOUR_MS);
    world_start(world, first);
    uint64_t second = submit(world, "second", HOUR_MS);
    assert_int_equal(tell(world, LENGTH_MS, told), 1);
    world_tick(world, 16000);
    assert_int_equal(world_state(world, second), JOB_QUEUED);
    assert_int_equal(tell(world, LENGTH_MS, told), 0); /* it has a fresh one */
}

static void the_same_job_goes_without_a_forecast(void **state)
{
    struct world *world = *state;
    begin(world);
    core_forecast_expect(world->core, 15000);
    uint64_t first = submit(world, "first", 10 * HOUR_MS);
    world_start(world, first);
    uint64_t second = submit(world, "second", HOUR_MS);
    world_tick(world, 16000);
    assert_string_equal(world_node_of(world, second), "cloud");
}

/* Of the one that runs without a limit the core foresees nothing; all took three hours so far. */
static void a_job_goes_that_the_bound_would_keep(void **state)
{
    struct world *world = *state;
    struct core_forecast told[TOLD_MAX];
    begin(world);
    core_forecast_expect(world->core, 15000);
    uint64_t first = submit(world, "first", 0);
    world_start(world, first);
    uint64_t second = submit(world, "second", HOUR_MS);
    assert_int_equal(tell(world, 3 * HOUR_MS, told), 1);
    world_tick(world, 1000);
    assert_string_equal(world_node_of(world, second), "cloud");
}

/* Each would start when the one before it ends, whichever of them was asked about first. */
static void those_asked_about_stay_in_any_order(void **state)
{
    struct world *world = *state;
    struct core_forecast told[TOLD_MAX];
    struct job first = job_make("t", "first", 1, 4), later = job_make("t", "later", 1, 4);
    struct job sooner = job_make("t", "sooner", 1, 3);
    later.time_limit_ms = sooner.time_limit_ms = 10 * HOUR_MS;
    first.priority = sooner.priority = later.priority + 1;
    begin(world);
    core_forecast_expect(world->core, 15000);
    uint64_t first_id = world_submit(world, &first);
    world_tick(world, 0);
    world_start(world, first_id);
    uint64_t later_id = world_submit(world, &later), sooner_id = world_submit(world, &sooner);
    world_tick(world, 0);
    int64_t now_ms = world->now_ms;
    assert_int_equal(tell(world, 3 * HOUR_MS, told), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(told[i].job == later_id || told[i].job == sooner_id);
        int64_t end_ms = now_ms + (told[i].job == sooner_id ? 3 : 6) * HOUR_MS;
        assert_in_range(told[i].start_ms, end_ms - MINUTE_MS, end_ms);
    }
}

static void the_same_job_waits_without_a_forecast(void **state)
{
    struct world *world = *state;
    begin(world);
    uint64_t first = submit(world, "first", 0);
    world_start(world, first);
    uint64_t second = submit(world, "second", HOUR_MS);
    world_tick(world, 30 * MINUTE_MS);
    assert_int_equal(world_state(world, second), JOB_QUEUED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_stays_that_its_limit_would_send),
        TEST(the_same_job_goes_without_a_forecast),
        TEST(a_job_goes_that_the_bound_would_keep),
        TEST(those_asked_about_stay_in_any_order),
        TEST(the_same_job_waits_without_a_forecast),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
