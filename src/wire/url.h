/* Endpoints, targets and percent-encoding (RFC 3986). */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum url_scheme { URL_UNIX, URL_HTTP, URL_HTTPS };

enum { URL_HOST_MAX = 253, URL_UNIX_PATH_MAX = 107 };

/* Where a server is. */
struct url_endpoint {
    enum url_scheme scheme;
    uint16_t port;                    /* 80 or 443 when not given; 0 for unix */
    char host[URL_HOST_MAX + 1];      /* name or address without brackets; "" for unix */
    char path[URL_UNIX_PATH_MAX + 1]; /* the socket's absolute path; "" unless unix */
};

/* "unix:/run/muster.sock", "https://host:8443", "http://[::1]:8080/". No user, query, fragment
 * or path other than "/". ERR_INVALID says what is wrong. */
MUST_CHECK int url_endpoint_parse(
    const char *text, struct url_endpoint *ret_endpoint, struct error *err);
/* Appends the endpoint as text that parses to the same, default ports left out. */
void url_endpoint_build(const struct url_endpoint *endpoint, struct strbuf *out);
/* Appends host:port as the Host header carries it (brackets for IPv6, "localhost" for unix). */
void url_endpoint_authority(const struct url_endpoint *endpoint, struct strbuf *out);
/* True for unix sockets, "localhost", 127.0.0.0/8 and ::1. */
bool url_endpoint_is_local(const struct url_endpoint *endpoint);

/* True for `host` and `host:port` as RFC 9110 allows them in Host, with a registered name of
 * letters, digits, '-', '.', '_', an IPv4 address, or an IPv6 address in brackets. */
bool url_authority_valid(const char *text, size_t length);

/* Appends text percent-encoded: everything but letters, digits and -._~ */
void url_encode_segment(struct strbuf *out, const char *text);
/* Appends name=value, percent-encoded, after '?' or, when out has one already, after '&'. */
void url_add_query(struct strbuf *out, const char *name, const char *value);

/* Decodes a target's path into out (room >= length + 1) and terminates it. -1 (ERR_INVALID)
 * unless it begins with '/', is UTF-8 without control characters, and has no "." or "..", no
 * empty segment but at the end, no encoded slash or backslash and no malformed escape. */
MUST_CHECK int url_decode_path(
    const char *text, size_t length, char *out, size_t *ret_length, struct error *err);
/* Decodes one name or value of a query, where '+' is a space. Refuses malformed escapes, invalid
 * UTF-8 and NUL. out as above. */
MUST_CHECK int url_decode_query(
    const char *text, size_t length, char *out, size_t *ret_length, struct error *err);
