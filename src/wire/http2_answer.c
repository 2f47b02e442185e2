/* Answers on a stream of HTTP/2: the head is given to the library at once, the body waits in the
 * stream's output until a window and the socket have room for it. */
#include "wire/http2.h"

#include <stdio.h>
#include <string.h>

enum { FIELDS_OWN = 3 }; /* :status, date, content-length */

static nghttp2_nv pair(const char *name, size_t name_length, const char *value, size_t value_length)
{
    return (nghttp2_nv){
        (uint8_t *)name, (uint8_t *)value, name_length, value_length, NGHTTP2_NV_FLAG_NONE};
}

static nghttp2_nv pair_of(const char *name, const char *value)
{
    return pair(name, strlen(name), value, strlen(value));
}

/* The fields of every answer, which are kept as they are sent in HTTP/1.1. */
static size_t put_common(const struct http_server *server, nghttp2_nv *out)
{
    size_t count = 0;
    const char *line = strbuf_text(&server->common_fields), *end;
    for (; (end = strstr(line, "\r\n")); line = end + 2) {
        const char *colon = strchr(line, ':');
        if (out)
            out[count] = pair(line, (size_t)(colon - line), colon + 2, (size_t)(end - colon - 2));
        count++;
    }
    return count;
}

/* The library takes what waits, as much as the windows have room for. */
static ssize_t take_output(nghttp2_session *library, int32_t id, uint8_t *out, size_t room,
    uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
    struct http2_stream *stream = nghttp2_session_get_stream_user_data(library, id);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* left: a reset is on its way */
    struct http_conn *conn = &stream->conn;
    size_t length = http_buffer_length(&conn->output);
    size_t taken = length < room ? length : room;
    (void)source, (void)ctx;
    if (taken > 0) {
        memcpy(out, http_buffer_bytes(&conn->output), taken);
        http_buffer_consume(&conn->output, taken);
        conn_sent(conn, taken);
    }
    if (taken == length && conn->state == CONN_SENT)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (taken == 0)
        stream->deferred = true;
    conn_attend(conn); /* who was told to wait may go on */
    return stream->deferred ? NGHTTP2_ERR_DEFERRED : (ssize_t)taken;
}

void http2_put_head(struct http_conn *conn, int status, const struct http_field *fields,
    size_t field_count, int64_t length, bool ends)
{
    struct http2_stream *stream = conn->carried;
    char status_text[16], length_text[24];
    size_t common = put_common(conn->server, NULL), count = 0;
    if (!stream->session)
        return;
    if (!conn->arena)
        conn->arena = spares_arena(&conn->server->spares);
    nghttp2_nv *all = arena_alloc(conn->arena, field_count + common + FIELDS_OWN, sizeof *all);
    snprintf(status_text, sizeof status_text, "%d", status);
    all[count++] = pair_of(":status", status_text);
    all[count++] = pair_of("date", answer_date(conn->server));
    count += put_common(conn->server, all + count);
    for (size_t i = 0; i < field_count; i++)
        all[count++] = pair_of(fields[i].name, fields[i].value);
    if (length >= 0) {
        snprintf(length_text, sizeof length_text, "%lld", (long long)length);
        all[count++] = pair_of("content-length", length_text);
    }
    nghttp2_data_provider body = {.read_callback = take_output};
    (void)nghttp2_submit_response(
        stream->session->library, stream->id, all, count, ends ? NULL : &body);
    conn_attend(stream->session->conn);
}

void http2_put_continue(struct http_conn *conn)
{
    struct http2_stream *stream = conn->carried;
    const nghttp2_nv status = pair_of(":status", "100");
    if (!stream->session || stream->ended || stream->unconsumed > 0)
        return;
    (void)nghttp2_submit_headers(
        stream->session->library, NGHTTP2_FLAG_NONE, stream->id, NULL, &status, 1, NULL);
    conn_attend(stream->session->conn);
}
