/* Speeds of Pollux's workloads from a folder of round numbers, and a job that runs by them, worked
 * out by hand. */
#include "base/memory.h"
#include "simulate/model.h"
#include "simulate/pollux.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

enum { EPOCH_ROWS = 100 };

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Each epoch makes `step` of progress; no noise: a larger batch is worth nothing. */
static void write_validation(const char *folder, int batch, int step, const char *noise)
{
    char name[64], text[EPOCH_ROWS * 64] = "progress,grad_sqr,grad_var\n";
    size_t used = strlen(text);
    for (int epoch = 1; epoch <= EPOCH_ROWS; epoch++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,%s\n", epoch * step, noise);
    snprintf(name, sizeof name, "validation-%d.csv", batch);
    write_file(folder, name, text);
}

static void write_model(const char *root, const char *model, const int *batches)
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s/traces/%s", root, model);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(folder, "placements.csv",
        "placement,local_bsz,step_time,sync_time\n"
        "1,32,1,0\n1,64,2,0\n"
        "4,32,2,1\n4,64,3,1\n"
        "44,32,4,2\n44,64,6,2\n"
        "12,32,3,1\n13,32,5,2\n21,32,3,1\n");
    write_file(folder, "scalability.csv",
        "num_nodes,num_replicas,local_bsz,step_time,sync_time\n"
        "4,16,32,8,4\n4,16,64,10,4\n4,8,32,6,3\n");
    for (int i = 0; batches[i]; i++)
        write_validation(folder, batches[i], i == 0 ? 100 : 120, "1,0");
}

static int setup(void **state)
{
    static const struct {
        const char *name;
        int batches[12];
    } models[] = {
        {"bert", {12, 24, 48, 96, 192, 384}},
        {"cifar10", {128, 256, 512, 1024, 2048, 4096}},
        {"deepspeech2", {20, 40, 80, 160, 320, 640}},
        {"imagenet", {200, 400, 800, 1600, 3200, 6400, 12800}},
        {"ncf", {256, 512, 1024, 2048, 4096, 8192, 16384, 32768}},
        {"yolov3", {8, 16, 32, 64, 128, 256, 512}},
    };
    char *root = mem_strdup("/tmp/test_pollux_XXXXXX"), folder[256];
    assert_non_null(mkdtemp(root));
    snprintf(folder, sizeof folder, "%s/traces", root);
    assert_int_equal(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        write_model(root, models[i].name, models[i].batches);
    *state = root;
    return 0;
}

static int teardown(void **state)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    int rc = system(command);
    free(*state);
    return rc;
}

static struct pollux_point time_on(
    const struct pollux_app *app, const int32_t *ranks_on, int32_t nodes, int32_t batch)
{
    struct pollux_place place;
    struct pollux_point point;
    pollux_place_make(&place, ranks_on, nodes);
    pollux_time(app, &place, batch, &point);
    return point;
}

#define TIME(app, batch, ...)                                                                      \
    time_on((app), (const int32_t[]){__VA_ARGS__},                                                 \
        (int32_t)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)), (batch))

