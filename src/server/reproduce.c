/* Running the job that made a version again: see reproduce.h. */
#include "server/reproduce.h"

#include "server/context.h"
#include "server/submit.h"
#include "server/ticker.h"
#include "server/versions.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_PART = 40 };

/* A name that no live job of the team has: that of the model and version, and the moment. */
static const char *job_name(struct arena *arena, const struct version *version)
{
    char *name = arena_printf(arena, "%.*s-v%" PRId64 "-again-%06" PRIx64, NAME_PART, version->name,
        version->version, (uint64_t)server_now_ms() & 0xffffff);
    return name;
}

static const struct doc *reproduces_doc(
    struct arena *arena, const struct version *version, const char *output)
{
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "kind", kind_singular(version->kind));
    doc_set_string(arena, doc, "team", version->team);
    doc_set_string(arena, doc, "name", version->name);
    doc_set_int(arena, doc, "version", version->version);
    doc_set_string(arena, doc, "output", output);
    return doc;
}

/* What a new run must not take over from the old one: its moments and what it waited for. */
static void forget_the_past(struct job *job)
{
    job->depends_on.count = 0;
    job->start_after_ms = 0;
    job->deadline_ms = 0;
    job->hold = false;
}

static int decode(struct server *server, struct arena *arena, const struct version *version,
    struct reproduction *ret, struct error *err)
{
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    const char *output = doc_get_string(doc_get(version->doc, "source"), "output");
    const struct doc *stored = versions_job_manifest(server, arena, version);
    char text[VERSION_TEXT];
    if (!stored || !output)
        return error_set(err, ERR_CONFLICT,
            "%s was not made by a job: there is nothing to run "
            "again",
            versions_text(version->kind, version->team, version->name, version->version, text));
    if (manifest_decode(arena, stored, NULL, &ret->manifest, errors) < 0)
        return field_errors_summary(errors, err);
    ret->reproduces = reproduces_doc(arena, version, output);
    return 0;
}

int reproduce_prepare(struct server *server, const struct identity *identity, struct arena *arena,
    const struct version *version, struct reproduction *ret, struct error *err)
{
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    if (decode(server, arena, version, ret, err) < 0)
        return -1;
    struct job *job = &ret->manifest.job;
    ret->name = job->metadata.name = job_name(arena, version);
    forget_the_past(job);
    if (submit_allowed(server, identity, &ret->manifest, err) < 0)
        return -1;
    if (submit_check(server, identity, arena, &ret->manifest, "", errors) < 0)
        return field_errors_summary(errors, err);
    return 0;
}

int reproduce_run(struct tick *tick, struct reproduction *reproduction, struct error *err)
{
    return submit_apply_reproduction(
        tick, &reproduction->manifest, reproduction->reproduces, &reproduction->job, err);
}
