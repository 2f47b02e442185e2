/* See relay_guard.h. A request is looked at once, before the cache: so answers that were kept and
 * those that were not are asked for with the same bytes. An answer that is no stream is held until
 * it is whole, and its head with it; of a stream the head waits for the first bytes. So both can
 * still be refused; a stream that has begun is ended by an event that says why.
 *
 * Whatever cannot be looked at does not pass. */
#include "gateway/relay_guard.h"

#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/guard_body.h"
#include "gateway/guard_stream.h"
#include "gateway/outside.h"
#include "gateway/relay_care.h"
#include "wire/http.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { ANSWER_BYTES_MAX = 8 << 20 };

struct guard_worker {
    const struct guard_library *library; /* of the scratch */
    struct guard_scratch *scratch;
    struct outside *outside; /* classifiers; made with the first question */
};

enum answer_form { FORM_JSON, FORM_TEXT, FORM_EVENTS, FORM_OTHER };

struct relay_guard {
    bool checked, classified;
    enum guard_answer verdict;
    struct guard_ask *ask;
    struct strbuf found; /* of the request, as its header says it */
    /* Whose guard let the request pass: those that the client asked, or NULL. */
    const struct service_terms *passed;
    /* The answer. */
    struct guard_rules rules;
    enum answer_form form;
    bool over; /* nothing of it passes any more */
    struct strbuf held;
    struct guard_stream stream;
};

/* ---- the worker ------------------------------------------------------------------------------ */

static struct guard_worker *worker_guard(struct worker_view *view)
{
    if (!view->guard)
        view->guard = mem_alloc(1, sizeof *view->guard);
    return view->guard;
}

void guard_worker_free(struct guard_worker *guard)
{
    if (!guard)
        return;
    guard_scratch_free(guard->scratch);
    outside_destroy(guard->outside);
    free(guard);
}

/* False: nothing can be searched. */
static bool prepare(const struct relay *relay, struct guard_rules *rules, bool answers)
{
    struct guard_worker *guard = worker_guard(relay->view);
    guard_rules_set(rules, &relay->terms->options.guard, answers);
    if (!guard->scratch && relay->terms->guard)
        guard->scratch = guard_scratch_create(relay->terms->guard);
    rules->patterns = relay->terms->guard;
    rules->scratch = guard->scratch;
    return rules->idle || (rules->patterns && rules->scratch);
}

static void count(struct relay *relay, const struct guard_counts *counts)
{
    figure_add(relay->view->figures, FIGURE_GUARD_FOUND, counts->total);
    figure_add(relay->view->figures, FIGURE_GUARD_REDACTED, counts->redacted);
}

static struct relay_guard *guard_of(struct relay *relay)
{
    if (!relay->guard)
        relay->guard = mem_alloc(1, sizeof *relay->guard);
    return relay->guard;
}

void relay_guard_free(struct relay *relay)
{
    if (!relay->guard)
        return;
    guard_ask_cancel(relay->guard->ask);
    strbuf_finish(&relay->guard->found);
    free(relay->guard);
    relay->guard = NULL;
}

void relay_guard_leave(struct relay *relay)
{
    struct relay_guard *guard = relay->guard;
    if (!guard)
        return;
    const struct relay_guard kept = {.found = guard->found, .passed = guard->passed};
    guard->found = (struct strbuf){0};
    relay_guard_free(relay);
    *guard_of(relay) = kept;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9e3779b97f4a7c15u;
}

uint64_t relay_guard_hash(const struct relay *relay)
{
    const struct service_guard *guard = &relay->terms->options.guard;
    if (!relay->terms->guards_answers)
        return 0;
    struct guard_rules rules;
    uint64_t hash = 1;
    guard_rules_set(&rules, guard, true);
    for (size_t i = 0; i < GUARD_KINDS; i++)
        hash = mix(hash, rules.action[i]);
    return hash;
}

/* ---- the request ----------------------------------------------------------------------------- */

static enum stage_result refuse(struct relay *relay, int status, const char *code, const char *text)
{
    figure_add(relay->view->figures, FIGURE_GUARD_REFUSED, 1);
    relay_refuse(relay, status, code, "%s", text);
    return STAGE_ENDED;
}

static void replace_body(struct relay *relay, struct strbuf *text)
{
    struct strbuf *held = &relay->body.held;
    relay->view->held_bytes += text->length;
    relay->view->held_bytes -= held->length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    strbuf_finish(held);
    *held = *text;
    *text = (struct strbuf){0};
}

static int status_of(const char *code)
{
    return !strcmp(code, "guard_unavailable") ? 503 : !strcmp(code, "content_blocked") ? 403 : 400;
}

