/* The blocking client: see http.h. One exchange is: connect if need be, send the head and the body,
 * read heads until one is final, read the body. Invariants:
 *  1. the connection is kept only after an exchange that ended where both sides agree it ended;
 *     after anything else it is closed, so an answer can never be taken for another's;
 *  2. nothing is repeated by itself: whether to try again is the caller's to know. */
#include "wire/http.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "wire/http_body.h"
#include "wire/http_buffer.h"
#include "wire/http_dial.h"
#include "wire/http_parse.h"
#include "wire/http_socket.h"
#include "wire/http_text.h"
#include "wire/url.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    FIELD_COUNT_MAX = 128,
    STATUS_LINE_BYTES_MAX = 4096,
    INTERIM_MAX = 16, /* 1xx answers before the final one */
    READ_BYTES = 32 * 1024,
    SOURCE_BYTES = 32 * 1024,
    COLLECT_BYTES_MAX = 16 * 1024 * 1024,
    CONNECT_MS = 10 * 1000,
    IO_MS = 60 * 1000,
};

struct http_client {
    struct url_endpoint endpoint;
    struct strbuf authority;
    char *authorization; /* the field's value, or NULL */
    char *user_agent;
    struct tls_client *tls;
    int64_t connect_ms;
    int64_t io_ms_default;
    int64_t io_ms; /* of the exchange under way */
    size_t head_bytes_max;

    struct http_socket socket;
    struct http_buffer input;
    bool input_ended;
    bool upgraded;
};

/* ------- life ------- */

static void client_disconnect(struct http_client *client)
{
    http_socket_close(&client->socket);
    http_buffer_finish(&client->input);
    client->input_ended = client->upgraded = false;
}

void http_client_destroy(struct http_client *client)
{
    if (!client)
        return;
    client_disconnect(client);
    tls_client_destroy(client->tls);
    strbuf_finish(&client->authority);
    if (client->authorization)
        explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client->user_agent);
    free(client);
}

static void client_scope(struct http_client **client)
{
    http_client_destroy(*client);
}

static int set_token(struct http_client *client, const char *token, struct error *err)
{
    if (!token)
        return 0;
    if (client->endpoint.scheme == URL_HTTP && !url_endpoint_is_local(&client->endpoint))
        return error_set(err, ERR_DENIED, "a token is not sent in the clear: use https:// for %s",
            client->endpoint.host);
    if (token[0] == '\0' || !http_value_valid(token, strlen(token)))
        return error_set(err, ERR_INVALID, "the token is empty or has a control character");
    size_t size = strlen(token) + sizeof "Bearer ";
    client->authorization = mem_alloc(size, 1);
    snprintf(client->authorization, size, "Bearer %s", token);
    return 0;
}

int http_client_create(
    const struct http_client_options *options, struct http_client **ret_client, struct error *err)
{
    SCOPED(client_scope) struct http_client *client = mem_alloc(1, sizeof *client);
    client->socket.fd = -1;
    client->connect_ms = options->connect_ms ? options->connect_ms : CONNECT_MS;
    client->io_ms_default = client->io_ms = options->io_ms ? options->io_ms : IO_MS;
    client->head_bytes_max = options->head_bytes_max ? options->head_bytes_max : 32 * 1024;
    client->user_agent = mem_strdup(options->user_agent ? options->user_agent : "muster");
    if (url_endpoint_parse(options->endpoint, &client->endpoint, err) < 0 ||
        set_token(client, options->bearer_token, err) < 0)
        return -1;
    if (client->endpoint.scheme == URL_HTTPS &&
        tls_client_create(options->ca_path, &client->tls, err) < 0)
        return -1;
    url_endpoint_authority(&client->endpoint, &client->authority);
    *ret_client = client;
    client = NULL;
    return 0;
}

/* ------- bytes ------- */

static short events_of(enum tls_need need)
{
    return need == TLS_NEED_WRITE ? POLLOUT : POLLIN;
}

