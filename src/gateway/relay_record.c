/* See relay_record.h. Of a request that is drawn the body is copied as the replica got it, and the
 * answer as it passes; what is neither JSON nor JSON with tensors behind it, is too large, or has
 * the client's own key in it is left out, and so is the answer's body of a stream that is. Answers
 * from the cache are no replica's and are not recorded. */
#include "gateway/relay_record.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/oip_parse.h"
#include "gateway/recorder.h"
#include "gateway/relay.h"
#include "wire/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TENSORS_FIELD "Inference-Header-Content-Length"

static uint64_t draw(struct worker_view *view)
{
    uint64_t number = view->draws += 0x9e3779b97f4a7c15u;
    number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9u;
    number = (number ^ number >> 27) * 0x94d049bb133111ebu;
    return number ^ number >> 31;
}

bool relay_record_draw(struct worker_view *view, int64_t sample_micro)
{
    return draw(view) % 1000000 < (uint64_t)sample_micro;
}

/* Whether the request is one whose record can be looked at and asked again. */
static bool is_fit(const struct relay *relay, int64_t body_bytes_max)
{
    return relay->body.ended && !relay->body.let_go &&
           relay->body.held.length <= (size_t)body_bytes_max &&
           relay->answer.length <= body_bytes_max;
}

/* Where the JSON of a body with tensors behind it ends, 0 where all of it is JSON. False: it does
 * not end in the body, or nothing of it is JSON. */
static bool read_head(const char *value, int64_t length, int64_t *ret)
{
    int64_t head = OIP_NO_HEAD;
    *ret = 0;
    if (!value)
        return true;
    if (!oip_head_length(value, &head) || head <= 0 || (length >= 0 && head > length))
        return false;
    *ret = head;
    return true;
}

static const char *answer_field(const struct relay *relay, const char *name)
{
    for (size_t i = 0; i < relay->answer.field_count; i++) {
        if (!strcasecmp(relay->answer.fields[i].name, name))
            return relay->answer.fields[i].value;
    }
    return NULL;
}

static const char *without(const struct relay *relay)
{
    return answer_field(relay, "Content-Encoding") ? "encoded" : NULL;
}

static bool is_stream(const struct relay *relay)
{
    const char *type = answer_field(relay, "Content-Type");
    return type && !strncasecmp(type, "text/event-stream", 17);
}

static void describe(const struct relay *relay, struct record_entry *entry)
{
    const char *type = http_request_header(relay->request, "Content-Type");
    bool by_body = relay->target.ask == ASK_FORWARD_BODY;
    snprintf(entry->service, sizeof entry->service, "%s", relay->terms->service);
    snprintf(entry->id, sizeof entry->id, "%s", relay->id);
    snprintf(entry->path, sizeof entry->path, "%s%s%s", by_body ? "" : "/v2/models/",
        by_body ? "" : relay->terms->route, relay->target.verb);
    snprintf(entry->type, sizeof entry->type, "%s", type ? type : "application/json");
    entry->wall_ms = clock_wall_ms();
    entry->version = relay->attempt.version;
    entry->replica = relay->attempt.replica;
    entry->status = relay->answer.status;
    entry->without = without(relay);
    if (is_stream(relay))
        entry->without = "stream";
    strbuf_append(&entry->request, strbuf_text(&relay->body.held), relay->body.held.length);
}

static struct record_entry *start(
    struct relay *relay, int64_t body_bytes_max, int64_t copies, bool fits)
{
    struct recorder *recorder = relay->view->recorder;
    struct record_entry *entry = recorder_begin(recorder, copies * body_bytes_max);
    if (entry && (!fits || !is_fit(relay, body_bytes_max))) {
        recorder_give_up(recorder, entry, true);
        return NULL;
    }
    if (entry)
        describe(relay, entry);
    return entry;
}

struct record_entry *relay_record_start(struct relay *relay, int64_t body_bytes_max, int64_t copies)
{
    bool tensors = http_request_header(relay->request, TENSORS_FIELD) != NULL;
    return start(relay, body_bytes_max, copies, !tensors);
}

/* For whoever asks again, tensors and streams count as well. */
static struct record_entry *start_record(struct relay *relay, int64_t body_bytes_max)
{
    int64_t request_head, answer_head;
    bool fits = read_head(http_request_header(relay->request, TENSORS_FIELD),
        (int64_t)relay->body.held.length, &request_head);
    struct record_entry *entry = start(relay, body_bytes_max, 2, fits);
    if (!entry)
        return NULL;
    entry->request_head = request_head;
    entry->stream = is_stream(relay);
    entry->without = without(relay);
    if (!read_head(answer_field(relay, TENSORS_FIELD), relay->answer.length, &answer_head))
        entry->without = "unreadable";
    entry->answer_head = answer_head;
    return entry;
}

static bool record_begin(struct relay *relay)
{
    if (!relay->terms || relay->terms->options.record.sample_micro == 0 || !relay->view->recorder ||
        !relay->target.has_body)
        return false;
    const struct service_record *options = &relay->terms->options.record;
    if (!relay_record_draw(relay->view, options->sample_micro))
        return false;
    relay->record = start_record(relay, options->body_bytes_max);
    if (!relay->record)
        return false;
    relay->record->shelf = RECORD_REQUESTS;
    relay->record->bytes_max = options->bytes_max;
    relay->record->keep_ms = options->keep_ms;
    return true;
}

static bool record_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct record_entry *entry = relay->record;
    size_t most = (size_t)relay->terms->options.record.body_bytes_max;
    if (entry && entry->stream && entry->answer.length + length > most) {
        entry->without = "stream";
        strbuf_finish(&entry->answer);
    } else if (entry && !entry->without && entry->answer.length + length > most) {
        recorder_give_up(relay->view->recorder, entry, true);
        relay->record = NULL;
    } else if (entry && !entry->without) {
        strbuf_append(&entry->answer, bytes, length);
    }
    return answer_pass(relay, ANSWER_RECORD, bytes, length);
}

static bool has_text(const struct strbuf *body, const char *text)
{
    return memmem(strbuf_text(body), body->length, text, strlen(text)) != NULL;
}

/* A client that writes its key into what it asks is not to find it on a disk. */
bool relay_record_has_key(const struct relay *relay, const struct record_entry *entry)
{
    const char *bearer = http_request_header(relay->request, "Authorization");
    const char *keys[] = {http_request_header(relay->request, "X-API-Key"),
        bearer ? bearer + strcspn(bearer, " ") + strspn(bearer + strcspn(bearer, " "), " ") : NULL};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i] && keys[i][0] &&
            (has_text(&entry->request, keys[i]) || has_text(&entry->answer, keys[i]) ||
                has_text(&entry->light, keys[i]) || strstr(entry->id, keys[i])))
            return true;
    }
    return false;
}

static bool record_end(struct relay *relay)
{
    struct record_entry *entry = relay->record;
    int64_t began = relay->attempt.began_ns ? relay->attempt.began_ns : relay->began_ns;
    if (!entry)
        return true;
    relay->record = NULL;
    entry->first_us = (relay->answer.first_ns - began) / 1000;
    entry->total_us = (clock_held_ns() - began) / 1000;
    if (relay_record_has_key(relay, entry))
        recorder_give_up(relay->view->recorder, entry, true);
    else
        recorder_take(relay->view->recorder, entry);
    return true;
}

static void record_finish(struct relay *relay)
{
    if (relay->record)
        recorder_give_up(relay->view->recorder, relay->record, false);
    relay->record = NULL;
}

const struct answer_filter relay_record_filter = {
    record_begin, record_piece, record_end, record_finish};