/* STAGE_DONE: it may go on. */
static enum stage_result check_body(struct relay *relay)
{
    struct guard_body body = {0};
    struct guard_rules rules;
    const struct strbuf *held = &relay->body.held;
    if (!relay->body.ended)
        return refuse(relay, 413, "request_too_large",
            "a service with a guard takes requests of at most 1 MiB");
    if (http_request_header(relay->request, "Inference-Header-Content-Length"))
        return refuse(relay, 400, "invalid_body",
            "a service with a guard takes no binary tensors: send them as JSON");
    if (!prepare(relay, &rules, false))
        return refuse(relay, 503, "guard_unavailable",
            "the guard of this service cannot search: its gateway's log says what is missing");
    enum guard_verdict verdict = guard_body_check(
        &body, &rules, &relay->terms->options.guard, strbuf_text(held), held->length);
    count(relay, &body.counts);
    if (verdict == GUARD_CHANGED)
        replace_body(relay, &body.out);
    if (verdict != GUARD_REFUSED && body.counts.total > 0) {
        strbuf_puts(&relay->guard->found, relay->guard->found.length > 0 ? ", " : "");
        guard_counts_write(&body.counts, &relay->guard->found);
    }
    guard_body_finish(&body);
    return verdict == GUARD_REFUSED ? refuse(relay, status_of(body.code), body.code, body.text)
                                    : STAGE_DONE;
}

void relay_guard_answered(struct relay *relay, enum guard_answer answer)
{
    relay->guard->ask = NULL;
    relay->guard->classified = true;
    relay->guard->verdict = answer;
    relay_go(relay);
}

static enum stage_result classify(struct relay *relay)
{
    struct relay_guard *guard = relay->guard;
    const struct service_guard *options = &relay->terms->options.guard;
    if (!guard->classified) {
        struct guard_worker *worker = worker_guard(relay->view);
        if (!worker->outside)
            worker->outside = outside_create(relay->view->base, relay->view->trust);
        guard->ask = guard_ask_begin(worker->outside, relay);
        return STAGE_WAITS;
    }
    if (guard->verdict == GUARD_DENIED)
        return refuse(relay, 403, "content_blocked", "the classifier of this service refused it");
    if (guard->verdict == GUARD_NO_ANSWER && options->classifier.on_failure == GUARD_FAILURE_BLOCK)
        return refuse(relay, 503, "guard_unavailable",
            "the classifier of this service did not answer; try again");
    return STAGE_DONE;
}

