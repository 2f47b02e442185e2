/* Heads that came before. Whoever keeps a connection sends the same head again and again, but for
 * the digits of Content-Length. A memo has the bytes of some heads that the parser found fine, and
 * what it found in them: the same bytes are not parsed again.
 *
 * What the parser says depends on a head's bytes and the limits alone, so the memo says the same.
 * Invariants:
 *  1. a head is known by all of its bytes; where Content-Length has a value, each of its digits may
 *     be another digit, and then that value is judged as the parser judges it;
 *  2. only heads that came whole, in one piece, are looked for and remembered;
 *  3. a connection is only held against what it sent itself, and a head is only remembered when a
 *     connection sent it twice in a row: who never repeats himself replaces nothing.
 *
 * Heads may have keys in them: an entry that is replaced is wiped, and so are all at the end. */
#pragma once

#include "wire/http_parse.h"

struct http_head_memo;

/* What a connection's last head was. All zero at its beginning. */
struct http_head_hint {
    uint32_t hash;       /* of the last one */
    uint32_t entry_hash; /* of one it sent that was remembered.. */
    uint16_t entry;      /* ..and where, from 1, unless another stands there now; 0: nowhere */
    uint8_t misses;      /* since the last hit; many: not looked for until it has gone round */
};

/* A memo for heads of this kind within these limits, of at most 64 heads. The caller destroys it.
 */
struct http_head_memo *http_head_memo_create(
    enum http_message message, const struct http_head_limits *limits);
void http_head_memo_destroy(struct http_head_memo *memo); /* NULL is fine */
/* As http_head_parse with a parser of the memo's kind and limits, and exactly its results, but for
 * where parser->head.fields are: they may be the memo's, until its next call. */
enum http_parse_result http_head_memo_parse(struct http_head_memo *memo,
    struct http_head_hint *hint, struct http_head_parser *parser, const char *bytes, size_t length);
