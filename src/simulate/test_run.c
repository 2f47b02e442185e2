/* Runs small enough to be worked out by hand, each checked at every tick, and the same bytes twice.
 */
#include "simulate/report.h"
#include "simulate/run.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"

enum { SECOND = 1000 };

struct setting {
    struct trace_cluster cluster;
    struct trace_list *jobs;
    struct run_options options;
    struct model_options speeds;
    struct metrics metrics;
    struct run_job seen[16]; /* by number of the trace */
};

static int check_tick(void *context, struct core *core, int64_t now_ms, struct error *err)
{
    (void)context;
    (void)now_ms;
    return core_check(core, err);
}

static void keep_job(void *context, const struct run_job *job)
{
    struct setting *setting = context;
    if (job->number < ARRAY_LEN(setting->seen))
        setting->seen[job->number] = *job;
}

static struct setting *setting_make(const char *cluster)
{
    struct setting *setting = mem_alloc(1, sizeof *setting);
    trace_cluster_init(&setting->cluster);
    assert_int_equal(trace_cluster_parse(&setting->cluster, cluster, NULL), 0);
    setting->jobs = trace_list_create();
    setting->speeds = (struct model_options){.cluster = &setting->cluster, .restart_ms = -1};
    setting->options = (struct run_options){.cluster = &setting->cluster,
        .seed = 1,
        .observer = {.context = setting, .tick = check_tick, .job = keep_job}};
    return setting;
}

/* A job of one rank with one device. */
static struct trace_job job_of(int64_t submit_s, int64_t duration_s)
{
    return (struct trace_job){.name = "job",
        .submit_ms = submit_s * SECOND,
        .duration_ms = duration_s * SECOND,
        .ranks = 1,
        .ranks_min = 1,
        .ranks_max = 1,
        .accelerator_milli = 1000,
        .priority = 500,
        .preemptible = true};
}

static void add(struct setting *setting, struct trace_job job)
{
    job.number = trace_list_count(setting->jobs);
    trace_list_add(setting->jobs, &job);
}

static void run(struct setting *setting)
{
    struct error err = {0};
    setting->options.source = trace_list_source(setting->jobs);
    setting->options.model = model_fixed.create(&setting->speeds, &err);
    int failed = run_simulate(&setting->options, &setting->metrics, &err);
    if (failed < 0)
        fail_msg("%s", err.text);
    trace_close(setting->options.source);
    model_fixed.destroy(setting->options.model);
}

static void setting_destroy(struct setting *setting)
{
    metrics_finish(&setting->metrics);
    trace_cluster_finish(&setting->cluster);
    free(setting);
}

/* One device: A 0..100 s; B comes at 10 s, waits 90 s, runs 100..150 s. */
static void two_jobs_share_a_node_one_after_the_other(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    add(setting, job_of(0, 100));
    add(setting, job_of(10, 50));
    run(setting);
    const struct metrics *metrics = &setting->metrics;
    assert_int_equal(setting->seen[0].end_ms, 100 * SECOND);
    assert_int_equal(setting->seen[1].start_ms, 100 * SECOND);
    assert_int_equal(setting->seen[1].end_ms, 150 * SECOND);
    assert_int_equal(quantile_mean(&metrics->waiting_ms), 45 * SECOND);
    assert_int_equal(quantile_mean(&metrics->completion_ms), 120 * SECOND);
    assert_int_equal(metrics->last_end_ms - metrics->first_submit_ms, 150 * SECOND);
    assert_true(metrics->device_held_ms == 150 * SECOND * 1000);
    assert_true(metrics->device_there_ms == 150 * SECOND * 1000);
    /* Both are there from 10 to 100 s, and ask for twice what there is. Alone A would take 100 s:
     * (10 x 1 + 90 x 2) / 100 s of contention make its share 190 s. B: (90 x 2 + 50) / 140. */
    assert_int_equal(setting->seen[0].fairness_micro, 1000000 * 100 / 190);
    assert_in_range(setting->seen[1].fairness_micro, 1704346, 1704350); /* 140 / (50 * 230 / 140) */
    setting_destroy(setting);
}

