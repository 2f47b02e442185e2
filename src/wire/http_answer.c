/* Answers: see http.h. They are written into the connection's output at once; conn_service sends
 * what gathered there, so a small answer, or several pipelined ones, are one write. */
#include "wire/http_internal.h"

#include "base/clock.h"
#include "wire/http_text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ------- heads ------- */

const char *answer_date(struct http_server *server)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t now_s = clock_wall_about_ms() / 1000;
    if (now_s == server->date_s)
        return server->date;
    time_t moment = (time_t)now_s;
    struct tm tm;
    gmtime_r(&moment, &tm);
    snprintf(server->date, sizeof server->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
        days + 3 * tm.tm_wday, (unsigned)tm.tm_mday % 100, months + 3 * tm.tm_mon,
        (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
        (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    server->date_s = now_s;
    return server->date;
}

/* What the server itself writes. */
#define SERVERS_OWN                                                                                \
    (HTTP_NAME_BIT(HTTP_NAME_CONTENT_LENGTH) | HTTP_NAME_BIT(HTTP_NAME_TRANSFER_ENCODING) |        \
        HTTP_NAME_BIT(HTTP_NAME_CONNECTION) | HTTP_NAME_BIT(HTTP_NAME_DATE) |                      \
        HTTP_NAME_BIT(HTTP_NAME_UPGRADE))

static bool fields_are_safe(const struct http_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct http_field field = http_field_known(fields[i]);
        assert(!http_name_among(field.known, SERVERS_OWN));
        if (!http_field_valid(&field))
            return false;
    }
    return true;
}

static void put_field(struct http_buffer *out, const char *name, const char *value)
{
    http_buffer_put_field(out, name, strlen(name), value, strlen(value));
}

static void note_answer(struct http_conn *conn, int status)
{
    const struct http_request *request = conn->request.open ? &conn->request : NULL;
    if (conn->server->options.on_answer)
        conn->server->options.on_answer(request, status, conn->server->options.ctx);
}

/* The same for all answers of a second that have the same status, as most have. */
static void make_start(struct http_server *server, int status, const char *date)
{
    struct strbuf *start = &server->start;
    strbuf_clear(start);
    strbuf_printf(
        start, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http_status_phrase(status), date);
    strbuf_append(start, strbuf_text(&server->common_fields), server->common_fields.length);
    server->start_status = status;
    server->start_s = server->date_s;
}

/* The status line and what every answer carries. */
static void put_start(struct http_conn *conn, int status)
{
    struct http_server *server = conn->server;
    const char *date = answer_date(server);
    if (server->start_status != status || server->start_s != server->date_s)
        make_start(server, status, date);
    http_buffer_append(&conn->output, server->start.text, server->start.length);
    note_answer(conn, status);
}

bool answer_can_discard(const struct http_conn *conn)
{
    return conn->body.framing == HTTP_BODY_LENGTH && !conn->continue_due &&
           conn->body.remaining <= DISCARD_BYTES_MAX;
}

/* Decides, as late as the head allows, whether the connection can serve another request. */
static void put_connection(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    bool reading = request->body_mode != BODY_UNASKED && request->answer == ANSWER_BEGUN;
    bool rest = !conn->body.complete && !reading;
    if (conn->server->draining || (rest && !answer_can_discard(conn)))
        request->close_after = true;
    if (request->close_after)
        put_field(&conn->output, "Connection", "close");
    else if (conn->parser.head.minor_version == 0)
        put_field(&conn->output, "Connection", "keep-alive");
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

/* length -1: unknown. */
static void put_head(struct http_conn *conn, int status, const struct http_field *fields,
    size_t field_count, int64_t length)
{
    struct http_request *request = &conn->request;
    bool has_body = status_has_body(status);
    bool old = conn->parser.head.minor_version == 0;
    if (conn->carried) {
        bool ends = request->answer == ANSWER_NONE && (request->is_head || length == 0);
        note_answer(conn, status);
        http2_put_head(conn, status, fields, field_count, has_body ? length : -1, ends);
        return;
    }
    put_start(conn, status);
    for (size_t i = 0; i < field_count; i++) {
        struct http_field field = http_field_known(fields[i]);
        http_buffer_put_field(
            &conn->output, field.name, field.name_length, field.value, field.value_length);
    }
    if (length < 0 && has_body && old)
        request->close_after = true;
    put_connection(conn);
    if (has_body && length >= 0)
        http_buffer_put_length(&conn->output, (uint64_t)length);
    else if (has_body && !old)
        put_field(&conn->output, "Transfer-Encoding", "chunked");
    http_buffer_append(&conn->output, "\r\n", 2);
}

/* ------- whole answers ------- */

static void complete(struct http_request *request)
{
    request->answer = ANSWER_COMPLETE;
    conn_attend(request_conn(request));
}

static void problem_text(struct strbuf *out, int status, const char *detail)
{
    strbuf_printf(out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":",
        http_status_phrase(status), status);
    strbuf_json(out, detail);
    strbuf_puts(out, "}\n");
}

static const struct http_field problem_type = {"Content-Type", "application/problem+json"};

static void respond_unsafe(struct http_request *request)
{
    struct strbuf body = {0};
    problem_text(&body, 500, "the answer had a field that may not be sent");
    http_respond(request, 500, &problem_type, 1, body.text, body.length);
    strbuf_finish(&body);
}

void http_respond(struct http_request *request, int status, const struct http_field *fields,
    size_t field_count, const void *body, size_t length)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer == ANSWER_NONE);
    assert(status >= 200 && status <= 599 && (status_has_body(status) || length == 0));
    if (!fields_are_safe(fields, field_count)) {
        respond_unsafe(request);
        return;
    }
    if (conn->state != CONN_DEAD) {
        put_head(conn, status, fields, field_count, (int64_t)length);
        if (!request->is_head)
            http_buffer_append(&conn->output, body, length);
    }
    complete(request);
}

