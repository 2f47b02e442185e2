/* Confidence of answers: see cascade.h. A number that is missing, or that is not one, is no
 * confidence: who asks goes to the large model then. */
#include "gateway/cascade.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/member_scan.h"
#include "wire/doc.h"

#include <stdlib.h>
#include <string.h>

enum { MICRO = 1000000, POINTER_STEP_BYTES = 256 };

/* The least of the numbers, and whether there was any. */
struct least {
    double value;
    bool known, broken;
};

static void take(struct least *least, double value)
{
    if (!(value >= -1e9 && value <= 1e9)) {
        least->broken = true;
        return;
    }
    least->value = least->known && least->value < value ? least->value : value;
    least->known = true;
}

static bool to_micro(const struct least *least, int64_t *ret_micro)
{
    if (!least->known || least->broken)
        return false;
    *ret_micro = (int64_t)(least->value * MICRO + (least->value < 0 ? -0.5 : 0.5));
    return true;
}

bool cascade_number(const char *text, int64_t *ret_micro)
{
    struct least least = {0};
    if (!doc_is_number(text))
        return false;
    take(&least, strtod(text, NULL));
    return to_micro(&least, ret_micro);
}

static void take_number(struct least *least, const struct doc *value)
{
    if (value && value->type == DOC_NUMBER)
        take(least, strtod(value->text, NULL));
    else
        least->broken = true;
}

/* ---- outputs --------------------------------------------------------------------------------- */

/* Lists within lists, as deep as a document may be. */
static void take_all(struct least *least, const struct doc *value)
{
    if (value->type != DOC_LIST) {
        take_number(least, value);
        return;
    }
    for (const struct doc *item = value->first; item; item = item->next)
        take_all(least, item);
}

static void read_output(const struct doc *root, const char *name, struct least *least)
{
    const struct doc *outputs = doc_get(root, "outputs");
    if (!outputs || outputs->type != DOC_LIST)
        return;
    for (const struct doc *output = outputs->first; output; output = output->next) {
        const char *its = output->type == DOC_MAP ? doc_get_string(output, "name") : NULL;
        const struct doc *data = its && !strcmp(its, name) ? doc_get(output, "data") : NULL;
        if (data)
            take_all(least, data);
    }
}

/* ---- logprobs -------------------------------------------------------------------------------- */

/* e^x for x <= 0, within a millionth: the series of x / 1024, squared ten times. */
static double exp_of(double x)
{
    if (x < -40)
        return 0;
    double y = x / 1024, result = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4)));
    for (int i = 0; i < 10; i++)
        result *= result;
    return result;
}

/* content: [{"logprob": -0.1}, ..], or the older token_logprobs: [-0.1, null, ..]. */
static void read_tokens(const struct doc *list, struct least *least)
{
    struct least one = {0};
    double sum = 0;
    int64_t count = 0;
    for (const struct doc *item = list->first; item; item = item->next) {
        if (item->type == DOC_NULL)
            continue;
        one.known = false;
        take_number(&one, item->type == DOC_MAP ? doc_get(item, "logprob") : item);
        sum += one.value < 0 ? one.value : 0;
        count++;
    }
    if (one.broken)
        least->broken = true;
    else if (count > 0)
        take(least, exp_of(sum / (double)count));
}

static void read_choice(const struct doc *choice, struct least *least)
{
    const struct doc *logprobs = choice->type == DOC_MAP ? doc_get(choice, "logprobs") : NULL;
    const struct doc *list = NULL;
    if (logprobs && logprobs->type == DOC_MAP) {
        list = doc_get(logprobs, "content");
        list = list ? list : doc_get(logprobs, "token_logprobs");
    }
    if (list && list->type == DOC_LIST)
        read_tokens(list, least);
    else
        least->broken = true;
}

static void read_logprobs(const struct doc *root, struct least *least)
{
    const struct doc *choices = doc_get(root, "choices");
    if (!choices || choices->type != DOC_LIST)
        return;
    for (const struct doc *choice = choices->first; choice; choice = choice->next)
        read_choice(choice, least);
}

/* ---- pointers -------------------------------------------------------------------------------- */

/* A step without its escapes (RFC 6901: ~1 is /, ~0 is ~). False: it is too long. */
static bool read_step(const char **at, char step[POINTER_STEP_BYTES])
{
    size_t length = 0;
    const char *from = *at;
    for (; *from && *from != '/'; from++) {
        char c = *from;
        if (c == '~' && (from[1] == '0' || from[1] == '1'))
            c = *++from == '0' ? '~' : '/';
        if (length + 1 >= POINTER_STEP_BYTES)
            return false;
        step[length++] = c;
    }
    step[length] = '\0';
    *at = from;
    return true;
}

