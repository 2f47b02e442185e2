/* How fast jobs run: the models of Shockwave's and ElasticFlow's traces, by hand. */
#include "simulate/batch_rules.h"
#include "simulate/model.h"
#include "simulate/throughputs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those four first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* LM has 59,675 samples: 5,968 steps of 10, 2,984 of 20, 746 of 80. */
static const char speeds[] =
    "{\"k80\": {\"('LM (batch size 10)', 1)\": {\"null\": 1}},"
    " \"v100\": {\"('LM (batch size 10)', 1)\": {\"null\": 59.675, \"('A3C', 1)\": [1.0, 2.0]},"
    " \"('LM (batch size 20)', 1)\": {\"null\": 59.675},"
    " \"('LM (batch size 80)', 2)\": {\"null\": 0.5e1},"
    " \"('A3C', 1)\": {\"null\": 4}, \"nonsense\": {\"null\": 4}}}";

static struct batch_job lm(int64_t batch, int32_t epochs)
{
    return (struct batch_job){batch_model_find("LM", 2), batch, 1, epochs};
}

static void batches_follow_the_noise_scale(void **state)
{
    (void)state;
    struct batch_job job = lm(10, 60);
    assert_int_equal(batch_in_epoch(&job, "gns", 10, true), 10);
    assert_int_equal(batch_in_epoch(&job, "gns", 11, true), 20);
    assert_int_equal(batch_in_epoch(&job, "gns", 21, true), 40);
    assert_int_equal(batch_in_epoch(&job, "gns", 41, true), 80);
    assert_int_equal(batch_in_epoch(&job, "gns", 59, true), 10); /* the schedule's last */
    assert_int_equal(batch_in_epoch(&job, "gns", 59, false), 80);
    assert_int_equal(batch_in_epoch(&job, "gns", 10, false), 20); /* an epoch ahead */
    assert_int_equal(batch_in_epoch(&job, "static", 30, true), 10);
    job.ranks = 3; /* nothing was found for it */
    assert_int_equal(batch_in_epoch(&job, "gns", 50, true), 10);
}

static void batches_follow_accordion(void **state)
{
    (void)state;
    struct batch_job job = lm(10, 60);
    assert_int_equal(batch_in_epoch(&job, "accordion", 9, false), 10);
    assert_int_equal(batch_in_epoch(&job, "accordion", 10, false), 80);
    assert_int_equal(batch_in_epoch(&job, "accordion", 18, true), 10); /* of the first 30 % */
    assert_int_equal(batch_in_epoch(&job, "accordion", 19, true), 80);
    job = (struct batch_job){batch_model_find("ResNet-50", 9), 64, 1, 90};
    assert_int_equal(batch_in_epoch(&job, "accordion", 69, false), 64);
    assert_int_equal(batch_in_epoch(&job, "accordion", 70, false), 128);
    job = (struct batch_job){batch_model_find("Recommendation", 14), 512, 1, 100};
    assert_int_equal(batch_in_epoch(&job, "accordion", 65, true), 512);
    assert_int_equal(batch_in_epoch(&job, "accordion", 65, false), 8192);
    job = (struct batch_job){batch_model_find("Transformer", 11), 16, 1, 100};
    assert_int_equal(batch_in_epoch(&job, "accordion", 65, false), 16);
    assert_null(batch_model_find("LMs", 3));
}

static void speeds_are_those_of_one_type_alone(void **state)
{
    (void)state;
    struct error err;
    struct throughputs *read = throughputs_parse(speeds, sizeof speeds - 1, "v100", &err);
    assert_non_null(read);
    assert_true(throughputs_find(read, "LM", 10, 1) == 59.675);
    assert_true(throughputs_find(read, "LM", 80, 2) == 5);
    assert_true(throughputs_find(read, "LM", 10, 2) == 0);
    assert_true(throughputs_find(read, "A3C", 1, 1) == 0);
    throughputs_destroy(read);
    assert_null(throughputs_parse(speeds, sizeof speeds - 1, "p100", &err));
    assert_string_equal(err.text, "there is no section \"p100\" of speeds");
    assert_null(throughputs_parse("{", 1, "v100", &err));
    assert_null(throughputs_parse("{\"v100\": 3}", 11, "v100", &err));
}

static void run_on(struct speed_model *model, void *job, int32_t ranks, bool moved, int64_t now_ms)
{
    const uint64_t node = 1;
    const struct model_place place = {ranks, 1, &ranks, &node, moved};
    model->type->place(model, job, &place, now_ms);
}

/* 11 epochs of 100 s with batches of 10, then two of 50 s with 20, one epoch ahead of the schedule:
 * ten of 100 s and three of 50. Each is a millisecond longer, for the rounding. */
