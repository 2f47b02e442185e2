/* Message bodies (RFC 9112, 6 and 7): by length, chunked, or until the connection ends. Pieces
 * are given in place, nothing is copied or allocated. */
#pragma once

#include "wire/http_parse.h"

struct http_body {
    enum http_framing framing;
    uint64_t remaining;      /* of the length, or of the chunk */
    uint32_t overhead_bytes; /* of chunk extensions, since the message began */
    uint32_t trailer_bytes;
    uint8_t state; /* of the chunked coding */
    uint8_t size_digits;
    bool complete;
    const struct http_fault *fault; /* set with HTTP_PARSE_FAULT */
};

/* Before the first byte of a body; content_length counts with that framing only. */
void http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length);
/* Reads on at bytes and stops at the end of the first piece, of the body, or of the input.
 * *ret_used bytes were taken, of which the last ret_piece are content, if any.
 * HTTP_PARSE_MORE: go on with what follows (when all was taken: wait for more).
 * HTTP_PARSE_DONE: the body is complete; what follows is the next message.
 * A body until close is never done: its caller sees the end of the connection. */
enum http_parse_result http_body_next(
    struct http_body *body, const char *bytes, size_t length, size_t *ret_used, size_t *ret_piece);
