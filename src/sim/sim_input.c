/* Feeding one input to a core, and saying it in a line of the trace. */
#include "sim/sim_input.h"

#include "base/memory.h"

#include <assert.h>

static int input_command(
    struct core *core, const struct sim_input *input, uint64_t *ret_id, struct error *err)
{
    switch (input->kind) {
    case INPUT_POOL_PUT: return core_pool_put(core, &input->pool, err);
    case INPUT_POOL_DELETE: return core_pool_delete(core, input->name, err);
    case INPUT_TEAM_PUT: return core_team_put(core, &input->team, err);
    case INPUT_TEAM_DELETE: return core_team_delete(core, input->name, err);
    case INPUT_JOB_SUBMIT: return core_job_submit(core, &input->job, ret_id, err);
    case INPUT_JOB_CANCEL: return core_job_cancel(core, input->id, err);
    case INPUT_JOB_HOLD: return core_job_hold(core, input->id, err);
    case INPUT_JOB_RELEASE: return core_job_release(core, input->id, err);
    case INPUT_JOB_PROGRESS: return core_job_progress(core, input->id, &input->progress, err);
    case INPUT_FORECAST: return core_forecast_put(core, &input->forecast, 1, err);
    case INPUT_FORECAST_EXPECT: core_forecast_expect(core, input->wait_ms); return 0;
    case INPUT_NODE_WISH:
        return core_node_wish(core, input->pool_name, input->node_name, input->wish, err);
    case INPUT_NODE_RESERVE:
        return core_node_reserve(
            core, input->pool_name, input->node_name, input->begin_ms, input->end_ms, err);
    case INPUT_SERVICE_PUT: return core_service_put(core, &input->service, ret_id, NULL, err);
    case INPUT_SERVICE_DELETE: return core_service_delete(core, input->id, err);
    case INPUT_SERVICE_SCALE: return core_service_scale(core, input->id, input->replicas, 0, err);
    case INPUT_ROLLOUT: return core_rollout_command(core, input->id, input->rollout, err);
    case INPUT_REPLICA_SUBMIT:
        return core_replica_submit(core, &input->wanted, &input->job, ret_id, err);
    case INPUT_REPLICA_REFUSED: core_replica_refused(core, &input->wanted); return 0;
    case INPUT_ATTEMPT_REPORT:
    case INPUT_NODE_REPORT:
    case INPUT_REPLICA_REPORT:
    case INPUT_EVIDENCE: break;
    }
    assert(!"a report is no command");
    return -1;
}

void sim_input_apply(
    struct core *core, const struct sim_input *input, struct sim_answer *ret_answer)
{
    *ret_answer = (struct sim_answer){0};
    if (input->kind == INPUT_ATTEMPT_REPORT)
        ret_answer->changed = core_attempt_report(core, &input->report);
    else if (input->kind == INPUT_NODE_REPORT)
        ret_answer->changed = core_node_report(core, input->pool_name, input->node_name, input->up);
    else if (input->kind == INPUT_REPLICA_REPORT)
        ret_answer->changed = core_replica_report(core, input->id, input->attempt, input->found);
    else if (input->kind == INPUT_EVIDENCE)
        ret_answer->changed = core_rollout_evidence(core, input->id, &input->evidence);
    else
        ret_answer->result = input_command(core, input, &ret_answer->id, &ret_answer->error);
}

/* Each prints one kind of input, with the words that the table below has for it. */
typedef void print_fn(const char *words, const struct sim_input *input, struct strbuf *out);

