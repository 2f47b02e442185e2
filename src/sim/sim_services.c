/* Services and their replicas in a simulated world: see the header. */
#include "sim/sim_services.h"

#include <string.h>

enum { MINUTE_MS = 60 * 1000 };
#define GIB ((int64_t)1 << 30)

static const char *const service_names[] = {"chat", "embed", "rank"};
static const char *const service_teams[] = {"research", "product"};

/* A generator of its own for what belongs to a revision. */
static struct prng revision_prng(uint64_t service, int32_t revision)
{
    struct prng prng = {service * 1000003 + (uint64_t)revision};
    prng_next(&prng);
    return prng;
}

enum sim_health sim_service_health(uint64_t service, int32_t revision)
{
    static const enum sim_health healths[] = {HEALTH_GOOD, HEALTH_GOOD, HEALTH_GOOD, HEALTH_GOOD,
        HEALTH_CRASHES, HEALTH_NEVER, HEALTH_FLAPS, HEALTH_ILL};
    struct prng prng = revision_prng(service, revision);
    return healths[prng_below(&prng, ARRAY_LEN(healths))];
}

const struct replica_row *sim_replica_of(const struct sim_store *store, uint64_t job)
{
    for (size_t i = 0; i < sim_store_count(store, ROW_REPLICA); i++) {
        const struct replica_row *row = sim_store_at(store, ROW_REPLICA, i);
        if (row->job == job)
            return row;
    }
    return NULL;
}

/* ---- commands ------------------------------------------------------------------------------ */

/* How a new revision takes over: three in four by a rollout, of few and short steps. */
static void make_plan(struct prng *prng, struct rollout_plan *ret_plan)
{
    *ret_plan = (struct rollout_plan){.strategy = (int32_t)prng_below(prng, 4)};
    if (ret_plan->strategy == ROLLOUT_PLAIN)
        return;
    ret_plan->steps = (int32_t)sim_between(prng, 1, 3);
    for (int32_t i = 0; i < ret_plan->steps; i++) {
        ret_plan->weights[i] = (int32_t)sim_between(prng, 1, 50);
        ret_plan->bakes_ms[i] = sim_between(prng, 0, 2 * MINUTE_MS);
    }
    ret_plan->patience_ms = sim_between(prng, MINUTE_MS, 20 * MINUTE_MS);
    ret_plan->by_time = sim_chance(prng, 200);
    ret_plan->give_up = sim_chance(prng, 500);
    ret_plan->requests_min = sim_between(prng, 1, 200);
    ret_plan->alpha_ppm = sim_between(prng, 10000, 200000);
    ret_plan->error_margin_ppm = sim_between(prng, 10000, 300000);
    ret_plan->latency_margin_ppm = sim_between(prng, 50000, 500000);
    ret_plan->guard_requests = sim_between(prng, 20, 200);
    ret_plan->guard_errors_ppm = sim_between(prng, 100000, 900000);
    ret_plan->differences_ppm = sim_between(prng, 10000, 500000);
}

static void make_put(struct sim_world *world, struct sim_input *ret_input)
{
    struct prng *prng = &world->prng;
    *ret_input = (struct sim_input){.kind = INPUT_SERVICE_PUT};
    struct core_service *service = &ret_input->service;
    service->team = service_teams[prng_below(prng, ARRAY_LEN(service_teams))];
    service->name = service_names[prng_below(prng, ARRAY_LEN(service_names))];
    service->replicas = (int32_t)sim_between(prng, 0, 4);
    service->surge = (int32_t)sim_between(prng, 0, 2);
    service->unavailable = (int32_t)sim_between(prng, 0, 1); /* both 0: refused */
    service->renew = sim_chance(prng, 600);
    ret_input->name = service->name;
    make_plan(prng, &service->rollout);
}

