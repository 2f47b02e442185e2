/* What is written of a request and its answer, with secrets and personal data taken out. Nothing is
 * written that could not be looked at: see recorder.h. */
#include "gateway/recorder.h"

#include "base/memory.h"
#include "gateway/guard_body.h"
#include "gateway/record_tensors.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

void record_rules_set(struct guard_rules *rules)
{
    for (int kind = 0; kind < GUARD_KINDS; kind++)
        rules->action[kind] = kind < GUARD_INJECTION_FIRST ? GUARD_REDACT : GUARD_PASS;
    rules->idle = false;
}

static void put_string(struct strbuf *out, const char *name, const char *text)
{
    strbuf_printf(out, ",\"%s\":", name);
    strbuf_json(out, text);
}

/* A JSON text, cleaned, as a text of the record: so it is kept to the byte. */
static bool put_body(struct strbuf *out, const char *name, const struct guard_rules *rules,
    const struct strbuf *body)
{
    struct guard_body check = {0};
    enum guard_verdict verdict =
        guard_body_check(&check, rules, NULL, strbuf_text(body), body->length);
    if (verdict != GUARD_REFUSED)
        put_string(out, name, strbuf_text(verdict == GUARD_CHANGED ? &check.out : body));
    guard_body_finish(&check);
    return verdict != GUARD_REFUSED;
}

/* Where it is not all JSON: the JSON, and behind it the tensors in Base64. */
static bool put_tensors(struct strbuf *out, const char *name, const struct guard_rules *rules,
    const struct strbuf *body, size_t head)
{
    SCOPED(strbuf_finish) struct strbuf json = {0};
    if (head > body->length || !record_tensors_clean(rules, strbuf_text(body), body->length, head))
        return false;
    strbuf_append(&json, strbuf_text(body), head);
    if (!put_body(out, name, rules, &json))
        return false;
    size_t size = sodium_base64_ENCODED_LEN(body->length - head, sodium_base64_VARIANT_ORIGINAL);
    SCOPED(mem_scope) char *text = mem_alloc(1, size);
    sodium_bin2base64(text, size, (const unsigned char *)strbuf_text(body) + head,
        body->length - head, sodium_base64_VARIANT_ORIGINAL);
    strbuf_printf(out, ",\"%sTensors\":\"%s\"", name, text);
    return true;
}

static bool put_request(
    struct strbuf *out, const struct guard_rules *rules, const struct record_entry *entry)
{
    if (entry->request_head > 0)
        return put_tensors(out, "request", rules, &entry->request, (size_t)entry->request_head);
    return put_body(out, "request", rules, &entry->request);
}

static bool put_answer(
    struct strbuf *out, const struct guard_rules *rules, const struct record_entry *entry)
{
    SCOPED(strbuf_finish) struct strbuf said = {0};
    if (entry->answer_head > 0)
        return put_tensors(out, "answer", rules, &entry->answer, (size_t)entry->answer_head);
    if (!entry->stream)
        return put_body(out, "answer", rules, &entry->answer);
    if (!record_stream_text(strbuf_text(&entry->answer), entry->answer.length, &said) ||
        !put_body(out, "answer", rules, &said))
        return false;
    strbuf_puts(out, ",\"stream\":true");
    return true;
}

/* A client says its request's id and type, which may be anything. */
static bool put_clean(
    struct strbuf *out, const char *name, const struct guard_rules *rules, const char *text)
{
    SCOPED(strbuf_finish) struct strbuf clean = {0};
    struct guard_counts counts = {0};
    bool changed = guard_scan_whole(rules, text, strlen(text), &clean, &counts);
    if (!counts.unreadable)
        put_string(out, name, changed ? strbuf_text(&clean) : text);
    return !counts.unreadable;
}

/* What the client got, where the rest is what another service says. */
static void put_light(
    struct strbuf *out, const struct guard_rules *rules, const struct record_entry *entry)
{
    put_string(out, "by", entry->by);
    strbuf_printf(out, ",\"lightStatus\":%d,\"lightVersion\":%" PRId64, entry->light_status,
        entry->light_version);
    if (!put_body(out, "light", rules, &entry->light))
        put_string(out, "lightWithout", "unreadable");
}

bool record_entry_write(
    const struct record_entry *entry, const struct guard_rules *rules, struct strbuf *out)
{
    SCOPED(strbuf_finish) struct strbuf json = {0};
    strbuf_printf(&json,
        "{\"ms\":%" PRId64 ",\"version\":%" PRId64 ",\"replica\":%" PRIu64
        ",\"status\":%d,\"firstUs\":%" PRId64 ",\"totalUs\":%" PRId64,
        entry->wall_ms, entry->version, entry->replica, entry->status, entry->first_us,
        entry->total_us);
    if (!put_clean(&json, "id", rules, entry->id) ||
        !put_clean(&json, "path", rules, entry->path) ||
        !put_clean(&json, "type", rules, entry->type) || !put_request(&json, rules, entry))
        return false;
    if (entry->without)
        put_string(&json, "without", entry->without);
    else if (!put_answer(&json, rules, entry))
        put_string(&json, "without", "unreadable");
    if (entry->by[0])
        put_light(&json, rules, entry);
    strbuf_putc(&json, '}');
    strbuf_append(out, json.text, json.length);
    return true;
}