static void print_pool(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct pool *pool = &input->pool;
    strbuf_printf(out, "%s %s engine=%d spot=%d jurisdiction=%s", words, pool->metadata.name,
        pool->engine, pool->spot, pool->jurisdiction ? pool->jurisdiction : "-");
    if (pool->site)
        strbuf_printf(out, " site=%s egress=%lld link=%lld", pool->site,
            (long long)pool->prices.egress_gib_micro, (long long)pool->link_bytes);
    if (pool->burst.budget_micro)
        strbuf_printf(out, " burst after=%lld budget=%lld period=%lld",
            (long long)pool->burst.after_ms, (long long)pool->burst.budget_micro,
            (long long)pool->burst.period_ms);
    for (size_t i = 0; i < pool->nodes.count; i++) {
        const struct node *node = &pool->nodes.items[i];
        const struct resources *has = &node->capacity;
        strbuf_printf(out, " [%s x%lld type=%s cpu=%lld memory=%lld disk=%lld %s=%lld shared=%d",
            node->name, (long long)node->count, node->type, (long long)has->cpu_milli,
            (long long)has->memory_bytes, (long long)has->disk_bytes,
            has->accelerator ? has->accelerator : "none", (long long)has->accelerator_milli,
            node->fractional);
        for (size_t k = 0; k < node->labels.count; k++)
            strbuf_printf(out, " %s=%s", node->labels.items[k].key, node->labels.items[k].value);
        for (size_t k = 0; k < node->taints.count; k++)
            strbuf_printf(out, " taint:%s=%s:%d", node->taints.items[k].key,
                node->taints.items[k].value, node->taints.items[k].effect);
        strbuf_putc(out, ']');
    }
}

static void print_team(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct team *team = &input->team;
    strbuf_printf(out, "%s %s parent=%s weight=%lld borrow=%d jobs_max=%lld", words,
        team->metadata.name, team->parent ? team->parent : "-", (long long)team->weight_micro,
        team->borrow, (long long)team->jobs_max);
    for (size_t i = 0; i < team->quotas.count; i++)
        strbuf_printf(out, " [%s %lld..%lld]", team->quotas.items[i].resource,
            (long long)team->quotas.items[i].guarantee, (long long)team->quotas.items[i].limit);
}

static void print_job_placement(const struct placement *placement, struct strbuf *out)
{
    strbuf_printf(out, " pool=%s type=%s jurisdiction=%s spread=%d exclusive=%d",
        placement->pool ? placement->pool : "-", placement->node_type ? placement->node_type : "-",
        placement->jurisdiction ? placement->jurisdiction : "-", placement->spread,
        placement->exclusive);
    for (size_t i = 0; i < placement->require.count; i++) {
        const struct node_requirement *require = &placement->require.items[i];
        strbuf_printf(out, " require:%s:%d", require->key, require->operation);
        for (size_t k = 0; k < require->values.count; k++)
            strbuf_printf(out, ",%s", require->values.items[k]);
    }
    for (size_t i = 0; i < placement->tolerations.count; i++)
        strbuf_printf(out, " tolerate:%s=%s", placement->tolerations.items[i].key,
            placement->tolerations.items[i].value ? placement->tolerations.items[i].value : "*");
    for (size_t i = 0; i < placement->near.count; i++)
        strbuf_printf(
            out, " near:%s=%s", placement->near.items[i].key, placement->near.items[i].value);
    for (size_t i = 0; i < placement->apart.count; i++)
        strbuf_printf(
            out, " apart:%s=%s", placement->apart.items[i].key, placement->apart.items[i].value);
}

static void print_job(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct job *job = &input->job;
    const struct resources *asks = &job->resources;
    strbuf_printf(out, "%s %s/%s size=%lld:%lld:%lld cpu=%lld memory=%lld disk=%lld %s=%lld", words,
        job->metadata.team, job->metadata.name, (long long)job->gang.size, (long long)job->gang.min,
        (long long)job->gang.max, (long long)asks->cpu_milli, (long long)asks->memory_bytes,
        (long long)asks->disk_bytes, asks->accelerator ? asks->accelerator : "none",
        (long long)asks->accelerator_milli);
    strbuf_printf(out,
        " priority=%lld preemptible=%d:%lld:%lld grace=%lld retries=%lld"
        " after=%lld deadline=%lld limit=%lld array=%lld:%lld hold=%d service=%d"
        " shrink=%d",
        (long long)job->priority, job->preemptible, (long long)job->min_runtime_ms,
        (long long)job->preemptions_max, (long long)job->grace_ms, (long long)job->retries.limit,
        (long long)job->start_after_ms, (long long)job->deadline_ms, (long long)job->time_limit_ms,
        (long long)job->array.count, (long long)job->array.parallel, job->hold, job->service,
        job->shrink_on_node_loss);
    strbuf_printf(out, " duration=%lld interval=%lld restart=%lld saves=%d spot=%d",
        (long long)job->duration_ms, (long long)job->checkpoint.interval_ms,
        (long long)job->checkpoint.restart_ms, job->checkpoint.on_stop, job->placement.spot);
    for (size_t i = 0; i < job->metadata.labels.count; i++)
        strbuf_printf(
            out, " %s=%s", job->metadata.labels.items[i].key, job->metadata.labels.items[i].value);
    for (size_t i = 0; i < job->depends_on.count; i++)
        strbuf_printf(out, " depends:%s:%d", job->depends_on.items[i].job,
            job->depends_on.items[i].condition);
    print_job_placement(&job->placement, out);
}

