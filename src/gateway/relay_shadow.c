/* Shadows in the way of a request: see relay_shadow.h.
 *
 * A pair is the client's answer and the copy's. It belongs to both and is freed by whoever is last;
 * what was compared is counted at the replica that got the copy. An answer that did not come to its
 * end, that is longer than can be compared, or a failure of the service (5xx) is compared with
 * nothing: only what the client got in full says what is right. */
#include "gateway/relay_shadow.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/answer.h"
#include "gateway/answer_compare.h"
#include "gateway/balance.h"
#include "gateway/relay.h"
#include "gateway/shadow.h"
#include "wire/http.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { TOLERANCE_PPM = 1000 };

struct shadow_pair {
    struct worker_view *view;
    struct usage_counts *counts; /* of the replica that gets the copy */
    bool real_over, copy_over;
    bool comparable;
    int status, copy_status; /* 0: none */
    bool cut;
    struct strbuf real, copy;
};

static void pair_free(struct shadow_pair *pair)
{
    strbuf_finish(&pair->real);
    strbuf_finish(&pair->copy);
    free(pair);
}

static bool agree(const struct shadow_pair *pair)
{
    if (pair->status != pair->copy_status || pair->cut)
        return false;
    return pair->status >= 300 || answers_agree(strbuf_text(&pair->real), pair->real.length,
                                      strbuf_text(&pair->copy), pair->copy.length, TOLERANCE_PPM);
}

/* One of the two is over. */
static void settle(struct shadow_pair *pair)
{
    if (!pair->real_over || !pair->copy_over)
        return;
    if (pair->comparable) {
        bool differs = !agree(pair);
        usage_add(&pair->counts->compared, 1);
        usage_add(&pair->counts->differing, differs);
        figure_add(pair->view->figures, FIGURE_SHADOW_COMPARED, 1);
        figure_add(pair->view->figures, FIGURE_SHADOW_DIFFERING, differs);
    }
    pair_free(pair);
}

static void on_copy(void *context, const struct shadow_answer *answer)
{
    struct shadow_pair *pair = context;
    pair->copy_over = true;
    pair->copy_status = answer->status;
    pair->cut = answer->cut;
    if (!pair->cut)
        strbuf_append(&pair->copy, answer->bytes, answer->length);
    settle(pair);
}

/* ---- sending --------------------------------------------------------------------------------- */

void relay_shadow_draw(struct relay *relay, const struct route_split *split)
{
    struct prng *prng = &relay->view->split;
    if (split->shadow == 0 || relay->target.version != BALANCE_ANY_VERSION)
        return;
    while (prng->state == 0)
        randombytes_buf(&prng->state, sizeof prng->state);
    relay->shadowed = (int64_t)prng_below(prng, 100) < split->shadow;
}

static const struct table_replica *replica_for(struct relay *relay)
{
    static const struct balance_tried none;
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    struct balance_query query = {
        .version = BALANCE_ANY_VERSION, .arm = ROUTE_ARM_CANARY, .tried = &none};
    return service ? balance_pick(service, &query, &relay->view->turn) : NULL;
}

/* What says how the body is to be read, and what is wanted; nothing that says who asks. */
static size_t copy_fields(const struct relay *relay, struct http_field *fields)
{
    static const char *const names[] = {
        "Content-Type", "Accept", "Inference-Header-Content-Length"};
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = http_request_header(relay->request, names[i]);
        if (value)
            fields[count++] = (struct http_field){names[i], value};
    }
    fields[count++] = (struct http_field){"X-Request-ID", relay->id};
    return count;
}

static bool send_copy(struct relay *relay, struct shadow_pair *pair)
{
    const struct table_replica *replica = replica_for(relay);
    struct http_field fields[4];
    if (!replica)
        return false;
    struct usage_series series = {
        .version = replica->route->version, .replica = replica->route->replica};
    memccpy(series.service, relay->terms->service, 0, sizeof series.service);
    pair->counts = usage_counts_of(relay->view->usage, &series);
    const struct shadow_copy copy = {.method = http_request_method(relay->request),
        .target = relay_upstream_target(relay),
        .fields = fields,
        .field_count = copy_fields(relay, fields),
        .body = relay->target.has_body ? strbuf_text(&relay->body.held) : NULL,
        .length = relay->target.has_body ? relay->body.held.length : 0,
        .timeout_ms = relay->terms->options.timeout_ms};
    return shadow_send(relay->view->shadows, replica, &copy, on_copy, pair);
}

/* ---- the filter ------------------------------------------------------------------------------ */

static bool shadow_begin(struct relay *relay)
{
    bool whole = !relay->target.has_body || (relay->body.ended && !relay->body.let_go);
    if (!relay->shadowed || relay->times.cached || !whole || relay->answer.status >= 500)
        return false;
    struct shadow_pair *pair = mem_alloc(1, sizeof *pair);
    pair->view = relay->view;
    pair->status = relay->answer.status;
    if (!send_copy(relay, pair)) {
        figure_add(relay->view->figures, FIGURE_SHADOW_DROPPED, 1);
        pair_free(pair);
        return false;
    }
    relay->shadow = pair;
    return true;
}

static bool shadow_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct strbuf *real = &relay->shadow->real;
    /* One byte more than can be compared is kept, to be known as too long. */
    if (real->length <= COMPARE_BYTES_MAX)
        strbuf_append(real, bytes, length);
    return answer_pass(relay, ANSWER_SHADOW, bytes, length);
}

static bool shadow_end(struct relay *relay)
{
    relay->shadow->comparable = relay->shadow->real.length <= COMPARE_BYTES_MAX;
    return true;
}

static void shadow_finish(struct relay *relay)
{
    struct shadow_pair *pair = relay->shadow;
    relay->shadow = NULL;
    pair->real_over = true;
    settle(pair);
}

const struct answer_filter relay_shadow_filter = {
    shadow_begin, shadow_piece, shadow_end, shadow_finish};
