/* Terms of services: see terms.h. Both maps have what lives: terms by their text, states by the
 * service's name. */
#include "gateway/terms.h"
#include "gateway/prefix.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/guard_body.h"
#include "gateway/labels.h"
#include "gateway/measure_figures.h"
#include "gateway/relay.h"
#include "gateway/relay_turn.h"
#include "gateway/service_load.h"
#include "spec/serving.h"
#include "wire/doc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct terms_set {
    struct service_terms *first;
    struct service_state *first_state;
    struct strmap by_text, states;
    struct guard_library *guard; /* loaded with the first service that has one */
};

struct terms_set *terms_set_create(void)
{
    return mem_alloc(1, sizeof(struct terms_set));
}

/* ---- states ---------------------------------------------------------------------------------- */

static struct service_state *state_of(struct terms_set *set, const char *service)
{
    struct service_state *state = strmap_get(&set->states, service);
    if (!state) {
        state = mem_alloc(1, sizeof *state);
        state->service = mem_strdup(service);
        state->next = set->first_state;
        set->first_state = state;
        strmap_put(&set->states, service, state);
    }
    state->terms++;
    return state;
}

static void state_release(struct terms_set *set, struct service_state *state)
{
    assert(state->terms > 0);
    if (--state->terms > 0)
        return;
    strmap_remove(&set->states, state->service);
    struct service_state **link = &set->first_state;
    while (*link != state)
        link = &(*link)->next;
    *link = state->next;
    turns_destroy(state->turns);
    prefix_map_destroy(state->prefixes);
    label_sets_destroy(state->labels);
    measures_finish(&state->measures);
    free(state->load);
    free(state->service);
    free(state);
}

/* ---- terms ----------------------------------------------------------------------------------- */

static char *text_of(const struct route_service *service)
{
    struct strbuf text = {0};
    strbuf_printf(&text, "%s %s %s %d%d %s", service->service, service->route, service->team,
        service->oip, service->openai, service->options_text);
    return strbuf_steal(&text);
}

/* The options are decoded again, so that they live in the terms' own arena. They are valid: the
 * routes were decoded. */
static void options_copy(struct service_terms *terms, const char *text)
{
    struct error err;
    size_t length = strlen(text);
    const char *kept = arena_strdup(terms->arena, text);
    const struct doc *doc = doc_parse_json(terms->arena, kept, length, length, &err);
    int rc = doc ? service_gateway_decode(terms->arena, doc, &terms->options, &err) : -1;
    assert(rc == 0);
    (void)rc;
}

/* A service whose guard cannot search refuses its requests, and says so: see relay_guard.c. */
static void guard_prepare(struct terms_set *set, struct service_terms *terms)
{
    const struct service_guard *guard = &terms->options.guard;
    struct error err;
    terms->guards_requests = guard_does(guard, false);
    terms->guards_answers = guard_does(guard, true);
    struct guard_rules requests, answers;
    guard_rules_set(&requests, guard, false);
    guard_rules_set(&answers, guard, true);
    if (requests.idle && answers.idle)
        return;
    if (!set->guard && guard_library_load(&set->guard, &err) < 0)
        log_error("the guard of %s refuses its requests: %s", terms->service, err.text);
    terms->guard = set->guard;
}

static bool cares(const struct service_gateway *options)
{
    return options->deadline.total_ms > 0 || options->deadline.header ||
           options->circuit.failures > 0 || options->hedge.after ||
           options->fallback.to.count > 0 || options->fallback.first_byte_ms > 0 ||
           options->fallback.broken == BROKEN_EVENT || options->cascade.first;
}

