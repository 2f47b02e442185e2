/* The heads of HTTP/1.1 messages (RFC 9112), parsed strictly and without allocation.
 *
 * The caller keeps the message's bytes, from its first one on, in a buffer that may move, and
 * calls http_head_parse whenever there are more. What was found is given as slices: offsets into
 * that buffer. Whatever two parsers in a chain could read differently is a fault; a fault says
 * what is wrong and which status answers it. */
#pragma once

#include "wire/http_name.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is wrong with a message: both are constant. */
struct http_fault {
    int status; /* the answer it deserves; 400 for responses */
    const char *text;
};

enum http_parse_result { HTTP_PARSE_MORE, HTTP_PARSE_DONE, HTTP_PARSE_FAULT };

struct http_slice {
    uint32_t offset;
    uint32_t length;
};

/* A field line: the name without its colon, the value without white space around it. */
struct http_field_slice {
    struct http_slice name;
    struct http_slice value;
    enum http_name known;
};

enum http_message { HTTP_REQUEST, HTTP_RESPONSE };

/* How the body ends. A request never ends with the connection. */
enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_head_limits {
    uint32_t line_bytes;  /* of the request or status line */
    uint32_t field_bytes; /* of all field lines together, line ends included */
    uint32_t field_count;
};

struct http_head {
    struct http_slice method; /* requests */
    struct http_slice target; /* the whole target as sent */
    struct http_slice path;   /* the part of it that is the path, and the one after '?' */
    struct http_slice query;
    bool target_is_asterisk; /* "OPTIONS *": no path */
    int status;              /* responses */

    int minor_version;               /* 0 or 1 */
    struct http_field_slice *fields; /* the caller's, limits.field_count of them */
    uint32_t field_count;
    uint32_t bytes; /* of the whole head, its empty line included */

    enum http_framing framing; /* of responses: as if to a GET, see http_response_has_body */
    uint64_t content_length;   /* for HTTP_BODY_LENGTH */
    bool keep_alive;
    bool expect_continue;
    bool connection_upgrade; /* Connection lists "upgrade" and there is an Upgrade field */
};

struct http_head_parser {
    struct http_head head;
    const struct http_fault *fault; /* set with HTTP_PARSE_FAULT */
    struct http_head_limits limits;
    enum http_message message;
    uint32_t line_offset; /* of the line being received */
    uint32_t scanned;     /* bytes that hold no line end we have not handled */
    uint32_t fields_offset;
    uint64_t seen; /* known fields, one bit each, and what Connection said */
};

/* fields: room for limits->field_count, kept by the caller as long as the parser. */
void http_head_parser_init(struct http_head_parser *parser, enum http_message message,
    const struct http_head_limits *limits, struct http_field_slice *fields);
/* bytes: the message from its first byte, length of them so far (never fewer than before).
 * HTTP_PARSE_DONE when parser->head is complete; the body begins at head.bytes. Not to be called
 * again after DONE or FAULT. */
enum http_parse_result http_head_parse(
    struct http_head_parser *parser, const char *bytes, size_t length);

/* False for answers to HEAD, and for 1xx, 204 and 304, whatever their fields say. */
bool http_response_has_body(const struct http_head *head, bool to_head);

struct http_field;
/* The same field with what is known of it filled in; whether it may be sent is another question. */
struct http_field http_field_known(struct http_field field);
/* Whether it may be sent: of one that is filled in. */
bool http_field_valid(const struct http_field *field);
