/* Jurisdictions of data and of pools: see jurisdiction.h.
 *
 * A job's placement is narrowed to where its data have to stay when its inputs become exact
 * versions (inputs.c). Here it is asked, in the tick, whether any pool is there: with the pools
 * that the same request may have brought. */
#include "server/jurisdiction.h"

#include "base/strbuf.h"
#include "core/core.h"
#include "server/artifacts.h"
#include "server/names.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "spec/kinds.h"

#include <stdio.h>
#include <string.h>

enum { STRANDED_MAX = 100, POOLS_NAMED = 8 };

/* ---- what has to stay there ------------------------------------------------------------------ */

/* The version that an input names is of that jurisdiction. */
static bool input_stays(struct tick *tick, const struct job *job, const struct job_input *input,
    const char *where, char name[VERSION_TEXT])
{
    enum kind kind = input->model ? KIND_MODEL : KIND_DATASET;
    const char *text = input->model ? input->model : input->dataset;
    const char *jurisdiction;
    struct reference reference;
    struct version version;
    if (!text || reference_parse(text, &reference, NULL) < 0 ||
        versions_resolve(tick_server(tick), tick_arena(tick), kind, job->metadata.team, &reference,
            &version, NULL) < 0)
        return false;
    jurisdiction = version.jurisdiction;
    if (!jurisdiction && kind == KIND_DATASET)
        artifacts_dataset_terms(
            tick_server(tick), tick_arena(tick), version.team, version.name, &jurisdiction, NULL);
    versions_text(kind, version.team, version.name, version.version, name);
    return jurisdiction && strcmp(jurisdiction, where) == 0;
}

static bool output_stays(struct tick *tick, const struct job *job, const struct job_output *output,
    const char *where, char name[VERSION_TEXT])
{
    const char *jurisdiction = NULL;
    if (!output->dataset)
        return false;
    artifacts_dataset_terms(tick_server(tick), tick_arena(tick), job->metadata.team,
        output->dataset, &jurisdiction, NULL);
    snprintf(name, VERSION_TEXT, "dataset/%.60s/%.60s", job->metadata.team, output->dataset);
    return jurisdiction && strcmp(jurisdiction, where) == 0;
}

/* Whose jurisdiction the placement has. False: it is what the job itself asks for. */
static bool find_owner(struct tick *tick, const struct job *job, char name[VERSION_TEXT])
{
    const char *where = job->placement.jurisdiction;
    for (size_t i = 0; i < job->inputs.count; i++)
        if (input_stays(tick, job, &job->inputs.items[i], where, name))
            return true;
    for (size_t i = 0; i < job->outputs.count; i++)
        if (output_stays(tick, job, &job->outputs.items[i], where, name))
            return true;
    return false;
}

/* ---- which pools there are ------------------------------------------------------------------- */

struct pools_walk {
    const struct core *core;
    const char *only; /* the pool that the job asks for, or NULL: any */
    const char *where;
    struct strbuf names; /* "cloud (us), own (none)" */
    int count;
    bool found;
};

static void take_pool(void *context, enum row_kind kind, const void *data)
{
    struct pools_walk *walk = context;
    const struct pool_row *row = data;
    const char *name = core_symbol(walk->core, row->name);
    const char *jurisdiction = core_symbol(walk->core, row->jurisdiction);
    (void)kind;
    if (walk->only && strcmp(walk->only, name) != 0)
        return;
    walk->found |= strcmp(walk->where, jurisdiction) == 0;
    if (walk->count++ < POOLS_NAMED)
        strbuf_printf(&walk->names, "%s%.64s (%.64s)", walk->count > 1 ? ", " : "", name,
            *jurisdiction ? jurisdiction : "none");
    else if (walk->count == POOLS_NAMED + 1)
        strbuf_puts(&walk->names, ", ..");
}

/* The caller frees the names. */
static bool any_pool(
    const struct tick *tick, const char *only, const char *where, struct pools_walk *walk)
{
    *walk = (struct pools_walk){.core = tick_core(tick), .only = only, .where = where};
    core_row_each(tick_core(tick), ROW_POOL, take_pool, walk);
    return walk->found;
}

static void audit_refusal(struct tick *tick, const char *action, const char *name, const char *team,
    const char *data, const struct pools_walk *walk)
{
    struct strbuf detail = {0};
    strbuf_puts(&detail, "{\"because\":\"jurisdiction\",\"jurisdiction\":");
    strbuf_json(&detail, walk->where);
    if (data) {
        strbuf_puts(&detail, ",\"data\":");
        strbuf_json(&detail, data);
    }
    strbuf_puts(&detail, ",\"pools\":");
    strbuf_json(&detail, strbuf_text(&walk->names));
    strbuf_putc(&detail, '}');
    tick_audit(tick, action, "job", name, team, strbuf_text(&detail));
    strbuf_finish(&detail);
}

int jurisdiction_check_job(struct tick *tick, const struct job *job, struct error *err)
{
    char data[VERSION_TEXT];
    struct pools_walk walk;
    int failed = 0;
    if (!job->placement.jurisdiction)
        return 0;
    if (!any_pool(tick, job->placement.pool, job->placement.jurisdiction, &walk) &&
        find_owner(tick, job, data)) {
        audit_refusal(tick, "job-refuse", job->metadata.name, job->metadata.team, data, &walk);
        failed = error_set(err, ERR_INVALID,
            "%s has to stay in the jurisdiction %.64s, and no pool that the job may run in is "
            "there: %.300s",
            data, job->placement.jurisdiction, walk.count ? strbuf_text(&walk.names) : "none");
    }
    strbuf_finish(&walk.names);
    return failed;
}

/* ---- changes of pools ------------------------------------------------------------------------ */

uint32_t jurisdiction_of_pool(const struct tick *tick, const char *pool)
{
    const struct pool_row *row = core_pool(tick_core(tick), core_pool_find(tick_core(tick), pool));
    return row ? row->jurisdiction : 0;
}

struct stranded {
    struct tick *tick;
    struct pools_walk *walk;
    uint32_t jurisdiction;
    int count;
};

static void take_job(void *context, enum row_kind kind, const void *data)
{
    struct stranded *stranded = context;
    const struct core *core = tick_core(stranded->tick);
    const struct job_row *job = data;
    const struct shape_row *shape = core_shape(core, job->shape);
    const struct team_row *team = core_team(core, job->team);
    (void)kind;
    if (job->attempt || shape->jurisdiction != stranded->jurisdiction ||
        stranded->count++ >= STRANDED_MAX)
        return;
    audit_refusal(stranded->tick, "job-stranded", core_symbol(core, job->name),
        core_symbol(core, team->name), NULL, stranded->walk);
}

void jurisdiction_pool_changed(struct tick *tick, const char *pool, uint32_t before)
{
    struct pools_walk walk;
    struct stranded stranded = {.tick = tick, .walk = &walk, .jurisdiction = before};
    if (!before || jurisdiction_of_pool(tick, pool) == before)
        return;
    if (!any_pool(tick, NULL, core_symbol(tick_core(tick), before), &walk))
        core_row_each(tick_core(tick), ROW_JOB, take_job, &stranded);
    strbuf_finish(&walk.names);
}
