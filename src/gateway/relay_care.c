/* The care of a relay: its life, the circuit of its service, what is told of it. See relay_care.h.
 */
#include "gateway/relay_care.h"
#include "gateway/circuit.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/usage.h"
#include "wire/http.h"
#include "wire/http_agent.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int64_t now_ms(void)
{
    return clock_held_ns() / 1000000;
}

/* ---- its life -------------------------------------------------------------------------------- */

enum stage_result relay_stage_care(struct relay *relay)
{
    /* Of others that are asked the own lists do not count. */
    if (!relay->terms->cares || relay->care)
        return STAGE_DONE;
    struct relay_care *care = mem_alloc(1, sizeof *care);
    care->relay = relay;
    care->asked = relay->terms;
    care->confidence_micro = -1;
    care->version = relay->target.version;
    terms_hold(care->asked, relay->view->number);
    care->route = care->asked->route;
    relay->care = care;
    return relay_deadline_begin(relay) ? STAGE_DONE : STAGE_ENDED;
}

static void timer_end(struct event *timer)
{
    if (event_initialized(timer))
        event_del(timer);
}

void relay_care_free(struct relay *relay)
{
    struct relay_care *care = relay->care;
    assert(care->hedge.state != HEDGE_RUNS);
    timer_end(&care->deadline);
    timer_end(&care->limit);
    timer_end(&care->hedge.timer);
    if (care->probe)
        circuit_probe_gone(&relay->terms->state->circuit);
    relay->view->held_bytes -=
        care->original.length + care->answer.length + care->spare.body.length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    strbuf_finish(&care->original);
    strbuf_finish(&care->answer);
    strbuf_finish(&care->spare.body);
    strbuf_finish(&care->held);
    terms_drop(care->asked, relay->view->number);
    free(care);
    relay->care = NULL;
}

/* ---- the circuit ----------------------------------------------------------------------------- */

static enum stage_result enter_circuit(struct relay *relay)
{
    const struct service_circuit *options = &relay->terms->options.circuit;
    int64_t wait_ms;
    enum circuit_way way =
        circuit_enter(&relay->terms->state->circuit, options, now_ms(), &wait_ms);
    relay->care->in_circuit = way != CIRCUIT_REFUSES;
    relay->care->probe = way == CIRCUIT_PROBE;
    if (way != CIRCUIT_REFUSES)
        return STAGE_DONE;
    figure_add(relay->view->figures, FIGURE_CIRCUIT_REFUSED, 1);
    relay->retry_after_s = (wait_ms + 999) / 1000;
    relay_refuse(relay, 503, "circuit_open",
        "the replicas of \"%s\" fail: it is not asked for a while", relay->terms->route);
    return STAGE_ENDED;
}

enum stage_result relay_stage_circuit(struct relay *relay)
{
    if (relay->terms->options.circuit.failures == 0 || relay->care->in_circuit)
        return STAGE_DONE;
    return enter_circuit(relay);
}

/* Whether each replica that may be asked has failed last. */
static bool all_fail(const struct relay *relay)
{
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    bool any = false;
    for (size_t i = 0; service && i < service->route->replica_count; i++) {
        const struct replica_state *state = service->replicas[i].state;
        if (service->route->replicas[i].draining)
            continue;
        any = true;
        if (atomic_load_explicit(&state->failed_in_row, memory_order_relaxed) == 0 &&
            atomic_load_explicit(&state->refusals, memory_order_relaxed) == 0)
            return false;
    }
    return any;
}

static void note_failure(struct relay *relay, bool probe)
{
    const struct service_circuit *options = &relay->terms->options.circuit;
    struct circuit *circuit = &relay->terms->state->circuit;
    bool many = circuit_failed(circuit, options);
    if (probe)
        circuit_probe_failed(circuit, options, now_ms());
    else if (many && all_fail(relay) && circuit_open(circuit, options, now_ms()))
        figure_add(relay->view->figures, FIGURE_CIRCUIT_OPENED, 1);
}

