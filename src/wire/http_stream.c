/* Upgraded connections: bytes both ways. See http.h; conn_service drives them (http_conn.c). */
#include "wire/http_internal.h"

void stream_begin(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    struct http_stream *stream = &conn->stream;
    assert(!stream->open && request->on_upgrade);
    *stream = (struct http_stream){.open = true};
    conn->server->stats.streams++;
    request->on_upgrade(stream, request->upgrade_ctx);
    if (conn->state != CONN_DEAD || !stream->open)
        return;
    stream->open = false;
    conn->server->stats.streams--;
    if (stream->on_close)
        stream->on_close(stream->ctx);
}

void http_stream_set_callbacks(struct http_stream *stream, http_stream_on_read *on_read,
    http_on_notice *on_drain, http_on_notice *on_close, void *ctx)
{
    assert(stream->open && on_read && on_close);
    stream->on_read = on_read;
    stream->on_drain = on_drain;
    stream->on_close = on_close;
    stream->ctx = ctx;
    conn_attend(stream_conn(stream));
}

bool http_stream_write(struct http_stream *stream, const void *bytes, size_t length)
{
    struct http_conn *conn = stream_conn(stream);
    assert(stream->open);
    if (conn->state == CONN_DEAD || length == 0)
        return !stream->wants_drain;
    http_buffer_append(&conn->output, bytes, length);
    stream->wants_drain = output_is_high(conn);
    conn_attend(conn);
    return !stream->wants_drain;
}

void http_stream_pause(struct http_stream *stream)
{
    assert(stream->open);
    stream->paused = true;
}

void http_stream_resume(struct http_stream *stream)
{
    assert(stream->open);
    stream->paused = false;
    conn_attend(stream_conn(stream));
}

void http_stream_close(struct http_stream *stream)
{
    struct http_conn *conn = stream_conn(stream);
    assert(stream->open);
    stream->open = false;
    conn->server->stats.streams--;
    conn_attend(conn);
}

const struct http_peer *http_stream_peer(const struct http_stream *stream)
{
    return &stream_conn((struct http_stream *)stream)->peer;
}
