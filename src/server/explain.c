/* Facts for people: see explain.h. */
#include "server/explain.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "core/core.h"
#include "server/artifacts.h"
#include "server/context.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/status.h"
#include "store/store.h"

#include <string.h>

struct showing {
    struct server *server;
    const struct identity *identity; /* NULL: everything may be seen */
    struct arena *arena;
};

static void copy_value(struct arena *arena, struct doc *to, const struct doc *from, const char *key)
{
    const struct doc *value = doc_get(from, key);
    if (value)
        doc_set(arena, to, key, doc_copy(arena, value));
}

static void copy_time(struct arena *arena, struct doc *to, const struct doc *from, const char *key)
{
    status_set_time(arena, to, key, doc_get_int(from, key, 0));
}

static void set_id(struct arena *arena, struct doc *to, int64_t id)
{
    char text[JOB_ID_TEXT];
    if (id > 0)
        doc_set_string(arena, to, "id", names_job_id((uint64_t)id, text));
}

/* Nobody foresees milliseconds. */
static void set_second(struct arena *arena, struct doc *to, const char *key, int64_t ms)
{
    status_set_time(arena, to, key, ms / 1000 * 1000);
}

/* {"median", "earliest", "latest", "runs", "known", "notBefore"}; moments that are not known are
 * left out. */
static void set_spread(
    struct arena *arena, struct doc *to, const char *key, const struct doc *spread)
{
    if (!spread)
        return;
    struct doc *out = doc_set(arena, to, key, doc_map(arena));
    set_second(arena, out, "median", doc_get_int(spread, "median", 0));
    set_second(arena, out, "earliest", doc_get_int(spread, "low", 0));
    set_second(arena, out, "latest", doc_get_int(spread, "high", 0));
    set_second(arena, out, "notBefore", doc_get_int(spread, "reached", 0));
    doc_set_int(arena, out, "runs", doc_get_int(spread, "of", 0));
    doc_set_int(arena, out, "known", doc_get_int(spread, "known", 0));
}

/* An amount of a resource as quotas spell it; a mere number without one. */
static void set_amount(struct arena *arena, struct doc *to, const char *key,
    const struct doc *value, const char *resource)
{
    char text[QUANTITY_TEXT];
    int64_t amount;
    if (!value)
        return;
    if (!resource || !doc_as_int(value, &amount)) {
        doc_set(arena, to, key, doc_copy(arena, value));
        return;
    }
    bool bytes = !strcmp(resource, "memory") || !strcmp(resource, "disk");
    doc_set_string(
        arena, to, key, bytes ? quantity_bytes(amount, text) : quantity_milli(amount, text));
}

/* Name and team where the asker may see them, else "hidden". */
static void set_job(const struct showing *in, struct doc *to, const struct doc *from)
{
    const char *team = doc_get_string(from, "team");
    bool seen = !in->identity ||
                (team && identity_role(in->server->catalog, in->identity, team) >= ROLE_VIEWER);
    if (!seen) {
        doc_set_bool(in->arena, to, "hidden", true);
        return;
    }
    set_id(in->arena, to, doc_get_int(from, "job", 0));
    copy_value(in->arena, to, from, "name");
    copy_value(in->arena, to, from, "team");
}

/* ---- explain ------------------------------------------------------------------------------- */

static void show_lacks(const struct showing *in, struct doc *to, const struct doc *nearest)
{
    struct doc *out = doc_set(in->arena, to, "nearest", doc_map(in->arena));
    struct doc *list = doc_list(in->arena);
    copy_value(in->arena, out, nearest, "node");
    copy_value(in->arena, out, nearest, "pool");
    doc_set(in->arena, out, "lacks", list);
    const struct doc *lacks = doc_get(nearest, "lacks");
    for (const struct doc *one = lacks ? lacks->first : NULL; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(in->arena));
        const char *what = doc_get_string(one, "what");
        doc_set_string(in->arena, item, "what", what);
        set_amount(in->arena, item, "need", doc_get(one, "need"), what);
        set_amount(in->arena, item, "has", doc_get(one, "has"), what);
    }
}

static void show_waits(const struct showing *in, struct doc *to, const struct doc *waits)
{
    static const char *const plain[] = {"kind", "team", "resource", "node", "pool", "retry", "more",
        "nodes", "ranks", "orLater", "timeLimit", "level", "domain", "what", "policy", "elsewhere",
        "target"};
    static const char *const amounts[] = {"held", "need", "limit"};
    const char *resource = doc_get_string(waits, "resource");
    struct doc *out = doc_set(in->arena, to, "waits", doc_map(in->arena));
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        copy_value(in->arena, out, waits, plain[i]);
    for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
        set_amount(in->arena, out, amounts[i], doc_get(waits, amounts[i]), resource);
    copy_time(in->arena, out, waits, "due");
    copy_time(in->arena, out, waits, "until");
    if (doc_get(waits, "on"))
        set_job(in, doc_set(in->arena, out, "job", doc_map(in->arena)), doc_get(waits, "on"));
    if (doc_get(waits, "nearest"))
        show_lacks(in, out, doc_get(waits, "nearest"));
}

