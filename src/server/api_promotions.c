/* Promotions over the API: asking, reading, deciding; and taking a version out of its stage. */
#include "server/api_versions.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/promotions.h"
#include "store/store.h"

#include <string.h>

enum {
    BODY_BYTES_MAX = 16 * 1024,
    NOTE_BYTES_MAX = 2000,
    LOOKED_AT_MAX = 2000,
    PROMOTION_BYTES_MAX = 4 * DOC_BYTES_MAX
};

/* What a command about promotions was asked, and what it made. */
struct promoting {
    struct promotion_request request;
    enum model_stage stage; /* of a version that is taken out of its own */
    const char *note;
    const struct doc *result;
};

/* The note of a body, which may be missing, and which nobody but people reads. */
static int take_note(const struct doc *body, const char **ret, struct error *err)
{
    const struct doc *note = body ? doc_get(body, "note") : NULL;
    *ret = NULL;
    if (!note)
        return 0;
    if (note->type != DOC_STRING || note->length > NOTE_BYTES_MAX)
        return error_set(
            err, ERR_INVALID, "note: expected a text of at most %d bytes", NOTE_BYTES_MAX);
    *ret = note->text;
    return 0;
}

static void answer_result(struct call *call, int status)
{
    const struct promoting *promoting = call->data;
    call_answer(call, status, promoting->result);
}

/* ---- asking --------------------------------------------------------------------------------- */

static void answer_created(struct call *call)
{
    answer_result(call, 201);
}

/* The tick's arena is gone when the next one begins. */
static int keep(struct call *call, int rc, const struct doc *result)
{
    struct promoting *promoting = call->data;
    promoting->result = rc == 0 ? doc_copy(call->arena, result) : NULL;
    return rc;
}

static int run_ask(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    const struct promoting *promoting = call->data;
    const struct doc *result = NULL;
    int rc = promotion_ask(tick, &promoting->request, &result, err);
    return keep(call, rc, result);
}

static int take_request(struct call *call, const struct doc *body, struct error *err)
{
    struct promoting *promoting = call->data;
    struct promotion_request *request = &promoting->request;
    struct version version;
    const char *stage = body ? doc_get_string(body, "stage") : NULL;
    if (!stage || (strcmp(stage, "staging") != 0 && strcmp(stage, "production") != 0))
        return error_set(err, ERR_INVALID, "stage: expected staging or production");
    if (take_note(body, &request->note, err) < 0 || call_version(call, &version, err) < 0)
        return -1;
    request->team = version.team;
    request->model = version.name;
    request->version = version.version;
    request->stage = stage;
    return promotion_prepare(call->server, &call->identity, call->arena, request, err);
}