static void print_service(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct core_service *service = &input->service;
    strbuf_printf(out, "%s %s/%s replicas=%d surge=%d unavailable=%d renew=%d", words,
        service->team, service->name, service->replicas, service->surge, service->unavailable,
        service->renew);
    const struct rollout_plan *plan = &service->rollout;
    if (plan->strategy == ROLLOUT_PLAIN)
        return;
    strbuf_printf(out, " %s", rollout_strategy_names[plan->strategy]);
    for (int32_t i = 0; i < plan->steps; i++)
        strbuf_printf(out, " %d%%/%lld", plan->weights[i], (long long)plan->bakes_ms[i]);
    strbuf_printf(out, " patience=%lld requests=%lld time=%d give-up=%d",
        (long long)plan->patience_ms, (long long)plan->requests_min, plan->by_time, plan->give_up);
}

static void print_wanted(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct core_wanted *wanted = &input->wanted;
    strbuf_printf(out, "%s service=%llu revision=%d number=%d arm=%d ", words,
        (unsigned long long)wanted->service, wanted->revision, wanted->number, wanted->arm);
}

static void print_replica(const char *words, const struct sim_input *input, struct strbuf *out)
{
    print_wanted(words, input, out);
    print_job("job-submit", input, out);
}

static void print_attempt_report(
    const char *words, const struct sim_input *input, struct strbuf *out)
{
    static const char *const names[] = {"submitted", "started", "ended", "checkpoint", "site-end"};
    const struct core_report *report = &input->report;
    strbuf_printf(
        out, "%s=%llu %s", words, (unsigned long long)report->attempt, names[report->kind]);
    if (report->kind == REPORT_ENDED)
        strbuf_printf(out, " reason=%s status=%d complete=%d", end_reason_names[report->reason],
            report->exit_status, report->complete);
    if (report->kind == REPORT_CHECKPOINT || report->kind == REPORT_SITE_END)
        strbuf_printf(out, " at=%lld", (long long)report->at_ms);
}

static void print_progress(const char *words, const struct sim_input *input, struct strbuf *out)
{
    const struct core_progress *say = &input->progress;
    strbuf_printf(out, "%s %llu remaining=%lld restart=%lld", words, (unsigned long long)input->id,
        (long long)say->remaining, (long long)say->restart_ms);
    for (size_t i = 0; i < say->speed_count; i++)
        strbuf_printf(out, " %dx%d=%lld", say->speeds[i].ranks, say->speeds[i].nodes,
            (long long)say->speeds[i].rate_milli);
}

static void print_name(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s %s", words, input->name);
}

static void print_id(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s %llu", words, (unsigned long long)input->id);
}

static void print_node_wish(const char *words, const struct sim_input *input, struct strbuf *out)
{
    static const char *const wishes[] = {"cordon", "uncordon", "drain"};
    strbuf_printf(
        out, "%s-%s %s/%s", words, wishes[input->wish], input->pool_name, input->node_name);
}

static void print_node_reserve(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s %s/%s %lld..%lld", words, input->pool_name, input->node_name,
        (long long)input->begin_ms, (long long)input->end_ms);
}

static void print_node_report(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(
        out, "%s=%s/%s %s", words, input->pool_name, input->node_name, input->up ? "up" : "lost");
}

static void print_scale(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(
        out, "%s %llu replicas=%d", words, (unsigned long long)input->id, input->replicas);
}

