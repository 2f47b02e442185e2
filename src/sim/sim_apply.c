/* Gives a step's inputs to the core, and answers which replicas it wants. What it refuses, and what
 * is stale, has to leave nothing behind; a core that was loaded anew has to answer and want the
 * same. */
#include "sim/sim_state.h"

#include "sim/sim_services.h"

/* What a refused command and a stale report leave behind: nothing. */
static int check_nothing_done(struct sim *sim, const struct sim_input *input,
    const struct sim_answer *answer, uint64_t before, struct error *err)
{
    bool done = sim_input_is_report(input) ? answer->changed : answer->result == 0;
    if (done || before == sim_core_digest(sim->core))
        return 0;
    return error_set(err, ERR_CORRUPT, "invariant 2: an input that was refused changed the state");
}

static int apply_input(struct sim *sim, const struct sim_input *input, struct error *err)
{
    struct sim_answer answer, shadow_answer;
    bool look = sim_chance(&sim->prng, 60);
    uint64_t before = look ? sim_core_digest(sim->core) : 0;
    bool stale =
        input->kind == INPUT_ATTEMPT_REPORT && !core_attempt(sim->core, input->report.attempt);
    if (input->kind == INPUT_REPLICA_REPORT) {
        const struct job_row *job = core_job(sim->core, input->id);
        stale = !job || job->attempt != input->attempt || job->state != JOB_RUNNING;
    }
    sim_input_apply(sim->core, input, &answer);
    sim_trace_input(&sim->trace, sim->now_ms, input, &answer);
    vec_push(&sim->answers, answer);
    if (stale && answer.changed)
        return error_set(err, ERR_CORRUPT,
            "invariant 2: a report of attempt %llu, which is not"
            " live, changed something",
            (unsigned long long)(input->kind == INPUT_REPLICA_REPORT ? input->attempt
                                                                     : input->report.attempt));
    if (look && check_nothing_done(sim, input, &answer, before, err) < 0)
        return -1;
    if (!sim->shadow)
        return 0;
    sim_input_apply(sim->shadow, input, &shadow_answer);
    if (shadow_answer.result != answer.result || shadow_answer.id != answer.id ||
        shadow_answer.changed != answer.changed)
        return error_set(err, ERR_CORRUPT, "invariant 7: a core loaded anew answers otherwise");
    return 0;
}

int sim_apply(struct sim *sim, int64_t told_ms, struct error *err)
{
    vec_clear(&sim->answers);
    core_begin(sim->core, told_ms);
    if (sim->shadow)
        core_begin(sim->shadow, told_ms);
    for (size_t i = 0; i < sim->inputs.count; i++)
        if (apply_input(sim, &sim->inputs.items[i], err) < 0)
            return -1;
    return 0;
}

static void keep_wanted(void *context, const struct core_wanted *wanted)
{
    struct sim *sim = context;
    vec_push(&sim->wanted, *wanted);
}

static void keep_shadow_wanted(void *context, const struct core_wanted *wanted)
{
    struct sim *sim = context;
    vec_push(&sim->shadow_wanted, *wanted);
}

static int wanted_same(const struct sim *sim, struct error *err)
{
    bool same = sim->wanted.count == sim->shadow_wanted.count;
    for (size_t i = 0; same && i < sim->wanted.count; i++) {
        const struct core_wanted *a = &sim->wanted.items[i], *b = &sim->shadow_wanted.items[i];
        same = a->service == b->service && a->revision == b->revision && a->number == b->number &&
               a->arm == b->arm;
    }
    return same ? 0
                : error_set(
                      err, ERR_CORRUPT, "invariant 7: a core loaded anew wants other replicas");
}

static int apply_more(struct sim *sim, const struct sim_input *input, struct error *err)
{
    vec_push(&sim->inputs, *input);
    return apply_input(sim, input, err);
}

/* Makes the job of a replica, or says that it can not be made. */
static int answer_wanted(struct sim *sim, const struct core_wanted *wanted, struct error *err)
{
    struct sim_input input;
    const struct service_row *service = core_service(sim->core, wanted->service);
    const char *team = core_symbol(sim->core, core_team(sim->core, service->team)->name);
    sim_replica_make(sim->arena, arena_printf(sim->arena, "%s", team), wanted, &input);
    if (sim->calm || !sim_chance(&sim->prng, 50)) {
        if (apply_more(sim, &input, err) < 0)
            return -1;
        const struct sim_answer *answer = &sim->answers.items[sim->answers.count - 1];
        if (answer->result == 0)
            return 0;
        if (answer->error.code == ERR_CONFLICT) /* names are as new as the numbers are */
            return error_set(err, ERR_CORRUPT, "invariant 9: a replica is wanted and refused: %s",
                answer->error.text);
    }
    if (sim->calm)
        vec_push(&sim->hopeless, wanted->service);
    input = (struct sim_input){.kind = INPUT_REPLICA_REFUSED, .wanted = *wanted};
    return apply_more(sim, &input, err);
}

int sim_answer_wanted(struct sim *sim, struct error *err)
{
    vec_clear(&sim->wanted);
    vec_clear(&sim->shadow_wanted);
    core_service_wanted(sim->core, keep_wanted, sim);
    if (sim->shadow) {
        core_service_wanted(sim->shadow, keep_shadow_wanted, sim);
        if (wanted_same(sim, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < sim->wanted.count; i++)
        if (answer_wanted(sim, &sim->wanted.items[i], err) < 0)
            return -1;
    return 0;
}

bool sim_wants_more(struct sim *sim)
{
    vec_clear(&sim->wanted);
    core_service_wanted(sim->core, keep_wanted, sim);
    return sim->wanted.count > 0;
}
