/* Bodies with binary tensors (the binary extension of the Open Inference Protocol) and streams of
 * events in recordings: what of them may be kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct guard_rules;
struct strbuf;

/* Whether there is nothing in the tensors behind the JSON of a body, of head bytes, that is to be
 * taken out: texts (BYTES) are looked at one by one, and all of it as bytes. False too where the
 * JSON does not say how long they are, or something else. */
bool record_tensors_clean(
    const struct guard_rules *rules, const char *body, size_t length, size_t head);
/* Appends {"text": ..}, what a whole stream of events says (answer_compare.h). False: it is none,
 * or has several answers, whose texts are mixed. */
bool record_stream_text(const char *bytes, size_t length, struct strbuf *out);