static void on_request(struct call *call, const struct doc *body)
{
    struct error err;
    call->data = arena_alloc(call->arena, 1, sizeof(struct promoting));
    if (take_request(call, body, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run_ask, answer_created);
}

void api_promotion_create(struct call *call)
{
    call_body(call, BODY_BYTES_MAX, on_request);
}

/* ---- reading -------------------------------------------------------------------------------- */

void api_promotion_get(struct call *call)
{
    struct error err;
    const struct doc *promotion =
        promotions_get(call->server, call->arena, call->parameters[0], &err);
    if (promotion)
        call_answer(call, 200, promotion);
    else
        call_fail(call, &err);
}

struct promotion_listing {
    struct call *call;
    struct doc *items;
    const char *state, *model;
    size_t limit;
    size_t looked_at;
    const char *last; /* that was looked at, shown or not */
    bool more;
};

static bool is_asked_for(const char *wanted, const struct doc *promotion, const char *key)
{
    const char *value = doc_get_string(promotion, key);
    return !wanted || (value && strcmp(wanted, value) == 0);
}

static int add_promotion(void *context, const struct document *document, struct error *err)
{
    struct promotion_listing *listing = context;
    struct call *call = listing->call;
    if (listing->items->count >= listing->limit) {
        listing->more = true;
        return 0;
    }
    listing->looked_at++;
    listing->last = arena_strdup(call->arena, document->key);
    if (identity_role(call->server->catalog, &call->identity, document->scope) < ROLE_VIEWER)
        return 0;
    struct doc *promotion = doc_parse_json(
        call->arena, document->json, strlen(document->json), PROMOTION_BYTES_MAX, err);
    if (!promotion)
        return -1;
    if (is_asked_for(listing->state, promotion, "state") &&
        is_asked_for(listing->model, promotion, "model"))
        doc_append(listing->items, promotion);
    return 0;
}

void api_promotion_list(struct call *call)
{
    struct promotion_listing listing = {.call = call,
        .items = doc_list(call->arena),
        .state = http_request_query(call->request, "state"),
        .model = http_request_query(call->request, "model")};
    struct error err;
    if (call_limit(call, &listing.limit, &err) < 0 ||
        reader_documents(call->server->reader, "promotion", call->team,
            http_request_query(call->request, "after"), LOOKED_AT_MAX, add_promotion, &listing,
            &err) < 0) {
        call_fail(call, &err);
        return;
    }
    /* A page may be short, or empty, and not the last: it ends where enough was looked at. */
    listing.more |= listing.looked_at == LOOKED_AT_MAX;
    call_answer_page(call, listing.items, listing.more ? listing.last : NULL);
}

/* ---- deciding ------------------------------------------------------------------------------- */

typedef int decide_fn(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err);

static int run_decision(struct tick *tick, struct call *call, decide_fn *decide, struct error *err)
{
    const struct promoting *promoting = call->data;
    const struct doc *result = NULL;
    int rc = decide(tick, &call->identity, call->parameters[0], promoting->note, &result, err);
    return keep(call, rc, result);
}

static int run_approve(struct tick *tick, void *context, struct error *err)
{
    return run_decision(tick, context, promotion_approve, err);
}

static int run_refuse(struct tick *tick, void *context, struct error *err)
{
    return run_decision(tick, context, promotion_refuse, err);
}

static int run_withdraw(struct tick *tick, void *context, struct error *err)
{
    return run_decision(tick, context, promotion_withdraw, err);
}

static void answer_decided(struct call *call)
{
    answer_result(call, 200);
}

static void on_note(struct call *call, const struct doc *body, command_run_fn *run)
{
    struct promoting *promoting = arena_alloc(call->arena, 1, sizeof *promoting);
    struct error err;
    call->data = promoting;
    if (take_note(body, &promoting->note, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run, answer_decided);
}

static void on_approve(struct call *call, const struct doc *body)
{
    on_note(call, body, run_approve);
}

static void on_refuse(struct call *call, const struct doc *body)
{
    on_note(call, body, run_refuse);
}

static void on_withdraw(struct call *call, const struct doc *body)
{
    on_note(call, body, run_withdraw);
}

void api_promotion_approve(struct call *call)
{
    call_body(call, BODY_BYTES_MAX, on_approve);
}

void api_promotion_refuse(struct call *call)
{
    call_body(call, BODY_BYTES_MAX, on_refuse);
}

void api_promotion_withdraw(struct call *call)
{
    call_body(call, BODY_BYTES_MAX, on_withdraw);
}

/* ---- out of a stage ---------------------------------------------------------------------------
 */

static int run_retire(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    const struct promoting *promoting = call->data;
    const struct promotion_request *version = &promoting->request;
    const struct doc *result = NULL;
    int rc = promotion_retire(
        tick, version->team, version->model, version->version, promoting->stage, &result, err);
    return keep(call, rc, result);
}

static void retire(struct call *call, enum model_stage stage)
{
    struct promoting *promoting = arena_alloc(call->arena, 1, sizeof *promoting);
    struct version version;
    struct error err;
    call->data = promoting;
    if (call_version(call, &version, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    promoting->stage = stage;
    promoting->request.team = version.team;
    promoting->request.model = version.name;
    promoting->request.version = version.version;
    call_command(call, run_retire, answer_decided);
}

void api_version_archive(struct call *call)
{
    retire(call, STAGE_ARCHIVED);
}

void api_version_candidate(struct call *call)
{
    retire(call, STAGE_CANDIDATE);
}
