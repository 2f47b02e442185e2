/* How good the ETAs are: a trace is simulated with the live core; over its first part only lengths
 * are learned; at moments of the rest the state is copied as the planner has it, run forward, and
 * what that says of each waiting job is kept until the job really starts.
 *
 *     bench_eta --format NAME --jobs FILE [--cluster TEXT] [--questions N] [--learn PERCENT]
 *               [--scale MILLI] [--jobs-max N] [--runs N]
 *
 * Prints the number of forecasts, the median of their absolute errors, of the errors relative to
 * the wait that was left, and how often the true start lay between the earliest and the latest.
 * Beside it the same for the obvious guess: as long as the jobs that started last had waited. */
#include "base/clock.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/vec.h"
#include "planner/copy.h"
#include "planner/forecast.h"
#include "planner/forward.h"
#include "simulate/run.h"
#include "trace/trace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECENT = 64, HORIZON_DAYS = 30, ASKED_MAX = 400 };

struct guess {
    uint64_t job;
    int64_t asked_ms, median_ms, low_ms, high_ms, naive_ms;
    int64_t actual_ms; /* 0: not started yet */
};

struct begun {
    struct history_job known;
    int64_t at_ms;
};

struct eta {
    struct history *history;
    struct idmap begun; /* by job: struct begun */
    struct idmap open;  /* by job: index + 1 of its newest guess */
    VEC(struct guess) guesses;
    struct core *core;
    int64_t learn_until_ms, step_ms, next_ms, budget_ms;
    int runs;
    int64_t recent[RECENT];
    size_t recent_next, recent_count;
    int64_t forecast_ns, forecasts, ticks;
    struct prng prng;
};

/* ---- the run that is watched --------------------------------------------------------------- */

static void on_admit(struct eta *eta, uint64_t id, int64_t now_ms)
{
    const struct job_row *job = core_job(eta->core, id);
    if (!job || job->attempts != 1)
        return;
    struct begun *begun = mem_alloc(1, sizeof *begun);
    forward_describe(eta->core, job, &begun->known);
    begun->at_ms = now_ms;
    idmap_put(&eta->begun, id, begun);
    eta->recent[eta->recent_next] = now_ms - job->submitted_ms;
    eta->recent_next = (eta->recent_next + 1) % RECENT;
    eta->recent_count += eta->recent_count < RECENT;
    size_t guess = (size_t)(uintptr_t)idmap_remove(&eta->open, id);
    if (guess)
        eta->guesses.items[guess - 1].actual_ms = now_ms;
}

static void on_end(struct eta *eta, uint64_t id, int64_t now_ms)
{
    struct begun *begun = idmap_remove(&eta->begun, id);
    if (begun)
        history_learn(eta->history, &begun->known, now_ms - begun->at_ms);
    free(begun);
}

static void on_decision(void *context, const struct core_decision *decision, int64_t now_ms)
{
    struct eta *eta = context;
    (void)now_ms;
    if (!eta->core) /* the first tick's come before it is shown */
        return;
    if (decision->kind == DECISION_ADMIT)
        on_admit(eta, decision->job, decision->at_ms);
    else if (decision->kind == DECISION_JOB_END)
        on_end(eta, decision->job, decision->at_ms);
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static int64_t middle(int64_t *values, size_t count)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

static int64_t recent_wait(const struct eta *eta)
{
    int64_t sorted[RECENT];
    memcpy(sorted, eta->recent, sizeof sorted);
    return middle(sorted, eta->recent_count);
}

/* ---- asking -------------------------------------------------------------------------------- */

static void copy_row(void *context, enum row_kind kind, const void *row)
{
    copy_put(context, kind, row);
}

static void keep_guess(struct eta *eta, const struct forecast *forecast, size_t i, int64_t now_ms)
{
    int64_t starts[FORECAST_RUNS_MAX];
    struct spread spread;
    uint64_t id = forecast_job(forecast, i);
    const struct job_row *job = core_job(eta->core, id);
    if (!job || job->attempts > 0 || idmap_get(&eta->open, id))
        return;
    for (int run = 0; run < forecast_runs(forecast); run++)
        starts[run] = forecast_start(forecast, run, i);
    spread_of(starts, forecast_runs(forecast), &spread);
    if (spread.median == INT64_MAX)
        return;
    int64_t naive_ms = job->submitted_ms + recent_wait(eta);
    struct guess guess = {.job = id,
        .asked_ms = now_ms,
        .median_ms = spread.median,
        .low_ms = spread.low,
        .high_ms = spread.high,
        .naive_ms = naive_ms > now_ms ? naive_ms : now_ms};
    vec_push(&eta->guesses, guess);
    idmap_put(&eta->open, id, (void *)(uintptr_t)eta->guesses.count);
}

static int ask(struct eta *eta, int64_t now_ms, struct error *err)
{
    struct copy *copy = copy_create();
    int64_t begin_ns = clock_monotonic_ns();
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        if (!row_type((enum row_kind)kind)->history)
            core_row_each(eta->core, (enum row_kind)kind, copy_row, copy);
    }
    struct core *core = copy_load(copy, NULL, err);
    copy_destroy(copy);
    if (!core)
        return -1;
    struct forecast_options options = {.history = eta->history,
        .runs = eta->runs,
        .now_ms = now_ms,
        .horizon_ms = (int64_t)HORIZON_DAYS * 24 * 3600 * 1000,
        .budget_ms = eta->budget_ms};
    struct forecast *forecast = forecast_make(core, &options, err);
    if (forecast) {
        size_t count = forecast_count(forecast);
        for (size_t i = 0; i < count && i < ASKED_MAX; i++)
            keep_guess(eta, forecast,
                count <= ASKED_MAX ? i : (size_t)prng_below(&eta->prng, count), now_ms);
        eta->ticks += forecast_ticks(forecast);
    }
    eta->forecasts++;
    eta->forecast_ns += clock_monotonic_ns() - begin_ns;
    forecast_free(forecast);
    core_destroy(core);
    return forecast ? 0 : -1;
}