/* An urgent job takes the place at 40 s for 10 s. The other saved its work when it was told to
 * stop, so that 60 s are left; starting again costs 5 s. */
static void a_job_that_was_preempted_goes_on_where_it_was(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job urgent = job_of(40, 10);
    urgent.priority = 1000;
    setting->speeds.restart_ms = 5 * SECOND;
    add(setting, job_of(0, 100));
    add(setting, urgent);
    run(setting);
    assert_int_equal(setting->seen[1].start_ms, 40 * SECOND);
    assert_int_equal(setting->seen[1].end_ms, 50 * SECOND);
    assert_int_equal(setting->seen[0].end_ms, 115 * SECOND);
    assert_int_equal(setting->seen[0].preemptions, 1);
    assert_int_equal(setting->seen[0].starts, 2);
    assert_int_equal(setting->seen[0].lost_ms, 0);
    assert_int_equal(setting->metrics.preemptions, 1);
    setting_destroy(setting);
}

/* The same for one that saves nothing: 40 s are lost, 100 s are left at 50 s. */
static void without_checkpoints_a_preemption_loses_everything(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job urgent = job_of(40, 10), stubborn = job_of(0, 100);
    urgent.priority = 1000;
    stubborn.checkpoint_ms = -1;
    add(setting, stubborn);
    add(setting, urgent);
    run(setting);
    assert_int_equal(setting->seen[0].end_ms, 150 * SECOND);
    assert_int_equal(setting->seen[0].lost_ms, 40 * SECOND);
    assert_true(setting->metrics.device_lost_ms == 40 * SECOND * 1000);
    setting_destroy(setting);
}

/* With 10 s of grace the job that gives way runs until 50 s, and the urgent one after it. */
static void grace_is_worked_in(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job urgent = job_of(40, 10);
    urgent.priority = 1000;
    setting->options.grace_ms = 10 * SECOND;
    add(setting, job_of(0, 100));
    add(setting, urgent);
    run(setting);
    assert_int_equal(setting->seen[1].start_ms, 50 * SECOND);
    assert_int_equal(setting->seen[0].end_ms, 110 * SECOND);
    setting_destroy(setting);
}

/* The node goes at 50 s and is back at 60 s. It saves every 15 s, so that the newest checkpoint is
 * that of 45 s: 5 s are lost, 55 s are left, and starting again costs 5 s. */
static void a_lost_node_takes_work_back_to_the_checkpoint(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job job = job_of(0, 100);
    struct trace_event events[] = {{50 * SECOND, "node", false}, {60 * SECOND, "node", true}};
    const struct trace_events list = {.items = {events, 2, 2}};
    job.checkpoint_ms = 15 * SECOND;
    setting->speeds.restart_ms = 5 * SECOND;
    setting->options.events = &list;
    add(setting, job);
    run(setting);
    assert_int_equal(setting->seen[0].lost_ms, 5 * SECOND);
    assert_int_equal(setting->seen[0].end_ms, 120 * SECOND);
    assert_int_equal(setting->metrics.node_losses, 1);
    assert_true(setting->metrics.device_there_ms == 110 * SECOND * 1000);
    setting_destroy(setting);
}

/* Half of four ranks: twice as long. */
static void an_elastic_job_runs_on_what_there_is(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x2");
    struct trace_job job = job_of(0, 100);
    job.ranks = job.ranks_max = 4;
    job.ranks_min = 1;
    add(setting, job);
    run(setting);
    assert_int_equal(setting->seen[0].end_ms, 200 * SECOND);
    setting_destroy(setting);
}

/* Ends at 100 s, which is in time, and at 150 s, which is not. Told to the core, the second is
 * ended at its deadline. */
