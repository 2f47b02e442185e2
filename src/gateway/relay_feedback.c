/* POST /v1/feedback: {"request_id": "..", "score": 0.8}. It is taken at once and counted where the
 * request is known; whether it is, the client does not learn, nor does somebody who tries ids. */
#include "gateway/feedback.h"
#include "gateway/relay.h"

#include "base/memory.h"
#include "wire/doc.h"
#include "wire/http.h"

#include <stdlib.h>
#include <string.h>

enum { FEEDBACK_BYTES_MAX = 4096 };

/* Tenths, or -1. */
static int32_t score_of(const struct doc *body)
{
    const struct doc *item = doc_get(body, "score");
    if (!item || item->type != DOC_NUMBER)
        return -1;
    double score = strtod(item->text, NULL);
    return score >= 0 && score <= 1 ? (int32_t)(score * 10 + 0.5) : -1;
}

static enum stage_result refuse(struct relay *relay, const char *what)
{
    relay_refuse(relay, 400, "invalid_body", "%s", what);
    return STAGE_ENDED;
}

static enum stage_result take(struct relay *relay)
{
    static const char taken[] = "{\"accepted\":true}\n";
    const struct strbuf *held = &relay->body.held;
    const struct doc *body = doc_parse_json(http_request_arena(relay->request),
        held->text ? held->text : "", held->length, FEEDBACK_BYTES_MAX, NULL);
    const char *id = doc_get_string(body, "request_id");
    int32_t tenths = score_of(body);
    if (!body || body->type != DOC_MAP || !id || !*id || strlen(id) >= RELAY_ID_BYTES)
        return refuse(relay, "expected {\"request_id\": the X-Request-ID of an answer, \"score\": "
                             "a number from 0 to 1}");
    if (tenths < 0)
        return refuse(relay, "\"score\": expected a number from 0 to 1");
    feedback_tell(relay->view, id, relay->key_id, tenths);
    relay_respond(relay, 202, "application/json", taken, sizeof taken - 1);
    return STAGE_ENDED;
}

enum stage_result relay_feedback(struct relay *relay)
{
    relay->body.bytes_max = FEEDBACK_BYTES_MAX;
    if (http_request_body_length(relay->request) > FEEDBACK_BYTES_MAX) {
        relay_refuse(relay, 413, "request_too_large", "the body may have at most %d bytes",
            FEEDBACK_BYTES_MAX);
        return STAGE_ENDED;
    }
    return relay_stage_body(relay) == STAGE_WAITS ? STAGE_WAITS : take(relay);
}
