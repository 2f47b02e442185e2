/* Why a job waits and when it starts, and what a change would do: asked of the planner. Without one
 * the first is answered from the core as far as it goes. */
#include "core/core.h"
#include "planner/explain.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/explain.h"
#include "server/handlers.h"
#include "server/names.h"
#include "server/planner_link.h"
#include "server/submit.h"
#include "store/store.h"

#include <string.h>

enum {
    WHATIF_BYTES_MAX = 1024 * 1024,
    WHATIF_OBJECTS_MAX = 100,
    ANSWER_BYTES_MAX = 8 << 20,
    ANSWER_ITEMS_MAX = 1 << 20,
    EXPLAIN_WAIT_MS = 15000, /* then it is answered without a forecast */
    WHATIF_WAIT_MS = 70000,
};

static int ask(struct call *call, const struct doc *question, int64_t wait_ms,
    planner_answer_fn *answer, struct error *err)
{
    struct strbuf text = {0};
    doc_write_json(question, 0, &text);
    int failed = planner_link_ask(
        call->server->planner, strbuf_text(&text), text.length, wait_ms, answer, call, err);
    strbuf_finish(&text);
    return failed;
}

/* The answer's document under the key; NULL with the planner's error. */
static const struct doc *parse_answer(
    struct call *call, const char *text, size_t length, const char *key, struct error *err)
{
    if (!text) {
        error_set(err, ERR_UNAVAILABLE, "the planner gave no answer");
        return NULL;
    }
    const struct doc *answer =
        doc_parse_json_bounded(call->arena, text, length, ANSWER_BYTES_MAX, ANSWER_ITEMS_MAX, err);
    const struct doc *found = doc_get(answer, key), *problem = doc_get(answer, "error");
    if (found || !answer)
        return found;
    int64_t code = doc_get_int(problem, "code", ERR_INTERNAL);
    const char *why = doc_get_string(problem, "text");
    error_set(err, code > ERR_NONE && code < ERR_COUNT ? (enum error_code)code : ERR_INTERNAL, "%s",
        why ? why : "the planner's answer makes no sense");
    return NULL;
}

/* ---- explain ------------------------------------------------------------------------------- */