void answer_throttled(struct http_conn *conn, uint32_t retry_after_s)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", retry_after_s);
    const struct http_field fields[] = {problem_type, {"Retry-After", seconds}};
    struct strbuf body = {0};
    problem_text(&body, 429, "too many requests from this address");
    http_respond(&conn->request, 429, fields, ARRAY_LEN(fields), body.text, body.length);
    strbuf_finish(&body);
}

struct http_field answer_refusal(
    const struct http_conn *conn, int status, const char *detail, struct strbuf *out)
{
    const struct http_server_options *options = &conn->server->options;
    const char *path = conn->request.open ? conn->request.path : "";
    struct http_field type = problem_type;
    if (options->refusal)
        type.value = options->refusal(path, status, detail, out, options->ctx);
    else
        problem_text(out, status, detail);
    return type;
}

void answer_packed(struct http_conn *conn)
{
    struct strbuf body = {0};
    const struct http_field type = answer_refusal(
        conn, 415, "a body may have the Content-Encoding gzip, deflate or zstd, or none", &body);
    const struct http_field fields[] = {type, {"Accept-Encoding", "gzip, deflate, zstd"}};
    http_respond(&conn->request, 415, fields, ARRAY_LEN(fields), body.text, body.length);
    strbuf_finish(&body);
}

void answer_fault(
    struct http_conn *conn, int status, struct http_field type, const struct strbuf *body)
{
    assert(!conn->request.open && conn->state != CONN_DEAD);
    if (conn->carried) {
        note_answer(conn, status);
        http2_put_head(conn, status, &type, 1, (int64_t)body->length, false);
    } else {
        put_start(conn, status);
        put_field(&conn->output, type.name, type.value);
        put_field(&conn->output, "Connection", "close");
        http_buffer_put_length(&conn->output, body->length);
        http_buffer_append(&conn->output, "\r\n", 2);
    }
    http_buffer_append(&conn->output, body->text, body->length);
}

/* ------- streamed answers ------- */

/* A 500 in the place of a streamed answer: what the handler goes on to write is dropped. */
static void respond_void(struct http_request *request)
{
    struct http_conn *conn = request_conn(request);
    struct strbuf body = {0};
    problem_text(&body, 500, "the answer had a field that may not be sent");
    put_head(conn, 500, &problem_type, 1, (int64_t)body.length);
    if (!request->is_head)
        http_buffer_append(&conn->output, body.text, body.length);
    strbuf_finish(&body);
    request->answer_void = true;
    conn_attend(conn);
}

