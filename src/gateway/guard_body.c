/* See guard_body.h. One walk: each text is looked at, each outermost member of a request is held
 * against what is allowed. What is refused is so whatever comes after; a name that stands there
 * twice is checked twice, since nobody knows which one a replica takes. */
#include "gateway/guard_body.h"

#include "base/memory.h"
#include "gateway/guard_schema.h"
#include "spec/serving.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    struct guard_body *body;
    const struct guard_rules *rules;
    const struct service_guard *limits;
    struct guard_edits edits;
    struct guard_schema schema;
    struct strbuf decoded, clean, encoded;
    int64_t prompt_bytes;
    size_t kept_end; /* where the last outermost member that stays ends */
};

static bool refuse(struct guard_body *body, const char *code, const char *format, ...)
    PRINTF_LIKE(3, 4);
static bool refuse(struct guard_body *body, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(body->text, sizeof body->text, format, args);
    va_end(args);
    body->code = code;
    return false;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static const char *decode(struct check *check, const char *bytes, size_t length, size_t *ret)
{
    if (!memchr(bytes, '\\', length)) {
        *ret = length;
        return bytes;
    }
    strbuf_clear(&check->decoded);
    guard_text_decode(bytes, length, &check->decoded);
    *ret = check->decoded.length;
    return strbuf_text(&check->decoded);
}

static void look_at(struct check *check, const char *bytes, size_t begin, size_t end)
{
    size_t length;
    const char *text = decode(check, bytes + begin + 1, end - begin - 2, &length);
    check->prompt_bytes += (int64_t)length;
    strbuf_clear(&check->clean);
    if (!guard_scan_whole(check->rules, text, length, &check->clean, &check->body->counts))
        return;
    strbuf_clear(&check->encoded);
    guard_text_encode(check->clean.text, check->clean.length, &check->encoded);
    guard_edits_add(&check->edits, begin, end, check->encoded.text, check->encoded.length);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static bool is_listed(const struct text_list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (!strcmp(list->items[i], text))
            return true;
    }
    return false;
}

static bool check_model(struct check *check, const char *bytes, size_t begin, size_t end)
{
    char model[256];
    size_t length;
    const char *text = decode(check, bytes + begin + 1, end - begin - 2, &length);
    if (check->limits->models.count == 0)
        return true;
    bool fine = length < sizeof model;
    snprintf(model, sizeof model, "%.*s", fine ? (int)length : 0, text);
    return (fine && is_listed(&check->limits->models, model)) ||
           refuse(check->body, "model_not_allowed", "this service does not take that model");
}

static bool check_tokens(struct check *check, const char *bytes, size_t begin, size_t end)
{
    char number[40] = {0};
    if (check->limits->max_tokens == 0)
        return true;
    memcpy(number, bytes + begin, end - begin < sizeof number ? end - begin : sizeof number - 1);
    return (end - begin < sizeof number && strtod(number, NULL) <= check->limits->max_tokens) ||
           refuse(check->body, "max_tokens_too_large", "a request may ask for at most %lld tokens",
               (long long)check->limits->max_tokens);
}

/* A text, which some replicas take for the number in it. */
static bool refuse_tokens(struct check *check)
{
    return check->limits->max_tokens == 0 ||
           refuse(check->body, "max_tokens_invalid", "how many tokens are asked for is no number");
}

/* A member of another kind than its parameter has is the replica's to refuse. */
static bool check_parameter(struct check *check, const struct guard_walk *walk,
    enum guard_value value, size_t begin, size_t end)
{
    static const char *const tokens[] = {
        "max_tokens", "max_completion_tokens", "max_output_tokens"};
    if (value == GUARD_STRING && guard_walk_is(walk, "model"))
        return check_model(check, walk->text, begin, end);
    bool number = value == GUARD_NUMBER, text = value == GUARD_STRING;
    for (size_t i = 0; (number || text) && i < ARRAY_LEN(tokens); i++) {
        if (guard_walk_is(walk, tokens[i]))
            return number ? check_tokens(check, walk->text, begin, end) : refuse_tokens(check);
    }
    return true;
}

/* Takes an outermost member out, with the comma that stood before or after it. */
static void drop(struct check *check, const struct guard_walk *walk, size_t end)
{
    size_t begin = walk->levels[0].name_begin, after = end;
    while (after < walk->length && strchr(" \t\r\n", walk->text[after]))
        after++;
    if (after < walk->length && walk->text[after] == ',')
        end = after + 1;
    else if (check->kept_end > 0)
        begin = check->kept_end;
    guard_edits_add(&check->edits, begin, end, NULL, 0);
}

static bool check_member(struct check *check, const struct guard_walk *walk, size_t end)
{
    const char *name = walk->levels[0].name;
    if (check->limits->parameters.count == 0 || !strcmp(name, "model") ||
        is_listed(&check->limits->parameters, name)) {
        check->kept_end = end;
        return true;
    }
    if (check->limits->others == GUARD_OTHERS_DROP) {
        drop(check, walk, end);
        return true;
    }
    /* Its name may be anything, and is not repeated. */
    return refuse(check->body, "parameter_not_allowed",
        "the request has a parameter that this service does not take");
}

static bool check_messages(struct check *check, const struct guard_walk *walk)
{
    int64_t most = check->limits->messages_max;
    return most == 0 || !guard_walk_is(walk, "messages[]") ||
           walk->levels[1].items < (uint64_t)most ||
           refuse(check->body, "too_many_messages", "a request may have at most %lld messages",
               (long long)most);
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* The path is the manifest's. */
static bool refuse_schema(struct check *check, const char *what)
{
    return refuse(check->body, "schema", "%s %s", check->schema.path, what);
}

static bool on_value(
    void *context, const struct guard_walk *walk, enum guard_value value, size_t begin, size_t end)
{
    struct check *check = context;
    if (value == GUARD_STRING)
        look_at(check, walk->text, begin, end);
    else if (!check->limits && guard_walk_in(walk, "logprobs") &&
             (value == GUARD_OBJECT || value == GUARD_LIST))
        guard_edits_add(&check->edits, begin, end, "null", 4);
    if (!check->limits)
        return true;
    if (walk->depth == 2 && !check_messages(check, walk))
        return false;
    if (check->limits->schema.count > 0 &&
        !guard_schema_value(&check->schema, check->limits, walk, value, begin, end))
        return refuse_schema(check, "is not what this service takes");
    return walk->depth != 1 || walk->levels[0].list ||
           (check_parameter(check, walk, value, begin, end) && check_member(check, walk, end));
}

static bool check_findings(struct guard_body *body)
{
    if (body->counts.unreadable)
        return refuse(body, "guard_unavailable", "the text could not be searched");
    return !body->counts.blocked ||
           refuse(body, "content_blocked", "it has what this service does not let pass: %s",
               guard_kind_names[body->counts.first]);
}

static bool check_all(struct check *check, const char *text, size_t length)
{
    struct guard_walk walk;
    struct guard_body *body = check->body;
    if (!guard_walk(&walk, text, length, on_value, check))
        return walk.fault ? refuse(body, "invalid_body", "it is not JSON: byte %zu: %s", walk.at,
                                walk.fault)
                          : false;
    if (check->limits && !guard_schema_end(&check->schema, check->limits))
        return refuse_schema(check, "is missing");
    if (check->limits && check->limits->prompt_bytes_max > 0 &&
        check->prompt_bytes > check->limits->prompt_bytes_max)
        return refuse(body, "prompt_too_large", "the texts may have at most %lld bytes",
            (long long)check->limits->prompt_bytes_max);
    return check_findings(body);
}

enum guard_verdict guard_body_check(struct guard_body *body, const struct guard_rules *rules,
    const struct service_guard *limits, const char *text, size_t length)
{
    struct check check = {.body = body, .rules = rules, .limits = limits};
    enum guard_verdict verdict = check_all(&check, text, length) ? GUARD_SAME : GUARD_REFUSED;
    if (verdict == GUARD_SAME && check.edits.count > 0) {
        guard_edits_apply(&check.edits, text, length, &body->out);
        verdict = GUARD_CHANGED;
    }
    guard_edits_finish(&check.edits);
    strbuf_finish(&check.decoded);
    strbuf_finish(&check.clean);
    strbuf_finish(&check.encoded);
    return verdict;
}

enum guard_verdict guard_body_check_text(
    struct guard_body *body, const struct guard_rules *rules, const char *text, size_t length)
{
    bool changed = guard_scan_whole(rules, text, length, &body->out, &body->counts);
    if (!check_findings(body))
        return GUARD_REFUSED;
    return changed ? GUARD_CHANGED : GUARD_SAME;
}

void guard_body_finish(struct guard_body *body)
{
    strbuf_finish(&body->out);
}

/* ---- rules ----------------------------------------------------------------------------------- */

void guard_rules_set(struct guard_rules *rules, const struct service_guard *guard, bool answers)
{
    rules->idle = true;
    for (int kind = 0; kind < GUARD_KINDS; kind++) {
        enum guard_action action = answers ? guard->answers.secrets : guard->requests.secrets;
        if (kind >= GUARD_PERSONAL_FIRST)
            action = answers ? guard->answers.personal : guard->requests.personal;
        if (kind >= GUARD_INJECTION_FIRST)
            action = answers ? GUARD_PASS : guard->requests.injection;
        rules->action[kind] =
            is_listed(&guard->except, guard_kind_names[kind]) ? GUARD_PASS : action;
        rules->idle = rules->idle && rules->action[kind] == GUARD_PASS;
    }
}

bool guard_does(const struct service_guard *guard, bool answers)
{
    if (answers)
        return guard->answers.secrets != GUARD_PASS || guard->answers.personal != GUARD_PASS;
    return guard->requests.secrets != GUARD_PASS || guard->requests.personal != GUARD_PASS ||
           guard->requests.injection != GUARD_PASS || guard->messages_max > 0 ||
           guard->prompt_bytes_max > 0 || guard->max_tokens > 0 || guard->models.count > 0 ||
           guard->parameters.count > 0 || guard->schema.count > 0 || guard->classifier.address;
}

void guard_counts_write(const struct guard_counts *counts, struct strbuf *out)
{
    for (int kind = 0, written = 0; kind < GUARD_KINDS; kind++) {
        if (counts->of[kind] > 0)
            strbuf_printf(
                out, "%s%s=%u", written++ ? ", " : "", guard_kind_names[kind], counts->of[kind]);
    }
}