static bool near(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

static void places_are_the_same_when_rotated(void **state)
{
    (void)state;
    struct pollux_place place;
    pollux_place_make(&place, (const int32_t[]){4, 1, 2}, 3);
    assert_int_equal(place.digits, 124);
    pollux_place_packed(&place, 6);
    assert_int_equal(place.digits, 24);
    assert_int_equal(place.nodes, 2);
}

static void times_are_measured_or_between(void **state)
{
    struct pollux_apps apps;
    struct error err;
    assert_int_equal(pollux_load(&apps, *state, &err), 0);
    const struct pollux_app *app = pollux_find(&apps, "cifar10");
    assert_true(near(TIME(app, 32, 4, 4).step_s, 4));
    assert_true(near(TIME(app, 48, 4, 4).step_s, 5)); /* half-way between two batches */
    assert_true(near(TIME(app, 96, 1).step_s, 3));    /* as the last piece goes on */
    assert_true(near(TIME(app, 32, 2, 1).step_s, 3)); /* 12, turned; measured twice */
    /* Two nodes and 6 ranks: between 4 ranks (5 s) and 8 (4 s). */
    assert_true(near(TIME(app, 32, 2, 4).step_s, 4.5));
    /* Three nodes of 4: half-way between two (4 s) and four (8 s). */
    assert_true(near(TIME(app, 32, 4, 4, 4).step_s, 6));
    assert_true(near(TIME(app, 32, 4, 4, 4).sync_s, 3));
    pollux_unload(&apps);
}

static void a_batch_is_divided_into_passes(void **state)
{
    struct pollux_apps apps;
    struct error err;
    assert_int_equal(pollux_load(&apps, *state, &err), 0);
    const struct pollux_app *app = pollux_find(&apps, "cifar10");
    /* 256 on one: 64 is the most in a pass, so four passes. */
    struct pollux_batch batch = pollux_batch_of(app, 1, 256);
    assert_int_equal(batch.local, 64);
    assert_int_equal(batch.accumulate, 3);
    /* 256 on 8: 32 each. */
    batch = pollux_batch_of(app, 8, 256);
    assert_int_equal(batch.local, 32);
    assert_int_equal(batch.accumulate, 0);
    /* 4096 on 48 is 86 each, in two passes 43; 4096 / 96 is 42. */
    batch = pollux_batch_of(app, 48, 4096);
    assert_int_equal(batch.local, 42);
    assert_int_equal(batch.accumulate, 1);
    assert_int_equal(pollux_ranks_max(app), 64);
    pollux_unload(&apps);
}

/* 128 on one rank: two passes of 64 take 4 s, each worth one iteration: 400 s for the 100 of an
 * epoch, 40,000 s for a hundred, 30 s before. From 60 s on it is done at 40,090 s. Stopped at
 * 490 s it has 115 - 100 = 15 of its second epoch, after another 30 s it goes on with the rest. */
static void a_job_runs_as_fast_as_its_place(void **state)
{
    struct error err;
    const struct model_options options = {.speeds = *state, .restart_ms = -1};
    struct speed_model *model = model_pollux.create(&options, &err);
    assert_non_null(model);
    void *job = mem_alloc(1, model_pollux.state_size);
    struct trace_job from = {.name = "a", .team = "", .model = "cifar10", .ranks = 1, .batch = 128};
    assert_int_equal(model_pollux.prepare(model, job, &from, &err), 0);
    assert_int_equal(from.duration_ms, 40000 * 1000);
    const int32_t one = 1;
    const uint64_t node = 1;
    const struct model_place place = {.ranks = 1, .nodes = 1, .ranks_on = &one, .node_ids = &node};
    model_pollux.place(model, job, &place, 60000);
    assert_int_equal(model_pollux.done_ms(model, job), 40090 * 1000);
    struct model_loss loss;
    model_pollux.stop(model, job, 550000, true, &loss);
    assert_int_equal(loss.lost_ms, 0);
    assert_int_equal(model_pollux.done_ms(model, job), MODEL_NEVER);
    model_pollux.place(model, job, &place, 600000);
    /* 460 s of 40,000 are done. */
    assert_int_equal(model_pollux.done_ms(model, job), (630 + 40000 - 460) * 1000);
    free(job);
    model_pollux.destroy(model);
}

/* With no noise a larger batch is worth nothing: the best is the smallest, 128, on four ranks as
 * four times 32 in 2 s. 40,000 thousandths of progress are 10,000,000 units; 0.5 a second are
 * 500,000 thousandths of a unit. */
static void an_adaptive_job_says_how_fast_it_would_be(void **state)
{
    struct error err;
    const struct model_options options = {.speeds = *state, .restart_ms = -1};
    struct speed_model *model = model_pollux_adaptive.create(&options, &err);
    assert_non_null(model);
    void *job = mem_alloc(1, model_pollux_adaptive.state_size);
    struct trace_job from = {.name = "a", .team = "", .model = "cifar10", .ranks = 8, .batch = 512};
    assert_int_equal(model_pollux_adaptive.prepare(model, job, &from, &err), 0);
    assert_int_equal(from.ranks_min, 1);
    assert_int_equal(from.ranks_max, 64);
    struct model_progress said;
    model_pollux_adaptive.progress(model, job, &said);
    assert_int_equal(said.remaining, 10000 * 1000 + 1);
    assert_int_equal(said.restart_ms, 30000);
    assert_int_equal(said.count, 64);
    assert_int_equal(said.speeds[3].ranks, 4);
    assert_int_equal(said.speeds[3].rate_milli, 500000);
    from.model = "unheard-of";
    assert_int_equal(model_pollux_adaptive.prepare(model, job, &from, &err), -1);
    free(job);
    model_pollux_adaptive.destroy(model);
}

static void files_that_make_no_sense_are_refused(void **state)
{
    static const char *const wrong[] = {"placement,local_bsz,step_time,sync_time\n1,32,-1,0\n",
        "placement,local_bsz,step_time,sync_time\n1,32,1,2\n",
        "placement,local_bsz,step_time,sync_time\n105,32,1,0\n",
        "placement,local_bsz,step_time,sync_time\n1,32,nan,0\n",
        "placement,local_bsz,step_time,sync_time\n", "placement,step_time\n"};
    char folder[256];
    struct pollux_apps apps;
    struct error err;
    snprintf(folder, sizeof folder, "%s/traces/bert", (char *)*state);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        write_file(folder, "placements.csv", wrong[i]);
        assert_int_equal(pollux_load(&apps, *state, &err), -1);
    }
}

#define WITH_FOLDER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_the_same_when_rotated),
        WITH_FOLDER(times_are_measured_or_between),
        WITH_FOLDER(a_batch_is_divided_into_passes),
        WITH_FOLDER(a_job_runs_as_fast_as_its_place),
        WITH_FOLDER(an_adaptive_job_says_how_fast_it_would_be),
        WITH_FOLDER(files_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
