/* What a power failure leaves of what the Slurm engine has written down: every file whole, cut off
 * after any byte, empty or gone. No cluster answers here, so that nothing is submitted. */
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "engine/engine_slurm.h"
#include "engine/layout.h"
#include "engine/slurm.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JOB = 3, ATTEMPT = 31, NUMBER = 4711, TURNS_MOST = 10000 };

struct world {
    char top[64];
    struct event_base *base;
    struct pool pool;
    char folder[80], endpoint[96];
    struct engine *engine;
};

static void on_report(void *context, const struct report *report)
{
    (void)context, (void)report;
}

static void make_engine(struct world *world)
{
    struct error err;
    world->engine = engine_slurm_create(&(struct engine_options){.base = world->base,
                                            .data = world->top,
                                            .pool = &world->pool,
                                            .owner = "owner",
                                            .report = on_report,
                                            .context = world},
        &err);
    if (!world->engine)
        fail_msg("%s", err.text);
}

static void again(struct world *world)
{
    engine_destroy(world->engine);
    make_engine(world);
}

/* The machine starts again in between. */
static void after_a_power_failure(struct world *world)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    struct error err;
    strbuf_printf(&path, "%s/sites/cluster/boot", world->top);
    assert_int_equal(file_write(path.text, "another", 7, 0600, &err), 0);
    again(world);
}

static int set_up(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    snprintf(world->top, sizeof world->top, "/tmp/test-slurm-ledger-XXXXXX");
    assert_non_null(mkdtemp(world->top));
    world->base = event_base_new();
    snprintf(world->folder, sizeof world->folder, "%s/shared", world->top);
    snprintf(world->endpoint, sizeof world->endpoint, "unix:%s/nobody", world->top);
    world->pool.metadata.name = "cluster";
    world->pool.slurm.endpoint = world->endpoint;
    world->pool.slurm.folder = world->folder;
    world->pool.slurm.poll_ms = 60000;
    world->pool.slurm.requests = 4;
    if (geteuid() == 0)
        world->pool.slurm.user = "nobody";
    make_engine(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    struct error err;
    engine_destroy(world->engine);
    event_base_free(world->base);
    assert_int_equal(file_remove_tree(world->top, &err), 0);
    free(world);
    return 0;
}

static struct slurm_attempt *find(const struct world *world)
{
    return slurm_attempt_find(slurm_of_engine(world->engine), ATTEMPT);
}

static void start(const struct world *world)
{
    static const char *const argv[] = {"true", NULL};
    static const struct launch_placement placement = {.node = "n1", .ranks = 1};
    static const struct launch_variable variable = {"A", "line\nof text"};
    const struct launch launch = {.attempt = ATTEMPT,
        .job = JOB,
        .attempt_number = 1,
        .job_name = "j",
        .team_name = "t",
        .argv = argv,
        .variables = &variable,
        .variable_count = 1,
        .world_size = 1,
        .snapshot_fd = -1,
        .placements = &placement,
        .placement_count = 1};
    struct error err;
    if (engine_start(world->engine, &launch, &err) < 0)
        fail_msg("%s", err.text);
}

static void wait_stored(const struct world *world)
{
    for (int turns = 0; !find(world)->stored; turns++) {
        assert_true(turns < TURNS_MOST);
        event_base_loop(world->base, EVLOOP_ONCE);
    }
}

static char *run_path(const struct world *world, const char *name)
{
    SCOPED(strbuf_finish) struct strbuf data = {0};
    strbuf_printf(&data, "%s/sites/cluster", world->top);
    return layout_run(data.text, ATTEMPT, name);
}

static void write_run(const struct world *world, const char *name, const char *text, size_t size)
{
    SCOPED(mem_scope) char *path = run_path(world, name);
    struct error err;
    assert_int_equal(file_write(path, text, size, 0600, &err), 0);
}

static char *read_run(const struct world *world, const char *name, size_t *ret_size)
{
    SCOPED(mem_scope) char *path = run_path(world, name);
    struct error err;
    char *text;
    if (file_read(path, 1 << 20, &text, ret_size, &err) < 0)
        fail_msg("%s", err.text);
    return text;
}

static bool is_there(const struct world *world)
{
    SCOPED(mem_scope) char *ours = run_path(world, NULL);
    SCOPED(mem_scope)
    char *shared = slurm_folder_attempt(&slurm_of_engine(world->engine)->folder, ATTEMPT, NULL);
    return access(ours, F_OK) == 0 || access(shared, F_OK) == 0;
}

static void what_is_stored_is_looked_up(void **state)
{
    struct world *world = *state;
    start(world);
    wait_stored(world);
    after_a_power_failure(world);
    assert_non_null(find(world));
    assert_true(find(world)->ledger.tried);
    assert_false(find(world)->stored);
    wait_stored(world);
    assert_true(find(world)->ledger.tried);
}

static void a_ledger_that_is_cut_off_says_nothing(void **state)
{
    struct world *world = *state;
    size_t size;
    start(world);
    wait_stored(world);
    struct slurm_ledger *ledger = &find(world)->ledger;
    *ledger =
        (struct slurm_ledger){.number = NUMBER, .stop_asked = true, .ended = true, .end.rank = -1};
    ledger->end.reason = ENGINE_END_STOPPED;
    snprintf(ledger->end.text, sizeof ledger->end.text, "two\nlines");
    assert_int_equal(slurm_ledger_save(find(world)), 0);
    SCOPED(mem_scope) char *text = read_run(world, "ledger", &size);
    for (size_t length = 0; length <= size; length++) {
        write_run(world, "ledger", text, length);
        after_a_power_failure(world);
        const struct slurm_ledger *found = &find(world)->ledger;
        assert_true(found->tried);
        assert_int_equal(found->number, length == size ? NUMBER : 0);
        assert_int_equal(found->ended, length == size);
        assert_int_equal(found->end.reason, length == size ? ENGINE_END_STOPPED : ENGINE_END_NONE);
    }
}

static void what_was_not_stored_outlives_the_server(void **state)
{
    struct world *world = *state;
    start(world);
    again(world);
    assert_non_null(find(world));
    wait_stored(world);
}

/* Whoever wants it finds that the engine does not know it. */
static void what_was_not_stored_is_made_again(void **state)
{
    struct world *world = *state;
    size_t size;
    start(world);
    SCOPED(mem_scope) char *text = read_run(world, "launch", &size);
    for (size_t length = 0; length <= size; length++) {
        write_run(world, "launch", text, length);
        after_a_power_failure(world);
        assert_null(find(world));
        assert_false(is_there(world));
        start(world);
        assert_false(find(world)->ledger.tried);
    }
    SCOPED(mem_scope) char *path = run_path(world, "launch");
    assert_int_equal(unlink(path), 0);
    after_a_power_failure(world);
    assert_null(find(world));
    start(world);
    wait_stored(world);
}

static void what_has_begun_is_kept_whatever_is_known_of_it(void **state)
{
    struct world *world = *state;
    uint64_t number;
    start(world);
    assert_int_equal(
        slurm_folder_claim(&slurm_of_engine(world->engine)->folder, ATTEMPT, &number), CLAIM_OURS);
    after_a_power_failure(world);
    assert_non_null(find(world));
    assert_true(find(world)->ledger.tried);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_stored_is_looked_up),
        TEST(a_ledger_that_is_cut_off_says_nothing),
        TEST(what_was_not_stored_outlives_the_server),
        TEST(what_was_not_stored_is_made_again),
        TEST(what_has_begun_is_kept_whatever_is_known_of_it),
    };
    return cmocka_run_group_tests_name("slurm ledger", tests, NULL, NULL);
}
