/* Placements: the decision alone, a whole pass, and whole lives. */
#include "core/job.h"
#include "core/packing.h"
#include "core/packing_mix.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"
#include "core_world.h"

#include <string.h>

/* ---- the decision alone: which node and device, and accounting for it -------------------- */

struct held {
    struct live_node *node;
    struct live_shape *shape;
    uint64_t devices;
    int64_t device_milli;
};

struct place {
    struct bench bench;
    struct live_job **jobs; /* by shape, on hold */
    struct held *held;      /* by arrival; node NULL: no place */
    struct plan plan;       /* of one arrival after the other, as in a pass */
    size_t count, placed;
};

static void place_open(struct place *place, const char *mix, int64_t nodes)
{
    struct bench *bench = &place->bench;
    bench_open(bench, mix, nodes);
    place->jobs = mem_alloc(bench->mix.shapes.count, sizeof *place->jobs);
    core_begin(bench->core, ++bench->now_ms);
    for (uint32_t i = 0; i < bench->mix.shapes.count; i++) {
        uint64_t id = bench_submit_shape(bench, i, true);
        place->jobs[i] = (struct live_job *)table_find(bench->core, ROW_JOB, id);
    }
    core_end(bench->core);
    place->count = (size_t)((double)nodes * bench->mix.jobs_per_node);
    place->held = mem_alloc(place->count, sizeof *place->held);
    for (size_t i = 0; i < place->count; i++) /* so that its pages are there before time counts */
        place->held[i].device_milli = -1;
}

static struct live_job *place_job(struct place *place, size_t arrival)
{
    return place->jobs[mix_shape_at(&place->bench.mix, arrival)];
}

static struct held place_one(struct place *place, struct live_job *job)
{
    struct core *core = place->bench.core;
    struct held held = {.shape = job->shape};
    mix_count(core, job->shape, 1);
    packing_learn(core);
    plan_clear(&place->plan);
    if (!plan_make(core, job, 1, 1, &place->plan))
        return held;
    const struct plan_part *part = &place->plan.parts.items[0];
    held.node = part->node;
    held.devices = part->devices;
    held.device_milli = part->device_milli;
    node_hold(held.node, &job->shape->row, held.devices, held.device_milli, 1, 1);
    return held;
}

static void place_back(struct core *core, struct held *held)
{
    if (held->node)
        node_hold(held->node, &held->shape->row, held->devices, held->device_milli, 1, -1);
    mix_count(core, held->shape, -1);
    held->node = NULL;
}

/* Fills the cluster with one arrival after the other. */
__attribute__((noinline)) static void place_fill(struct place *place)
{
    for (size_t i = 0; i < place->count; i++) {
        place->held[i] = place_one(place, place_job(place, i));
        place->placed += place->held[i].node != NULL;
    }
}

/* One goes, one comes: `times`. Returns how many got a place. */
__attribute__((noinline)) static size_t place_change(struct place *place, size_t times)
{
    struct prng prng = {7};
    size_t placed = 0;
    for (size_t i = 0; i < times; i++) {
        struct held *held = &place->held[prng_below(&prng, place->count)];
        place_back(place->bench.core, held);
        *held = place_one(place, place_job(place, place->count + i));
        placed += held->node != NULL;
    }
    return placed;
}

/* The same by looking at every node. */
static struct live_node *plain(struct core *core, struct live_job *job)
{
    struct plan plan = {0};
    shape_candidates(core, job->shape);
    struct live_node *node = NULL;
    if (plan_make_pool(
            core, job, job->shape->candidates.items, job->shape->candidates.count, 1, 1, &plan))
        node = plan.parts.items[0].node;
    plan_finish(&plan);
    return node;
}

static size_t place_checked(struct place *place, size_t times)
{
    struct core *core = place->bench.core;
    size_t same = 0;
    struct prng prng = {11};
    for (size_t i = 0; i < times; i++) {
        struct held *held = &place->held[prng_below(&prng, place->count)];
        struct live_job *job = place_job(place, i);
        place_back(core, held);
        mix_count(core, job->shape, 1);
        packing_learn(core);
        packing_ready(core, job->shape);
        mix_count(core, job->shape, -1);
        struct live_node *expected = plain(core, job);
        *held = place_one(place, job);
        same += held->node == expected;
    }
    return same;
}