static void a_job_of_shockwave_speeds_up(void **state)
{
    (void)state;
    char path[] = "/tmp/muster-speeds-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, speeds, sizeof speeds - 1), sizeof speeds - 1);
    close(fd);
    struct error err;
    const struct model_options options = {.speeds = path, .restart_ms = -1};
    struct speed_model *model = model_shockwave.create(&options, &err);
    unlink(path);
    assert_non_null(model);
    struct trace_job from = {
        .model = "LM (batch size 10)", .mode = "gns", .batch = 10, .ranks = 1, .work = 5968 * 13};
    void *job = calloc(1, model_shockwave.state_size);
    struct model_progress progress;
    struct model_loss loss;
    assert_int_equal(model_shockwave.prepare(model, job, &from, &err), 0);
    assert_int_equal(from.duration_ms, 11 * 100001 + 2 * 50001);
    run_on(model, job, 1, false, 1000);
    assert_int_equal(model_shockwave.done_ms(model, job), 1000 + 20000 + 10 * 100001 + 3 * 50001);
    model_shockwave.stop(model, job, 1000 + 20000 + 10 * 100001, true, &loss);
    assert_int_equal(loss.lost_ms, 0);
    model_shockwave.progress(model, job, &progress);
    assert_int_equal(progress.remaining, 3000000);
    assert_int_equal(progress.speeds[0].rate_milli, 1000000000000 / 50001);
    run_on(model, job, 1, true, 5000000);
    assert_int_equal(model_shockwave.done_ms(model, job), 5000000 + 20000 + 3 * 50001);
    model_shockwave.stop(model, job, 5000000 + 20000 + 70001, false, &loss);
    assert_int_equal(loss.lost_ms, 20000); /* of the second of these epochs */
    from.model = "LM (batch size 40)";
    from.batch = 40;
    model_shockwave.forget(model, job);
    assert_int_equal(model_shockwave.prepare(model, job, &from, &err), -1);
    free(job);
    model_shockwave.destroy(model);
}

static struct speed_model *scaling_of(const char *share, const char *machines)
{
    static struct trace_cluster cluster;
    struct error err;
    trace_cluster_init(&cluster);
    assert_int_equal(trace_cluster_parse(&cluster, machines, &err), 0);
    const struct model_options options = {.cluster = &cluster, .speeds = share, .restart_ms = -1};
    struct speed_model *model = model_scaling.create(&options, &err);
    trace_cluster_finish(&cluster);
    return model;
}

/* 100 s on two ranks: 200 s on one when scaling is perfect. A start in a small cluster costs 2 s
 * and 2 s for each doubling and the first rank, one more start 27 s more. */
static void a_job_scales_as_its_curve_says(void **state)
{
    (void)state;
    struct error err;
    struct speed_model *model = scaling_of("0", "2x8");
    struct trace_job from = {.ranks = 2, .duration_ms = 100000};
    void *job = calloc(1, model_scaling.state_size);
    struct model_progress progress;
    struct model_loss loss;
    assert_int_equal(model_scaling.prepare(model, job, &from, &err), 0);
    assert_int_equal(from.ranks_min, 1);
    assert_int_equal(from.ranks_max, 16);
    run_on(model, job, 1, false, 0);
    assert_int_equal(model_scaling.done_ms(model, job), 4000 + 200000);
    model_scaling.stop(model, job, 104000, true, &loss);
    run_on(model, job, 4, true, 200000);
    assert_int_equal(model_scaling.done_ms(model, job), 200000 + 2000 + 27000 + 6000 + 25000);
    model_scaling.progress(model, job, &progress);
    assert_int_equal(progress.remaining, 100001);
    assert_int_equal(progress.count, 5); /* 1, 2, 4, 8, 16 */
    assert_int_equal(progress.speeds[4].nodes, 2);
    assert_int_equal(progress.speeds[4].rate_milli, 16 * progress.speeds[0].rate_milli);
    model_scaling.stop(model, job, 245000, false, &loss);
    assert_int_equal(loss.lost_ms, 10000);
    assert_int_equal(loss.device_ms, 40000);
    model_scaling.progress(model, job, &progress);
    assert_int_equal(progress.remaining, 100001);
    assert_int_equal(progress.count, 0); /* nothing new */
    free(job);
    model_scaling.destroy(model);
}

/* Eight ranks are 8 / (1 + 7 x 0.1) = 4.71 times as fast as one where nothing else is said. */
static void the_habit_is_a_tenth(void **state)
{
    (void)state;
    struct error err;
    struct speed_model *model = scaling_of(NULL, "64x8");
    struct trace_job from = {.ranks = 1, .duration_ms = 1000};
    void *job = calloc(1, model_scaling.state_size);
    struct model_progress progress;
    assert_int_equal(model_scaling.prepare(model, job, &from, &err), 0);
    model_scaling.progress(model, job, &progress);
    assert_int_equal(progress.speeds[0].rate_milli, 1000000);
    assert_int_equal(progress.speeds[3].rate_milli, 4705882);
    assert_int_equal(progress.restart_ms, 7000 + 47000 + 8 * 2000);
    free(job);
    model_scaling.destroy(model);
    assert_null(scaling_of("1.5", "1x8"));
    assert_null(scaling_of("much", "1x8"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_follow_the_noise_scale),
        cmocka_unit_test(batches_follow_accordion),
        cmocka_unit_test(speeds_are_those_of_one_type_alone),
        cmocka_unit_test(a_job_of_shockwave_speeds_up),
        cmocka_unit_test(a_job_scales_as_its_curve_says),
        cmocka_unit_test(the_habit_is_a_tenth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
