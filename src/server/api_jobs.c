/* Jobs over the API: submitting and reading. */
#include "base/file.h"
#include "core/core.h"
#include "server/artifacts.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/cost.h"
#include "server/handlers.h"
#include "server/job_origin.h"
#include "server/names.h"
#include "server/outputs.h"
#include "server/progress.h"
#include "server/status.h"
#include "server/submit.h"
#include "server/why.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_BYTES_MAX = 256 * 1024, IDEMPOTENCY_KEY_MAX = 200, LOOKED_AT_MAX = 2000 };

/* ---- submitting ---------------------------------------------------------------------------- */

struct submission {
    struct manifest manifest;
    struct field_errors errors;
    char key[DOCUMENT_KEY_TEXT * 6]; /* of the idempotency document; "" without one */
    char digest[65];                 /* of the body, so that a key is not used for another job */
    uint64_t job;
    bool repeated;
    bool has_origin;
    struct job_origin origin; /* the trace that it belongs to */
};

static void answer_submission(struct call *call)
{
    const struct submission *submission = call->data;
    struct doc *body = doc_map(call->arena);
    char id[JOB_ID_TEXT];
    doc_set_string(call->arena, body, "id", names_job_id(submission->job, id));
    doc_set_string(call->arena, body, "name", submission->manifest.job.metadata.name);
    doc_set_string(call->arena, body, "team", submission->manifest.job.metadata.team);
    call_answer(call, submission->repeated ? 200 : 201, body);
}

/* Takes over the job of an earlier submission, which has to be of the same body. */
static int repeat(
    struct submission *submission, uint64_t job, const char *digest, struct error *err)
{
    if (!digest || strcmp(digest, submission->digest) != 0)
        return error_set(err, ERR_CONFLICT,
            "this Idempotency-Key was used for another job; use a new key for a new job");
    submission->job = job;
    submission->repeated = job != 0;
    return 0;
}

/* Whether the key was used before: in this tick, or as the store has it, which is current, since no
 * commit is under way while commands run. */