static int on_tick(void *context, struct core *core, int64_t now_ms, struct error *err)
{
    struct eta *eta = context;
    struct core_counts counts;
    eta->core = core;
    if (eta->next_ms == 0)
        eta->next_ms = now_ms + eta->learn_until_ms;
    core_count(core, &counts);
    if (now_ms < eta->next_ms || counts.jobs_queued == 0)
        return 0;
    eta->next_ms = now_ms + eta->step_ms;
    return ask(eta, RUN_EPOCH_MS + now_ms, err);
}

/* ---- the outcome --------------------------------------------------------------------------- */

struct outcome {
    VEC(int64_t) errors_ms, relative_milli, naive_ms, naive_milli, waits_ms;
    int64_t inside, early; /* within the interval; started later than was said */
};

static int64_t magnitude(int64_t value)
{
    return value < 0 ? -value : value;
}

static void take_guess(struct outcome *out, const struct guess *guess)
{
    int64_t wait_ms = guess->actual_ms - guess->asked_ms;
    int64_t error_ms = magnitude(guess->median_ms - guess->actual_ms);
    int64_t naive_ms = magnitude(guess->naive_ms - guess->actual_ms);
    vec_push(&out->waits_ms, wait_ms);
    vec_push(&out->errors_ms, error_ms);
    vec_push(&out->naive_ms, naive_ms);
    out->inside += guess->actual_ms >= guess->low_ms && guess->actual_ms <= guess->high_ms;
    out->early += guess->median_ms < guess->actual_ms;
    if (wait_ms < 60000)
        return;
    vec_push(&out->relative_milli, error_ms * 1000 / wait_ms);
    vec_push(&out->naive_milli, naive_ms * 1000 / wait_ms);
}

static void print_outcome(const struct eta *eta, const char *trace)
{
    struct outcome out = {0};
    for (size_t i = 0; i < eta->guesses.count; i++) {
        if (eta->guesses.items[i].actual_ms)
            take_guess(&out, &eta->guesses.items[i]);
    }
    size_t count = out.errors_ms.count;
    printf("{\"trace\": \"%s\", \"forecasts\": %" PRId64 ", \"etas\": %zu, ", trace, eta->forecasts,
        count);
    if (count > 0)
        printf("\"medianWaitMinutes\": %.1f, \"medianErrorMinutes\": %.1f, "
               "\"medianRelativeError\": %.3f, \"insideInterval\": %.3f, \"saidTooEarly\": %.3f, "
               "\"naiveErrorMinutes\": %.1f, \"naiveRelativeError\": %.3f, ",
            (double)middle(out.waits_ms.items, count) / 60000,
            (double)middle(out.errors_ms.items, count) / 60000,
            (double)middle(out.relative_milli.items, out.relative_milli.count) / 1000,
            (double)out.inside / (double)count, (double)out.early / (double)count,
            (double)middle(out.naive_ms.items, count) / 60000,
            (double)middle(out.naive_milli.items, out.naive_milli.count) / 1000);
    printf("\"millisecondsEach\": %.1f}\n",
        eta->forecasts ? (double)eta->forecast_ns / 1e6 / (double)eta->forecasts : 0.0);
    vec_free(&out.errors_ms);
    vec_free(&out.relative_milli);
    vec_free(&out.naive_ms);
    vec_free(&out.naive_milli);
    vec_free(&out.waits_ms);
}

