/* URLs: see url.h. One table of character classes says what may stand where; decoding is strict,
 * since whatever this lets through is compared with routes and shown to people. */
#include "wire/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

enum {
    CLASS_UNRESERVED = 1,
    CLASS_HOST = 2,
    CLASS_PATH = 4, /* stands for itself in a path, as a slash does */
    CLASS_SLASH = 8,
    CLASS_NOT_AFTER_SLASH = 16,
};

#define UNRESERVED_AND_HOST CLASS_UNRESERVED | CLASS_HOST | CLASS_PATH

static const unsigned char classes[256] = {
    ['a' ... 'z'] = UNRESERVED_AND_HOST,
    ['A' ... 'Z'] = UNRESERVED_AND_HOST,
    ['0' ... '9'] = UNRESERVED_AND_HOST,
    ['-'] = UNRESERVED_AND_HOST,
    ['.'] = UNRESERVED_AND_HOST | CLASS_NOT_AFTER_SLASH,
    ['_'] = UNRESERVED_AND_HOST,
    ['~'] = CLASS_UNRESERVED | CLASS_PATH,
    ['/'] = CLASS_PATH | CLASS_SLASH | CLASS_NOT_AFTER_SLASH,
};

static const struct {
    const char *prefix;
    uint16_t default_port;
} schemes[] = {
    [URL_UNIX] = {"unix:", 0},
    [URL_HTTP] = {"http://", 80},
    [URL_HTTPS] = {"https://", 443},
};

/* ------- hosts and ports ------- */

static bool ipv6_valid(const char *text, size_t length)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (length == 0 || length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return inet_pton(AF_INET6, copy, &address) == 1;
}

static bool name_valid(const char *text, size_t length)
{
    if (length == 0 || length > URL_HOST_MAX || text[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!(classes[(unsigned char)text[i]] & CLASS_HOST))
            return false;
        if (i > 0 && text[i] == '.' && text[i - 1] == '.')
            return false;
    }
    return true;
}

