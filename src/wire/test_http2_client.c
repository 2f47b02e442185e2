/* The client of HTTP/2 that the tests use: see test_http2_client.h. */
#include "wire/test_http2_client.h"

#include "base/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAME_HEAD = 9 };

uint32_t number_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void put_number(uint8_t *out, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* A server that has said GOAWAY may be gone: what cannot be sent is left. */
static void put(struct http2_client *client, const void *bytes, size_t length)
{
    const char *next = bytes;
    for (int turns = 0; length > 0 && turns < TURNS_MAX; turns++) {
        ssize_t n = send(client->fd, next, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            next += n;
            length -= (size_t)n;
        } else if (errno != EAGAIN) {
            return;
        }
        turn(client->fix);
    }
}

void client_frame(struct http2_client *client, uint8_t type, uint8_t flags, int32_t stream,
    const void *payload, size_t length)
{
    uint8_t head[FRAME_HEAD] = {
        (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length, type, flags};
    struct strbuf whole = {0};
    put_number(head + 5, (uint32_t)stream);
    strbuf_append(&whole, head, sizeof head);
    strbuf_append(&whole, payload, length);
    put(client, whole.text, whole.length);
    strbuf_finish(&whole);
}

void client_destroy(struct http2_client *client)
{
    close(client->fd);
    nghttp2_hd_inflate_del(client->inflater);
    strbuf_finish(&client->got);
    strbuf_finish(&client->block);
    strbuf_finish(&client->fields);
    strbuf_finish(&client->body);
    free(client);
}

/* ------- heads ------- */

/* A length in HPACK: seven bits, then more. */
static void put_length(struct strbuf *out, size_t length)
{
    if (length < 127) {
        strbuf_putc(out, (char)length);
        return;
    }
    strbuf_putc(out, 127);
    for (length -= 127; length >= 128; length >>= 7)
        strbuf_putc(out, (char)(length % 128 + 128));
    strbuf_putc(out, (char)length);
}

void client_field(struct http2_client *client, const char *name, const char *value)
{
    strbuf_putc(&client->block, 0); /* literal, not indexed */
    put_length(&client->block, strlen(name));
    strbuf_puts(&client->block, name);
    put_length(&client->block, strlen(value));
    strbuf_puts(&client->block, value);
}

void client_start(struct http2_client *client, const char *method, const char *path)
{
    client_field(client, ":method", method);
    client_field(client, ":scheme", "http");
    client_field(client, ":authority", "a");
    client_field(client, ":path", path);
}

void client_head(struct http2_client *client, int32_t stream, bool ends)
{
    uint8_t flags = NGHTTP2_FLAG_END_HEADERS | (ends ? NGHTTP2_FLAG_END_STREAM : 0);
    client_frame(
        client, NGHTTP2_HEADERS, flags, stream, strbuf_text(&client->block), client->block.length);
    strbuf_clear(&client->block);
}

void client_get(struct http2_client *client, int32_t stream, const char *path)
{
    client_start(client, "GET", path);
    client_head(client, stream, true);
}

void client_post(struct http2_client *client, int32_t stream, const char *path, const char *body)
{
    client_start(client, "POST", path);
    client_head(client, stream, false);
    client_frame(client, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, stream, body, strlen(body));
}

static void read_fields(struct http2_client *client, const struct frame *frame)
{
    const uint8_t *next = frame->payload;
    size_t left = frame->length;
    int flags = 0;
    strbuf_clear(&client->fields);
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv field;
        ssize_t used = nghttp2_hd_inflate_hd2(client->inflater, &field, &flags, next, left, 1);
        assert_true(used >= 0);
        next += used;
        left -= (size_t)used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            strbuf_printf(
                &client->fields, "%s: %s\n", (const char *)field.name, (const char *)field.value);
    }
    nghttp2_hd_inflate_end_headers(client->inflater);
}

/* ------- frames ------- */

static bool is_whole(const struct http2_client *client)
{
    const uint8_t *head = (const uint8_t *)strbuf_text(&client->got) + client->at;
    size_t left = client->got.length - client->at;
    return left >= FRAME_HEAD && left >= FRAME_HEAD + (number_at(head) >> 8);
}

bool client_next(struct http2_client *client, struct frame *ret)
{
    for (int turns = 0; !is_whole(client); turns++) {
        assert_true(turns < TURNS_MAX);
        if (client->ended)
            return false;
        client->ended = !look(client->fix, client->fd, &client->got);
    }
    const uint8_t *head = (const uint8_t *)client->got.text + client->at;
    *ret = (struct frame){.type = head[3],
        .flags = head[4],
        .stream = (int32_t)number_at(head + 5),
        .payload = head + FRAME_HEAD,
        .length = number_at(head) >> 8};
    client->at += FRAME_HEAD + ret->length;
    if (ret->type == NGHTTP2_HEADERS)
        read_fields(client, ret);
    return true;
}

void client_until(struct http2_client *client, uint8_t type, int32_t stream, struct frame *ret)
{
    while (client_next(client, ret)) {
        if (ret->type == type && ret->stream == stream)
            return;
    }
    fail_msg("the connection ended before a frame of type %u on stream %d came", type, stream);
}

static int status_of(const struct http2_client *client)
{
    const char *text = strstr(strbuf_text(&client->fields), ":status: ");
    assert_non_null(text);
    return atoi(text + strlen(":status: "));
}

int client_answer(struct http2_client *client, int32_t stream)
{
    struct frame frame;
    strbuf_clear(&client->body);
    client_until(client, NGHTTP2_HEADERS, stream, &frame);
    int status = status_of(client);
    while (!(frame.flags & NGHTTP2_FLAG_END_STREAM)) {
        client_until(client, NGHTTP2_DATA, stream, &frame);
        strbuf_append(&client->body, frame.payload, frame.length);
    }
    return status;
}

uint32_t client_reset(struct http2_client *client, int32_t stream)
{
    struct frame frame;
    client_until(client, NGHTTP2_RST_STREAM, stream, &frame);
    assert_int_equal(frame.length, 4);
    return number_at(frame.payload);
}

uint32_t client_goaway(struct http2_client *client)
{
    struct frame frame;
    client_until(client, NGHTTP2_GOAWAY, 0, &frame);
    uint32_t code = number_at(frame.payload + 4);
    while (client_next(client, &frame))
        ;
    return code;
}

struct http2_client *client_create(struct fixture *fix)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct http2_client *client = mem_alloc(1, sizeof *client);
    struct frame frame;
    client->fix = fix;
    client->fd = dial(fix);
    assert_int_equal(nghttp2_hd_inflate_new(&client->inflater), 0);
    put(client, preface, strlen(preface));
    client_frame(client, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    client_until(client, NGHTTP2_SETTINGS, 0, &frame);
    client_frame(client, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, NULL, 0);
    return client;
}

void client_window(struct http2_client *client, int32_t stream, uint32_t bytes)
{
    uint8_t payload[4];
    put_number(payload, bytes);
    client_frame(client, NGHTTP2_WINDOW_UPDATE, 0, stream, payload, sizeof payload);
}
