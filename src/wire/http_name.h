/* The names of fields that something here asks about, as numbers: a name is looked up once, when
 * its head is parsed, and compared as a number from then on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each stands in http_name.c with its text and its slot. */
enum http_name {
    HTTP_NAME_OTHER, /* any that is not below */
    HTTP_NAME_ACCEPT,
    HTTP_NAME_ACCEPT_ENCODING,
    HTTP_NAME_ACCEPT_LANGUAGE,
    HTTP_NAME_ALT_SVC,
    HTTP_NAME_AUTHORIZATION,
    HTTP_NAME_CACHE_CONTROL,
    HTTP_NAME_CLEAR_SITE_DATA,
    HTTP_NAME_CONNECTION,
    HTTP_NAME_CONTENT_ENCODING,
    HTTP_NAME_CONTENT_LENGTH,
    HTTP_NAME_CONTENT_TYPE,
    HTTP_NAME_COOKIE,
    HTTP_NAME_DATE,
    HTTP_NAME_EXPECT,
    HTTP_NAME_HOST,
    HTTP_NAME_IDEMPOTENCY_KEY,
    HTTP_NAME_INFERENCE_HEADER_CONTENT_LENGTH,
    HTTP_NAME_KEEP_ALIVE,
    HTTP_NAME_LAST_EVENT_ID,
    HTTP_NAME_PROXY_AUTHENTICATE,
    HTTP_NAME_PROXY_AUTHORIZATION,
    HTTP_NAME_PROXY_CONNECTION,
    HTTP_NAME_RANGE,
    HTTP_NAME_RETRY_AFTER,
    HTTP_NAME_SERVER,
    HTTP_NAME_STRICT_TRANSPORT_SECURITY,
    HTTP_NAME_TE,
    HTTP_NAME_TRACEPARENT,
    HTTP_NAME_TRAILER,
    HTTP_NAME_TRANSFER_ENCODING,
    HTTP_NAME_UPGRADE,
    HTTP_NAME_USER_AGENT,
    HTTP_NAME_WWW_AUTHENTICATE,
    HTTP_NAME_X_API_KEY,
    HTTP_NAME_X_CONTENT_TYPE_OPTIONS,
    HTTP_NAME_X_FORWARDED_FOR,
    HTTP_NAME_X_REQUEST_ID,
    HTTP_NAMES,
};

/* A set of names is a number with their bits. */
#define HTTP_NAME_BIT(name) (UINT64_C(1) << (name))
_Static_assert(HTTP_NAMES <= 56, "sets of names and what goes with them fit into 64 bits");

/* The name these bytes are, whatever their case; HTTP_NAME_OTHER for any other bytes. */
enum http_name http_name_find(const char *text, size_t length);
/* In lower case; "" for HTTP_NAME_OTHER. */
const char *http_name_text(enum http_name name);

static inline bool http_name_among(enum http_name name, uint64_t set)
{
    return set >> name & 1;
}