static void show_jobs(
    const struct showing *in, struct doc *to, const char *key, const struct doc *facts)
{
    const struct doc *from = doc_get(facts, key), *items = doc_get(from, "items");
    if (!from)
        return;
    struct doc *out = doc_set(in->arena, to, key, doc_map(in->arena));
    struct doc *list = doc_list(in->arena);
    copy_value(in->arena, out, from, "count");
    doc_set(in->arena, out, "items", list);
    for (const struct doc *one = items ? items->first : NULL; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(in->arena));
        set_job(in, item, one);
        copy_value(in->arena, item, one, "resource");
        set_amount(
            in->arena, item, "holds", doc_get(one, "holds"), doc_get_string(one, "resource"));
        copy_value(in->arena, item, one, "nodes");
        set_spread(in->arena, item, "end", doc_get(one, "end"));
        set_spread(in->arena, item, "start", doc_get(one, "start"));
    }
}

static void show_facts(const struct showing *in, struct doc *out, const struct doc *facts)
{
    const struct doc *deadline = doc_get(facts, "deadline");
    set_second(in->arena, out, "asOf", doc_get_int(facts, "now", 0));
    if (doc_get(facts, "waits"))
        show_waits(in, out, doc_get(facts, "waits"));
    explain_show_pools(in->arena, out, doc_get(facts, "pools"), doc_get_int(facts, "now", 0));
    explain_show_reads(in->arena, out, doc_get(facts, "reads"));
    show_jobs(in, out, "holders", facts);
    show_jobs(in, out, "ahead", facts);
    set_spread(in->arena, out, "start", doc_get(facts, "start"));
    set_spread(in->arena, out, "end", doc_get(facts, "end"));
    if (deadline) {
        struct doc *map = doc_set(in->arena, out, "deadline", doc_map(in->arena));
        copy_time(in->arena, map, deadline, "at");
        copy_value(in->arena, map, deadline, "late");
        doc_set_int(in->arena, map, "runs", doc_get_int(deadline, "of", 0));
    }
    copy_value(in->arena, out, facts, "basis");
}

struct doc *explain_show(struct server *server, const struct identity *identity,
    struct arena *arena, const struct job_row *job, const struct doc *facts, const char *without)
{
    struct showing in = {server, identity, arena};
    struct doc *out = doc_map(arena);
    const char *state = doc_get_string(facts, "state");
    set_id(arena, out, (int64_t)job->id);
    doc_set_string(arena, out, "name", reader_symbol(server->reader, job->name));
    doc_set_string(arena, out, "team", names_team(server, job->team));
    doc_set_string(arena, out, "state", state ? state : job_state_names[job->state]);
    if (job->end_reason != END_NONE)
        doc_set_string(arena, out, "reason", end_reason_names[job->end_reason]);
    status_set_time(arena, out, "ended", job->ended_ms);
    if (facts)
        show_facts(&in, out, facts);
    doc_set_string(arena, out, "inputs", artifacts_wait(server->artifacts, job->id));
    struct doc *site = job->attempt ? status_site(server, arena, job->attempt) : NULL;
    if (site)
        doc_set(arena, out, "site", site);
    doc_set_string(arena, out, "noForecast", without);
    struct doc *words = explain_words(arena, out);
    doc_set(arena, out, "words", words);
    return out;
}

/* ---- what if ------------------------------------------------------------------------------- */

static void show_figures(struct arena *arena, struct doc *to, const struct doc *from)
{
    static const char *const sides[] = {"today", "changed"};
    copy_value(arena, to, from, "team");
    copy_value(arena, to, from, "waiting");
    for (size_t i = 0; i < ARRAY_LEN(sides); i++) {
        const struct doc *side = doc_get(from, sides[i]);
        struct doc *out = doc_set(arena, to, sides[i], doc_map(arena));
        doc_set_int(arena, out, "meanWaitSeconds", doc_get_int(side, "waitMs", 0) / 1000);
        copy_value(arena, out, side, "notStarted");
        copy_time(arena, out, side, "lastEnd");
        if (doc_get(side, "costNano"))
            status_set_money(arena, out, "cost", doc_get_int(side, "costNano", 0));
    }
}

struct doc *explain_show_whatif(struct arena *arena, const struct doc *facts)
{
    struct showing in = {NULL, NULL, arena};
    struct doc *out = doc_map(arena);
    const struct doc *teams = doc_get(facts, "teams"), *jobs = doc_get(facts, "jobs");
    const struct doc *items = doc_get(jobs, "items");
    status_set_time(arena, out, "asOf", doc_get_int(facts, "now", 0));
    copy_value(arena, out, facts, "runs");
    copy_value(arena, out, facts, "currency");
    show_figures(arena, doc_set(arena, out, "total", doc_map(arena)), doc_get(facts, "total"));
    struct doc *list = doc_set(arena, out, "teams", doc_list(arena));
    for (const struct doc *one = teams ? teams->first : NULL; one; one = one->next)
        show_figures(arena, doc_append(list, doc_map(arena)), one);
    struct doc *shown = doc_set(arena, out, "jobs", doc_map(arena));
    copy_value(arena, shown, jobs, "count");
    list = doc_set(arena, shown, "items", doc_list(arena));
    for (const struct doc *one = items ? items->first : NULL; one; one = one->next) {
        struct doc *item = doc_append(list, doc_map(arena));
        set_job(&in, item, one);
        set_spread(arena, item, "today", doc_get(one, "today"));
        set_spread(arena, item, "changed", doc_get(one, "changed"));
    }
    return out;
}
