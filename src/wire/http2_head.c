/* The head of a request of HTTP/2 (RFC 9113, 8.3), checked and written as one of HTTP/1.1, so that
 * the same parser says what may pass. The library checks much of this too; what decides whether a
 * request can be read in two ways is checked here, whatever the library's version does. */
#include "wire/http2.h"

#include "wire/http_text.h"

#include <string.h>
#include <strings.h>

static const struct http_fault fault_large = {431, "the header fields are too large"};
static const struct http_fault fault_name = {
    400, "a header field's name is not a token in lower case"};
static const struct http_fault fault_value = {
    400, "a header field's value has a control character, or a space at an end"};
static const struct http_fault fault_hop = {
    400, "a header field is about a connection, which HTTP/2 has no such fields for"};
static const struct http_fault fault_pseudo = {
    400, "a field such as :path is unknown, came twice, or is missing"};
static const struct http_fault fault_path = {400, "the :path does not begin with a slash"};
static const struct http_fault fault_scheme = {400, "the :scheme is not that of this connection"};
static const struct http_fault fault_host = {
    400, ":authority and the Host field name different hosts"};

static bool is_text(const char *bytes, size_t length, const char *text)
{
    return length == strlen(text) && memcmp(bytes, text, length) == 0;
}

static bool has_upper(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z')
            return true;
    }
    return false;
}

/* Fields of one hop (RFC 9113, 8.2.2): an intermediary that passed them on to HTTP/1.1 would let
 * them frame the message. */
static bool is_hop(const char *name, size_t length, const char *value, size_t value_length)
{
    static const char *const names[] = {
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (is_text(name, length, names[i]))
            return true;
    }
    return is_text(name, length, "te") && !is_text(value, value_length, "trailers");
}

/* A value that comes once, and is not empty. */
static const struct http_fault *take_once(
    struct strbuf *out, const char *value, size_t length, const struct http_fault *fault)
{
    if (out->length > 0 || length == 0)
        return fault;
    strbuf_append(out, value, length);
    return NULL;
}

static const struct http_fault *pseudo_add(struct http2_head *head, const char *name,
    size_t name_length, const char *value, size_t value_length)
{
    const struct {
        const char *name;
        struct strbuf *out;
    } rows[] = {
        {":method", &head->method},
        {":path", &head->path},
        {":authority", &head->authority},
        {":scheme", &head->scheme},
    };
    if (head->fields.length > 0 || head->host.length > 0 || head->cookie.length > 0)
        return &fault_pseudo;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (is_text(name, name_length, rows[i].name))
            return take_once(rows[i].out, value, value_length, &fault_pseudo);
    }
    return &fault_pseudo;
}

static const struct http_fault *field_add(struct http2_head *head, const char *name,
    size_t name_length, const char *value, size_t value_length)
{
    if (!http_token_valid(name, name_length) || has_upper(name, name_length))
        return &fault_name;
    if (is_hop(name, name_length, value, value_length))
        return &fault_hop;
    if (is_text(name, name_length, "host"))
        return take_once(&head->host, value, value_length, &fault_host);
    /* Cut up so that it compresses better: one field for everybody above. */
    if (is_text(name, name_length, "cookie")) {
        if (head->cookie.length > 0)
            strbuf_puts(&head->cookie, "; ");
        strbuf_append(&head->cookie, value, value_length);
        return NULL;
    }
    strbuf_append(&head->fields, name, name_length);
    strbuf_puts(&head->fields, ": ");
    strbuf_append(&head->fields, value, value_length);
    strbuf_puts(&head->fields, "\r\n");
    return NULL;
}

void http2_head_add(struct http2_head *head, const char *name, size_t name_length,
    const char *value, size_t value_length, size_t bytes_max)
{
    if (head->fault)
        return;
    head->bytes += name_length + value_length + 4;
    if (head->bytes > bytes_max)
        head->fault = &fault_large;
    else if (value_length > 0 && !http_value_valid(value, value_length))
        head->fault = &fault_value;
    else if (name_length > 0 && name[0] == ':')
        head->fault = pseudo_add(head, name, name_length, value, value_length);
    else
        head->fault = field_add(head, name, name_length, value, value_length);
}

/* A proxy in front of an unencrypted listener may have had TLS itself. */
static bool scheme_fits(const struct http2_head *head, bool is_tls)
{
    const char *scheme = strbuf_text(&head->scheme);
    return strcmp(scheme, "https") == 0 || (!is_tls && strcmp(scheme, "http") == 0);
}

static const struct http_fault *head_check(const struct http2_head *head, bool is_tls)
{
    const char *method = strbuf_text(&head->method), *path = strbuf_text(&head->path);
    const char *authority = strbuf_text(&head->authority), *host = strbuf_text(&head->host);
    if (head->fault)
        return head->fault;
    if (head->method.length == 0 || !http_token_valid(method, head->method.length))
        return &fault_pseudo;
    if (*authority && *host && strcasecmp(authority, host) != 0)
        return &fault_host;
    if (strcmp(method, "CONNECT") == 0)
        return NULL; /* has no path, and is refused by the parser */
    if (!*path || head->scheme.length == 0)
        return &fault_pseudo;
    if (!scheme_fits(head, is_tls))
        return &fault_scheme;
    /* The parser takes whole URLs too, for proxies of HTTP/1.1. */
    return path[0] == '/' || strcmp(path, "*") == 0 ? NULL : &fault_path;
}

const struct http_fault *http2_head_write(
    struct http2_head *head, bool is_tls, struct http_buffer *out)
{
    const struct http_fault *fault = head_check(head, is_tls);
    if (fault)
        return fault;
    const struct strbuf *host = head->authority.length > 0 ? &head->authority : &head->host;
    const struct strbuf *path = head->path.length > 0 ? &head->path : host;
    http_buffer_puts(out, strbuf_text(&head->method));
    http_buffer_puts(out, " ");
    http_buffer_append(out, strbuf_text(path), path->length);
    http_buffer_puts(out, " HTTP/1.1\r\n");
    if (host->length > 0) {
        http_buffer_puts(out, "host: ");
        http_buffer_append(out, host->text, host->length);
        http_buffer_puts(out, "\r\n");
    }
    if (head->cookie.length > 0) {
        http_buffer_puts(out, "cookie: ");
        http_buffer_append(out, head->cookie.text, head->cookie.length);
        http_buffer_puts(out, "\r\n");
    }
    http_buffer_append(out, strbuf_text(&head->fields), head->fields.length);
    http_buffer_puts(out, "\r\n");
    return NULL;
}

void http2_head_finish(struct http2_head *head)
{
    struct strbuf *all[] = {&head->method, &head->path, &head->authority, &head->scheme,
        &head->host, &head->cookie, &head->fields};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        strbuf_finish(all[i]);
}
