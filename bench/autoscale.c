/* bench_autoscale: what a rule for the number of replicas costs and keeps, on a trace of requests:
 * the rule of muster (core/autoscale.h, the same code that the server runs), Knative's, the least
 * fixed number, and the best plan found by somebody who knows all arrivals beforehand.
 *
 *     bench_autoscale TRACE.csv[.gz] [SPEED]      QUICK=1 leaves the plan out, which takes minutes
 *
 * The trace has a header and lines "time,prompt tokens,output tokens". SPEED 2 lets it come twice
 * as fast. The model of a replica is that of `struct serving`: so many requests at once, each of
 * which takes a + b * prompt + c * output whatever the others do, first come first served from one
 * queue. A request is late when its first token (wait + a + b * prompt) comes after the goal. A
 * replica costs from the moment it is asked for, its start included, until its last request has
 * ended. Time goes on in steps of STEP_MS. Nothing is random, and the table is the same everywhere.
 */
#include "core/autoscale.h"
#include "base/memory.h"
#include "base/vec.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    STEP_MS = 10,
    SECOND_MS = 1000,
    SLOTS_MAX = 64,
    REPLICAS_MOST = 400,
    KEPT_PER_MILLE = 990, /* of requests, in time: what plans have to keep */
    PLAN_STEP_MS = 10000, /* a plan changes its number at such moments */
};

struct serving {
    int slots;
    int64_t base_us, prompt_us, output_us; /* a, b, c */
    int64_t goal_ms;
    int64_t start_ms; /* of a replica */
};

struct request {
    int64_t at_ms;
    int64_t first_ms, whole_ms; /* from where it begins to be served */
};

struct trace {
    VEC(struct request) items;
    int64_t end_ms;
};

/* ---- reading --------------------------------------------------------------------------------- */

/* Milliseconds of "2023-11-16 18:17:03.9799600", within its month. */
static int64_t moment_ms(const char *text)
{
    int day, hour, minute, second;
    long part = 0;
    char digits[4] = "000";
    if (sscanf(text, "%*d-%*d-%d %d:%d:%d", &day, &hour, &minute, &second) != 4)
        return -1;
    const char *dot = strchr(text, '.');
    for (int i = 0; dot && i < 3 && dot[1 + i] >= '0' && dot[1 + i] <= '9'; i++)
        digits[i] = dot[1 + i];
    part = strtol(digits, NULL, 10);
    return (((int64_t)day * 24 + hour) * 60 + minute) * 60000 + second * 1000 + part;
}

static int read_trace(
    const char *path, int64_t speed, const struct serving *model, struct trace *ret)
{
    gzFile file = gzopen(path, "rb");
    char line[256];
    int64_t began_ms = -1;
    if (!file || !gzgets(file, line, sizeof line)) {
        fprintf(stderr, "bench_autoscale: cannot read %s\n", path);
        return -1;
    }
    while (gzgets(file, line, sizeof line)) {
        const char *comma = strchr(line, ',');
        long long prompt, output;
        int64_t at_ms = moment_ms(line);
        if (!comma || at_ms < 0 || sscanf(comma, ",%lld,%lld", &prompt, &output) != 2)
            continue;
        began_ms = began_ms < 0 ? at_ms : began_ms;
        struct request request = {.at_ms = (at_ms - began_ms) / speed,
            .first_ms = (model->base_us + model->prompt_us * prompt) / 1000};
        request.whole_ms = request.first_ms + model->output_us * output / 1000;
        vec_push(&ret->items, request);
        ret->end_ms = request.at_ms;
    }
    gzclose(file);
    return ret->items.count ? 0 : -1;
}

/* ---- a run ----------------------------------------------------------------------------------- */

struct replica {
    int64_t asked_ms, ready_ms;
    int64_t ends_ms[SLOTS_MAX]; /* 0: the slot is free */
    bool late[SLOTS_MAX];
    int busy;
    bool going;
};