/* Reads what there is without waiting: 0, or -1. The end sets input_ended. */
static int fill_now(struct http_client *client, enum tls_need *ret_need, struct error *err)
{
    char *room = http_buffer_reserve(&client->input, READ_BYTES);
    ssize_t n = http_socket_read(&client->socket, room, READ_BYTES, ret_need, err);
    if (n < 0)
        return -1;
    client->input.end += (size_t)n;
    if (n == 0 && *ret_need == TLS_NEED_NOTHING)
        client->input_ended = true;
    return 0;
}

/* Waits until there are more bytes or the end. */
static int fill(struct http_client *client, int64_t timeout_ms, struct error *err)
{
    size_t before = http_buffer_length(&client->input);
    while (!client->input_ended) {
        enum tls_need need = TLS_NEED_NOTHING;
        if (fill_now(client, &need, err) < 0)
            return -1;
        if (http_buffer_length(&client->input) > before || client->input_ended)
            return 0;
        int ready = http_wait(client->socket.fd, events_of(need), timeout_ms, err);
        if (ready < 0)
            return -1;
        if (ready == 0)
            return error_set(
                err, ERR_BUSY, "the server sent nothing for %lld ms", (long long)timeout_ms);
    }
    return 0;
}

/* Sends everything: 0; 1 when the server answered before that, or closed; -1. */
static int send_watching(
    struct http_client *client, const char *bytes, size_t length, struct error *err)
{
    while (length > 0) {
        enum tls_need need = TLS_NEED_WRITE;
        ssize_t n = http_socket_write(&client->socket, bytes, length, &need, err);
        if (n < 0)
            return 1; /* why it closed may be waiting to be read */
        bytes += n;
        length -= (size_t)n;
        if (n > 0)
            continue;
        int ready =
            http_wait(client->socket.fd, (short)(events_of(need) | POLLIN), client->io_ms, err);
        if (ready < 0)
            return -1;
        if (ready == 0)
            return error_set(
                err, ERR_UNKNOWN, "the server took no bytes for %lld ms", (long long)client->io_ms);
        if (fill_now(client, &need, err) < 0)
            return 1;
        if (http_buffer_length(&client->input) > 0 || client->input_ended)
            return 1;
    }
    return 0;
}

/* ------- the request ------- */

static int put_field(struct strbuf *out, const char *name, const char *value, struct error *err)
{
    if (!http_token_valid(name, strlen(name)) || !http_value_valid(value, strlen(value)))
        return error_set(err, ERR_INVALID, "the field %.60s has a value that cannot be sent", name);
    strbuf_printf(out, "%s: %s\r\n", name, value);
    return 0;
}

static bool target_valid(const char *target)
{
    if (target[0] != '/')
        return false;
    for (const char *s = target; *s; s++) {
        if (*s <= ' ' || *s > '~')
            return false;
    }
    return true;
}

static bool method_has_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static int head_build(const struct http_client *client, const struct http_client_request *request,
    const char *protocol, struct strbuf *out, struct error *err)
{
    const char *method = request->method ? request->method : "GET";
    if (!http_token_valid(method, strlen(method)) || !target_valid(request->target))
        return error_set(err, ERR_INVALID, "cannot send %.20s %.100s", method, request->target);
    strbuf_printf(out, "%s %s HTTP/1.1\r\n", method, request->target);
    if (put_field(out, "Host", strbuf_text(&client->authority), err) < 0 ||
        put_field(out, "User-Agent", client->user_agent, err) < 0)
        return -1;
    if (client->authorization && put_field(out, "Authorization", client->authorization, err) < 0)
        return -1;
    for (size_t i = 0; i < request->field_count; i++) {
        if (put_field(out, request->fields[i].name, request->fields[i].value, err) < 0)
            return -1;
    }
    if (protocol && (put_field(out, "Connection", "upgrade", err) < 0 ||
                        put_field(out, "Upgrade", protocol, err) < 0))
        return -1;
    if (request->source)
        strbuf_puts(out, "Transfer-Encoding: chunked\r\n");
    else if (request->body_length > 0 || method_has_body(method))
        strbuf_printf(out, "Content-Length: %zu\r\n", request->body_length);
    strbuf_puts(out, "\r\n");
    return 0;
}

