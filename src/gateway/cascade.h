/* What an answer states of its confidence, and the edits that make it state any: the deciding part
 * of cascades. Confidence is in millionths. */
#pragma once

#include "gateway/target.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct strbuf;

/* The bounds of an answer that is read; a larger one states nothing. */
enum { CASCADE_BYTES_MAX = 1 << 20 };

/* A number as a field of an answer's head has it: "0.93". False: it is none. */
bool cascade_number(const char *text, int64_t *ret_micro);
/* What a body states: the least of all that it states. False: nothing. */
bool cascade_confidence(const struct service_cascade *options, struct arena *arena,
    const char *body, size_t length, int64_t *ret_micro);

enum cascade_edit {
    CASCADE_NOT,    /* it is no request to ask a small model first */
    CASCADE_AS_IS,  /* it may go as it is */
    CASCADE_EDITED, /* it was made to ask for logprobs: cascade_strip takes them out again */
};
/* Looks at a body that is held, and edits it where logprobs have to be asked for. verb: of the
 * target. */
enum cascade_edit cascade_prepare(
    const struct service_cascade *options, const struct target *target, struct strbuf *body);
/* Takes the logprobs of the choices out of an answer. False: it cannot be read. */
bool cascade_strip(struct arena *arena, const char *body, size_t length, struct strbuf *out);