static const struct doc *item_at(const struct doc *list, const char *step)
{
    char *end;
    if (*step < '0' || *step > '9' || (step[0] == '0' && step[1]))
        return NULL;
    unsigned long long index = strtoull(step, &end, 10);
    const struct doc *item = *end ? NULL : list->first;
    for (; item && index > 0; index--)
        item = item->next;
    return item;
}

static const struct doc *follow(const struct doc *at, const char *pointer)
{
    char step[POINTER_STEP_BYTES];
    while (at && *pointer == '/') {
        pointer++;
        if (!read_step(&pointer, step))
            return NULL;
        at = at->type == DOC_MAP    ? doc_get(at, step)
             : at->type == DOC_LIST ? item_at(at, step)
                                    : NULL;
    }
    return at;
}

bool cascade_confidence(const struct service_cascade *options, struct arena *arena,
    const char *body, size_t length, int64_t *ret_micro)
{
    struct error err;
    struct least least = {0};
    const struct doc *root = doc_parse_json(arena, body, length, CASCADE_BYTES_MAX, &err);
    if (!root || root->type != DOC_MAP)
        return false;
    if (options->confidence == CONFIDENCE_OUTPUT)
        read_output(root, options->name, &least);
    else if (options->confidence == CONFIDENCE_LOGPROBS)
        read_logprobs(root, &least);
    else if (options->confidence == CONFIDENCE_POINTER)
        take_number(&least, follow(root, options->name));
    return to_micro(&least, ret_micro);
}

/* ---- the request ----------------------------------------------------------------------------- */

struct seen {
    bool streams, logprobs, wanted;
};

static void on_member(const struct json_member *member, void *context)
{
    struct seen *seen = context;
    if (member->depth != 1)
        return;
    if (!strcmp(member->name, "stream"))
        seen->streams |= member->kind == MEMBER_TRUE;
    if (!strcmp(member->name, "logprobs")) {
        seen->logprobs = true;
        seen->wanted = member->kind == MEMBER_TRUE || member->kind == MEMBER_OTHER;
    }
}

static void insert_after_bracket(struct strbuf *body, const char *text)
{
    size_t length = strlen(text), at = 0, before = body->length;
    while (at < before && body->text[at] != '{')
        at++;
    at++;
    strbuf_append(body, text, length);
    memmove(body->text + at + length, body->text + at, before - at);
    memcpy(body->text + at, text, length);
}

static enum cascade_edit ask_logprobs(
    const struct target *target, const struct seen *seen, struct strbuf *body)
{
    bool chat = !strcmp(target->verb, "/v1/chat/completions");
    if (!chat && strcmp(target->verb, "/v1/completions") != 0)
        return CASCADE_NOT;
    if (seen->logprobs)
        return seen->wanted ? CASCADE_AS_IS : CASCADE_NOT;
    insert_after_bracket(body, chat ? "\"logprobs\":true," : "\"logprobs\":1,");
    return CASCADE_EDITED;
}

enum cascade_edit cascade_prepare(
    const struct service_cascade *options, const struct target *target, struct strbuf *body)
{
    struct seen seen = {0};
    struct member_scan scan;
    if (target->protocol != PROTOCOL_OPENAI)
        return options->confidence == CONFIDENCE_LOGPROBS ? CASCADE_NOT : CASCADE_AS_IS;
    member_scan_init(&scan, on_member, &seen);
    if (member_scan_feed(&scan, strbuf_text(body), body->length) != MEMBER_SCAN_DONE ||
        seen.streams || options->confidence == CONFIDENCE_OUTPUT)
        return CASCADE_NOT;
    return options->confidence == CONFIDENCE_LOGPROBS ? ask_logprobs(target, &seen, body)
                                                      : CASCADE_AS_IS;
}

bool cascade_strip(struct arena *arena, const char *body, size_t length, struct strbuf *out)
{
    struct error err;
    struct doc *root = doc_parse_json(arena, body, length, CASCADE_BYTES_MAX, &err);
    const struct doc *choices = root && root->type == DOC_MAP ? doc_get(root, "choices") : NULL;
    if (!choices || choices->type != DOC_LIST)
        return false;
    for (struct doc *choice = choices->first; choice; choice = choice->next) {
        if (choice->type == DOC_MAP && doc_get(choice, "logprobs"))
            doc_set(arena, choice, "logprobs", doc_null(arena));
    }
    doc_write_json(root, 0, out);
    return true;
}