void http_respond_begin(struct http_request *request, int status, const struct http_field *fields,
    size_t field_count, int64_t length)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer == ANSWER_NONE);
    assert(status >= 200 && status <= 599 && status_has_body(status) && length >= -1);
    request->answer = ANSWER_BEGUN;
    if (conn->state == CONN_DEAD)
        return;
    if (!fields_are_safe(fields, field_count)) {
        respond_void(request);
        return;
    }
    put_head(conn, status, fields, field_count, length);
    request->answer_chunked = length < 0 && conn->parser.head.minor_version == 1 && !conn->carried;
    request->answer_counted = length >= 0;
    request->answer_left = length >= 0 ? (uint64_t)length : 0;
    conn_attend(conn);
}

/* A large piece is sent from where it is, behind what was gathered; only what the system does not
 * take is copied. Smaller ones are gathered: a call costs more than copying them. */
static void put_piece(struct http_conn *conn, const char *bytes, size_t length)
{
    enum { DIRECT_BYTES = 4096 };
    struct http_buffer *out = &conn->output;
    size_t waiting = http_buffer_length(out), sent = 0;
    if (length >= DIRECT_BYTES && !conn->socket.tls && !conn->write_blocked)
        sent =
            http_socket_write_both(&conn->socket, http_buffer_bytes(out), waiting, bytes, length);
    size_t of_piece = sent > waiting ? sent - waiting : 0;
    http_buffer_consume(out, sent - of_piece);
    http_buffer_append(out, bytes + of_piece, length - of_piece);
}

static void put_chunk(struct http_conn *conn, const void *bytes, size_t length)
{
    char size[HTTP_DIGITS_MAX];
    http_buffer_append(&conn->output, size, http_chunk_size(size, length));
    put_piece(conn, bytes, length);
    http_buffer_append(&conn->output, "\r\n", 2);
}

bool http_respond_write(struct http_request *request, const void *bytes, size_t length)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer == ANSWER_BEGUN);
    if (request->answer_counted) {
        assert(length <= request->answer_left);
        request->answer_left -= length;
    }
    if (conn->state == CONN_DEAD || length == 0)
        return !request->wants_drain;
    if (!request->is_head && !request->answer_void) {
        if (request->answer_chunked)
            put_chunk(conn, bytes, length);
        else
            put_piece(conn, bytes, length);
    }
    request->wants_drain = output_is_high(conn);
    conn_attend(conn);
    return !request->wants_drain;
}

void http_request_on_drain(struct http_request *request, http_on_notice *on_drain, void *ctx)
{
    assert(request->open);
    request->on_drain = on_drain;
    request->drain_ctx = ctx;
}

void http_respond_end(struct http_request *request)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer == ANSWER_BEGUN);
    if (request->answer_chunked && !request->is_head && conn->state != CONN_DEAD)
        http_buffer_append(&conn->output, "0\r\n\r\n", 5);
    if (request->answer_counted && request->answer_left > 0 && !request->is_head)
        request->aborted = true;
    complete(request);
}

void http_request_abort(struct http_request *request)
{
    assert(request->open && request->answer != ANSWER_COMPLETE);
    request->aborted = true;
    complete(request);
}

/* ------- upgrade ------- */

bool http_request_wants_upgrade(const struct http_request *request, const char *protocol)
{
    const struct http_head *head = &request_conn((struct http_request *)request)->parser.head;
    const char *asked = http_request_header(request, "upgrade");
    return head->connection_upgrade && head->framing == HTTP_BODY_NONE && asked &&
           http_list_has(asked, strlen(asked), protocol);
}

void http_respond_upgrade(
    struct http_request *request, const char *protocol, http_on_upgrade *on_upgrade, void *ctx)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer == ANSWER_NONE);
    assert(http_request_wants_upgrade(request, protocol));
    if (conn->state != CONN_DEAD) {
        put_start(conn, 101);
        put_field(&conn->output, "Connection", "Upgrade");
        put_field(&conn->output, "Upgrade", protocol);
        http_buffer_append(&conn->output, "\r\n", 2);
    }
    request->on_upgrade = on_upgrade;
    request->upgrade_ctx = ctx;
    complete(request);
}
