/* Whether two answers say the same. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { COMPARE_BYTES_MAX = 256 << 10 };

/* Two bodies. JSON is compared by what it says: the order of members, the writing of numbers and
 * white space do not count, nor do members that name the answer and not what was asked for ("id",
 * "created", "model_version" and the like, wherever they stand). Numbers may differ by
 * tolerance_ppm millionths of the larger one. Of event streams the texts of all events are compared
 * ("choices[].delta.content" and the like, put together), since pieces may be cut elsewhere.
 * Everything else is compared by its bytes. Bodies of more than COMPARE_BYTES_MAX bytes are. */
bool answers_agree(
    const char *one, size_t one_length, const char *other, size_t other_length, long tolerance_ppm);

struct strbuf;
/* Appends those texts of an event stream, a line for each member in a row; false: it is none, is
 * longer than COMPARE_BYTES_MAX, or its events belong to several answers ("index" above 0), whose
 * texts would be mixed. */
bool answer_stream_text(const char *text, size_t length, struct strbuf *out);
