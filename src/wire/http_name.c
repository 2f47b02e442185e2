/* Names of fields: see http_name.h. Length, first and last letter give each its own slot of a small
 * table: two names in one slot do not compile (-Woverride-init). What stands in the slot is
 * compared in full, so what is found is exactly what strcasecmp would find. */
#include "wire/http_name.h"

#include "base/memory.h"

#include <string.h>

enum { SLOTS = 128 };

/* The factor was searched for: it is the one below SLOTS that keeps all of them apart. */
#define SLOT(length, first, last)                                                                  \
    (((length) + ((unsigned)(first)&31) * 118 + ((unsigned)(last)&31)) % SLOTS)

static const struct known_name {
    const char *text;
    unsigned length;
} names[HTTP_NAMES] = {
    [HTTP_NAME_OTHER] = {"", 0},
    [HTTP_NAME_ACCEPT] = {"accept", 6},
    [HTTP_NAME_ACCEPT_ENCODING] = {"accept-encoding", 15},
    [HTTP_NAME_ACCEPT_LANGUAGE] = {"accept-language", 15},
    [HTTP_NAME_ALT_SVC] = {"alt-svc", 7},
    [HTTP_NAME_AUTHORIZATION] = {"authorization", 13},
    [HTTP_NAME_CACHE_CONTROL] = {"cache-control", 13},
    [HTTP_NAME_CLEAR_SITE_DATA] = {"clear-site-data", 15},
    [HTTP_NAME_CONNECTION] = {"connection", 10},
    [HTTP_NAME_CONTENT_ENCODING] = {"content-encoding", 16},
    [HTTP_NAME_CONTENT_LENGTH] = {"content-length", 14},
    [HTTP_NAME_CONTENT_TYPE] = {"content-type", 12},
    [HTTP_NAME_COOKIE] = {"cookie", 6},
    [HTTP_NAME_DATE] = {"date", 4},
    [HTTP_NAME_EXPECT] = {"expect", 6},
    [HTTP_NAME_HOST] = {"host", 4},
    [HTTP_NAME_IDEMPOTENCY_KEY] = {"idempotency-key", 15},
    [HTTP_NAME_INFERENCE_HEADER_CONTENT_LENGTH] = {"inference-header-content-length", 31},
    [HTTP_NAME_KEEP_ALIVE] = {"keep-alive", 10},
    [HTTP_NAME_LAST_EVENT_ID] = {"last-event-id", 13},
    [HTTP_NAME_PROXY_AUTHENTICATE] = {"proxy-authenticate", 18},
    [HTTP_NAME_PROXY_AUTHORIZATION] = {"proxy-authorization", 19},
    [HTTP_NAME_PROXY_CONNECTION] = {"proxy-connection", 16},
    [HTTP_NAME_RANGE] = {"range", 5},
    [HTTP_NAME_RETRY_AFTER] = {"retry-after", 11},
    [HTTP_NAME_SERVER] = {"server", 6},
    [HTTP_NAME_STRICT_TRANSPORT_SECURITY] = {"strict-transport-security", 25},
    [HTTP_NAME_TE] = {"te", 2},
    [HTTP_NAME_TRACEPARENT] = {"traceparent", 11},
    [HTTP_NAME_TRAILER] = {"trailer", 7},
    [HTTP_NAME_TRANSFER_ENCODING] = {"transfer-encoding", 17},
    [HTTP_NAME_UPGRADE] = {"upgrade", 7},
    [HTTP_NAME_USER_AGENT] = {"user-agent", 10},
    [HTTP_NAME_WWW_AUTHENTICATE] = {"www-authenticate", 16},
    [HTTP_NAME_X_API_KEY] = {"x-api-key", 9},
    [HTTP_NAME_X_CONTENT_TYPE_OPTIONS] = {"x-content-type-options", 22},
    [HTTP_NAME_X_FORWARDED_FOR] = {"x-forwarded-for", 15},
    [HTTP_NAME_X_REQUEST_ID] = {"x-request-id", 12},
};