static void deadlines_are_measured_or_kept(void **state)
{
    (void)state;
    for (int told = 0; told < 2; told++) {
        struct setting *setting = setting_make("1x1");
        struct trace_job first = job_of(0, 100), second = job_of(0, 50);
        first.deadline_ms = 100 * SECOND;
        second.deadline_ms = 149 * SECOND;
        setting->options.deadlines = told;
        add(setting, first);
        add(setting, second);
        run(setting);
        assert_int_equal(setting->metrics.with_deadline, 2);
        assert_int_equal(setting->metrics.in_time, 1);
        assert_int_equal(setting->metrics.failed, told);
        assert_int_equal(setting->seen[1].end_ms, (told ? 149 : 150) * SECOND);
        assert_int_equal(setting->seen[1].reason, told ? END_DEADLINE : END_SUCCEEDED);
        setting_destroy(setting);
    }
}

/* Twice as fast: what came at 10 s comes at 5 s. In steps of 60 s it is seen at 60 s, and the
 * device that is free at 65 s is so at 120 s; ends are to the millisecond. */
static void arrivals_scale_and_steps_round_up(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job first = job_of(10, 5);
    first.deadline_ms = 70 * SECOND; /* 60 s after it comes, whenever that is */
    setting->options.scale_arrivals_milli = 2000;
    setting->options.step_ms = 60 * SECOND;
    add(setting, first);
    add(setting, job_of(10, 7));
    run(setting);
    assert_int_equal(setting->seen[0].submit_ms, 5 * SECOND);
    assert_int_equal(setting->seen[0].start_ms, 60 * SECOND);
    assert_int_equal(setting->seen[0].end_ms, 65 * SECOND);
    assert_int_equal(setting->seen[0].deadline_ms, 65 * SECOND);
    assert_int_equal(setting->metrics.in_time, 1);
    assert_int_equal(setting->seen[1].start_ms, 120 * SECOND);
    assert_int_equal(setting->seen[1].end_ms, 127 * SECOND);
    setting_destroy(setting);
}

/* What no node could hold is counted and left out; what has not ended when the run does is counted
 * too. */
static void runs_end_when_they_are_told_to(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct trace_job wide = job_of(0, 1);
    wide.ranks = wide.ranks_min = wide.ranks_max = 2;
    setting->options.until_ms = 60 * SECOND;
    add(setting, wide);
    add(setting, job_of(0, 50));
    add(setting, job_of(0, 50));
    run(setting);
    assert_int_equal(setting->metrics.jobs, 3);
    assert_int_equal(setting->metrics.impossible, 1);
    assert_int_equal(setting->metrics.succeeded, 1);
    assert_int_equal(setting->metrics.unfinished, 1);
    setting_destroy(setting);
}

/* Two nodes of two devices. Whole devices arrive one at a time: five jobs for four. */
static void arrivals_alone_are_dropped_when_nothing_fits(void **state)
{
    (void)state;
    struct setting *setting = setting_make("2x2/4");
    struct trace_job job = job_of(0, 1);
    job.cpu_milli = 1000;
    for (int i = 0; i < 5; i++)
        add(setting, job);
    setting->options.mode = RUN_ARRIVALS;
    run(setting);
    const struct metrics *metrics = &setting->metrics;
    assert_int_equal(metrics->dropped, 1);
    for (int i = 0; i < METRICS_POINTS; i++) {
        int percent = metrics_points[i];
        assert_int_equal(metrics->points[i].reached, percent <= 125);
        /* 80% is passed with the fourth, which is 100%. */
        if (percent <= 125)
            assert_int_equal(metrics->points[i].allocated_milli, percent == 50 ? 2000 : 4000);
    }
    setting_destroy(setting);
}

/* F by hand. Typical: half ask for 0.5 of a GPU and 2 CPUs, half for 2 CPUs alone. A node has two
 * GPUs, one free and one with 0.3 left, and 4 CPUs: to the first 0.3 are lost, to the second all of
 * 1.3; so 0.8. With 1 CPU left everything is lost to both: 1.3. */
