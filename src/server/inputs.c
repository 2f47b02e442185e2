/* What jobs read, when they are submitted: references become exact versions, so that what a job
 * read is known for ever and a retry reads the same again. See artifacts_pin_inputs. */
#include "server/artifacts.h"

#include "server/catalog.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/source.h"
#include "server/versions.h"
#include "spec/spec.h"

#include <stdio.h>
#include <string.h>

struct pinning {
    struct server *server;
    const struct identity *identity;
    struct arena *arena;
    struct job *job;
    const char *why; /* what the placement's jurisdiction comes from; NULL: the job itself */
};

/* Narrows the job's placement to one more jurisdiction (or NULL). */
static int narrow(
    struct pinning *pinning, const char *jurisdiction, const char *of, struct error *err)
{
    const char **now = &pinning->job->placement.jurisdiction;
    if (!jurisdiction)
        return 0;
    if (!*now) {
        *now = arena_strdup(pinning->arena, jurisdiction);
        pinning->why = of;
        return 0;
    }
    if (strcmp(*now, jurisdiction) == 0)
        return 0;
    return error_set(err, ERR_CONFLICT,
        "%s has to stay in the jurisdiction %s, and %s in %s: no pool is in both", of, jurisdiction,
        pinning->why ? pinning->why : "spec.placement asks to run", *now);
}

/* What the submitter may not see is spoken of as if it were not there. */
static int may_read(const struct pinning *pinning, enum kind kind, const char *team,
    const char *name, struct error *err)
{
    if (identity_role(pinning->server->catalog, pinning->identity, team) >= ROLE_VIEWER)
        return 0;
    return error_set(err, ERR_NOT_FOUND, "there is no %s %s/%s", kind_singular(kind), team, name);
}

/* Where the versions of a Dataset or Model lie, or NULL. */
static const char *site_of(
    const struct pinning *pinning, enum kind kind, const char *team, const char *name)
{
    char key[VERSION_KEY_TEXT];
    snprintf(key, sizeof key, "%s/%s", team, name);
    const struct catalog_entry *entry = catalog_find(pinning->server->catalog, kind, key);
    if (!entry)
        return NULL;
    return kind == KIND_MODEL ? entry->manifest->model.site : entry->manifest->dataset.site;
}

/* The broker weighs what it takes to bring it to a pool. */
static void add_data(struct pinning *pinning, const struct version *version)
{
    struct job *job = pinning->job;
    const char *site = site_of(pinning, version->kind, version->team, version->name);
    int64_t bytes = doc_get_int(version->doc, "bytes", 0);
    char text[VERSION_TEXT];
    if (!site || bytes <= 0)
        return;
    versions_text(version->kind, version->team, version->name, version->version, text);
    for (size_t i = 0; i < job->data.count; i++) {
        if (strcmp(job->data.items[i].version, text) == 0)
            return;
    }
    job->data.items[job->data.count++] = (struct job_data){
        arena_strdup(pinning->arena, site), bytes, arena_strdup(pinning->arena, text)};
}

static int pin(
    struct pinning *pinning, enum kind kind, const char *team, const char **text, struct error *err)
{
    struct reference reference;
    struct version version;
    char exact[REFERENCE_TEXT], name[VERSION_TEXT];
    if (reference_parse(*text, &reference, err) < 0)
        return -1;
    if (!reference.team[0])
        snprintf(reference.team, sizeof reference.team, "%s", team);
    if (may_read(pinning, kind, reference.team, reference.name, err) < 0 ||
        versions_resolve(pinning->server, pinning->arena, kind, team, &reference, &version, err) <
            0)
        return -1;
    reference.which = REFERENCE_VERSION;
    reference.version = version.version;
    reference_format(&reference, exact);
    *text = arena_strdup(pinning->arena, exact);
    add_data(pinning, &version);
    versions_text(kind, version.team, version.name, version.version, name);
    /* What the Dataset says by now holds for those of its versions that were bound to nothing. */
    const char *where = version.jurisdiction;
    if (!where && kind == KIND_DATASET)
        artifacts_dataset_terms(
            pinning->server, pinning->arena, version.team, version.name, &where, NULL);
    return narrow(pinning, where, arena_strdup(pinning->arena, name), err);
}

static int pin_all(struct pinning *pinning, const char *team, struct error *err)
{
    for (size_t i = 0; i < pinning->job->inputs.count; i++) {
        struct job_input *input = &pinning->job->inputs.items[i];
        int rc = input->model ? pin(pinning, KIND_MODEL, team, &input->model, err)
                 : input->dataset
                     ? pin(pinning, KIND_DATASET, team, &input->dataset, err)
                     : error_set(err, ERR_INVALID, "it names neither a dataset nor a model");
        if (rc < 0)
            return error_prefix(err, "spec.inputs[%zu]", i);
    }
    return 0;
}

/* The jurisdiction of a Dataset that a job writes holds for the job too. */
static int narrow_outputs(struct pinning *pinning, const char *team, struct error *err)
{
    for (size_t i = 0; i < pinning->job->outputs.count; i++) {
        const struct job_output *output = &pinning->job->outputs.items[i];
        const char *jurisdiction = NULL;
        if (output->dataset)
            artifacts_dataset_terms(
                pinning->server, pinning->arena, team, output->dataset, &jurisdiction, NULL);
        if (narrow(pinning, jurisdiction,
                arena_printf(pinning->arena, "the dataset %s", output->dataset), err) < 0)
            return error_prefix(err, "spec.outputs[%zu]", i);
    }
    return 0;
}

void artifacts_dataset_terms(const struct server *server, struct arena *arena, const char *team,
    const char *name, const char **ret_jurisdiction, struct doc *consent)
{
    char key[VERSION_KEY_TEXT];
    snprintf(key, sizeof key, "%s/%s", team, name);
    const struct catalog_entry *entry = catalog_find(server->catalog, KIND_DATASET, key);
    if (!entry)
        return;
    const struct dataset *dataset = &entry->manifest->dataset;
    if (ret_jurisdiction && dataset->jurisdiction)
        *ret_jurisdiction = dataset->jurisdiction;
    if (consent)
        source_add_text(arena, consent, dataset->consent);
}

int artifacts_pin_inputs(struct server *server, const struct identity *identity,
    struct arena *arena, const char *team, struct job *job, struct error *err)
{
    struct pinning pinning = {.server = server, .identity = identity, .arena = arena, .job = job};
    /* The lists may be shared with what the job was decoded from (a class): they are copied before
     * they change. */
    if (job->inputs.count) {
        struct job_input *items = arena_alloc(arena, job->inputs.count, sizeof *items);
        memcpy(items, job->inputs.items, job->inputs.count * sizeof *items);
        job->inputs.items = items;
        job->data.items = arena_alloc(arena, job->inputs.count, sizeof *job->data.items);
        job->data.count = 0;
    }
    if (pin_all(&pinning, team, err) < 0)
        return -1;
    return narrow_outputs(&pinning, team, err);
}

int artifacts_check_outputs(const struct server *server, const struct job *job, struct error *err)
{
    for (size_t i = 0; i < job->outputs.count; i++) {
        const struct job_output *output = &job->outputs.items[i];
        enum kind kind = output->model ? KIND_MODEL : KIND_DATASET;
        const char *name = output->model ? output->model : output->dataset;
        if (name && !versions_have_object(server, kind, job->metadata.team, name))
            return error_set(err, ERR_NOT_FOUND,
                "spec.outputs[%zu]: the team %s has no %s %s; apply one first", i,
                job->metadata.team, kind_singular(kind), name);
    }
    return 0;
}