uint32_t terms_features(const struct service_gateway *options)
{
    const struct {
        enum terms_feature feature;
        bool wanted;
    } rows[] = {
        {TERMS_CARE, cares(options)},
        {TERMS_LABELS, options->labels.names.count > 0},
        {TERMS_GUARD, guard_does(&options->guard, false)},
        {TERMS_CACHE, options->cache.ttl_ms != 0},
        {TERMS_CIRCUIT, options->circuit.failures != 0},
        {TERMS_HOLD, options->hold.wait_ms != 0},
        {TERMS_QUEUE, options->queue.concurrency != 0},
        {TERMS_USAGE, options->usage == USAGE_ASK},
        {TERMS_BATCHING, options->batching.max >= 2},
        {TERMS_GUARD_ANSWERS, guard_does(&options->guard, true)},
        {TERMS_RECORD, options->record.sample_micro != 0},
        {TERMS_SECONDARY, options->secondary.route != NULL},
    };
    uint32_t features = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        features |= rows[i].wanted ? (uint32_t)rows[i].feature : 0;
    return features;
}

static struct service_terms *terms_create(
    struct terms_set *set, const struct route_service *service, char *text)
{
    struct service_terms *terms = mem_alloc(1, sizeof *terms);
    terms->arena = arena_create();
    terms->service = arena_strdup(terms->arena, service->service);
    terms->route = arena_strdup(terms->arena, service->route);
    terms->route_length = strlen(terms->route);
    terms->team = arena_strdup(terms->arena, service->team);
    terms->oip = service->oip;
    terms->openai = service->openai;
    options_copy(terms, service->options_text);
    guard_prepare(set, terms);
    terms->features = terms_features(&terms->options);
    terms->stages = relay_stages(terms->features);
    terms->stages_cared = relay_stages(terms->features | TERMS_CARE);
    terms->cares = (terms->features & TERMS_CARE) != 0;
    terms->state = state_of(set, service->service);
    if (terms->options.queue.concurrency > 0 && !terms->state->turns)
        terms->state->turns = turns_create(GATEWAY_WORKERS_MAX, terms->state);
    bool counted = terms->options.measure != LATENCY_NONE || terms->options.hold.wait_ms > 0;
    if (counted && !terms->state->load)
        terms->state->load = mem_alloc(1, sizeof *terms->state->load);
    if (terms->options.routing.affinity == AFFINITY_PREFIX && !terms->state->prefixes)
        terms->state->prefixes = prefix_map_create();
    if (terms->options.labels.names.count > 0 && !terms->state->labels)
        terms->state->labels = label_sets_create();
    terms->text = text;
    terms->next = set->first;
    set->first = terms;
    strmap_put(&set->by_text, text, terms);
    return terms;
}

struct service_terms *terms_of(struct terms_set *set, const struct route_service *service)
{
    char *text = text_of(service);
    struct service_terms *terms = strmap_get(&set->by_text, text);
    if (terms)
        free(text);
    else
        terms = terms_create(set, service, text);
    terms->tables++;
    return terms;
}

const struct service_terms *terms_first(const struct terms_set *set)
{
    return set->first;
}

void terms_release(struct service_terms *terms)
{
    assert(terms->tables > 0);
    terms->tables--;
}

/* Acquire: whoever brought a count to zero has finished with the terms. */
static bool is_held(const struct service_terms *terms)
{
    for (size_t i = 0; i < ARRAY_LEN(terms->uses); i++) {
        if (atomic_load_explicit(&terms->uses[i].count, memory_order_acquire) > 0)
            return true;
    }
    /* After the counts: who sent a message about a turn held the terms then. */
    return terms->tables > 0 || (terms->state->turns && turns_moving(terms->state->turns));
}

static void terms_free(struct terms_set *set, struct service_terms *terms)
{
    strmap_remove(&set->by_text, terms->text);
    state_release(set, terms->state);
    arena_destroy(terms->arena);
    free(terms->text);
    free(terms);
}

void terms_sweep(struct terms_set *set)
{
    for (struct service_terms **link = &set->first; *link;) {
        struct service_terms *terms = *link;
        if (is_held(terms)) {
            link = &terms->next;
            continue;
        }
        *link = terms->next;
        terms_free(set, terms);
    }
}

void terms_set_destroy(struct terms_set *set)
{
    if (!set)
        return;
    terms_sweep(set);
    assert(!set->first);
    strmap_finish(&set->by_text);
    strmap_finish(&set->states);
    guard_library_free(set->guard);
    free(set);
}

