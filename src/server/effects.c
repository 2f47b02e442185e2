/* What a tick leads to: see effects.h. */
#include "server/effects.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "core/autoscale.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/engines.h"
#include "server/feed.h"
#include "server/job_traces.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/promotions.h"
#include "server/reconcile.h"
#include "server/services.h"
#include "server/ticker.h"
#include "server/tokens.h"
#include "server/uids.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A line for the feed, kept until the tick is durable. */
struct news {
    char *team;
    char *line;
};

struct effects {
    struct server *server;
    int64_t tick;
    bool decided;
    struct idmap jobs; /* rows of the jobs that this tick changed, ended ones too */
    VEC(struct job_row *) job_rows;
    /* Only where jobs are traced. */
    VEC(struct attempt_row) attempts;
    VEC(struct core_decision) stops; /* for other jobs */
    VEC(struct news) news;
};

struct effects *effects_create(struct server *server, int64_t tick)
{
    struct effects *effects = mem_alloc(1, sizeof *effects);
    effects->server = server;
    effects->tick = tick;
    return effects;
}

void effects_destroy(struct effects *effects)
{
    if (!effects)
        return;
    for (size_t i = 0; i < effects->job_rows.count; i++)
        free(effects->job_rows.items[i]);
    for (size_t i = 0; i < effects->news.count; i++) {
        free(effects->news.items[i].team);
        free(effects->news.items[i].line);
    }
    vec_free(&effects->job_rows);
    vec_free(&effects->attempts);
    vec_free(&effects->stops);
    vec_free(&effects->news);
    idmap_finish(&effects->jobs);
    free(effects);
}

static const char *team_name(const struct core *core, uint64_t id)
{
    const struct team_row *team = core_team(core, id);
    return team ? core_symbol(core, team->name) : "";
}

/* ---- news ---------------------------------------------------------------------------------- */

static void add_news(struct effects *effects, const char *team, struct strbuf *line)
{
    struct news news = {mem_strdup(team), strbuf_steal(line)};
    vec_push(&effects->news, news);
}

static void job_news(struct effects *effects, const struct job_row *row, enum change_kind change)
{
    const struct core *core = effects->server->core;
    char id[JOB_ID_TEXT];
    struct strbuf line = {0};
    strbuf_printf(&line, "{\"tick\":%" PRId64 ",\"kind\":\"job\",\"change\":\"%s\",\"id\":\"%s\"",
        effects->tick, change == CHANGE_RETIRE ? "ended" : "put", names_job_id(row->id, id));
    strbuf_puts(&line, ",\"name\":");
    strbuf_json(&line, core_symbol(core, row->name));
    strbuf_puts(&line, ",\"team\":");
    strbuf_json(&line, team_name(core, row->team));
    strbuf_printf(&line, ",\"state\":\"%s\",\"attempts\":%d", job_state_names[row->state],
        (int)row->attempts);
    if (row->end_reason != END_NONE)
        strbuf_printf(&line, ",\"reason\":\"%s\"", end_reason_names[row->end_reason]);
    strbuf_putc(&line, '}');
    add_news(effects, team_name(core, row->team), &line);
}

static void node_news(struct effects *effects, const struct node_row *row)
{
    struct strbuf line = {0};
    strbuf_printf(&line,
        "{\"tick\":%" PRId64 ",\"kind\":\"node\",\"change\":\"put\",\"name\":", effects->tick);
    strbuf_json(&line, core_symbol(effects->server->core, row->name));
    strbuf_printf(&line, ",\"state\":\"%s\",\"cordoned\":%s}",
        row->state == NODE_UP ? "up" : "lost", row->cordoned ? "true" : "false");
    add_news(effects, "", &line);
}

/* A row that is deleted is told of by its id alone. */
static uint64_t attempt_of(const struct core_change *change)
{
    return change->change == CHANGE_DELETE ? *(const uint64_t *)change->row
                                           : ((const struct attempt_row *)change->row)->id;
}

void effects_change(struct effects *effects, const struct core_change *change)
{
    if (change->kind == ROW_ATTEMPT)
        reconciler_touch(effects->server->reconciler, attempt_of(change));
    /* Routes are made of replicas that are ready: without this the gateway would never hear of one.
     */
    if (change->kind == ROW_SERVICE || change->kind == ROW_REPLICA || change->kind == ROW_ROLLOUT)
        services_touch(effects->server->services);
    if (change->kind == ROW_SERVICE && change->change == CHANGE_RETIRE)
        services_retired(effects->server->services, change->row);
    if (change->kind == ROW_ATTEMPT && effects->server->job_traces)
        vec_push(&effects->attempts, *(const struct attempt_row *)change->row);
    if (change->kind == ROW_NODE && change->change == CHANGE_PUT)
        node_news(effects, change->row);
    if (change->kind != ROW_JOB || change->change == CHANGE_DELETE)
        return;
    struct job_row *copy = mem_alloc(1, sizeof *copy);
    *copy = *(const struct job_row *)change->row;
    vec_push(&effects->job_rows, copy);
    idmap_put(&effects->jobs, copy->id, copy);
    job_news(effects, copy, change->change);
}