static const unsigned char slots[SLOTS] = {
    [SLOT(6, 'a', 't')] = HTTP_NAME_ACCEPT,
    [SLOT(15, 'a', 'g')] = HTTP_NAME_ACCEPT_ENCODING,
    [SLOT(15, 'a', 'e')] = HTTP_NAME_ACCEPT_LANGUAGE,
    [SLOT(7, 'a', 'c')] = HTTP_NAME_ALT_SVC,
    [SLOT(13, 'a', 'n')] = HTTP_NAME_AUTHORIZATION,
    [SLOT(13, 'c', 'l')] = HTTP_NAME_CACHE_CONTROL,
    [SLOT(15, 'c', 'a')] = HTTP_NAME_CLEAR_SITE_DATA,
    [SLOT(10, 'c', 'n')] = HTTP_NAME_CONNECTION,
    [SLOT(16, 'c', 'g')] = HTTP_NAME_CONTENT_ENCODING,
    [SLOT(14, 'c', 'h')] = HTTP_NAME_CONTENT_LENGTH,
    [SLOT(12, 'c', 'e')] = HTTP_NAME_CONTENT_TYPE,
    [SLOT(6, 'c', 'e')] = HTTP_NAME_COOKIE,
    [SLOT(4, 'd', 'e')] = HTTP_NAME_DATE,
    [SLOT(6, 'e', 't')] = HTTP_NAME_EXPECT,
    [SLOT(4, 'h', 't')] = HTTP_NAME_HOST,
    [SLOT(15, 'i', 'y')] = HTTP_NAME_IDEMPOTENCY_KEY,
    [SLOT(31, 'i', 'h')] = HTTP_NAME_INFERENCE_HEADER_CONTENT_LENGTH,
    [SLOT(10, 'k', 'e')] = HTTP_NAME_KEEP_ALIVE,
    [SLOT(13, 'l', 'd')] = HTTP_NAME_LAST_EVENT_ID,
    [SLOT(18, 'p', 'e')] = HTTP_NAME_PROXY_AUTHENTICATE,
    [SLOT(19, 'p', 'n')] = HTTP_NAME_PROXY_AUTHORIZATION,
    [SLOT(16, 'p', 'n')] = HTTP_NAME_PROXY_CONNECTION,
    [SLOT(5, 'r', 'e')] = HTTP_NAME_RANGE,
    [SLOT(11, 'r', 'r')] = HTTP_NAME_RETRY_AFTER,
    [SLOT(6, 's', 'r')] = HTTP_NAME_SERVER,
    [SLOT(25, 's', 'y')] = HTTP_NAME_STRICT_TRANSPORT_SECURITY,
    [SLOT(2, 't', 'e')] = HTTP_NAME_TE,
    [SLOT(11, 't', 't')] = HTTP_NAME_TRACEPARENT,
    [SLOT(7, 't', 'r')] = HTTP_NAME_TRAILER,
    [SLOT(17, 't', 'g')] = HTTP_NAME_TRANSFER_ENCODING,
    [SLOT(7, 'u', 'e')] = HTTP_NAME_UPGRADE,
    [SLOT(10, 'u', 't')] = HTTP_NAME_USER_AGENT,
    [SLOT(16, 'w', 'e')] = HTTP_NAME_WWW_AUTHENTICATE,
    [SLOT(9, 'x', 'y')] = HTTP_NAME_X_API_KEY,
    [SLOT(22, 'x', 's')] = HTTP_NAME_X_CONTENT_TYPE_OPTIONS,
    [SLOT(15, 'x', 'r')] = HTTP_NAME_X_FORWARDED_FOR,
    [SLOT(12, 'x', 'd')] = HTTP_NAME_X_REQUEST_ID,
};

static uint64_t load8(const char *text)
{
    uint64_t word;
    memcpy(&word, text, sizeof word);
    return word;
}

/* Eight bytes at once. Case is one bit of a letter, and names are letters and hyphens: a letter has
 * the bit above it set, a hyphen has not. */
static bool same8(const char *text, const char *lower)
{
    uint64_t want = load8(lower), letters = want >> 1 & UINT64_C(0x2020202020202020);
    return (load8(text) | letters) == want;
}

static bool same1(char text, char lower)
{
    return (text | (lower >> 1 & 0x20)) == lower;
}

/* The last eight bytes may be looked at twice. */
static bool is_same(const char *text, const char *lower, size_t length)
{
    bool same = true;
    if (length < 8) {
        for (size_t i = 0; i < length; i++)
            same &= same1(text[i], lower[i]);
        return same;
    }
    for (size_t i = 0; i + 8 < length; i += 8)
        same &= same8(text + i, lower + i);
    return same && same8(text + length - 8, lower + length - 8);
}

enum http_name http_name_find(const char *text, size_t length)
{
    if (length == 0)
        return HTTP_NAME_OTHER;
    unsigned char found = slots[SLOT(length, text[0], text[length - 1])];
    bool same = names[found].length == length && is_same(text, names[found].text, length);
    return same ? (enum http_name)found : HTTP_NAME_OTHER;
}

const char *http_name_text(enum http_name name)
{
    return names[name].text;
}
