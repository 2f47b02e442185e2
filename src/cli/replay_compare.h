/* Whether an answer to a request that is asked again says what the recorded one said: JSON by
 * value, tensors behind it byte by byte, of streams what their events say. */
#pragma once

#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

struct arena;
struct doc;

/* As it was recorded. */
struct replay_expected {
    const char *text;    /* the JSON, of all or of the part before tensors; NULL: nothing */
    const char *tensors; /* in Base64; NULL: there were none */
    bool stream;         /* the text is {"text": ..}, what a stream of events said */
};

struct replay_body {
    const char *bytes;
    size_t length;
};
/* Of the arena; false: that is no Base64. */
bool replay_decode(struct arena *arena, const char *base64, struct replay_body *ret);
/* answer: as the server tells of one. Else where they differ, in *why, which is empty before. */
bool replay_same(struct arena *arena, const struct replay_expected *expected,
    const struct doc *answer, const char *const *ignored, struct strbuf *why);