struct run {
    const struct serving *model;
    const struct trace *trace;
    int64_t now_ms;
    struct replica replicas[REPLICAS_MOST];
    size_t count;
    size_t next, queued; /* requests that came, and the first that waits */
    int32_t wanted;
    struct autoscale_load load; /* as a gateway counts it */
    int64_t kept, changes, held_ms;
    int32_t most;
};

typedef int32_t rule_fn(void *context, const struct run *run);

static int32_t ready_count(const struct run *run)
{
    int32_t count = 0;
    for (size_t i = 0; i < run->count; i++)
        count += !run->replicas[i].going && run->replicas[i].ready_ms <= run->now_ms;
    return count;
}

static void end_requests(struct run *run, struct replica *replica)
{
    for (int i = 0; i < run->model->slots && replica->busy > 0; i++) {
        if (replica->ends_ms[i] == 0 || replica->ends_ms[i] > run->now_ms)
            continue;
        replica->ends_ms[i] = 0;
        replica->busy--;
        run->load.open--;
        run->load.ended++;
        run->load.timed++;
        run->load.late += replica->late[i];
    }
}

static void serve(struct run *run, struct replica *replica, const struct request *request)
{
    int slot = 0;
    while (replica->ends_ms[slot] != 0)
        slot++;
    bool late = run->now_ms - request->at_ms + request->first_ms > run->model->goal_ms;
    replica->ends_ms[slot] = run->now_ms + (request->whole_ms > 0 ? request->whole_ms : 1);
    replica->late[slot] = late;
    replica->busy++;
    run->load.waiting--;
    run->kept += !late;
}

/* The one with the most free slots; NULL: none has any. */
static struct replica *least_busy(struct run *run)
{
    struct replica *best = NULL;
    for (size_t i = 0; i < run->count; i++) {
        struct replica *one = &run->replicas[i];
        if (!one->going && one->ready_ms <= run->now_ms && one->busy < run->model->slots &&
            (!best || one->busy < best->busy))
            best = one;
    }
    return best;
}

static void take_and_serve(struct run *run)
{
    const struct request *items = run->trace->items.items;
    while (run->next < run->trace->items.count && items[run->next].at_ms <= run->now_ms) {
        run->next++;
        run->load.arrived++;
        run->load.open++;
        run->load.waiting++;
    }
    for (struct replica *replica; run->queued < run->next && (replica = least_busy(run));)
        serve(run, replica, &items[run->queued++]);
}

/* Those that go are the ones that are not ready yet, then those that do least. */
static struct replica *to_leave(struct run *run)
{
    struct replica *best = NULL;
    for (size_t i = 0; i < run->count; i++) {
        struct replica *one = &run->replicas[i];
        if (!one->going && (!best || one->ready_ms > best->ready_ms ||
                               (best->ready_ms <= run->now_ms && one->busy < best->busy)))
            best = one;
    }
    return best;
}

static void follow_wish(struct run *run, int32_t wanted)
{
    int32_t there = 0;
    wanted = wanted < REPLICAS_MOST ? wanted : REPLICAS_MOST;
    run->changes += wanted != run->wanted;
    run->wanted = wanted;
    run->most = wanted > run->most ? wanted : run->most;
    for (size_t i = 0; i < run->count; i++)
        there += !run->replicas[i].going;
    for (; there > wanted; there--)
        to_leave(run)->going = true;
    for (; there < wanted && run->count < REPLICAS_MOST; there++)
        run->replicas[run->count++] = (struct replica){
            .asked_ms = run->now_ms, .ready_ms = run->now_ms + run->model->start_ms};
}

static void remove_gone(struct run *run)
{
    for (size_t i = run->count; i-- > 0;) {
        struct replica *one = &run->replicas[i];
        if (!one->going || one->busy > 0)
            continue;
        run->held_ms += run->now_ms - one->asked_ms;
        *one = run->replicas[--run->count];
    }
}

