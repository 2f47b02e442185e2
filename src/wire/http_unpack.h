/* Bodies with a Content-Encoding, unpacked as they come. One decoder a request, in steps: a step
 * takes some input and gives at most so much output, so that little input cannot ask for much work
 * or memory at once. */
#pragma once

#include "wire/http_parse.h"

struct http_unpack;

/* A decoder for the value of Content-Encoding: gzip, x-gzip, deflate (zlib) or zstd, in any case.
 * NULL: not one of these. memory: a count of bytes that several decoders share, each adds to it
 * what it holds and takes it away in the end; none grows once it is above memory_max. */
struct http_unpack *http_unpack_create(const char *coding, size_t *memory, size_t memory_max);
void http_unpack_destroy(struct http_unpack *unpack); /* NULL is fine */
/* Whether the coding says that nothing is coded. */
bool http_unpack_is_identity(const char *coding);

/* Takes from bytes and writes to out: *ret_taken and *ret_made bytes; when both are 0 it needs more
 * input. NULL, or what is wrong: damaged (400), expanding beyond every reason (413), no memory to
 * spare (503). Nothing may be asked of it after that. */
const struct http_fault *http_unpack_step(struct http_unpack *unpack, const char *bytes,
    size_t length, char *out, size_t room, size_t *ret_taken, size_t *ret_made);
/* Whether the input may end here: what came was whole. */
bool http_unpack_is_whole(const struct http_unpack *unpack);