/* ---- the program --------------------------------------------------------------------------- */

struct settings {
    const char *format, *jobs, *cluster;
    int64_t questions, learn_percent, scale_milli, jobs_max, runs;
};

static int read_settings(int argc, char **argv, struct settings *ret)
{
    struct {
        const char *name;
        const char **text;
        int64_t *number;
    } known[] = {{"--format", &ret->format, NULL}, {"--jobs", &ret->jobs, NULL},
        {"--cluster", &ret->cluster, NULL}, {"--questions", NULL, &ret->questions},
        {"--learn", NULL, &ret->learn_percent}, {"--scale", NULL, &ret->scale_milli},
        {"--jobs-max", NULL, &ret->jobs_max}, {"--runs", NULL, &ret->runs}};
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t k = 0;
        while (k < ARRAY_LEN(known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == ARRAY_LEN(known))
            return -1;
        if (known[k].text)
            *known[k].text = argv[i + 1];
        else
            *known[k].number = strtoll(argv[i + 1], NULL, 10);
    }
    return ret->format && ret->jobs && argc % 2 == 1 ? 0 : -1;
}

/* The length of the part of the trace that is run, on the run's clock. */
static int64_t trace_length(struct trace_list *list, const struct settings *settings)
{
    size_t count = trace_list_count(list);
    if (settings->jobs_max && (size_t)settings->jobs_max < count)
        count = (size_t)settings->jobs_max;
    int64_t last_ms = count ? trace_list_at(list, count - 1)->submit_ms : 0;
    return settings->scale_milli ? last_ms * 1000 / settings->scale_milli : last_ms;
}

static int run(const struct settings *settings, struct error *err)
{
    const struct trace_format *format = trace_format_find(settings->format);
    struct trace_cluster cluster;
    if (!format)
        return error_set(err, ERR_INVALID, "there is no format %s", settings->format);
    trace_cluster_init(&cluster);
    const char *text = settings->cluster ? settings->cluster : format->cluster;
    if (!text || trace_cluster_parse(&cluster, text, err) < 0)
        return error_set(err, ERR_INVALID, "say --cluster, such as 60x8");
    struct trace_options trace = {.jobs = settings->jobs, .seed = 42, .steady = true};
    struct trace_source *opened = format->open(&trace, err);
    struct trace_list *list = opened ? trace_list_read(opened, err) : NULL;
    const struct model_type *type = model_of_format(format->name);
    struct speed_model *model =
        list ? type->create(&(struct model_options){.cluster = &cluster, .restart_ms = -1}, err)
             : NULL;
    if (!model)
        return -1;
    int64_t length_ms = trace_length(list, settings);
    struct eta eta = {.history = history_create(),
        .runs = (int)settings->runs,
        .budget_ms = 60000,
        .learn_until_ms = length_ms * settings->learn_percent / 100,
        .prng = {1}};
    eta.step_ms = (length_ms - eta.learn_until_ms) / settings->questions;
    struct trace_source *source = trace_list_source(list);
    struct run_options options = {.cluster = &cluster,
        .source = source,
        .model = model,
        .mode = RUN_EVENTS,
        .seed = 42,
        .sample_ms = 3600000,
        .scale_arrivals_milli = settings->scale_milli,
        .jobs_max = settings->jobs_max,
        .observer = {.context = &eta, .tick = on_tick, .decision = on_decision}};
    struct metrics metrics;
    int failed = run_simulate(&options, &metrics, err);
    if (!failed) {
        print_outcome(&eta, settings->format);
        metrics_finish(&metrics);
    }
    trace_close(source);
    trace_cluster_finish(&cluster);
    history_destroy(eta.history);
    return failed;
}

int main(int argc, char **argv)
{
    struct settings settings = {.questions = 40, .learn_percent = 50, .runs = FORECAST_RUNS_MAX};
    struct error err;
    if (read_settings(argc, argv, &settings) < 0 || settings.questions < 1 || settings.runs < 1 ||
        settings.runs > FORECAST_RUNS_MAX) {
        fprintf(stderr,
            "usage: bench_eta --format NAME --jobs FILE [--cluster TEXT] [--questions N]"
            " [--learn PERCENT] [--scale MILLI] [--jobs-max N] [--runs N]\n");
        return 2;
    }
    if (run(&settings, &err) == 0)
        return 0;
    fprintf(stderr, "bench_eta: %s\n", err.text);
    return 1;
}