/* ---- audit --------------------------------------------------------------------------------- */

/* The subject of a decision: what it was about. */
struct subject {
    const char *kind;
    const char *team;
    char name[400];
};

static void job_subject(const struct effects *effects, uint64_t id, struct subject *subject)
{
    const struct core *core = effects->server->core;
    const struct job_row *job = core_job(core, id);
    if (!job)
        job = idmap_get(&effects->jobs, id);
    subject->kind = "job";
    subject->team = job ? team_name(core, job->team) : "";
    char text[JOB_ID_TEXT];
    snprintf(subject->name, sizeof subject->name, "%s",
        job ? core_symbol(core, job->name) : names_job_id(id, text));
}

static void find_subject(
    const struct effects *effects, const struct core_decision *decision, struct subject *subject)
{
    const struct core *core = effects->server->core;
    *subject = (struct subject){.kind = "", .team = ""};
    if (decision->job) {
        job_subject(effects, decision->job, subject);
    } else if (decision->node) {
        const struct node_row *node = core_node(core, decision->node);
        subject->kind = "node";
        snprintf(
            subject->name, sizeof subject->name, "%s", node ? core_symbol(core, node->name) : "");
    } else if (decision->service) {
        /* One without replicas vanishes in the tick that deletes it. */
        const struct service_row *service = core_service(core, decision->service);
        subject->kind = "service";
        snprintf(subject->name, sizeof subject->name, "%s",
            service ? core_symbol(core, service->name) : "");
        subject->team = team_name(core, decision->team);
    } else if (decision->team) {
        subject->kind = "team";
        snprintf(subject->name, sizeof subject->name, "%s", team_name(core, decision->team));
        subject->team = team_name(core, decision->team);
    } else if (decision->version) {
        subject->kind = "version";
        snprintf(subject->name, sizeof subject->name, "%s", core_symbol(core, decision->version));
    } else {
        const struct pool_row *pool = core_pool(core, decision->pool);
        subject->kind = "pool";
        snprintf(
            subject->name, sizeof subject->name, "%s", pool ? core_symbol(core, pool->name) : "");
    }
}

/* Which pool, why or why not, and at what price. */
static void write_burst(
    const struct core *core, const struct core_decision *decision, struct strbuf *out)
{
    const struct pool_row *pool = core_pool(core, decision->pool);
    char text[QUANTITY_TEXT];
    strbuf_puts(out, "\"pool\":");
    strbuf_json(out, pool ? core_symbol(core, pool->name) : "");
    if (decision->kind == DECISION_BURST_RECALL) {
        strbuf_putc(out, '}');
        return;
    }
    strbuf_printf(out, ",\"because\":\"%s\",\"waitMs\":%" PRId64,
        burst_verdict_names[decision->burst], decision->wait_ms);
    if (decision->forecast_ms)
        strbuf_printf(out, ",\"forecastAgeMs\":%" PRId64, decision->at_ms - decision->forecast_ms);
    if (decision->cost_micro)
        strbuf_printf(out, ",\"costMost\":\"%s\",\"currency\":\"%s\"",
            quantity_micro(decision->cost_micro, text),
            pool ? core_symbol(core, pool->currency) : "");
    strbuf_putc(out, '}');
}

/* Which version, where, and what was counted for it. */
static void write_copy(
    const struct core *core, const struct core_decision *decision, struct strbuf *out)
{
    const struct pool_row *pool = core_pool(core, decision->pool);
    char text[QUANTITY_TEXT];
    strbuf_puts(out, "\"version\":");
    strbuf_json(out, core_symbol(core, decision->version));
    strbuf_puts(out, ",\"site\":");
    strbuf_json(out, core_symbol(core, decision->site));
    if (pool) {
        strbuf_puts(out, ",\"pool\":");
        strbuf_json(out, core_symbol(core, pool->name));
        strbuf_printf(out, ",\"egress\":\"%s\"", quantity_micro(decision->cost_micro, text));
    }
    strbuf_putc(out, '}');
}

