/* Frames: see frame.h. What comes in is checked as if anybody had sent it, though only the server's
 * own user can. */
#include "planner/frame.h"

#include "core/policy.h"

#include <assert.h>
#include <string.h>

static void put_bytes(struct strbuf *out, uint64_t value, size_t count)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < count; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    strbuf_append(out, bytes, count);
}

static uint64_t take_bytes(const unsigned char *at, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* ---- writing ------------------------------------------------------------------------------- */

size_t frame_begin(struct strbuf *out, enum frame_kind kind)
{
    size_t begin = out->length;
    put_bytes(out, 0, 4);
    put_bytes(out, kind, 1);
    return begin;
}

void frame_end(struct strbuf *out, size_t begin)
{
    size_t length = out->length - begin - FRAME_HEADER;
    assert(length <= FRAME_BODY_MAX);
    for (size_t i = 0; i < 4; i++)
        out->text[begin + i] = (char)(length >> (8 * i));
}

void frame_put_u64(struct strbuf *out, uint64_t value)
{
    put_bytes(out, value, 8);
}

static uint64_t column_get(const void *row, const struct column *column)
{
    const unsigned char *at = (const unsigned char *)row + column->offset;
    switch (column->size) {
    case 1: return *at;
    case 4: return *(const uint32_t *)(const void *)at;
    default: assert(column->size == 8); return *(const uint64_t *)(const void *)at;
    }
}

void frame_put_row(struct strbuf *out, const struct core_change *change)
{
    const struct row_type *type = row_type(change->kind);
    assert(!type->history && sizeof(union frame_room) >= type->size);
    put_bytes(out, (uint64_t)change->change, 1);
    put_bytes(out, (uint64_t)change->kind, 1);
    if (change->change == CHANGE_DELETE) {
        put_bytes(out, *(const uint64_t *)change->row, 8);
        return;
    }
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        if (column->type == COLUMN_TEXT) {
            const char *text = (const char *)change->row + column->offset;
            size_t length = strnlen(text, column->size - 1u);
            put_bytes(out, length, 2);
            strbuf_append(out, text, length);
        } else {
            put_bytes(out, column_get(change->row, column), column->size);
        }
    }
}

void frame_put_hello(struct strbuf *out, const struct core_options *options)
{
    size_t begin = frame_begin(out, FRAME_HELLO);
    put_bytes(out, frame_schema(), 8);
    put_bytes(out, (uint64_t)options->round_ms, 8);
    put_bytes(out, (uint64_t)options->reserve_after_ms, 8);
    for (enum policy_part part = 0; part < POLICY_PARTS; part++) {
        const char *name = policy_get(options, part);
        put_bytes(out, name ? strlen(name) : 0, 1);
        strbuf_puts(out, name ? name : "");
    }
    frame_end(out, begin);
}

void frame_put_slice(struct strbuf *out, int64_t tick, const struct frame_slice *slice)
{
    size_t begin = frame_begin(out, FRAME_SLICE);
    put_bytes(out, (uint64_t)tick, 8);
    put_bytes(out, slice->kind, 1);
    put_bytes(out, slice->after, 8);
    put_bytes(out, slice->last, 8);
    put_bytes(out, slice->digest, 8);
    frame_end(out, begin);
}

/* ---- reading ------------------------------------------------------------------------------- */

int64_t frame_read(const void *bytes, size_t length, struct frame *ret, struct error *err)
{
    const unsigned char *at = bytes;
    if (length < FRAME_HEADER)
        return 0;
    size_t body = take_bytes(at, 4);
    if (body > FRAME_BODY_MAX || at[4] < FRAME_HELLO || at[4] >= FRAME_KIND_COUNT)
        return error_set(err, ERR_INVALID, "a frame of kind %d with %zu bytes", at[4], body);
    if (length - FRAME_HEADER < body)
        return 0;
    *ret = (struct frame){(enum frame_kind)at[4], {at + FRAME_HEADER, body}};
    return (int64_t)(FRAME_HEADER + body);
}

static int get_bytes(struct frame_cursor *body, size_t count, uint64_t *ret, struct error *err)
{
    if (body->left < count)
        return error_set(err, ERR_INVALID, "a frame ends in the middle of a value");
    *ret = take_bytes(body->at, count);
    body->at += count;
    body->left -= count;
    return 0;
}

int frame_get_u64(struct frame_cursor *body, uint64_t *ret, struct error *err)
{
    return get_bytes(body, 8, ret, err);
}

static int get_kind(struct frame_cursor *body, enum row_kind *ret, struct error *err)
{
    uint64_t kind = 0;
    if (get_bytes(body, 1, &kind, err) < 0)
        return -1;
    if (kind >= ROW_KIND_COUNT || row_type((enum row_kind)kind)->history)
        return error_set(err, ERR_INVALID, "a row of kind %d", (int)kind);
    *ret = (enum row_kind)kind;
    return 0;
}