static void print_rollout(const char *words, const struct sim_input *input, struct strbuf *out)
{
    static const char *const orders[] = {"pause", "resume", "promote", "abort"};
    strbuf_printf(out, "%s-%s %llu", words, orders[input->rollout], (unsigned long long)input->id);
}

static void print_replica_report(
    const char *words, const struct sim_input *input, struct strbuf *out)
{
    static const char *const found[] = {"ready", "unready", "unhealthy"};
    strbuf_printf(out, "%s=%llu attempt=%llu %s", words, (unsigned long long)input->id,
        (unsigned long long)input->attempt, found[input->found]);
}

static void print_evidence(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s of job %llu requests=%lld errors=%lld differing=%lld/%lld", words,
        (unsigned long long)input->id, (long long)input->evidence.requests,
        (long long)input->evidence.errors, (long long)input->evidence.differing,
        (long long)input->evidence.compared);
}

static void print_forecast(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s %llu at=%lld start=%lld", words, (unsigned long long)input->forecast.job,
        (long long)input->forecast.at_ms, (long long)input->forecast.start_ms);
}

static void print_wait(const char *words, const struct sim_input *input, struct strbuf *out)
{
    strbuf_printf(out, "%s %lld", words, (long long)input->wait_ms);
}

static const struct {
    print_fn *print;
    const char *words;
} kinds[] = {
    [INPUT_POOL_PUT] = {print_pool, "pool-put"},
    [INPUT_POOL_DELETE] = {print_name, "pool-delete"},
    [INPUT_TEAM_PUT] = {print_team, "team-put"},
    [INPUT_TEAM_DELETE] = {print_name, "team-delete"},
    [INPUT_JOB_SUBMIT] = {print_job, "job-submit"},
    [INPUT_JOB_CANCEL] = {print_id, "job-cancel"},
    [INPUT_JOB_HOLD] = {print_id, "job-hold"},
    [INPUT_JOB_RELEASE] = {print_id, "job-release"},
    [INPUT_JOB_PROGRESS] = {print_progress, "job-progress"},
    [INPUT_FORECAST] = {print_forecast, "forecast"},
    [INPUT_FORECAST_EXPECT] = {print_wait, "forecast-expect"},
    [INPUT_NODE_WISH] = {print_node_wish, "node"},
    [INPUT_NODE_RESERVE] = {print_node_reserve, "node-reserve"},
    [INPUT_SERVICE_PUT] = {print_service, "service-put"},
    [INPUT_SERVICE_DELETE] = {print_id, "service-delete"},
    [INPUT_SERVICE_SCALE] = {print_scale, "service-scale"},
    [INPUT_ROLLOUT] = {print_rollout, "rollout"},
    [INPUT_REPLICA_SUBMIT] = {print_replica, "replica-submit"},
    [INPUT_REPLICA_REFUSED] = {print_wanted, "replica-refused"},
    [INPUT_ATTEMPT_REPORT] = {print_attempt_report, "report attempt"},
    [INPUT_NODE_REPORT] = {print_node_report, "report node"},
    [INPUT_REPLICA_REPORT] = {print_replica_report, "report replica"},
    [INPUT_EVIDENCE] = {print_evidence, "report evidence"},
};

static_assert(ARRAY_LEN(kinds) == INPUT_EVIDENCE + 1, "each has its words");

static void print_answer(
    const struct sim_input *input, const struct sim_answer *answer, struct strbuf *out)
{
    if (sim_input_is_report(input))
        strbuf_puts(out, answer->changed ? " -> changed" : " -> nothing");
    else if (answer->result < 0)
        strbuf_printf(out, " -> %s: %s", error_name(answer->error.code), answer->error.text);
    else if (answer->id)
        strbuf_printf(out, " -> %llu", (unsigned long long)answer->id);
    else
        strbuf_puts(out, " -> done");
}

void sim_input_print(
    const struct sim_input *input, const struct sim_answer *answer, struct strbuf *out)
{
    assert((size_t)input->kind < ARRAY_LEN(kinds) && kinds[input->kind].print);
    kinds[input->kind].print(kinds[input->kind].words, input, out);
    print_answer(input, answer, out);
}