/* The body from its source, a chunk at a time. Returns as send_watching. */
static int send_source(
    struct http_client *client, const struct http_client_request *request, struct error *err)
{
    SCOPED(mem_scope) char *piece = mem_alloc(1, SOURCE_BYTES);
    struct strbuf chunk = {0};
    int sent = 0;
    for (bool end = false; sent == 0 && !end;) {
        ssize_t n = request->source(piece, SOURCE_BYTES, request->source_ctx, err);
        if (n < 0) {
            sent = -1;
            break;
        }
        assert(n <= SOURCE_BYTES);
        end = n == 0;
        strbuf_clear(&chunk);
        strbuf_printf(&chunk, "%zx\r\n", (size_t)n);
        strbuf_append(&chunk, piece, (size_t)n);
        strbuf_puts(&chunk, "\r\n");
        sent = send_watching(client, chunk.text, chunk.length, err);
    }
    strbuf_finish(&chunk);
    return sent;
}

static int send_request(struct http_client *client, const struct http_client_request *request,
    struct strbuf *head, struct error *err)
{
    enum { TOGETHER_BYTES_MAX = 64 * 1024 };
    bool together = request->body_length > 0 && request->body_length <= TOGETHER_BYTES_MAX;
    if (together)
        strbuf_append(head, request->body, request->body_length);
    int sent = send_watching(client, head->text, head->length, err);
    if (sent == 0 && request->source)
        return send_source(client, request, err);
    if (sent == 0 && request->body_length > 0 && !together)
        return send_watching(client, request->body, request->body_length, err);
    return sent;
}

/* ------- the answer ------- */

void http_client_response_finish(struct http_client_response *response)
{
    free(response->fields); /* their texts are in the same block */
    free(response->body);
    *response = (struct http_client_response){0};
}

const char *http_client_response_header(
    const struct http_client_response *response, const char *name)
{
    for (size_t i = 0; i < response->field_count; i++) {
        if (strcasecmp(response->fields[i].name, name) == 0)
            return response->fields[i].value;
    }
    return NULL;
}

static void response_init(
    struct http_client_response *response, const struct http_head *head, const char *bytes)
{
    size_t fields_size = (head->field_count + 1) * sizeof *response->fields;
    char *block = mem_alloc(1, fields_size + head->bytes + 1);
    char *text = block + fields_size;
    memcpy(text, bytes, head->bytes);
    *response = (struct http_client_response){.status = head->status,
        .fields = (struct http_field *)block,
        .field_count = head->field_count};
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field_slice *slice = &head->fields[i];
        text[slice->name.offset + slice->name.length] = '\0';
        text[slice->value.offset + slice->value.length] = '\0';
        response->fields[i].name = text + slice->name.offset;
        response->fields[i].value = text + slice->value.offset;
    }
}

static int ended_early(struct error *err)
{
    return error_set(err, ERR_UNKNOWN, "the server closed the connection before its answer ended");
}

/* One head, final or not. On success its bytes are still in the input. */
static int read_head(struct http_client *client, struct http_head_parser *parser, struct error *err)
{
    for (;;) {
        size_t length = http_buffer_length(&client->input);
        enum http_parse_result result = HTTP_PARSE_MORE;
        if (length > 0)
            result = http_head_parse(parser, http_buffer_bytes(&client->input), length);
        if (result == HTTP_PARSE_DONE)
            return 0;
        if (result == HTTP_PARSE_FAULT)
            return error_set(
                err, ERR_INVALID, "the server's answer is not HTTP/1.1: %s", parser->fault->text);
        if (client->input_ended)
            return ended_early(err);
        if (fill(client, client->io_ms, err) < 0)
            return -1;
    }
}