static void run_trace(struct run *run, const struct serving *model, const struct trace *trace,
    int32_t begin, int64_t tick_ms, rule_fn *rule, void *context)
{
    *run = (struct run){.model = model, .trace = trace, .load = {.source = 1}};
    follow_wish(run, begin);
    for (size_t i = 0; i < run->count; i++)
        run->replicas[i].ready_ms = 0; /* all begin with replicas that are there */
    run->changes = 0;
    for (; run->now_ms <= trace->end_ms || run->load.open > 0; run->now_ms += STEP_MS) {
        for (size_t i = 0; i < run->count; i++)
            end_requests(run, &run->replicas[i]);
        take_and_serve(run);
        if (run->now_ms % tick_ms == 0 && run->now_ms > 0) {
            run->load.at_ms = run->now_ms;
            follow_wish(run, rule(context, run));
        }
        remove_gone(run);
        run->load.busy_us += run->load.open * STEP_MS * 1000;
    }
    for (size_t i = 0; i < run->count; i++)
        run->replicas[i].going = true;
    remove_gone(run);
}

static int64_t kept_per_mille(const struct run *run)
{
    return run->kept * 1000 / (int64_t)run->trace->items.count;
}

/* ---- rules ----------------------------------------------------------------------------------- */

struct own {
    struct autoscale *scale;
    struct service_autoscale options;
};

static int32_t own_rule(void *context, const struct run *run)
{
    struct own *own = context;
    struct autoscale_now now = {run->now_ms, run->wanted, ready_count(run)};
    struct autoscale_decision decision;
    autoscale_report(own->scale, &own->options, &run->load);
    if (autoscale_start_ms(own->scale) == 0 && now.ready > 1)
        autoscale_started(own->scale, run->model->start_ms);
    autoscale_decide(own->scale, &own->options, &now, &decision);
    return decision.wanted;
}

static struct service_autoscale own_options(const struct serving *model, int64_t percent)
{
    return (struct service_autoscale){.min = 1,
        .max = REPLICAS_MOST,
        .in_flight = model->slots,
        .use_percent = percent,
        .stable_ms = 60000,
        .panic_ms = 6000,
        .panic_percent = 200,
        .down_ms = 300000};
}

/* Knative's rule: averages of concurrency over 60 s and 6 s, every 2 s, aiming at 70 % of a
 * replica's; within [floor(ready / 2), 1000 * ready]; twice what is ready over 6 s is a panic,
 * which ends 60 s after the last time and in which nothing goes down. */
struct knative {
    int64_t delay_s;     /* scale-down-delay: the most of that time is wanted */
    int32_t lately[512]; /* by seconds */
    int64_t busy_us[64]; /* at each second of the last ones */
    int64_t seconds, panic_ms;
    int32_t panic_most;
};

static int32_t ceil_of(int64_t amount, int64_t each)
{
    return (int32_t)((amount + each - 1) / each);
}

static int64_t mean_micro(const struct knative *knative, int64_t seconds)
{
    int64_t span = knative->seconds < seconds ? knative->seconds : seconds;
    if (span == 0)
        return 0;
    int64_t until = knative->busy_us[knative->seconds % 64];
    return (until - knative->busy_us[(knative->seconds - span) % 64]) / span;
}

static int32_t knative_rule(void *context, const struct run *run)
{
    enum { STABLE_S = 60, PANIC_S = 6 };
    struct knative *knative = context;
    knative->seconds++;
    knative->busy_us[knative->seconds % 64] = run->load.busy_us;
    if (knative->seconds % 2 != 0)
        return run->wanted;
    int32_t ready = ready_count(run);
    int64_t target = (int64_t)run->model->slots * 700000, there = ready > 0 ? ready : 1;
    int32_t stable = ceil_of(mean_micro(knative, STABLE_S), target);
    int32_t panic = ceil_of(mean_micro(knative, PANIC_S), target);
    stable = stable < there / 2 ? (int32_t)(there / 2) : stable;
    panic = panic < there / 2 ? (int32_t)(there / 2) : panic;
    if (panic >= 2 * there) {
        knative->panic_most = knative->panic_ms ? knative->panic_most : 0;
        knative->panic_ms = run->now_ms;
    } else if (knative->panic_ms && run->now_ms - knative->panic_ms > STABLE_S * SECOND_MS) {
        knative->panic_ms = 0;
    }
    int32_t wanted = stable;
    if (knative->panic_ms) {
        wanted = panic > stable ? panic : stable;
        knative->panic_most = wanted > knative->panic_most ? wanted : knative->panic_most;
        wanted = knative->panic_most;
    }
    knative->lately[knative->seconds % 512] = wanted;
    for (int64_t s = 0; s < knative->delay_s && s < knative->seconds; s += 2) {
        int32_t then = knative->lately[(knative->seconds - s) % 512];
        wanted = then > wanted ? then : wanted;
    }
    return wanted > 1 ? wanted : 1;
}

