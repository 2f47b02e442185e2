/* Tests of the copy: after any changes it has the rows of the live state, and a core made of it is
 * the same one. */
#include "base/prng.h"
#include "core/test_help.h"
#include "planner/copy.h"

#include <stdio.h>

/* As the feed does it: what is stored as live is put, what is not is removed. */
static void follow(struct copy *copy, const struct world *world)
{
    for (size_t i = 0; i < world->rows.count; i++) {
        const struct stored_row *row = &world->rows.items[i];
        if (row_type(row->kind)->history)
            continue;
        if (row->live)
            copy_put(copy, row->kind, row->bytes);
        else
            copy_remove(copy, row->kind, row->id);
    }
}

static void compare(const struct copy *copy, const struct core *core)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        uint64_t after = 0, last = 0;
        if (row_type((enum row_kind)kind)->history)
            continue;
        for (; last != UINT64_MAX; after = last) {
            uint64_t digest = core_digest_slice(core, (enum row_kind)kind, after, 4, &last);
            assert_true(copy_digest(copy, (enum row_kind)kind, after, last) == digest);
        }
    }
}

static void act(struct world *world, struct prng *prng, uint64_t *jobs, int *count)
{
    char name[24];
    uint64_t which = prng_below(prng, 3);
    if (which == 0 || *count == 0) {
        snprintf(name, sizeof name, "j%d", *count);
        struct job job = job_make("t", name, (int64_t)prng_below(prng, 3) + 1, 0);
        jobs[(*count)++] = world_submit(world, &job);
        return;
    }
    uint64_t job = jobs[prng_below(prng, (uint64_t)*count)];
    if (world_state(world, job) == JOB_STARTING)
        world_start(world, job);
    else if (world_state(world, job) == JOB_RUNNING)
        world_end(world, job, which == 1 ? END_SUCCEEDED : END_EXIT);
}

static void it_follows_whatever_happens(void **state)
{
    struct world *world = *state;
    struct prng prng = {11};
    struct copy *copy = copy_create();
    uint64_t jobs[400];
    int count = 0;
    struct node nodes[] = {node_make("n", 8, 64, 2), node_make("m", 4, 64, 0)};
    world_pool(world, "p", nodes, 2);
    world_team(world, "t");
    for (int i = 0; i < 300; i++) {
        act(world, &prng, jobs, &count);
        world_tick(world, 1000);
        follow(copy, world);
        compare(copy, world->core);
    }
    struct error err;
    struct core *core = copy_load(copy, NULL, &err);
    assert_non_null(core);
    assert_true(core_digest(core) == core_digest(world->core));
    core_destroy(core);
    copy_destroy(copy);
}

static void put_symbol(struct copy *copy, uint64_t id)
{
    struct symbol_row row = {.id = id};
    snprintf(row.text, sizeof row.text, "s%llu", (unsigned long long)id);
    copy_put(copy, ROW_SYMBOL, &row);
}

static void holes_are_closed_and_refilled(void **state)
{
    struct copy *copy = copy_create();
    (void)state;
    for (uint64_t id = 1; id <= 1000; id++)
        put_symbol(copy, id);
    for (uint64_t id = 1; id <= 1000; id += id % 3 == 0 ? 2 : 1)
        copy_remove(copy, ROW_SYMBOL, id);
    for (uint64_t id = 1; id <= 1000; id++) {
        bool there = id % 3 == 1 && id > 1;
        assert_true((copy_find(copy, ROW_SYMBOL, id) != NULL) == there);
    }
    size_t count = copy_count(copy, ROW_SYMBOL);
    put_symbol(copy, 500);
    put_symbol(copy, 500);
    copy_remove(copy, ROW_SYMBOL, 500);
    copy_remove(copy, ROW_SYMBOL, 500);
    copy_remove(copy, ROW_SYMBOL, 5000);
    assert_int_equal(copy_count(copy, ROW_SYMBOL), count);
    put_symbol(copy, 502);
    assert_string_equal(
        ((const struct symbol_row *)copy_find(copy, ROW_SYMBOL, 502))->text, "s502");
    copy_clear(copy);
    assert_int_equal(copy_count(copy, ROW_SYMBOL), 0);
    assert_null(copy_find(copy, ROW_SYMBOL, 502));
    copy_destroy(copy);
}

static void rows_that_are_no_state_are_refused(void **state)
{
    struct copy *copy = copy_create();
    struct job_row job = {.id = 1, .team = 99, .size = 1, .size_min = 1, .size_max = 1};
    struct error err;
    (void)state;
    copy_put(copy, ROW_JOB, &job);
    assert_null(copy_load(copy, NULL, &err));
    assert_int_equal(err.code, ERR_CORRUPT);
    copy_destroy(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_follows_whatever_happens),
        cmocka_unit_test(holes_are_closed_and_refilled),
        cmocka_unit_test(rows_that_are_no_state_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