/* The final head: 1xx before it are skipped, 101 is final when asked for. */
static int read_final_head(struct http_client *client, bool upgrading,
    struct http_head_parser *parser, struct http_field_slice *slices, struct error *err)
{
    const struct http_head_limits limits = {.line_bytes = STATUS_LINE_BYTES_MAX,
        .field_bytes = (uint32_t)client->head_bytes_max,
        .field_count = FIELD_COUNT_MAX};
    for (int i = 0; i < INTERIM_MAX; i++) {
        http_head_parser_init(parser, HTTP_RESPONSE, &limits, slices);
        if (read_head(client, parser, err) < 0)
            return -1;
        int status = parser->head.status;
        if (status >= 200 || (status == 101 && upgrading))
            return 0;
        if (status == 101)
            return error_set(err, ERR_INVALID, "the server switched protocols unasked");
        http_buffer_consume(&client->input, parser->head.bytes);
    }
    return error_set(err, ERR_INVALID, "the server sent too many interim answers");
}

struct body_sink {
    http_client_sink *sink; /* NULL: collect */
    void *ctx;
    size_t collect_max;
    struct strbuf collected;
    bool stopped;
};

static int sink_take(struct body_sink *sink, const char *bytes, size_t length, struct error *err)
{
    if (sink->sink) {
        sink->stopped = sink->sink(bytes, length, sink->ctx) != 0;
        return 0;
    }
    if (length > sink->collect_max - sink->collected.length)
        return error_set(
            err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", sink->collect_max);
    strbuf_append(&sink->collected, bytes, length);
    return 0;
}

static int read_body(
    struct http_client *client, struct http_body *body, struct body_sink *sink, struct error *err)
{
    while (!sink->stopped) {
        size_t used, piece, length = http_buffer_length(&client->input);
        const char *bytes = http_buffer_bytes(&client->input);
        enum http_parse_result result = http_body_next(body, bytes, length, &used, &piece);
        if (result == HTTP_PARSE_FAULT)
            return error_set(
                err, ERR_INVALID, "the server's answer is not HTTP/1.1: %s", body->fault->text);
        if (piece > 0 && sink_take(sink, bytes + used - piece, piece, err) < 0)
            return -1;
        http_buffer_consume(&client->input, used);
        if (result == HTTP_PARSE_DONE)
            return 0;
        if (used > 0)
            continue;
        if (client->input_ended)
            return body->framing == HTTP_BODY_UNTIL_CLOSE ? 0 : ended_early(err);
        if (fill(client, client->io_ms, err) < 0)
            return -1;
    }
    return 0;
}

/* ------- the exchange ------- */

/* A kept connection on which something came unasked, most likely its end, is no good. */
static bool connection_is_good(struct http_client *client)
{
    enum tls_need need = TLS_NEED_NOTHING;
    if (client->socket.fd < 0 || client->input_ended || http_buffer_length(&client->input) > 0)
        return false;
    if (fill_now(client, &need, NULL) < 0)
        return false;
    return !client->input_ended && http_buffer_length(&client->input) == 0;
}

static int client_connect(struct http_client *client, struct error *err)
{
    if (connection_is_good(client))
        return 0;
    client_disconnect(client);
    return http_dial(&client->endpoint, client->tls, client->connect_ms, &client->socket, err);
}

/* After the request was sent every failure leaves open whether it was done. */
static int outcome_unknown(struct error *err)
{
    if (err && (err->code == ERR_IO || err->code == ERR_BUSY))
        err->code = ERR_UNKNOWN;
    return -1;
}

static int read_answer(struct http_client *client, const struct http_client_request *request,
    bool upgrading, struct http_client_response *response, bool *ret_keep, struct error *err)
{
    struct http_field_slice slices[FIELD_COUNT_MAX];
    struct http_head_parser parser;
    struct http_body body;
    if (read_final_head(client, upgrading, &parser, slices, err) < 0)
        return -1;
    const struct http_head *head = &parser.head;
    response_init(response, head, http_buffer_bytes(&client->input));
    http_buffer_consume(&client->input, head->bytes);
    bool to_head = request->method && strcmp(request->method, "HEAD") == 0;
    bool has_body = http_response_has_body(head, to_head);
    http_body_init(&body, has_body ? head->framing : HTTP_BODY_NONE, head->content_length);
    struct body_sink sink = {.sink = head->status < 400 ? request->sink : NULL,
        .ctx = request->sink_ctx,
        .collect_max = request->collect_max ? request->collect_max : COLLECT_BYTES_MAX};
    int result = read_body(client, &body, &sink, err);
    response->body_length = sink.collected.length;
    response->body = strbuf_steal(&sink.collected);
    response->stopped = sink.stopped;
    *ret_keep = head->keep_alive && body.complete && !sink.stopped;
    return result;
}

static int exchange(struct http_client *client, const struct http_client_request *request,
    const char *protocol, struct http_client_response *ret_response, struct error *err)
{
    SCOPED(http_client_response_finish) struct http_client_response response = {0};
    struct strbuf head = {0};
    bool keep = false;
    client->io_ms = request->io_ms ? request->io_ms : client->io_ms_default;
    int sent = head_build(client, request, protocol, &head, err);
    if (sent == 0)
        sent = client_connect(client, err);
    bool connected = sent == 0;
    if (connected)
        sent = send_request(client, request, &head, err);
    if (head.text)
        explicit_bzero(head.text, head.capacity); /* it may hold the token */
    strbuf_finish(&head);
    if (!connected)
        return -1;
    int result = sent < 0 ? -1 : read_answer(client, request, protocol, &response, &keep, err);
    client->upgraded = result == 0 && response.status == 101;
    if (!client->upgraded && (!keep || sent != 0))
        client_disconnect(client);
    if (result < 0)
        return outcome_unknown(err);
    *ret_response = response;
    response = (struct http_client_response){0};
    return 0;
}

int http_client_exchange(struct http_client *client, const struct http_client_request *request,
    struct http_client_response *ret_response, struct error *err)
{
    assert(!client->upgraded && !(request->body_length > 0 && request->source));
    return exchange(client, request, NULL, ret_response, err);
}

int http_client_upgrade(struct http_client *client, const struct http_client_request *request,
    const char *protocol, struct http_client_response *ret_response, struct error *err)
{
    assert(!client->upgraded && !request->source && request->body_length == 0);
    return exchange(client, request, protocol, ret_response, err);
}

/* ------- after an upgrade ------- */

ssize_t http_client_read(
    struct http_client *client, void *out, size_t room, int64_t timeout_ms, struct error *err)
{
    assert(client->upgraded && room > 0);
    if (http_buffer_length(&client->input) == 0 && fill(client, timeout_ms, err) < 0)
        return -1;
    size_t length = http_buffer_length(&client->input);
    length = length < room ? length : room;
    memcpy(out, http_buffer_bytes(&client->input), length);
    http_buffer_consume(&client->input, length);
    return (ssize_t)length;
}

int http_client_write(
    struct http_client *client, const void *bytes, size_t length, struct error *err)
{
    const char *next = bytes;
    assert(client->upgraded);
    while (length > 0) {
        enum tls_need need = TLS_NEED_WRITE;
        ssize_t n = http_socket_write(&client->socket, next, length, &need, err);
        if (n < 0)
            return -1;
        next += n;
        length -= (size_t)n;
        int ready = n > 0 ? 1 : http_wait(client->socket.fd, events_of(need), client->io_ms, err);
        if (ready < 0)
            return -1;
        if (ready == 0)
            return error_set(
                err, ERR_IO, "the server took no bytes for %lld ms", (long long)client->io_ms);
    }
    return 0;
}

int http_client_end_write(struct http_client *client, struct error *err)
{
    (void)err;
    assert(client->upgraded);
    http_socket_end_write(&client->socket);
    return 0;
}

int http_client_fd(const struct http_client *client)
{
    return client->socket.fd;
}

bool http_client_pending(const struct http_client *client)
{
    return http_buffer_length(&client->input) > 0 ||
           (client->socket.tls && tls_session_pending(client->socket.tls));
}