/* Who is where: the same of two programs that decide alike. */
static uint64_t place_digest(const struct place *place)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < place->count; i++) {
        const struct held *held = &place->held[i];
        uint64_t where = held->node ? 1 + (uint64_t)held->node->ordinal : 0;
        digest = (digest ^ where ^ held->devices << 32) * 0x9e3779b97f4a7c15u;
        digest ^= digest >> 29;
    }
    return digest;
}

static void place_close(struct place *place)
{
    free(place->jobs);
    free(place->held);
    plan_finish(&place->plan);
    bench_finish(&place->bench);
}

int bench_place(const char *mix, int64_t nodes, int64_t checked)
{
    struct place place = {0};
    place_open(&place, mix, nodes);
    int64_t begin_ns = bench_clock_ns();
    place_fill(&place);
    double fill_s = (double)(bench_clock_ns() - begin_ns) / 1e9;
    uint64_t filled = place_digest(&place);
    begin_ns = bench_clock_ns();
    size_t changed = place_change(&place, place.count);
    double change_s = (double)(bench_clock_ns() - begin_ns) / 1e9;
    uint64_t digest = filled ^ place_digest(&place);
    size_t same = place_checked(&place, (size_t)checked);
    printf("{\"mix\": \"%s\", \"shapes\": %zu, \"nodes\": %lld, \"arrived\": %zu, \"placed\": %zu, "
           "\"fill_per_s\": %.0f, \"changed\": %zu, \"change_per_s\": %.0f, \"checked\": %lld, "
           "\"as_plain\": %zu, \"digest\": \"%016llx\"}\n",
        mix, place.bench.mix.shapes.count, (long long)nodes, place.count, place.placed,
        (double)place.placed / fill_s, changed, (double)changed / change_s, (long long)checked,
        same, (unsigned long long)digest);
    place_close(&place);
    return (int64_t)same == checked ? 0 : 1;
}

/* ---- a whole pass: quota, fair share, attempts, decisions -------------------------------- */

static void count_admission(void *context, const struct core_decision *decision)
{
    *(int64_t *)context += decision->kind == DECISION_ADMIT;
}

int bench_pass(const char *mix, int64_t nodes, int64_t jobs)
{
    struct bench bench;
    struct core_counts counts;
    int64_t placed = 0, before = -1, pass_ns = 0;
    bench_open(&bench, mix, nodes);
    core_begin(bench.core, ++bench.now_ms);
    int64_t begin_ns = bench_clock_ns();
    for (int64_t i = 0; i < jobs; i++)
        bench_submit_shape(&bench, mix_shape_at(&bench.mix, (size_t)i), false);
    int64_t submit_ns = bench_clock_ns() - begin_ns;
    while (placed != before) {
        before = placed;
        begin_ns = bench_clock_ns();
        core_schedule(bench.core);
        pass_ns += bench_clock_ns() - begin_ns;
        core_decisions(bench.core, count_admission, &placed);
        core_end(bench.core);
        core_begin(bench.core, ++bench.now_ms);
    }
    core_count(bench.core, &counts);
    printf("{\"mix\": \"%s\", \"nodes\": %lld, \"jobs\": %lld, \"placed\": %lld, "
           "\"placed_per_s\": %.0f, \"submitted_per_s\": %.0f, \"bytes_per_job\": %.1f}\n",
        mix, (long long)nodes, (long long)jobs, (long long)placed,
        (double)placed / ((double)pass_ns / 1e9), (double)jobs / ((double)submit_ns / 1e9),
        (double)counts.bytes / (double)counts.jobs_live);
    bench_finish(&bench);
    return 0;
}

/* ---- whole lives: submitted, placed, started, ended, charged, forgotten ------------------ */

struct life {
    struct bench bench;
    VEC(uint64_t) running;
    VEC(uint64_t) admitted;
};

static void keep_admitted(void *context, const struct core_decision *decision)
{
    struct life *life = context;
    if (decision->kind == DECISION_ADMIT)
        vec_push(&life->admitted, decision->attempt);
}

static void look(void *context, const struct core_change *change)
{
    (void)context;
    (void)change;
}