static void write_detail(
    const struct core *core, const struct core_decision *decision, struct strbuf *out)
{
    char id[JOB_ID_TEXT];
    strbuf_putc(out, '{');
    if (decision->job)
        strbuf_printf(out, "\"id\":\"%s\",", names_job_id(decision->job, id));
    if (decision->attempt)
        strbuf_printf(out, "\"attempt\":\"%" PRIu64 "\",", decision->attempt);
    if (decision->kind == DECISION_BURST || decision->kind == DECISION_BURST_REFUSED ||
        decision->kind == DECISION_BURST_RECALL) {
        write_burst(core, decision, out);
        return;
    }
    if (decision->version) {
        write_copy(core, decision, out);
        return;
    }
    if (decision->kind == DECISION_SERVICE_SCALE) {
        strbuf_printf(out, "\"from\":%d,\"to\":%d,\"reason\":\"%s\"}", (int)decision->from,
            (int)decision->to, autoscale_reason_names[decision->reason]);
        return;
    }
    if (decision->reason != END_NONE)
        strbuf_printf(out, "\"reason\":\"%s\",", end_reason_names[decision->reason]);
    if (decision->reason == END_EXIT || decision->reason == END_SIGNAL)
        strbuf_printf(out, "\"status\":%d,", (int)decision->exit_status);
    if (decision->for_job)
        strbuf_printf(out, "\"for\":\"%s\",", names_job_id(decision->for_job, id));
    if (decision->why)
        strbuf_printf(out, "\"because\":\"%s\",", rollout_reason_names[decision->why]);
    if (decision->step)
        strbuf_printf(out, "\"step\":%d,", (int)decision->step);
    if (decision->begin_ms)
        strbuf_printf(out, "\"beginMs\":%" PRId64 ",", decision->begin_ms);
    if (decision->lost_ms)
        strbuf_printf(out, "\"lostMs\":%" PRId64 ",", decision->lost_ms);
    if (out->text[out->length - 1] == ',')
        out->text[out->length - 1] = '}';
    else
        strbuf_putc(out, '}');
}

void effects_decision(
    struct effects *effects, struct tick *tick, const struct core_decision *decision)
{
    struct subject subject;
    struct strbuf detail = {0};
    effects->decided = true;
    if (decision->kind == DECISION_STOP && decision->for_job && effects->server->job_traces)
        vec_push(&effects->stops, *decision);
    find_subject(effects, decision, &subject);
    write_detail(effects->server->core, decision, &detail);
    tick_audit(tick, decision_names[decision->kind], subject.kind, subject.name, subject.team,
        strbuf_text(&detail));
    strbuf_finish(&detail);
}

/* ---- after the commit ---------------------------------------------------------------------- */

static void tell_traces(const struct effects *effects, struct job_traces *traces)
{
    for (size_t i = 0; i < effects->stops.count; i++)
        job_traces_stopped_for(
            traces, effects->stops.items[i].job, effects->stops.items[i].for_job);
    for (size_t i = 0; i < effects->attempts.count; i++) {
        const struct attempt_row *attempt = &effects->attempts.items[i];
        const struct job_row *job = idmap_get(&effects->jobs, attempt->job);
        if (!job)
            job = core_job(effects->server->core, attempt->job);
        if (job)
            job_traces_attempt(traces, job, attempt);
    }
    for (size_t i = 0; i < effects->job_rows.count; i++)
        job_traces_job(traces, effects->job_rows.items[i]);
}

void effects_apply(struct effects *effects)
{
    if (effects->server->job_traces)
        tell_traces(effects, effects->server->job_traces);
    for (size_t i = 0; i < effects->news.count; i++)
        feed_publish(effects->server->feed, effects->tick, effects->news.items[i].team,
            effects->news.items[i].line);
    for (size_t i = 0; i < effects->job_rows.count; i++) {
        if (!job_state_ended(effects->job_rows.items[i]->state))
            continue;
        outputs_job_ended(effects->server->outputs, effects->job_rows.items[i]);
        promotions_job_ended(effects->server->promotions, effects->job_rows.items[i]);
    }
    /* Before routes are made for the first time: what runs at sites is asked where they say. */
    engines_follow(effects->server);
    if (effects->server->services)
        services_committed(effects->server->services);
    reconciler_run(effects->server->reconciler, clock_boot_ms());
}

static int load_row(void *context, enum row_kind kind, const void *row, struct error *err)
{
    return core_load_row(context, kind, row, err);
}

struct core_options effects_core_options(const struct server *server)
{
    return server->config.core;
}

int effects_load(struct server *server, struct error *err)
{
    const struct core_options options = effects_core_options(server);
    struct core *core = core_create(&options);
    if (store_load(server->store, load_row, core, err) < 0 || core_load_end(core, err) < 0 ||
        catalog_load(server->catalog, server->reader, err) < 0 ||
        tokens_load(server->tokens, server->reader, err) < 0 ||
        uids_load(server->uids, server->reader, err) < 0) {
        core_destroy(core);
        return -1;
    }
    core_destroy(server->core);
    server->core = core;
    return 0;
}

int effects_reload(struct server *server)
{
    struct error err;
    if (effects_load(server, &err) < 0) {
        log_error("the state cannot be loaded: %s", err.text);
        return -1;
    }
    if (server->services)
        services_reloaded(server->services);
    if (server->reconciler && server->engine) {
        reconciler_touch_all(server->reconciler);
        reconciler_run(server->reconciler, clock_boot_ms());
    }
    return 0;
}