static int find_repeated(struct tick *tick, struct submission *submission, struct error *err)
{
    const struct submission *earlier = tick_noted(tick, submission->key);
    if (earlier)
        return repeat(submission, earlier->job, earlier->digest, err);
    SCOPED(mem_scope) char *json = NULL;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error why;
    if (reader_document(
            tick_server(tick)->reader, "idempotency", submission->key, &json, NULL, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_set(err, why.code, "%s", why.text);
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, err);
    if (!doc)
        return -1;
    return repeat(
        submission, (uint64_t)doc_get_int(doc, "job", 0), doc_get_string(doc, "digest"), err);
}

static void remember_key(struct tick *tick, struct submission *submission)
{
    char json[160];
    snprintf(json, sizeof json, "{\"job\":%llu,\"digest\":\"%s\"}",
        (unsigned long long)submission->job, submission->digest);
    store_txn_put_document(
        tick_txn(tick), "idempotency", submission->key, "", json, tick_now(tick));
    tick_note(tick, submission->key, submission);
}

static int run_submission(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    struct submission *submission = call->data;
    if (submission->key[0] && find_repeated(tick, submission, err) < 0)
        return -1;
    if (submission->repeated)
        return 0;
    if (submit_apply(tick, &submission->manifest, &submission->job, err) < 0)
        return -1;
    if (submission->has_origin)
        job_origin_put(tick, submission->job, &submission->origin);
    if (submission->key[0])
        remember_key(tick, submission);
    return 0;
}

static int take_key(
    struct call *call, struct submission *submission, const struct doc *body, struct error *err)
{
    const char *key = http_request_header(call->request, "Idempotency-Key");
    if (!key)
        return 0;
    if (strlen(key) == 0 || strlen(key) > IDEMPOTENCY_KEY_MAX)
        return error_set(
            err, ERR_INVALID, "Idempotency-Key: expected 1 to %d characters", IDEMPOTENCY_KEY_MAX);
    snprintf(submission->key, sizeof submission->key, "%s:%s", call->identity.user, key);
    struct strbuf text = {0};
    doc_write_json(body, 0, &text);
    file_sha256_hex(strbuf_text(&text), text.length, submission->digest);
    strbuf_finish(&text);
    return 0;
}

static void on_job_body(struct call *call, const struct doc *body)
{
    struct submission *submission = arena_alloc(call->arena, 1, sizeof *submission);
    struct class_lookup classes = catalog_classes(call->server->catalog);
    struct manifest *manifest = &submission->manifest;
    struct error err;
    call->data = submission;
    submission->has_origin = job_origin_read(call->request, &submission->origin);
    if (!body)
        body = doc_null(call->arena);
    if (manifest_decode(call->arena, body, &classes, manifest, &submission->errors) < 0) {
        call_fail_fields(call, &submission->errors);
        return;
    }
    if (manifest->kind != KIND_JOB) {
        error_set(&err, ERR_INVALID, "kind: expected Job here; other kinds go to /v1/apply");
        call_fail(call, &err);
        return;
    }
    if (submit_allowed(call->server, &call->identity, manifest, &err) < 0 ||
        take_key(call, submission, body, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (submit_check(
            call->server, &call->identity, call->arena, manifest, "", &submission->errors) < 0) {
        call_fail_fields(call, &submission->errors);
        return;
    }
    call_command(call, run_submission, answer_submission);
}

void api_job_create(struct call *call)
{
    call_body(call, JOB_BYTES_MAX, on_job_body);
}

/* ---- reading ------------------------------------------------------------------------------- */

struct job_listing {
    struct call *call;
    struct doc *items;
    const char *state;
    const char *label_key;
    const char *label_value;
    size_t limit;
    size_t looked_at;
    uint64_t last; /* the last that was looked at, shown or not: the next page begins after it */
    bool more;
};

static bool label_matches(const struct job_listing *listing, const struct doc *job)
{
    if (!listing->label_key)
        return true;
    const char *value =
        doc_get_string(doc_get(doc_get(job, "metadata"), "labels"), listing->label_key);
    return value && strcmp(value, listing->label_value) == 0;
}

static int add_job(void *context, const void *data, struct error *err)
{
    struct job_listing *listing = context;
    const struct job_row *row = data;
    struct call *call = listing->call;
    (void)err;
    if (listing->items->count >= listing->limit) {
        listing->more = true;
        return 0;
    }
    listing->last = row->id;
    listing->looked_at++;
    if (listing->state && strcmp(listing->state, job_state_names[row->state]) != 0)
        return 0;
    if (!call->team && identity_role(call->server->catalog, &call->identity,
                           names_team(call->server, row->team)) < ROLE_VIEWER)
        return 0;
    struct doc *job = status_job(call->server, call->arena, row);
    if (label_matches(listing, job))
        doc_append(listing->items, job);
    return 0;
}

/* "k=v" into its two parts. */
static int parse_label(struct call *call, struct job_listing *listing, struct error *err)
{
    const char *label = http_request_query(call->request, "label");
    if (!label)
        return 0;
    const char *equals = strchr(label, '=');
    if (!equals || equals == label)
        return error_set(err, ERR_INVALID, "?label=: expected key=value, got \"%.60s\"", label);
    listing->label_key = arena_strndup(call->arena, label, (size_t)(equals - label));
    listing->label_value = equals + 1;
    return 0;
}

static int list_jobs(struct call *call, struct job_listing *listing, struct error *err)
{
    const char *after = http_request_query(call->request, "after");
    struct row_condition conditions[2];
    struct row_query query = {.kind = ROW_JOB,
        .conditions = conditions,
        .descending = true,
        .after = after ? names_parse_job_id(after) : 0,
        .limit = LOOKED_AT_MAX};
    if (call_limit(call, &listing->limit, err) < 0 || parse_label(call, listing, err) < 0)
        return -1;
    if (after && query.after == 0)
        return error_set(err, ERR_INVALID, "?after=: expected what an answer's \"next\" said");
    if (call->team) {
        uint64_t team = core_team_find(call->server->core, call->team);
        if (team == 0)
            return error_set(err, ERR_NOT_FOUND, "there is no team %.80s", call->team);
        conditions[query.condition_count++] =
            (struct row_condition){"team", ROW_EQUAL, (int64_t)team};
    }
    if (call_query_flag(call, "live"))
        conditions[query.condition_count++] = (struct row_condition){"live", ROW_EQUAL, 1};
    /* One more than asked for tells whether there are more. */
    if (!listing->label_key && !listing->state && call->team)
        query.limit = listing->limit + 1;
    if (reader_rows(call->server->reader, &query, add_job, listing, err) < 0)
        return -1;
    /* A page may be short, or empty, and not the last: it ends where enough was looked at. */
    listing->more |= listing->looked_at == query.limit;
    return 0;
}

void api_job_list(struct call *call)
{
    struct job_listing listing = {.call = call,
        .items = doc_list(call->arena),
        .state = http_request_query(call->request, "state")};
    struct error err;
    char id[JOB_ID_TEXT];
    if (list_jobs(call, &listing, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", listing.items);
    if (listing.more)
        doc_set_string(call->arena, body, "next", names_job_id(listing.last, id));
    call_answer(call, 200, body);
}

void api_job_get(struct call *call)
{
    struct job_row row;
    struct error err;
    struct arena *arena = call->arena;
    if (reader_row(call->server->reader, ROW_JOB, call->job, &row, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (call->whole_array) {
        struct doc *array = status_array(call->server, arena, row.id);
        struct doc *array_outputs = outputs_status(call->server, arena, row.id);
        if (array_outputs)
            doc_set(
                arena, (struct doc *)(uintptr_t)doc_get(array, "status"), "outputs", array_outputs);
        call_answer(call, 200, array);
        return;
    }
    struct doc *job = status_job(call->server, arena, &row);
    struct doc *status = (struct doc *)(uintptr_t)doc_get(job, "status");
    const char *waits = artifacts_wait(call->server->artifacts, row.id);
    doc_set_string(arena, status, "why",
        waits ? arena_printf(arena, "it waits for its inputs: %s", waits)
              : why_job_waits(call->server, arena, &row));
    struct doc *outputs = outputs_status(call->server, arena, row.array ? row.array : row.id);
    if (outputs)
        doc_set(arena, status, "outputs", outputs);
    int64_t cost_nano, wasted_nano;
    cost_job(call->server, row.id, &cost_nano, &wasted_nano);
    status_set_money(arena, status, "cost", cost_nano);
    status_set_money(arena, status, "wasted", wasted_nano);
    doc_set(arena, status, "attemptList", status_attempts(call->server, arena, row.id));
    struct doc *last = progress_last(call->server, arena, row.id);
    if (last && doc_get(last, "data"))
        doc_set(arena, status, "progress", doc_copy(arena, doc_get(last, "data")));
    call_answer(call, 200, job);
}

void api_job_progress(struct call *call)
{
    struct doc *body = doc_map(call->arena);
    doc_set(call->arena, body, "items", progress_epochs(call->server, call->arena, call->job));
    const struct doc *last = progress_last(call->server, call->arena, call->job);
    if (last)
        doc_set(call->arena, body, "last", doc_copy(call->arena, last));
    call_answer(call, 200, body);
}