static int32_t fixed_rule(void *context, const struct run *run)
{
    (void)run;
    return *(const int32_t *)context;
}

/* ---- the best plan --------------------------------------------------------------------------- */

struct plan {
    int32_t *counts; /* that are to be ready, step by step */
    size_t count;
    int64_t start_ms;
};

static int32_t plan_at(const struct plan *plan, int64_t at_ms)
{
    size_t step = (size_t)(at_ms / PLAN_STEP_MS);
    return plan->counts[step < plan->count ? step : plan->count - 1];
}

/* It asks for more a start ahead of where they are needed, and lets go where they are not. */
static int32_t plan_rule(void *context, const struct run *run)
{
    const struct plan *plan = context;
    int32_t now = plan_at(plan, run->now_ms), most = now;
    int64_t ahead_ms = plan->start_ms + SECOND_MS;
    for (int64_t ms = 0; ms <= ahead_ms; ms += PLAN_STEP_MS / 2) {
        int32_t then = plan_at(plan, run->now_ms + (ms < ahead_ms ? ms : ahead_ms));
        most = then > most ? then : most;
    }
    int32_t then = plan_at(plan, run->now_ms + ahead_ms);
    most = then > most ? then : most;
    /* One that will be needed again within its start is kept. */
    return most > 1 ? most : 1;
}

static void run_plan(
    struct run *run, const struct serving *model, const struct trace *trace, struct plan *plan)
{
    plan->start_ms = model->start_ms;
    run_trace(run, model, trace, plan->counts[0], SECOND_MS, plan_rule, plan);
}

static int32_t least_fixed(struct run *run, const struct serving *model, const struct trace *trace)
{
    for (int32_t n = 1;; n++) {
        run_trace(run, model, trace, n, SECOND_MS, fixed_rule, &n);
        if (kept_per_mille(run) >= KEPT_PER_MILLE || n == REPLICAS_MOST)
            return n;
    }
}

/* One fewer in so many steps, where the goal is still kept and it costs less. */
static bool lower(struct plan *plan, size_t from, size_t length, const struct serving *model,
    const struct trace *trace, int64_t *cost, struct run *run)
{
    size_t until = from + length < plan->count ? from + length : plan->count;
    int32_t before[1024];
    bool possible = false;
    for (size_t i = from; i < until; i++) {
        before[i - from] = plan->counts[i];
        possible = possible || plan->counts[i] > 1;
        plan->counts[i] -= plan->counts[i] > 1;
    }
    if (possible) {
        run_plan(run, model, trace, plan);
        if (run->kept * 1000 >= KEPT_PER_MILLE * (int64_t)trace->items.count &&
            run->held_ms < *cost) {
            *cost = run->held_ms;
            return true;
        }
    }
    for (size_t i = from; i < until; i++)
        plan->counts[i] = before[i - from];
    return false;
}

/* From the least fixed number on, lowered in ever smaller parts until nothing can be: a plan that
 * keeps the goal, and an upper bound of what the best one costs. */
