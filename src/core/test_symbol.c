/* Tests of symbols: who keeps one alive, and what becomes of it without users. Each tick of a world
 * also counts the users again and compares with a core loaded from what is stored. */
#include "base/hash.h"
#include "core/test_help.h"

#include <stdio.h>

static void a_world(struct world *world)
{
    struct node nodes[] = {node_make("n", 8, 32, 0)};
    world_pool(world, "p", nodes, 1);
    world_team(world, "t");
    world_tick(world, 0);
}

static void count_row(void *context, enum row_kind kind, const void *row)
{
    (void)kind;
    (void)row;
    ++*(size_t *)context;
}

static size_t live_symbols(const struct world *world)
{
    size_t count = 0;
    core_row_each(world->core, ROW_SYMBOL, count_row, &count);
    return count;
}

static void cancel(struct world *world, uint64_t job)
{
    struct error err;
    assert_int_equal(core_job_cancel(world->core, job, &err), 0);
}

static void what_only_jobs_named_is_forgotten_with_them(void **state)
{
    struct world *world = *state;
    struct label labels[] = {{"colour", "green"}};
    a_world(world);
    size_t before = live_symbols(world);
    for (int i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "job-%d", i);
        struct job job = job_make("t", name, 1, 0);
        job.class_name = name + 4;
        job.metadata.labels.items = labels;
        job.metadata.labels.count = 1;
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        assert_int_equal(live_symbols(world), before + 4);
        cancel(world, id);
        world_end(world, id, END_SIGNAL);
        world_tick(world, 0);
        assert_int_equal(live_symbols(world), before);
        const struct symbol_row *kept = world_row(world, ROW_SYMBOL, world_job(world, id)->name);
        assert_string_equal(kept->text, name); /* the store still knows it */
    }
}

static void a_name_that_comes_again_has_another_symbol_and_the_same_hash(void **state)
{
    struct world *world = *state;
    a_world(world);
    struct job job = job_make("t", "again", 1, 0);
    uint64_t first = world_submit(world, &job);
    cancel(world, first);
    world_tick(world, 0);
    uint64_t second = world_submit(world, &job);
    world_tick(world, 0);
    const struct job_row *old = world_job(world, first), *new = world_job(world, second);
    assert_int_not_equal(old->name, new->name);
    assert_true(old->name_hash == new->name_hash &&new->name_hash == hash_text("again"));
    assert_string_equal(core_symbol(world->core, new->name), "again");
    assert_string_equal(core_symbol(world->core, old->name), "");
}

static void a_symbol_that_a_pool_or_team_named_stays(void **state)
{
    struct world *world = *state;
    struct error err;
    a_world(world);
    size_t before = live_symbols(world);
    world_team(world, "guests");
    struct job job = job_make("t", "guests", 1, 0);
    job.placement.pool = "p";
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    cancel(world, id);
    world_end(world, id, END_SIGNAL);
    assert_int_equal(core_team_delete(world->core, "guests", &err), 0);
    world_tick(world, 0);
    assert_int_equal(live_symbols(world), before + 1);
    world_reload(world);
    assert_int_equal(live_symbols(world), before + 1);
}

static void an_array_keeps_its_name_while_an_element_lives(void **state)
{
    struct world *world = *state;
    a_world(world);
    size_t before = live_symbols(world);
    struct job job = job_make("t", "rows", 1, 0);
    job.array.count = 3;
    job.hold = true;
    uint64_t first = world_submit(world, &job);
    world_tick(world, 0);
    assert_int_equal(live_symbols(world), before + 4);
    for (uint64_t i = 0; i < 3; i++) {
        cancel(world, first + i);
        world_tick(world, 0);
        assert_int_equal(live_symbols(world), before + (i == 2 ? 0 : 3 - i));
        world_reload(world);
    }
}

static void a_text_can_be_read_until_its_end_is_stored(void **state)
{
    struct world *world = *state;
    a_world(world);
    struct job job = job_make("t", "short", 1, 0);
    uint64_t id = world_submit(world, &job);
    uint32_t name = core_job(world->core, id)->name;
    cancel(world, id);
    assert_null(core_job(world->core, id));
    assert_string_equal(core_symbol(world->core, name), "short");
    world_tick(world, 0);
    assert_string_equal(core_symbol(world->core, name), "");
    /* Its job is stored, so it is as well, although it never outlived a tick. */
    assert_non_null(world_row(world, ROW_SYMBOL, name));
}

static void a_refused_job_leaves_no_symbol_at_all(void **state)
{
    struct world *world = *state;
    struct error err;
    a_world(world);
    size_t stored = world_row_count(world, ROW_SYMBOL);
    struct label near[] = {{"what", "ever"}};
    struct job job = job_make("t", "huge", 100, 0);
    job.placement.near.items = near;
    job.placement.near.count = 1;
    uint64_t id;
    assert_int_equal(core_job_submit(world->core, &job, &id, &err), -1);
    world_tick(world, 0);
    assert_int_equal(world_row_count(world, ROW_SYMBOL), stored);
}

/* What the core itself counts; a hundred thousand of such jobs are its design point. */
static void a_waiting_job_takes_less_than_half_a_kilobyte(void **state)
{
    enum { JOBS = 2000 };
    struct world *world = *state;
    struct core_counts before, after;
    a_world(world);
    core_count(world->core, &before);
    for (int i = 0; i < JOBS; i++) {
        char name[32];
        snprintf(name, sizeof name, "train-%d", i);
        struct job job = job_make("t", name, 1, 0);
        (void)world_submit(world, &job);
    }
    core_count(world->core, &after);
    assert_in_range((after.bytes - before.bytes) / JOBS, 256, 448);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_only_jobs_named_is_forgotten_with_them),
        TEST(a_name_that_comes_again_has_another_symbol_and_the_same_hash),
        TEST(a_symbol_that_a_pool_or_team_named_stays),
        TEST(an_array_keeps_its_name_while_an_element_lives),
        TEST(a_text_can_be_read_until_its_end_is_stored),
        TEST(a_refused_job_leaves_no_symbol_at_all),
        TEST(a_waiting_job_takes_less_than_half_a_kilobyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