/* Any order to any rollout, also to those that have ended. */
static void make_order(
    struct sim_world *world, const struct sim_store *store, struct sim_input *ret_input)
{
    size_t count = sim_store_count(store, ROW_ROLLOUT);
    const struct rollout_row *rollout =
        sim_store_at(store, ROW_ROLLOUT, prng_below(&world->prng, count));
    *ret_input = (struct sim_input){.kind = INPUT_ROLLOUT, .id = rollout->service};
    ret_input->rollout = (enum rollout_command)prng_below(&world->prng, ROLLOUT_DO_ABORT + 1);
}

bool sim_service_command(
    struct sim_world *world, const struct sim_store *store, struct sim_input *ret_input)
{
    size_t count = sim_store_count(store, ROW_SERVICE);
    if (sim_store_count(store, ROW_ROLLOUT) && sim_chance(&world->prng, 250)) {
        make_order(world, store, ret_input);
        return true;
    }
    bool scales = count && sim_chance(&world->prng, 150);
    if (!count || (!scales && !sim_chance(&world->prng, 150))) {
        make_put(world, ret_input);
        return true;
    }
    *ret_input = (struct sim_input){.kind = scales ? INPUT_SERVICE_SCALE : INPUT_SERVICE_DELETE};
    ret_input->replicas = scales ? (int32_t)sim_between(&world->prng, 0, 5) : 0;
    ret_input->id = sim_row_id(sim_store_at(store, ROW_SERVICE, prng_below(&world->prng, count)));
    return true;
}

void sim_replica_make(struct arena *arena, const char *team, const struct core_wanted *wanted,
    struct sim_input *ret_input)
{
    static const char *command[] = {"serve"};
    static const int64_t priorities[] = {PRIORITY_LOW, PRIORITY_NORMAL, PRIORITY_HIGH};
    struct prng prng = revision_prng(wanted->service, wanted->revision);
    *ret_input = (struct sim_input){.kind = INPUT_REPLICA_SUBMIT, .wanted = *wanted};
    struct job *job = &ret_input->job;
    job->metadata.name =
        arena_printf(arena, "service-%llu-%d", (unsigned long long)wanted->service, wanted->number);
    job->metadata.team = team;
    job->command = (struct text_list){command, 1};
    job->gang.size = 1;
    job->resources.cpu_milli = sim_between(&prng, 1, 20) * 100;
    job->resources.memory_bytes = sim_between(&prng, 1, 4) * GIB;
    if (sim_chance(&prng, 200)) {
        job->resources.accelerator = sim_chance(&prng, 500) ? "a100" : "h100";
        job->resources.accelerator_milli = sim_chance(&prng, 500) ? 1000 : 300;
    }
    job->priority = priorities[prng_below(&prng, ARRAY_LEN(priorities))];
    job->preemptible = sim_chance(&prng, 700);
    job->preemptions_max = -1;
    job->placement.spread = SPREAD_SPREAD;
    job->grace_ms = sim_between(&prng, 0, 30 * 1000);
    job->retries.backoff_ms = sim_between(&prng, 0, 5000);
    job->retries.backoff_max_ms = job->retries.backoff_ms + sim_between(&prng, 0, MINUTE_MS);
    job->service = true;
    job->network = NETWORK_GANG;
}

/* ---- checks of what runs ------------------------------------------------------------------- */

/* The attempt of a replica that runs, or NULL. */
static const struct attempt_row *running(
    const struct sim_store *store, const struct replica_row *replica)
{
    const struct job_row *job = sim_store_row(store, ROW_JOB, replica->job);
    if (!job || job->state != JOB_RUNNING)
        return NULL;
    return sim_store_row(store, ROW_ATTEMPT, job->attempt);
}