/* From the core alone: what the job waits for, and no forecast. */
static void answer_without(struct call *call, const char *why)
{
    struct job_row row;
    struct error err;
    struct explain_options options = {.now_ms = server_now_ms()};
    if (reader_row(call->server->reader, ROW_JOB, call->job, &row, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    const struct doc *facts = job_state_ended(row.state)
                                  ? NULL
                                  : explain_job(call->arena, call->server->core, row.id, &options);
    call_answer(call, 200,
        explain_show(call->server, &call->identity, call->arena, &row, facts, facts ? why : NULL));
}

static void on_explained(void *context, const char *text, size_t length)
{
    struct call *call = context;
    struct error err;
    struct job_row row;
    const struct doc *facts = parse_answer(call, text, length, "explain", &err);
    if (!facts) {
        answer_without(call, err.text);
        return;
    }
    if (reader_row(call->server->reader, ROW_JOB, call->job, &row, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (job_state_ended(row.state))
        facts = NULL;
    call_answer(
        call, 200, explain_show(call->server, &call->identity, call->arena, &row, facts, NULL));
}

void api_job_explain(struct call *call)
{
    struct error err;
    if (call_one_job(call, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (!core_job(call->server->core, call->job)) {
        answer_without(call, NULL);
        return;
    }
    struct doc *question = doc_map(call->arena);
    doc_set_string(call->arena, question, "ask", "explain");
    doc_set_int(call->arena, question, "job", (int64_t)call->job);
    if (ask(call, question, EXPLAIN_WAIT_MS, on_explained, &err) < 0)
        answer_without(call, err.text);
}

/* ---- what if ------------------------------------------------------------------------------- */

struct whatif_call {
    struct call *call;
    struct field_errors errors;
    struct doc *changes; /* canonical manifests */
};

static void add_change(struct whatif_call *in, const struct doc *object, size_t i)
{
    struct call *call = in->call;
    struct manifest manifest;
    struct field_errors *own = arena_alloc(call->arena, 1, sizeof *own);
    const char *path = arena_printf(call->arena, "objects[%zu]", i);
    if (manifest_decode(call->arena, object, NULL, &manifest, own) < 0) {
        for (size_t e = 0; e < own->count; e++)
            field_errors_add(&in->errors, call->arena,
                arena_printf(call->arena, "%s%s%s", path, own->items[e].path[0] ? "." : "",
                    own->items[e].path),
                0, "%s", own->items[e].text);
        return;
    }
    if (manifest.kind != KIND_POOL && manifest.kind != KIND_TEAM) {
        field_errors_add(
            &in->errors, call->arena, path, 0, "kind: expected Pool or Team, which can be tried");
        return;
    }
    if (submit_check(call->server, &call->identity, call->arena, &manifest, path, &in->errors) == 0)
        doc_append(in->changes, manifest_encode(call->arena, &manifest));
}

/* The teams whose jobs the asker may see; NULL: all. */
static struct doc *teams_seen(struct call *call)
{
    const struct catalog *catalog = call->server->catalog;
    if (identity_role(catalog, &call->identity, ROOT_TEAM) >= ROLE_VIEWER)
        return NULL;
    struct doc *teams = doc_list(call->arena);
    for (size_t i = 0; i < catalog_count(catalog, KIND_TEAM); i++) {
        const char *name = catalog_at(catalog, KIND_TEAM, i)->name;
        uint64_t id = core_team_find(call->server->core, name);
        if (id && identity_role(catalog, &call->identity, name) >= ROLE_VIEWER)
            doc_append(teams, doc_int(call->arena, (int64_t)id));
    }
    return teams;
}

/* A job that the caller may not see is not told apart from one that does not exist. */
static int find_asked(struct call *call, const char *name, uint64_t *ret_job, struct error *err)
{
    char team[CALL_NAME_MAX];
    if (names_find_job(call->server, name, ret_job, team, err) < 0)
        return -1;
    if (identity_role(call->server->catalog, &call->identity, team) < ROLE_VIEWER)
        return names_job_missing(name, err);
    return 0;
}

static void on_tried(void *context, const char *text, size_t length)
{
    struct call *call = context;
    struct error err;
    const struct doc *facts = parse_answer(call, text, length, "whatif", &err);
    if (facts)
        call_answer(call, 200, explain_show_whatif(call->arena, facts));
    else
        call_fail(call, &err);
}

static int ask_whatif(struct whatif_call *in, const struct doc *body, struct error *err)
{
    struct call *call = in->call;
    struct doc *question = doc_map(call->arena), *teams = teams_seen(call);
    const char *job = doc_get_string(body, "job"), *policy = doc_get_string(body, "policy");
    uint64_t id = 0;
    if (job && find_asked(call, job, &id, err) < 0)
        return -1;
    doc_set_string(call->arena, question, "ask", "whatif");
    doc_set_int(call->arena, question, "job", (int64_t)id);
    doc_set_string(call->arena, question, "policy", policy);
    doc_set(call->arena, question, "changes", in->changes);
    if (teams)
        doc_set(call->arena, question, "teams", teams);
    return ask(call, question, WHATIF_WAIT_MS, on_tried, err);
}

static void on_whatif_body(struct call *call, const struct doc *body)
{
    struct whatif_call in = {.call = call, .changes = doc_list(call->arena)};
    const struct doc *objects = doc_get(body, "objects");
    struct error err;
    size_t i = 0;
    if (!body || (objects && (objects->type != DOC_LIST || objects->count > WHATIF_OBJECTS_MAX))) {
        error_set(&err, ERR_INVALID, "objects: expected a list of at most %d Pools and Teams",
            WHATIF_OBJECTS_MAX);
        call_fail(call, &err);
        return;
    }
    for (const struct doc *one = objects ? objects->first : NULL; one; one = one->next)
        add_change(&in, one, i++);
    if (in.errors.count > 0)
        call_fail_fields(call, &in.errors);
    else if (ask_whatif(&in, body, &err) < 0)
        call_fail(call, &err);
}

void api_whatif(struct call *call)
{
    call_body(call, WHATIF_BYTES_MAX, on_whatif_body);
}