static void best_plan(struct run *run, const struct serving *model, const struct trace *trace)
{
    struct plan plan = {.count = (size_t)(trace->end_ms / PLAN_STEP_MS) + 2};
    int32_t fixed = least_fixed(run, model, trace);
    int64_t cost = run->held_ms;
    plan.counts = mem_alloc(plan.count, sizeof *plan.counts);
    for (size_t i = 0; i < plan.count; i++)
        plan.counts[i] = fixed;
    for (size_t length = 64; length > 0; length /= 2) {
        for (bool any = true; any;) {
            any = false;
            for (size_t from = 0; from < plan.count; from += length)
                any = lower(&plan, from, length, model, trace, &cost, run) || any;
        }
    }
    run_plan(run, model, trace, &plan);
    free(plan.counts);
}

/* ---- the table ------------------------------------------------------------------------------- */

static void write_row(const char *name, const struct run *run)
{
    int64_t total = (int64_t)run->trace->items.count;
    printf("| %" PRId64 " s | %s | %.2f %% | %.2f | %d | %" PRId64 " |\n",
        run->model->start_ms / 1000, name, (double)run->kept * 100 / (double)total,
        (double)run->held_ms / 3600000, run->most, run->changes);
    fflush(stdout);
}

static void write_own(struct run *run, const struct serving *model, const struct trace *trace,
    int32_t begin, const char *name, const struct service_autoscale *options)
{
    struct own own = {.scale = autoscale_create(), .options = *options};
    run_trace(run, model, trace, begin, SECOND_MS, own_rule, &own);
    autoscale_destroy(own.scale);
    write_row(name, run);
}

static void compare(const struct serving *model, const struct trace *trace, bool with_plan)
{
    struct run *run = mem_alloc(1, sizeof *run);
    struct knative knative = {0}, delayed = {.delay_s = 300};
    struct service_autoscale options = own_options(model, 70);
    int32_t fixed = least_fixed(run, model, trace), begin = fixed;
    write_row("least fixed number", run);
    run_trace(run, model, trace, begin, SECOND_MS, knative_rule, &knative);
    write_row("Knative's rule", run);
    run_trace(run, model, trace, begin, SECOND_MS, knative_rule, &delayed);
    write_row("Knative's rule, scale-down-delay 5 min", run);
    write_own(run, model, trace, begin, "muster, inFlight", &options);
    options.latency.goal_ms = model->goal_ms;
    options.latency.percent_milli = 99000;
    options.latency.of = LATENCY_FIRST;
    write_own(run, model, trace, begin, "muster, inFlight and latency", &options);
    if (with_plan) {
        best_plan(run, model, trace);
        write_row("best plan found, knowing all arrivals", run);
    }
    free(run);
}

int main(int argc, char **argv)
{
    static const int64_t starts_s[] = {5, 30, 120};
    struct serving model = {
        .slots = 4, .base_us = 50000, .prompt_us = 400, .output_us = 40000, .goal_ms = 5000};
    int64_t speed = argc > 2 ? strtoll(argv[2], NULL, 10) : 1;
    struct trace trace = {0};
    if (argc < 2 || speed < 1 || read_trace(argv[1], speed, &model, &trace) < 0) {
        fprintf(stderr, "usage: bench_autoscale TRACE.csv[.gz] [SPEED]\n");
        return 2;
    }
    int64_t work_ms = 0;
    for (size_t i = 0; i < trace.items.count; i++)
        work_ms += trace.items.items[i].whole_ms;
    printf("%zu requests in %" PRId64
           " s; %d at once a replica; %.2f s each on average, so that no "
           "plan does with less than %.2f replica-hours\n\n",
        trace.items.count, trace.end_ms / 1000, model.slots,
        (double)work_ms / 1000 / (double)trace.items.count,
        (double)work_ms / 3600000 / model.slots);
    printf("| start of a replica | rule | in time | replica-hours | most | changes |\n"
           "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(starts_s); i++) {
        model.start_ms = starts_s[i] * 1000;
        compare(&model, &trace, getenv("QUICK") == NULL);
    }
    vec_free(&trace.items);
    return 0;
}
