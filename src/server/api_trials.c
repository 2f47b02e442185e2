/* Trials over the API: opening one, and asking in it. See trials.h. */
#include "base/memory.h"
#include "base/quantity.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/services.h"
#include "server/trials.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    OPEN_BYTES_MAX = 16 * 1024,
    ASK_BYTES_MAX = 4 << 20,
    NOTE_BYTES_MAX = 200,
    TARGET_BYTES_MAX = 2000,
    FIELD_BYTES_MAX = 1000,
    TIMEOUT_MS = 60000,
};

/* ---- opening --------------------------------------------------------------------------------- */

struct opening {
    struct trial trial;
    const char *note;
};

static int take_text(
    const struct doc *body, const char *name, size_t most, const char **ret, struct error *err)
{
    const struct doc *text = body ? doc_get(body, name) : NULL;
    *ret = NULL;
    if (!text)
        return 0;
    if (text->type != DOC_STRING || text->length > most)
        return error_set(err, ERR_INVALID, "%s: expected a text of at most %zu bytes", name, most);
    *ret = text->text;
    return 0;
}

static int take_opening(struct call *call, const struct doc *body, struct error *err)
{
    struct opening *opening = call->data;
    struct trial *trial = &opening->trial;
    const struct doc *version = body ? doc_get(body, "version") : NULL;
    const char *replica;
    trial->version = TRIAL_ANY_VERSION;
    if (version && (!doc_as_int(version, &trial->version) || trial->version < 0))
        return error_set(err, ERR_INVALID, "version: expected a number");
    if (take_text(body, "replica", sizeof trial->replica - 1, &replica, err) < 0 ||
        take_text(body, "note", NOTE_BYTES_MAX, &opening->note, err) < 0)
        return -1;
    trial->unready = doc_get_bool(body, "unready", false);
    snprintf(trial->replica, sizeof trial->replica, "%s", replica ? replica : "");
    snprintf(trial->service, sizeof trial->service, "%s", call->parameters[0]);
    snprintf(trial->user, sizeof trial->user, "%s", call->identity.user);
    return trial_check(services_trials(call->server->services), trial, err);
}

/* Who looks at what a service answers is in the audit log before it does. */
static int run_audit(struct tick *tick, void *context, struct error *err)
{
    struct call *call = context;
    const struct opening *opening = call->data;
    const struct trial *trial = &opening->trial;
    struct arena *arena = tick_arena(tick);
    struct doc *detail = doc_map(arena);
    SCOPED(strbuf_finish) struct strbuf text = {0};
    (void)err;
    if (trial->version != TRIAL_ANY_VERSION)
        doc_set_int(arena, detail, "version", trial->version);
    if (trial->replica[0])
        doc_set_string(arena, detail, "replica", trial->replica);
    doc_set_string(arena, detail, "note", opening->note);
    doc_write_json(detail, 0, &text);
    tick_audit(tick, "service-test", "service", strchr(trial->service, '/') + 1, call->team,
        strbuf_text(&text));
    return 0;
}

static void answer_opened(struct call *call)
{
    const struct opening *opening = call->data;
    struct error err;
    struct trial *trial =
        trial_open(services_trials(call->server->services), &opening->trial, &err);
    if (!trial) {
        call_fail(call, &err);
        return;
    }
    struct doc *doc = doc_map(call->arena);
    doc_set_string(call->arena, doc, "test", trial->id);
    doc_set_string(call->arena, doc, "service", trial->service);
    doc_set_int(call->arena, doc, "idleMs", TRIAL_IDLE_MS);
    call_answer(call, 201, doc);
}

static void on_opening(struct call *call, const struct doc *body)
{
    struct error err;
    call->data = arena_alloc(call->arena, 1, sizeof(struct opening));
    if (take_opening(call, body, &err) < 0)
        call_fail(call, &err);
    else
        call_command(call, run_audit, answer_opened);
}

void api_trial_open(struct call *call)
{
    call_body(call, OPEN_BYTES_MAX, on_opening);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Of the connection, or proofs of who somebody is: neither is a replica's business. */
static bool is_kept_back(const char *name)
{
    static const char *const names[] = {"Connection", "Keep-Alive", "Proxy-Connection", "TE",
        "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Host", "Expect",
        "Authorization", "Proxy-Authorization", "Proxy-Authenticate", "X-API-Key", "Cookie"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcasecmp(name, names[i]))
            return true;
    }
    return false;
}

static int take_fields(
    struct call *call, const struct doc *body, struct trial_request *request, struct error *err)
{
    const struct doc *map = doc_get(body, "fields");
    if (!map)
        return 0;
    if (map->type != DOC_MAP || map->count > TRIAL_FIELDS_MAX)
        return error_set(
            err, ERR_INVALID, "fields: expected an object of at most %d texts", TRIAL_FIELDS_MAX);
    struct http_field *fields = arena_alloc(call->arena, map->count + 1, sizeof *fields);
    for (const struct doc *item = map->first; item; item = item->next) {
        if (item->type != DOC_STRING || item->length > FIELD_BYTES_MAX || is_kept_back(item->key))
            return error_set(err, ERR_INVALID,
                "fields.%.60s: expected a text of at most %d bytes, of a field that a replica gets",
                item->key, FIELD_BYTES_MAX);
        fields[request->field_count++] = (struct http_field){item->key, item->text};
    }
    request->fields = fields;
    return 0;
}