static void fragmentation_is_what_typical_jobs_can_not_use(void **state)
{
    (void)state;
    struct trace_list *jobs = trace_list_create();
    struct trace_job share = job_of(0, 1), plain = job_of(0, 1);
    share.accelerator_milli = 500;
    plain.accelerator_milli = 0;
    share.cpu_milli = plain.cpu_milli = 2000;
    trace_list_add(jobs, &share);
    trace_list_add(jobs, &plain);
    struct fragment_mix *mix = fragment_mix_create(jobs);
    struct fragment_node node = {
        .cpu_milli = 4000, .devices = 2, .accelerator = "a100", .device_milli = {1000, 300}};
    assert_int_equal(fragment_mix_count(mix), 2);
    assert_int_equal(fragment_micro(mix, &node), 800000);
    node.cpu_milli = 1000;
    assert_int_equal(fragment_micro(mix, &node), 1300000);
    fragment_mix_destroy(mix);
    trace_list_destroy(jobs);
}

static void report_of_seed(uint64_t seed, struct strbuf *out)
{
    struct error err = {0};
    struct trace_cluster cluster;
    struct metrics metrics;
    trace_cluster_init(&cluster);
    assert_int_equal(trace_cluster_parse(&cluster, "20x8/128", &err), 0);
    const struct trace_options trace = {.jobs = "2000", .seed = seed, .cluster_milli = 160000};
    const struct model_options speeds = {
        .cluster = &cluster, .restart_ms = 7 * SECOND, .checkpoint_ms = 60 * SECOND};
    struct run_options options = {.cluster = &cluster,
        .source = trace_format_find("synthetic")->open(&trace, &err),
        .model = model_fixed.create(&speeds, &err),
        .seed = seed,
        .node_mtbf_ms = 3600 * SECOND,
        .node_mttr_ms = 60 * SECOND,
        .observer = {.tick = check_tick}};
    if (run_simulate(&options, &metrics, &err) < 0)
        fail_msg("%s", err.text);
    const struct report report = {"synthetic", "default", "300", RUN_EVENTS, &metrics, 1};
    report_json(&report, out);
    report_html(&report, out);
    assert_int_equal(metrics.succeeded + metrics.failed, 2000);
    assert_true(metrics.node_losses > 0);
    metrics_finish(&metrics);
    trace_close(options.source);
    model_fixed.destroy(options.model);
    trace_cluster_finish(&cluster);
}

static void a_seed_gives_the_same_bytes(void **state)
{
    (void)state;
    struct strbuf first = {0}, again = {0}, other = {0};
    report_of_seed(5, &first);
    report_of_seed(5, &again);
    report_of_seed(6, &other);
    assert_string_equal(first.text, again.text);
    assert_string_not_equal(first.text, other.text);
    strbuf_finish(&first);
    strbuf_finish(&again);
    strbuf_finish(&other);
}

/* A trace that goes back in time is an error, not a surprise. */
static void time_never_goes_back(void **state)
{
    (void)state;
    struct setting *setting = setting_make("1x1");
    struct error err = {0};
    struct metrics metrics;
    add(setting, job_of(10, 1));
    add(setting, job_of(9, 1));
    setting->options.source = trace_list_source(setting->jobs);
    setting->options.model = model_fixed.create(&setting->speeds, &err);
    assert_int_equal(run_simulate(&setting->options, &metrics, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    trace_close(setting->options.source);
    model_fixed.destroy(setting->options.model);
    setting_destroy(setting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_jobs_share_a_node_one_after_the_other),
        cmocka_unit_test(a_job_that_was_preempted_goes_on_where_it_was),
        cmocka_unit_test(without_checkpoints_a_preemption_loses_everything),
        cmocka_unit_test(grace_is_worked_in),
        cmocka_unit_test(a_lost_node_takes_work_back_to_the_checkpoint),
        cmocka_unit_test(an_elastic_job_runs_on_what_there_is),
        cmocka_unit_test(deadlines_are_measured_or_kept),
        cmocka_unit_test(arrivals_scale_and_steps_round_up),
        cmocka_unit_test(runs_end_when_they_are_told_to),
        cmocka_unit_test(arrivals_alone_are_dropped_when_nothing_fits),
        cmocka_unit_test(fragmentation_is_what_typical_jobs_can_not_use),
        cmocka_unit_test(a_seed_gives_the_same_bytes),
        cmocka_unit_test(time_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