enum stage_result relay_stage_guard(struct relay *relay)
{
    if (!relay->terms->guards_requests || !relay->target.has_body)
        return STAGE_DONE;
    struct relay_guard *guard = guard_of(relay);
    if (guard->passed == relay->terms)
        return STAGE_DONE;
    if (!guard->checked) {
        if (check_body(relay) == STAGE_ENDED)
            return STAGE_ENDED;
        guard->checked = true;
    }
    enum stage_result result =
        relay->terms->options.guard.classifier.address ? classify(relay) : STAGE_DONE;
    /* Terms that are held until the end: others may be at the same address later. */
    if (result == STAGE_DONE && relay->care && relay->care->asked == relay->terms)
        guard->passed = relay->terms;
    return result;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static enum answer_form form_of(const struct relay_answer *answer)
{
    enum answer_form form = FORM_JSON;
    for (size_t i = 0; i < answer->field_count; i++) {
        const char *name = answer->fields[i].name, *value = answer->fields[i].value;
        if (!strcasecmp(name, "Content-Encoding"))
            return FORM_OTHER;
        if (strcasecmp(name, "Content-Type") != 0)
            continue;
        size_t length = strcspn(value, "; \t");
        if (length == 17 && !strncasecmp(value, "text/event-stream", 17))
            form = FORM_EVENTS;
        else if (length > 5 && !strncasecmp(value, "text/", 5))
            form = FORM_TEXT;
        else if (length < 5 || (strncasecmp(value + length - 5, "/json", 5) != 0 &&
                                   strncasecmp(value + length - 5, "+json", 5) != 0))
            form = FORM_OTHER;
    }
    return form;
}

static void add_field(struct relay *relay, const char *name, const struct strbuf *text)
{
    struct arena *arena = http_request_arena(relay->request);
    answer_add_field(relay, name, arena_strndup(arena, strbuf_text(text), text->length));
}

static bool guard_begin(struct relay *relay)
{
    if (relay->guard && relay->guard->found.length > 0)
        add_field(relay, "X-Muster-Guard-Request", &relay->guard->found);
    if (!relay->terms || !relay->terms->guards_answers)
        return false;
    struct relay_guard *guard = guard_of(relay);
    /* What cannot be searched is refused with the first bytes: not while filters begin. */
    guard->form = prepare(relay, &guard->rules, true) ? form_of(&relay->answer) : FORM_OTHER;
    guard->over = false;
    guard->stream = (struct guard_stream){.rules = &guard->rules};
    relay->answer.length = -1;
    relay->answer.lazy = true;
    return true;
}

/* Before anything has gone to the client. Always false: the relay is gone. */
static bool refuse_answer(struct relay *relay, int status, const char *code, const char *text)
{
    figure_add(relay->view->figures, FIGURE_GUARD_REFUSED, 1);
    relay_attempt_end(relay, false);
    bool unbegun = answer_break(relay);
    if (unbegun)
        relay_refuse(relay, status, code, "%s", text);
    return false;
}

/* The text lives in the relay or is a constant: a refused relay is gone before it is read. */
static bool refuse_for(struct relay *relay, const struct guard_counts *counts)
{
    if (counts->blocked)
        return refuse_answer(
            relay, 403, "content_blocked", "the answer has what this service does not let pass");
    return refuse_answer(
        relay, 502, "answer_unreadable", "the replica's answer cannot be read by the guard");
}

/* Ends a stream that has begun, in the words of the OpenAI API. ending: its source has ended. */
static bool end_stream(struct relay *relay, const struct guard_counts *counts, bool ending)
{
    static const char blocked[] =
        "data: {\"error\":{\"message\":\"the answer has what this service does not let pass\","
        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"content_blocked\"}}\n\n";
    static const char unreadable[] =
        "data: {\"error\":{\"message\":\"the replica's answer cannot be read by the guard\","
        "\"type\":\"server_error\",\"param\":null,\"code\":\"answer_unreadable\"}}\n\n";
    const char *event = counts->blocked ? blocked : unreadable;
    relay->guard->over = true;
    figure_add(relay->view->figures, FIGURE_GUARD_REFUSED, 1);
    relay_attempt_end(relay, false);
    if (!answer_pass(relay, ANSWER_GUARD, event, strlen(event)))
        return false;
    if (ending)
        return true;
    answer_end(relay);
    return false;
}

static bool pass_stream(struct relay *relay, bool fine, bool ending)
{
    struct guard_stream *stream = &relay->guard->stream;
    const struct guard_counts counts = stream->counts;
    count(relay, &counts);
    stream->counts.total = stream->counts.redacted = 0;
    if (!fine && !relay->answer.begun && stream->out.length == 0)
        return refuse_for(relay, &counts);
    if (stream->out.length > 0 &&
        !answer_pass(relay, ANSWER_GUARD, stream->out.text, stream->out.length))
        return false;
    return fine || end_stream(relay, &counts, ending);
}

static bool hold_answer(struct relay *relay, const char *bytes, size_t length)
{
    struct worker_view *view = relay->view;
    struct relay_guard *guard = relay->guard;
    if (guard->held.length + length > ANSWER_BYTES_MAX)
        return refuse_answer(relay, 502, "answer_too_large",
            "a service with a guard gives answers of at most 8 MiB");
    if (view->held_bytes + length > WORKER_HELD_BYTES_MAX)
        return refuse_answer(relay, 503, "overloaded", "too many bodies are held here; try again");
    view->held_bytes += length;
    figure_set(view->figures, FIGURE_HELD_BYTES, view->held_bytes);
    strbuf_append(&guard->held, bytes, length);
    return true;
}

static bool guard_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct relay_guard *guard = relay->guard;
    if (guard->over)
        return true;
    if (guard->form == FORM_OTHER)
        return refuse_answer(
            relay, 502, "answer_unreadable", "the guard cannot read an answer of this type");
    if (guard->form == FORM_EVENTS)
        return pass_stream(relay, guard_stream_piece(&guard->stream, bytes, length), false);
    return hold_answer(relay, bytes, length);
}

static bool end_whole(struct relay *relay)
{
    struct relay_guard *guard = relay->guard;
    struct guard_body body = {0};
    const char *text = guard->held.text;
    size_t length = guard->held.length;
    enum guard_verdict verdict = guard->form == FORM_JSON
                                     ? guard_body_check(&body, &guard->rules, NULL, text, length)
                                     : guard_body_check_text(&body, &guard->rules, text, length);
    bool passed = false;
    count(relay, &body.counts);
    if (verdict == GUARD_REFUSED) {
        refuse_for(relay, &body.counts);
    } else {
        struct strbuf found = {0};
        guard_counts_write(&body.counts, &found);
        if (found.length > 0)
            add_field(relay, "X-Muster-Guard-Answer", &found);
        strbuf_finish(&found);
        const struct strbuf *out = verdict == GUARD_CHANGED ? &body.out : &guard->held;
        relay->answer.length = (int64_t)out->length;
        passed = answer_pass(relay, ANSWER_GUARD, out->text, out->length);
    }
    guard_body_finish(&body);
    return passed;
}

static bool guard_end(struct relay *relay)
{
    struct relay_guard *guard = relay->guard;
    if (guard->over)
        return true;
    if (guard->form == FORM_EVENTS)
        return pass_stream(relay, guard_stream_end(&guard->stream), true);
    return guard->held.length == 0 || end_whole(relay);
}

static void guard_finish(struct relay *relay)
{
    struct relay_guard *guard = relay->guard;
    relay->view->held_bytes -= guard->held.length;
    figure_set(relay->view->figures, FIGURE_HELD_BYTES, relay->view->held_bytes);
    strbuf_finish(&guard->held);
    guard_stream_finish(&guard->stream);
}

const struct answer_filter relay_guard_filter = {guard_begin, guard_piece, guard_end, guard_finish};
