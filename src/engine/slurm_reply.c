/* Cutting the items out of an answer: see slurm_reply.h. What matters of JSON here is where
 * strings, objects and lists begin and end; that an item is JSON is checked by its parser. */
#include "engine/slurm_reply.h"

#include <string.h>

void reply_begin(struct reply *reply, reply_item_fn *on_item, void *context)
{
    *reply = (struct reply){.on_item = on_item, .context = context};
}

void reply_finish(struct reply *reply)
{
    strbuf_finish(&reply->item);
}

static int refuse(struct error *err, const char *what)
{
    return error_set(err, ERR_CORRUPT, "the answer is not what slurmrestd sends: %s", what);
}

static int open_one(struct reply *reply, char c, struct error *err)
{
    if (reply->depth == REPLY_DEPTH_MAX)
        return error_set(err, ERR_TOO_LARGE, "the answer is nested too deeply");
    if (reply->depth == 0 && (c != '{' || reply->over))
        return refuse(err, "it is no single object");
    if (c == '{' && reply->depth == 2 && reply->kinds[1] == '[')
        reply->inside = true;
    reply->kinds[reply->depth++] = c;
    reply->expects_value = false;
    return 0;
}

static int close_one(struct reply *reply, char c, struct error *err)
{
    if (reply->depth == 0 || reply->kinds[reply->depth - 1] != (c == '}' ? '{' : '['))
        return refuse(err, "brackets do not match");
    reply->depth--;
    reply->over = reply->depth == 0;
    return 0;
}

/* The item has been closed: its last byte is in. */
static int give(struct reply *reply, struct error *err)
{
    int rc = reply->on_item(reply->context, reply->name, reply->item.text, reply->item.length, err);
    reply->inside = false;
    strbuf_clear(&reply->item);
    return rc;
}

static void begin_text(struct reply *reply)
{
    reply->text = true;
    reply->key = reply->depth == 1 && !reply->expects_value;
    if (reply->key)
        reply->name_length = 0;
    reply->expects_value = false;
}

/* Names longer than the bound are none that anybody asks for. */
static void read_text(struct reply *reply, char c)
{
    if (reply->escaped) {
        reply->escaped = false;
    } else if (c == '\\') {
        reply->escaped = true;
    } else if (c == '"') {
        reply->text = false;
        if (reply->key)
            reply->name[reply->name_length] = '\0';
        return;
    }
    if (reply->key && reply->name_length < REPLY_NAME_MAX)
        reply->name[reply->name_length++] = c;
}

static int read_mark(struct reply *reply, char c, struct error *err)
{
    switch (c) {
    case '"':
        if (reply->depth == 0)
            return refuse(err, "it is no object");
        begin_text(reply);
        return 0;
    case '{':
    case '[': return open_one(reply, c, err);
    case '}':
    case ']': return close_one(reply, c, err);
    case ':':
        if (reply->depth == 1)
            reply->expects_value = true;
        return 0;
    case ',':
        if (reply->depth == 1)
            reply->expects_value = false;
        return 0;
    default:
        if (reply->depth == 0 && !strchr(" \t\r\n", c))
            return refuse(err, "it is no object");
        return c == '\0' ? refuse(err, "it has a NUL") : 0;
    }
}

static int read_byte(struct reply *reply, char c, struct error *err)
{
    bool was_text = reply->text;
    if (was_text)
        read_text(reply, c);
    else if (read_mark(reply, c, err) < 0)
        return -1;
    if (!reply->inside)
        return 0;
    strbuf_putc(&reply->item, c);
    if (reply->item.length > REPLY_ITEM_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE, "one of the %s is larger than %d bytes", reply->name,
            REPLY_ITEM_BYTES_MAX);
    return !was_text && reply->depth == 2 && c == '}' ? give(reply, err) : 0;
}

const struct doc *reply_item(
    struct arena *arena, const char *list, const char *json, size_t length, struct error *err)
{
    const struct doc *doc = doc_parse_json(arena, json, length, REPLY_ITEM_BYTES_MAX, err);
    if (!doc)
        error_prefix(err, "one of the %s", list);
    return doc;
}

int reply_feed(struct reply *reply, const char *bytes, size_t length, struct error *err)
{
    reply->bytes += length;
    if (reply->bytes > REPLY_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE, "the answer is larger than 1 GiB");
    for (size_t i = 0; i < length; i++) {
        if (read_byte(reply, bytes[i], err) < 0)
            return -1;
    }
    return 0;
}

int reply_end(const struct reply *reply, struct error *err)
{
    return reply->over ? 0 : refuse(err, "it ends too early");
}