/* 1 to 5 digits, 1 to 65535. */
static bool port_parse(const char *text, size_t length, uint16_t *ret_port)
{
    unsigned port = 0;
    if (length == 0 || length > 5)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

struct authority {
    const char *host;
    size_t host_length;
    uint16_t port; /* 0 when not given */
};

static bool authority_split(const char *text, size_t length, struct authority *ret)
{
    struct authority found = {.host = text};
    size_t after = 0;
    if (length > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', length);
        if (!end || !ipv6_valid(text + 1, (size_t)(end - text) - 1))
            return false;
        found.host = text + 1;
        found.host_length = (size_t)(end - text) - 1;
        after = (size_t)(end - text) + 1;
    } else {
        const char *colon = memchr(text, ':', length);
        found.host_length = after = colon ? (size_t)(colon - text) : length;
        if (!name_valid(text, found.host_length))
            return false;
    }
    if (after < length &&
        (text[after] != ':' || !port_parse(text + after + 1, length - after - 1, &found.port)))
        return false;
    *ret = found;
    return true;
}

bool url_authority_valid(const char *text, size_t length)
{
    struct authority ignored;
    return authority_split(text, length, &ignored);
}

/* ------- endpoints ------- */

static int unix_parse(const char *path, struct url_endpoint *ret, struct error *err)
{
    size_t length = strlen(path);
    if (path[0] != '/')
        return error_set(
            err, ERR_INVALID, "expected unix:/absolute/path, got \"unix:%.80s\"", path);
    if (length > URL_UNIX_PATH_MAX)
        return error_set(err, ERR_INVALID, "a Unix socket's path has at most %d bytes, got %zu",
            URL_UNIX_PATH_MAX, length);
    *ret = (struct url_endpoint){.scheme = URL_UNIX};
    memcpy(ret->path, path, length);
    return 0;
}

static int network_parse(
    enum url_scheme scheme, const char *text, struct url_endpoint *ret, struct error *err)
{
    size_t length = strcspn(text, "/?#");
    struct authority authority;
    if (text[length] != '\0' && strcmp(text + length, "/") != 0)
        return error_set(
            err, ERR_INVALID, "expected nothing after host and port, got \"%.80s\"", text + length);
    if (!authority_split(text, length, &authority))
        return error_set(err, ERR_INVALID, "expected host or host:port, got \"%.*s\"",
            length > 80 ? 80 : (int)length, text);
    *ret = (struct url_endpoint){.scheme = scheme, .port = authority.port};
    if (ret->port == 0)
        ret->port = schemes[scheme].default_port;
    memcpy(ret->host, authority.host, authority.host_length);
    return 0;
}

int url_endpoint_parse(const char *text, struct url_endpoint *ret_endpoint, struct error *err)
{
    assert(text && ret_endpoint);
    size_t unix_length = strlen(schemes[URL_UNIX].prefix);
    if (strncasecmp(text, schemes[URL_UNIX].prefix, unix_length) == 0)
        return unix_parse(text + unix_length, ret_endpoint, err);
    for (enum url_scheme scheme = URL_HTTP; scheme <= URL_HTTPS; scheme++) {
        size_t length = strlen(schemes[scheme].prefix);
        if (strncasecmp(text, schemes[scheme].prefix, length) == 0)
            return network_parse(scheme, text + length, ret_endpoint, err);
    }
    return error_set(err, ERR_INVALID,
        "expected unix:/path, http://host:port or https://host:port, got \"%.80s\"", text);
}

static void append_host(const struct url_endpoint *endpoint, struct strbuf *out)
{
    bool brackets = strchr(endpoint->host, ':');
    strbuf_printf(out, brackets ? "[%s]" : "%s", endpoint->host);
    if (endpoint->port != schemes[endpoint->scheme].default_port)
        strbuf_printf(out, ":%u", endpoint->port);
}

void url_endpoint_build(const struct url_endpoint *endpoint, struct strbuf *out)
{
    assert(endpoint->scheme <= URL_HTTPS);
    strbuf_puts(out, schemes[endpoint->scheme].prefix);
    if (endpoint->scheme == URL_UNIX)
        strbuf_puts(out, endpoint->path);
    else
        append_host(endpoint, out);
}

void url_endpoint_authority(const struct url_endpoint *endpoint, struct strbuf *out)
{
    if (endpoint->scheme == URL_UNIX)
        strbuf_puts(out, "localhost");
    else
        append_host(endpoint, out);
}

bool url_endpoint_is_local(const struct url_endpoint *endpoint)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (endpoint->scheme == URL_UNIX || strcasecmp(endpoint->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, endpoint->host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, endpoint->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* ------- percent-encoding ------- */

void url_encode_segment(struct strbuf *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (classes[*s] & CLASS_UNRESERVED) {
            strbuf_putc(out, (char)*s);
        } else {
            char escape[3] = {'%', digits[*s >> 4], digits[*s & 15]};
            strbuf_append(out, escape, sizeof escape);
        }
    }
}

void url_add_query(struct strbuf *out, const char *name, const char *value)
{
    strbuf_putc(out, strchr(strbuf_text(out), '?') ? '&' : '?');
    url_encode_segment(out, name);
    strbuf_putc(out, '=');
    url_encode_segment(out, value);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    int lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The byte of the escape at text (which has `left` bytes), or -1. */
static int escape_value(const char *text, size_t left)
{
    if (left < 3)
        return -1;
    int high = hex_value(text[1]), low = hex_value(text[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Overlong forms and surrogates are none: two spellings of one path would pass one check and fail
 * the next. */
static bool utf8_valid(const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length_within(text + i, length - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

/* Undoes the escapes. plus_is_space as in queries. */
static int unescape(const char *text, size_t length, bool plus_is_space, char *out,
    size_t *ret_length, struct error *err)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int byte = (unsigned char)text[i];
        if (byte == '%') {
            byte = escape_value(text + i, length - i);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        if (byte < 0)
            return error_set(err, ERR_INVALID, "a percent sign without two hex digits");
        if (byte == 0)
            return error_set(err, ERR_INVALID, "an encoded NUL");
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    if (!utf8_valid(out, used))
        return error_set(err, ERR_INVALID, "text that is not UTF-8");
    *ret_length = used;
    return 0;
}

/* A slash that hides behind an escape would make one segment look like two. */
static bool hides_slash(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        int byte = text[i] == '%' ? escape_value(text + i, length - i) : text[i];
        if (byte == '\\' || (byte == '/' && text[i] == '%'))
            return true;
    }
    return false;
}

static bool segments_safe(const char *path)
{
    for (const char *segment = path + 1;;) {
        size_t length = strcspn(segment, "/");
        bool last = segment[length] == '\0';
        bool dots = (length == 1 && segment[0] == '.') ||
                    (length == 2 && segment[0] == '.' && segment[1] == '.');
        if (dots || (length == 0 && !last))
            return false;
        if (last)
            return true;
        segment += length + 1;
    }
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    }
    return false;
}

typedef unsigned char lanes16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

/* What is not plain of sixteen bytes and the one before them: a byte that does not stand for
 * itself, or one that may not follow a slash. */
static words16 odd16(const char *text)
{
    lanes16 bytes, before;
    memcpy(&bytes, text, sizeof bytes);
    memcpy(&before, text - 1, sizeof before);
    lanes16 lower = bytes | 0x20;
    lanes16 plain = ((lower >= 'a') & (lower <= 'z')) | ((bytes >= '-') & (bytes <= '9')) |
                    (bytes == '_') | (bytes == '~');
    lanes16 dots = (bytes == '.') | (bytes == '/');
    return (words16)(~plain | ((before == '/') & dots));
}

/* Whether a path is what it says: it has none of what has to be undone or refused. Nearly all are
 * so, and are not looked at five more times. Sufficient, not necessary: "/.x" is not taken here. */
static bool is_plain_path(const char *text, size_t length)
{
    unsigned plain = CLASS_PATH, odd = 0, before = 0;
    if (length > 16) {
        words16 bad = odd16(text + length - 16);
        for (size_t i = 1; i + 16 < length; i += 16)
            bad |= odd16(text + i);
        return (bad[0] | bad[1]) == 0;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned class = classes[(unsigned char)text[i]];
        plain &= class;
        odd |= before & class;
        before = class << 1; /* a slash becomes what may not follow it */
    }
    return plain && !(odd & CLASS_NOT_AFTER_SLASH);
}

int url_decode_path(
    const char *text, size_t length, char *out, size_t *ret_length, struct error *err)
{
    size_t used;
    if (length > 0 && text[0] == '/' && is_plain_path(text, length)) {
        memcpy(out, text, length);
        out[length] = '\0';
        *ret_length = length;
        return 0;
    }
    if (length == 0 || text[0] != '/')
        return error_set(err, ERR_INVALID, "the path does not begin with a slash");
    if (hides_slash(text, length))
        return error_set(err, ERR_INVALID, "the path has an encoded slash or a backslash");
    if (unescape(text, length, false, out, &used, err) < 0)
        return error_prefix(err, "the path has");
    if (has_control(out, used))
        return error_set(err, ERR_INVALID, "the path has a control character");
    if (!segments_safe(out))
        return error_set(err, ERR_INVALID, "the path has an empty, \".\" or \"..\" segment");
    *ret_length = used;
    return 0;
}

int url_decode_query(
    const char *text, size_t length, char *out, size_t *ret_length, struct error *err)
{
    if (unescape(text, length, true, out, ret_length, err) < 0)
        return error_prefix(err, "the query has");
    return 0;
}