/* A client that gave too little time, or went away, says nothing of the replicas. */
void relay_care_counted(struct relay *relay, enum relay_end end)
{
    struct relay_care *care = relay->care;
    struct circuit *circuit = &relay->terms->state->circuit;
    bool probe = care->probe;
    if (!care->in_circuit)
        return;
    care->in_circuit = care->probe = false;
    if (end == RELAY_CANCELLED || care->late || !relay->attempt.counts) {
        if (probe)
            circuit_probe_gone(circuit);
    } else if (end == RELAY_BROKEN || relay->answer.status >= 500) {
        note_failure(relay, probe);
    } else {
        circuit_succeeded(circuit, probe);
    }
}

/* ---- heads ----------------------------------------------------------------------------------- */

bool relay_care_head(struct relay *relay, int status)
{
    struct relay_care *care = relay->care;
    bool bad = status >= 500 || status == 429;
    if (bad && care->hedge.state == HEDGE_RUNS) {
        http_exchange_cancel(relay->attempt.exchange);
        relay_attempt_close(relay, true);
        return !relay_hedge_takes_over(relay);
    }
    relay_hedge_leave(relay);
    if (!bad && relay->terms->options.hedge.after)
        hedge_latency_add(
            &relay->terms->state->hedge, (clock_held_ns() - relay->attempt.began_ns) / 1000);
    /* A stream may take long: others need not wait for its end. */
    if (!bad && care->probe) {
        circuit_succeeded(&relay->terms->state->circuit, true);
        care->probe = false;
    }
    return true;
}

/* ---- what is told ---------------------------------------------------------------------------- */

/* "chat=timeout, chat-mid=overload". Routes and reasons are plain words. */
static void put_tries(const struct relay_care *care, struct strbuf *out)
{
    for (size_t i = 0; i < care->try_count; i++) {
        strbuf_puts(out, i > 0 ? ", " : "");
        strbuf_puts(out, care->tries[i].route);
        strbuf_putc(out, '=');
        strbuf_puts(out, care->tries[i].why);
    }
}

static bool is_ours(const char *name)
{
    static const char *const names[] = {
        "X-Muster-Tried", "X-Muster-Answered-By", "X-Muster-Confidence"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcasecmp(name, names[i]))
            return true;
    }
    return false;
}

struct http_field *relay_care_fields(
    struct relay *relay, const struct http_field *fields, size_t *count)
{
    struct relay_care *care = relay->care;
    struct arena *arena = http_request_arena(relay->request);
    SCOPED(strbuf_finish) struct strbuf tries = {0};
    if (care->try_count == 0 && !care->by)
        return (struct http_field *)fields;
    struct http_field *out = arena_alloc(arena, *count + 3, sizeof *out);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (!is_ours(fields[i].name))
            out[kept++] = fields[i];
    }
    put_tries(care, &tries);
    if (care->try_count > 0)
        out[kept++] = (struct http_field){"X-Muster-Tried", arena_strdup(arena, tries.text)};
    if (care->by)
        out[kept++] = (struct http_field){"X-Muster-Answered-By", arena_strdup(arena, care->by)};
    if (care->confidence_micro >= 0 && (care->part == CARE_SMALL || care->counted))
        out[kept++] = (struct http_field){"X-Muster-Confidence",
            arena_printf(arena, "%" PRId64 ".%06" PRId64, care->confidence_micro / 1000000,
                care->confidence_micro % 1000000)};
    *count = kept;
    return out;
}

void relay_care_log(
    const struct relay *relay, struct log_line *line, char tried[LOG_LINE_TEXT_BYTES])
{
    const struct relay_care *care = relay->care;
    SCOPED(strbuf_finish) struct strbuf tries = {0};
    if (care->try_count == 0 && !care->by)
        return;
    put_tries(care, &tries);
    snprintf(tried, LOG_LINE_TEXT_BYTES, "%s", strbuf_text(&tries));
    line->texts[LOG_ASKED] = log_text(care->route);
    line->texts[LOG_TRIED] = log_text(tried);
    line->texts[LOG_ANSWERED_BY] = log_text(care->by);
}