static void life_tick(struct life *life)
{
    struct core *core = life->bench.core;
    core_schedule(core);
    core_changes(core, look, NULL);
    vec_clear(&life->admitted);
    core_decisions(core, keep_admitted, life);
    core_end(core);
    core_begin(core, ++life->bench.now_ms);
    for (size_t i = 0; i < life->admitted.count; i++) {
        struct core_report report = {.attempt = life->admitted.items[i], .kind = REPORT_STARTED};
        core_attempt_report(core, &report);
        vec_push(&life->running, report.attempt);
    }
}

static void life_end_one(struct life *life, struct prng *prng)
{
    if (!life->running.count)
        return;
    size_t at = prng_below(prng, life->running.count);
    struct core_report report = {.attempt = life->running.items[at],
        .kind = REPORT_ENDED,
        .reason = END_SUCCEEDED,
        .complete = true};
    core_attempt_report(life->bench.core, &report);
    life->running.items[at] = life->running.items[--life->running.count];
}

__attribute__((noinline)) static void life_run(struct life *life, int64_t jobs, int64_t batch)
{
    struct prng prng = {3};
    for (int64_t done = 0; done < jobs; done += batch) {
        for (int64_t i = 0; i < batch; i++) {
            life_end_one(life, &prng);
            bench_submit_shape(
                &life->bench, mix_shape_at(&life->bench.mix, life->bench.names), false);
        }
        life_tick(life);
    }
}

int bench_life(const char *mix, int64_t nodes, int64_t jobs, int64_t batch)
{
    struct life life = {0};
    bench_open(&life.bench, mix, nodes);
    core_begin(life.bench.core, ++life.bench.now_ms);
    /* Not quite full, so that most jobs find a place at once. */
    int64_t first = (int64_t)((double)nodes * life.bench.mix.jobs_per_node / 2);
    for (int64_t i = 0; i < first; i++)
        bench_submit_shape(&life.bench, mix_shape_at(&life.bench.mix, (size_t)i), false);
    life_tick(&life);
    size_t running = life.running.count;
    int64_t begin_ns = bench_clock_ns();
    life_run(&life, jobs, batch);
    int64_t ns = bench_clock_ns() - begin_ns;
    printf("{\"mix\": \"%s\", \"nodes\": %lld, \"running\": %zu, \"lives\": %lld, \"batch\": %lld, "
           "\"us_per_life\": %.3f}\n",
        mix, (long long)nodes, running, (long long)jobs, (long long)batch,
        (double)ns / 1e3 / (double)jobs);
    vec_free(&life.running);
    vec_free(&life.admitted);
    bench_finish(&life.bench);
    return 0;
}

/* ---- a long queue behind a full cluster -------------------------------------------------- */

/* Jobs end one after the other, and others take their places. */
__attribute__((noinline)) static void queue_run(struct life *life, int ends)
{
    struct prng prng = {5};
    for (int i = 0; i < ends; i++) {
        life_end_one(life, &prng);
        life_tick(life);
    }
}

int bench_queue(const char *mix, int64_t nodes, int64_t waiting)
{
    enum { EVENTS = 200 };
    struct life life = {0};
    bench_open(&life.bench, mix, nodes);
    core_begin(life.bench.core, ++life.bench.now_ms);
    int64_t fill = (int64_t)((double)nodes * life.bench.mix.jobs_per_node * 2);
    for (int64_t i = 0; i < fill + waiting; i++)
        bench_submit_shape(&life.bench, mix_shape_at(&life.bench.mix, (size_t)i), false);
    life_tick(&life);
    life_tick(&life);
    int64_t begin_ns = bench_clock_ns();
    queue_run(&life, EVENTS);
    int64_t ns = bench_clock_ns() - begin_ns;
    struct core_counts counts;
    core_count(life.bench.core, &counts);
    printf("{\"mix\": \"%s\", \"nodes\": %lld, \"waiting\": %lld, \"running\": %zu, "
           "\"ends\": %d, \"us_per_end\": %.3f}\n",
        mix, (long long)nodes, (long long)counts.jobs_queued, life.running.count, EVENTS,
        (double)ns / 1e3 / EVENTS);
    vec_free(&life.running);
    vec_free(&life.admitted);
    bench_finish(&life.bench);
    return 0;
}