static int take_base64(
    struct call *call, const struct doc *text, struct trial_request *request, struct error *err)
{
    unsigned char *bytes = arena_alloc(call->arena, text->length + 1, 1);
    if (sodium_base642bin(bytes, text->length + 1, text->text, text->length, "\n", &request->length,
            NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return error_set(err, ERR_INVALID, "base64: expected Base64 with padding (RFC 4648)");
    request->body = (const char *)bytes;
    return 0;
}

static int take_body(
    struct call *call, const struct doc *body, struct trial_request *request, struct error *err)
{
    const struct doc *text = doc_get(body, "text"), *base64 = doc_get(body, "base64");
    if ((text && base64) || (text && text->type != DOC_STRING) ||
        (base64 && base64->type != DOC_STRING))
        return error_set(err, ERR_INVALID, "expected the request's body as text or as base64");
    if (base64)
        return take_base64(call, base64, request, err);
    if (text) {
        request->body = text->text;
        request->length = text->length;
    }
    return 0;
}

static int take_request(
    struct call *call, const struct doc *body, struct trial_request *request, struct error *err)
{
    static const char *const methods[] = {"POST", "GET", "HEAD"};
    bool known = false;
    const char *timeout;
    *request = (struct trial_request){.timeout_ms = TIMEOUT_MS};
    if (!body)
        return error_set(err, ERR_INVALID, "expected a request: method, path, fields, text");
    if (take_text(body, "method", 8, &request->method, err) < 0 ||
        take_text(body, "path", TARGET_BYTES_MAX, &request->target, err) < 0 ||
        take_text(body, "timeout", 40, &timeout, err) < 0)
        return -1;
    request->method = request->method ? request->method : "POST";
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        known |= !strcmp(request->method, methods[i]);
    if (!known)
        return error_set(err, ERR_INVALID, "method: expected POST, GET or HEAD");
    if (!request->target || request->target[0] != '/')
        return error_set(err, ERR_INVALID, "path: expected a path, such as /v2/models/NAME/infer");
    if (timeout && quantity_parse_duration(timeout, &request->timeout_ms, err) < 0)
        return error_prefix(err, "timeout");
    if (request->timeout_ms < 1 || request->timeout_ms > TRIAL_TIMEOUT_MAX_MS)
        return error_set(err, ERR_INVALID, "timeout: expected 1ms to 10m");
    return take_fields(call, body, request, err) < 0 ? -1 : take_body(call, body, request, err);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool is_text(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length_within(bytes + i, length - i);
        if (step == 0 || bytes[i] == '\0')
            return false;
        i += step;
    }
    return true;
}

static void set_body(struct arena *arena, struct doc *doc, const struct trial_answer *answer)
{
    if (is_text(answer->body, answer->length)) {
        doc_set_string(arena, doc, "text", arena_strndup(arena, answer->body, answer->length));
        return;
    }
    size_t size = sodium_base64_ENCODED_LEN(answer->length, sodium_base64_VARIANT_ORIGINAL);
    char *text = arena_alloc(arena, size, 1);
    sodium_bin2base64(text, size, (const unsigned char *)answer->body, answer->length,
        sodium_base64_VARIANT_ORIGINAL);
    doc_set_string(arena, doc, "base64", text);
}

static void set_answer(struct arena *arena, struct doc *doc, const struct trial_answer *answer)
{
    struct doc *fields = doc_map(arena);
    doc_set_int(arena, doc, "status", answer->status);
    doc_set_int(arena, doc, "firstUs", answer->first_us);
    for (size_t i = 0; i < answer->field_count; i++) {
        const char *name = answer->fields[i].name, *value = answer->fields[i].value;
        if (is_text(name, strlen(name)) && is_text(value, strlen(value)))
            doc_set_string(arena, fields, name, value);
    }
    doc_set(arena, doc, "fields", fields);
    doc_set_int(arena, doc, "bytes", (int64_t)answer->length);
    doc_set_bool(arena, doc, "cut", answer->cut);
    set_body(arena, doc, answer);
}

static void on_done(void *context, const struct trial_answer *answer)
{
    struct call *call = context;
    struct doc *doc = doc_map(call->arena);
    doc_set_string(call->arena, doc, "replica", answer->replica);
    doc_set_int(call->arena, doc, "version", answer->version);
    doc_set_bool(call->arena, doc, "ready", answer->ready);
    doc_set_int(call->arena, doc, "totalUs", answer->total_us);
    doc_set_string(call->arena, doc, "failure", answer->failure);
    if (answer->status)
        set_answer(call->arena, doc, answer);
    call_answer(call, 200, doc);
}

static void on_gone(void *context)
{
    const struct call *call = context;
    trial_ask_cancel(call->data);
}

static void on_ask(struct call *call, const struct doc *body)
{
    struct trials *trials = services_trials(call->server->services);
    struct trial_request request;
    struct error err;
    const struct trial *trial =
        trial_find(trials, call->parameters[0], call->identity.user, call->parameters[1], &err);
    if (!trial || take_request(call, body, &request, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    call->data = trial_ask_begin(trials, trial, &request, on_done, call, &err);
    if (call->data)
        http_request_on_cancel(call->request, on_gone, call);
    else
        call_fail(call, &err);
}

void api_trial_ask(struct call *call)
{
    call_body(call, ASK_BYTES_MAX, on_ask);
}
