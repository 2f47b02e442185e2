/* Cascades: see relay_care.h. The small model's answer is held whole until it was judged; the
 * request's body is kept as it came, since the small one may be asked for more than the client did.
 */
#include "gateway/answer.h"
#include "gateway/relay_care.h"

#include "base/memory.h"
#include "wire/http.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static void held_changed(struct relay *relay, size_t before, size_t after)
{
    relay->view->held_bytes += after;
    relay->view->held_bytes -= before;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
}

/* ---- the small model first ------------------------------------------------------------------- */

/* A version that the client names is this service's, and binary outputs are not read. */
bool relay_cascade_concerns(const struct relay *relay)
{
    const struct relay_care *care = relay->care;
    return care->asked->options.cascade.first && !care->cascaded && care->part == CARE_OWN &&
           relay->target.version == BALANCE_ANY_VERSION &&
           !http_request_header(relay->request, "Inference-Header-Content-Length") &&
           relay->view->held_bytes + relay->body.held.length <= WORKER_HELD_BYTES_MAX;
}

bool relay_cascade_begin(struct relay *relay)
{
    struct relay_care *care = relay->care;
    const struct service_cascade *options = &care->asked->options.cascade;
    struct strbuf *body = &relay->body.held, copy = {0};
    assert(relay_cascade_concerns(relay));
    care->cascaded = true;
    const struct table_service *small = relay_switch_target(relay, options->first);
    if (!small)
        return false;
    size_t before = body->length;
    strbuf_append(&copy, strbuf_text(body), body->length);
    enum cascade_edit edit = cascade_prepare(options, &relay->target, body);
    if (edit == CASCADE_NOT) {
        strbuf_finish(&copy);
        return false;
    }
    held_changed(relay, before, body->length + copy.length);
    care->original = copy;
    care->edited = edit == CASCADE_EDITED;
    care->part = CARE_SMALL;
    care->by = options->first;
    relay->limits = NULL; /* nothing was taken yet */
    relay_switch(relay, small, BALANCE_ANY_VERSION);
    return true;
}

void relay_cascade_restore(struct relay *relay)
{
    struct relay_care *care = relay->care;
    if (care->part == CARE_SMALL || !care->original.text)
        return;
    held_changed(relay, relay->body.held.length, 0);
    strbuf_finish(&relay->body.held);
    relay->body.held = care->original;
    care->original = (struct strbuf){0};
    /* What was asked for beyond the client's wish went with the small one's body. */
    relay->usage.asked = false;
}

/* ---- then the large one ---------------------------------------------------------------------- */

static void ask_large(struct relay *relay)
{
    struct relay_care *care = relay->care;
    care->part = CARE_OWN;
    care->by = care->asked->route;
    figure_add(relay->view->figures, FIGURE_CASCADE_LARGE, 1);
    const struct table_service *large = relay_switch_target(relay, care->route);
    if (large)
        relay_switch(relay, large, care->version);
    else
        relay_refuse(relay, 404, "model_not_found", "there is no model \"%s\"", care->route);
}

void relay_cascade_go_on(struct relay *relay, int status, const char *why)
{
    relay_switch_failed(relay, status, why);
    ask_large(relay);
}

bool relay_cascade_spare(struct relay *relay, int status, const char *why)
{
    struct relay_care *care = relay->care;
    struct care_spare *spare = &care->spare;
    if (spare->status == 0)
        return false;
    int answered = spare->status;
    relay_switch_failed(relay, status, why);
    relay->answer = (struct relay_answer){0};
    relay->retry_after_s = 0;
    care->counted = true;
    care->by = spare->route;
    spare->status = 0;
    answer_whole(relay, answered, spare->fields, spare->field_count, strbuf_text(&spare->body),
        spare->body.length);
    return true;
}

/* ---- judging --------------------------------------------------------------------------------- */

static const char *field_of(const struct relay_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->field_count; i++) {
        if (!strcasecmp(answer->fields[i].name, name))
            return answer->fields[i].value;
    }
    return NULL;
}

static bool cascade_begin(struct relay *relay)
{
    struct relay_care *care = relay->care;
    if (!care || care->part != CARE_SMALL)
        return false;
    care->too_large = false;
    relay->answer.lazy = true;
    return true;
}

static bool cascade_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_care *care = relay->care;
    size_t before = care->answer.length;
    care->too_large |= before + length > CASCADE_BYTES_MAX ||
                       relay->view->held_bytes + length > WORKER_HELD_BYTES_MAX;
    if (care->too_large)
        strbuf_finish(&care->answer);
    else
        strbuf_append(&care->answer, bytes, length);
    held_changed(relay, before, care->answer.length);
    return true;
}

static bool state_confidence(struct relay *relay, struct arena *arena, int64_t *ret)
{
    struct relay_care *care = relay->care;
    const struct service_cascade *options = &care->asked->options.cascade;
    if (options->confidence == CONFIDENCE_HEADER) {
        const char *value = field_of(&relay->answer, options->name);
        return value && cascade_number(value, ret);
    }
    return !field_of(&relay->answer, "Content-Encoding") &&
           cascade_confidence(options, arena, strbuf_text(&care->answer), care->answer.length, ret);
}

/* What the client did not ask for is taken out. */
static void strip(struct relay *relay, struct arena *arena)
{
    struct relay_care *care = relay->care;
    struct strbuf out = {0};
    if (!care->edited ||
        !cascade_strip(arena, strbuf_text(&care->answer), care->answer.length, &out)) {
        strbuf_finish(&out);
        return;
    }
    held_changed(relay, care->answer.length, out.length);
    strbuf_finish(&care->answer);
    care->answer = out;
}

/* The fields are in the request's arena, and last. */
static void keep_spare(struct relay *relay)
{
    struct relay_care *care = relay->care;
    care->spare = (struct care_spare){.status = relay->answer.status,
        .fields = relay->answer.fields,
        .field_count = relay->answer.field_count,
        .body = care->answer,
        .route = care->asked->options.cascade.first};
    care->answer = (struct strbuf){0};
}

static bool pass_answer(struct relay *relay)
{
    struct relay_care *care = relay->care;
    figure_add(relay->view->figures, FIGURE_CASCADE_SMALL, 1);
    relay_try_in_time(relay);
    relay->answer.length = (int64_t)care->answer.length;
    return answer_pass(relay, ANSWER_CASCADE, strbuf_text(&care->answer), care->answer.length);
}

static bool cascade_end(struct relay *relay)
{
    struct relay_care *care = relay->care;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    int status = relay->answer.status;
    int64_t confidence = -1;
    char why[CARE_WHY_BYTES] = "unstated";
    if (status < 200 || status > 299 || care->too_large) {
        relay_switch_answered(relay, care->too_large ? "too-large" : "error");
        ask_large(relay);
        return false;
    }
    bool stated = state_confidence(relay, arena, &confidence) && confidence >= 0;
    care->confidence_micro = stated ? confidence : -1;
    strip(relay, arena);
    if (stated && confidence >= care->asked->options.cascade.threshold_micro)
        return pass_answer(relay);
    if (stated)
        snprintf(why, sizeof why, "confidence:%d.%06d", (int)(confidence / 1000000),
            (int)(confidence % 1000000));
    keep_spare(relay);
    relay_switch_answered(relay, why);
    ask_large(relay);
    return false;
}

static void cascade_finish(struct relay *relay)
{
    struct strbuf *answer = &relay->care->answer;
    held_changed(relay, answer->length, 0);
    strbuf_finish(answer);
}

const struct answer_filter relay_cascade_filter = {
    cascade_begin, cascade_piece, cascade_end, cascade_finish};
