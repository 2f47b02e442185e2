/* Edits of requests that ask for usage: see usage_ask.h. There is one edit at most, and it only
 * puts in, or replaces one word: what was no JSON before is none after it. */
#include "gateway/usage_ask.h"

#include "base/strbuf.h"

#include <assert.h>
#include <string.h>

static void see(
    struct usage_ask *ask, struct usage_ask_seen *seen, const struct json_member *member)
{
    ask->twice |= seen->is_there;
    seen->is_there = true;
    seen->kind = member->kind;
    seen->empty = member->empty;
    seen->begin = member->begin;
    seen->end = member->end;
}

static void on_member(const struct json_member *member, void *context)
{
    struct usage_ask *ask = context;
    bool inner = member->depth == 2;
    if (inner && strcmp(member->outer, "stream_options") != 0)
        return;
    if (member->escaped)
        ask->twice = true;
    else if (inner && !strcmp(member->name, "include_usage"))
        see(ask, &ask->usage, member);
    else if (!inner && !strcmp(member->name, "stream"))
        see(ask, &ask->stream, member);
    else if (!inner && !strcmp(member->name, "stream_options"))
        see(ask, &ask->options, member);
}

void usage_ask_init(struct usage_ask *ask)
{
    memset(ask, 0, sizeof *ask);
    member_scan_init(&ask->scan, on_member, ask);
}

void usage_ask_feed(struct usage_ask *ask, const char *bytes, size_t length)
{
    ask->result = member_scan_feed(&ask->scan, bytes, length);
}

static struct usage_edit replace(const struct usage_ask_seen *seen, const char *text)
{
    return (struct usage_edit){seen->begin, (size_t)(seen->end - seen->begin), text};
}

static struct usage_edit insert(uint64_t at, const char *text)
{
    return (struct usage_edit){at, 0, text};
}

/* The object stream_options is there. */
static bool edit_options(const struct usage_ask *ask, struct usage_edit *ret)
{
    if (!ask->usage.is_there) {
        *ret = insert(ask->options.end - 1,
            ask->options.empty ? "\"include_usage\":true" : ",\"include_usage\":true");
        return true;
    }
    /* What is neither true nor false is for the replica to refuse. */
    if (ask->usage.kind != MEMBER_FALSE && ask->usage.kind != MEMBER_NULL)
        return false;
    *ret = replace(&ask->usage, "true");
    return true;
}

bool usage_ask_find(const struct usage_ask *ask, struct usage_edit *ret)
{
    if (ask->result != MEMBER_SCAN_DONE || ask->twice || ask->stream.kind != MEMBER_TRUE)
        return false;
    if (!ask->options.is_there) {
        *ret = insert(ask->scan.end, USAGE_EDIT_WHOLE);
        return true;
    }
    if (ask->options.kind == MEMBER_NULL) {
        *ret = replace(&ask->options, "{\"include_usage\":true}");
        return true;
    }
    return ask->options.kind == MEMBER_OBJECT && edit_options(ask, ret);
}

static void usage_edit_apply(const struct usage_edit *edit, struct strbuf *body)
{
    size_t length = strlen(edit->text), at = (size_t)edit->at, after = at + edit->removed;
    assert(length <= USAGE_EDIT_BYTES_MAX && after <= body->length);
    size_t rest = body->length - after;
    /* Makes room; where the text belongs it is put below. */
    strbuf_append(body, edit->text, length);
    memmove(body->text + at + length, body->text + after, rest);
    memcpy(body->text + at, edit->text, length);
    body->length = at + length + rest;
    body->text[body->length] = '\0';
}

bool usage_ask_edit(struct strbuf *body)
{
    static const char name[] = "\"stream\"";
    struct usage_ask ask;
    struct usage_edit edit;
    /* Most requests that are no streams do not have the word. */
    if (body->length == 0 || !memmem(body->text, body->length, name, sizeof name - 1))
        return false;
    usage_ask_init(&ask);
    usage_ask_feed(&ask, body->text, body->length);
    if (!usage_ask_find(&ask, &edit))
        return false;
    usage_edit_apply(&edit, body);
    return true;
}