/* What a healthy one, and each kind of other, would be found to be. False: nothing new. */
static bool find_out(struct prng *prng, const struct replica_row *replica, enum sim_health health,
    int64_t age_ms, int64_t now_ms, enum replica_report *ret_report)
{
    bool due = !replica->ready && age_ms >= SIM_READY_MS;
    *ret_report = REPLICA_READY;
    switch (health) {
    case HEALTH_GOOD:
    case HEALTH_CRASHES: return due;
    case HEALTH_NEVER: *ret_report = REPLICA_UNHEALTHY; return age_ms > 2 * MINUTE_MS;
    case HEALTH_FLAPS:
        *ret_report = sim_chance(prng, 500) ? REPLICA_READY : REPLICA_UNREADY;
        return true;
    case HEALTH_ILL:
        if (due)
            return true;
        *ret_report = REPLICA_UNHEALTHY;
        return replica->ready && now_ms - replica->since_ms > MINUTE_MS;
    }
    return false;
}

bool sim_replica_check(struct prng *prng, const struct sim_store *store,
    const struct replica_row *replica, bool calm, int64_t now_ms, struct sim_input *ret_input)
{
    const struct attempt_row *attempt = running(store, replica);
    *ret_input = (struct sim_input){.kind = INPUT_REPLICA_REPORT, .id = replica->job};
    if (!calm && sim_chance(prng, 10)) { /* late, about an attempt that is over, or a lie */
        ret_input->attempt = replica->attempt + prng_below(prng, 2);
        ret_input->found = (enum replica_report)prng_below(prng, 3);
        return true;
    }
    if (!attempt || (!calm && sim_chance(prng, 400)))
        return false;
    ret_input->attempt = attempt->id;
    enum sim_health health =
        calm ? HEALTH_GOOD : sim_service_health(replica->service, replica->revision);
    return find_out(prng, replica, health, now_ms - attempt->started_ms, now_ms, &ret_input->found);
}

/* How a revision answers: of how many requests one fails, 0: none, and in which bucket most are. */
struct worth {
    bool silent;
    uint64_t fails_of;
    int32_t bucket;
};

static struct worth revision_worth(uint64_t service, int32_t revision)
{
    static const uint64_t fails_of[] = {0, 0, 0, 200, 20, 3, 1};
    struct prng prng = revision_prng(service, -revision);
    struct worth worth = {.silent = sim_chance(&prng, 250)};
    worth.fails_of = fails_of[prng_below(&prng, ARRAY_LEN(fails_of))];
    worth.bucket = sim_chance(&prng, 200) ? 10 : 7;
    return worth;
}

bool sim_replica_measure(
    struct prng *prng, const struct replica_row *replica, struct sim_input *ret_input)
{
    struct worth worth = revision_worth(replica->service, replica->revision);
    if (worth.silent || !sim_chance(prng, replica->arm == ARM_MAIN ? 10 : 500))
        return false;
    *ret_input = (struct sim_input){.kind = INPUT_EVIDENCE, .id = replica->job};
    struct core_evidence *evidence = &ret_input->evidence;
    evidence->requests = sim_between(prng, 0, 150);
    evidence->compared = evidence->requests;
    for (int64_t i = 0; i < evidence->requests; i++) {
        bool fails = worth.fails_of && prng_below(prng, worth.fails_of) == 0;
        evidence->errors += fails;
        evidence->differing += fails;
        evidence->within[worth.bucket + (int32_t)prng_below(prng, 3)]++;
    }
    /* Counters are read one after the other while they grow. */
    evidence->differing += sim_chance(prng, 100);
    evidence->errors += sim_chance(prng, 100);
    return true;
}

int64_t sim_replicas_next_ms(const struct sim_store *store, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;
    for (size_t i = 0; i < sim_store_count(store, ROW_REPLICA); i++) {
        const struct replica_row *replica = sim_store_at(store, ROW_REPLICA, i);
        const struct attempt_row *attempt = running(store, replica);
        if (!attempt || replica->ready)
            continue;
        int64_t ready_ms = attempt->started_ms + SIM_READY_MS;
        ready_ms = ready_ms > now_ms ? ready_ms : now_ms + 1;
        next_ms = ready_ms < next_ms ? ready_ms : next_ms;
    }
    return next_ms;
}