/* ---- figures --------------------------------------------------------------------------------- */

static const char *const refusal_names[SERVICE_REFUSALS] = {
    [LIMIT_REQUESTS] = "requests",
    [LIMIT_INPUT_TOKENS] = "inputTokens",
    [LIMIT_OUTPUT_TOKENS] = "outputTokens",
    [LIMIT_TOKENS] = "tokens",
    [LIMIT_MONEY] = "money",
    [LIMIT_CONCURRENCY] = "concurrency",
    [REFUSED_BUSY] = "busy",
    [REFUSED_WAITED] = "waited",
    [REFUSED_AWAY] = "sharedAway",
};

static uint64_t admitted(const struct service_state *state)
{
    uint64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(state->counts); i++)
        total += atomic_load_explicit(&state->counts[i].admitted, memory_order_relaxed);
    return total;
}

static uint64_t refused(const struct service_state *state, size_t why)
{
    uint64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(state->counts); i++)
        total += atomic_load_explicit(&state->counts[i].refused[why], memory_order_relaxed);
    return total;
}

static void write_refused(const struct service_state *state, struct strbuf *out)
{
    for (size_t why = 0; why < SERVICE_REFUSALS; why++) {
        uint64_t count = refused(state, why);
        if (count == 0)
            continue;
        strbuf_puts(out, "muster_gateway_service_refused_total{service=");
        strbuf_json(out, state->service);
        strbuf_printf(out, ",reason=\"%s\"} %" PRIu64 "\n", refusal_names[why], count);
    }
}

static void write_metric(
    struct strbuf *out, const char *name, const struct service_state *state, uint64_t value)
{
    strbuf_printf(out, "%s{service=", name);
    strbuf_json(out, state->service);
    strbuf_printf(out, "} %" PRIu64 "\n", value);
}

/* Terms of before have the same state: those that a table has are told. */
void terms_write_circuits(const struct service_terms *first, struct strbuf *out)
{
    size_t before = out->length;
    int64_t now_ms = clock_monotonic_ns() / 1000000;
    for (const struct service_terms *terms = first; terms; terms = terms->next) {
        const struct circuit *circuit = &terms->state->circuit;
        if (terms->options.circuit.failures == 0 || terms->tables == 0)
            continue;
        strbuf_puts(out, out->length > before ? ",{\"service\":" : "{\"service\":");
        strbuf_json(out, terms->service);
        strbuf_printf(out,
            ",\"state\":\"%s\",\"failures\":%" PRIuFAST32 ",\"opened\":%" PRIuFAST64
            ",\"refused\":%" PRIuFAST64 "}",
            circuit_text(circuit, now_ms), atomic_load(&circuit->failures),
            atomic_load(&circuit->opened), atomic_load(&circuit->refused));
    }
}

void terms_write_metrics(const struct terms_set *set, struct strbuf *out)
{
    const struct service_state *first = set->first_state;
    strbuf_puts(out,
        "# HELP muster_gateway_service_admitted_total Requests that limits and queues let pass.\n"
        "# TYPE muster_gateway_service_admitted_total counter\n");
    for (const struct service_state *state = first; state; state = state->next) {
        if (admitted(state) > 0)
            write_metric(out, "muster_gateway_service_admitted_total", state, admitted(state));
    }
    strbuf_puts(out, "# HELP muster_gateway_service_refused_total Requests refused, by reason.\n"
                     "# TYPE muster_gateway_service_refused_total counter\n");
    for (const struct service_state *state = first; state; state = state->next)
        write_refused(state, out);
    strbuf_puts(out, "# HELP muster_gateway_service_waiting Requests that wait for their turn.\n"
                     "# TYPE muster_gateway_service_waiting gauge\n");
    for (const struct service_state *state = first; state; state = state->next) {
        if (state->turns)
            write_metric(out, "muster_gateway_service_waiting", state, turns_waiting(state->turns));
    }
    measure_figures_write(first, out);
}