static int get_policy(struct frame_cursor *body, enum policy_part part,
    struct core_options *options, struct error *err)
{
    char name[UINT8_MAX + 1] = "";
    uint64_t length = 0;
    if (get_bytes(body, 1, &length, err) < 0)
        return -1;
    if (length > body->left)
        return error_set(err, ERR_INVALID, "a frame ends in the middle of a name");
    memcpy(name, body->at, length);
    body->at += length;
    body->left -= length;
    if (!policy_set(options, part, length ? name : NULL))
        return error_set(
            err, ERR_CONFLICT, "the server's policy for %s is not known here", policy_option(part));
    return 0;
}

int frame_get_hello(struct frame_cursor *body, struct core_options *ret, struct error *err)
{
    uint64_t schema, round_ms, reserve_after_ms;
    if (frame_get_u64(body, &schema, err) < 0)
        return -1;
    if (schema != frame_schema())
        return error_set(err, ERR_CONFLICT, "the server is another version of this program");
    if (frame_get_u64(body, &round_ms, err) < 0 || frame_get_u64(body, &reserve_after_ms, err) < 0)
        return -1;
    struct core_options options = {
        .round_ms = (int64_t)round_ms, .reserve_after_ms = (int64_t)reserve_after_ms};
    for (enum policy_part part = 0; part < POLICY_PARTS; part++) {
        if (get_policy(body, part, &options, err) < 0)
            return -1;
    }
    if (body->left)
        return error_set(err, ERR_INVALID, "bytes after a greeting");
    *ret = options;
    return 0;
}

int frame_get_slice(struct frame_cursor *body, struct frame_slice *ret, struct error *err)
{
    struct frame_slice slice;
    if (get_kind(body, &slice.kind, err) < 0 || get_bytes(body, 8, &slice.after, err) < 0 ||
        get_bytes(body, 8, &slice.last, err) < 0 || get_bytes(body, 8, &slice.digest, err) < 0)
        return -1;
    if (body->left)
        return error_set(err, ERR_INVALID, "bytes after a slice");
    *ret = slice;
    return 0;
}

static int get_text(
    struct frame_cursor *body, const struct column *column, char *out, struct error *err)
{
    uint64_t length = 0;
    if (get_bytes(body, 2, &length, err) < 0)
        return -1;
    if (length >= column->size || length > body->left || memchr(body->at, '\0', length))
        return error_set(err, ERR_INVALID, "%s: a text that does not fit", column->name);
    memcpy(out, body->at, length);
    body->at += length;
    body->left -= length;
    return 0;
}

static int get_column(
    struct frame_cursor *body, const struct column *column, void *row, struct error *err)
{
    unsigned char *at = (unsigned char *)row + column->offset;
    uint64_t value = 0;
    if (column->type == COLUMN_TEXT)
        return get_text(body, column, (char *)at, err);
    if (get_bytes(body, column->size, &value, err) < 0)
        return -1;
    switch (column->size) {
    case 1: *at = (unsigned char)value; break;
    case 4: *(uint32_t *)(void *)at = (uint32_t)value; break;
    default: *(uint64_t *)(void *)at = value; break;
    }
    return 0;
}

int frame_get_row(struct frame_cursor *body, struct frame_row *ret, struct error *err)
{
    uint64_t change = 0;
    if (body->left == 0)
        return 0;
    memset(ret, 0, sizeof *ret);
    if (get_bytes(body, 1, &change, err) < 0 || get_kind(body, &ret->kind, err) < 0)
        return -1;
    if (change > CHANGE_DELETE)
        return error_set(err, ERR_INVALID, "a change of kind %d", (int)change);
    ret->change = (enum change_kind)change;
    const struct row_type *type = row_type(ret->kind);
    if (ret->change == CHANGE_DELETE) {
        if (get_bytes(body, 8, &ret->row.id, err) < 0)
            return -1;
    } else {
        for (size_t i = 0; i < type->column_count; i++) {
            if (get_column(body, &type->columns[i], &ret->row, err) < 0)
                return -1;
        }
    }
    return ret->row.id ? 1 : error_set(err, ERR_INVALID, "a %s without an id", type->name);
}

uint64_t frame_schema(void)
{
    uint64_t hash = CORE_DIGEST_START;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct row_type *type = row_type((enum row_kind)kind);
        for (size_t i = 0; i < type->column_count; i++) {
            const struct column *column = &type->columns[i];
            for (const char *c = column->name; *c; c++)
                hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
            hash = (hash ^ (uint64_t)column->type) * 0x100000001b3u;
            hash = (hash ^ column->size) * 0x100000001b3u;
        }
        hash = (hash ^ (uint64_t)kind) * 0x100000001b3u;
    }
    return hash;
}
