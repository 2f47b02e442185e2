/* A question about the state, answered from a copy of it. Made in a process of its own, because it
 * takes long and what it does to its copy is not wanted afterwards. */
#pragma once

#include "base/strbuf.h"
#include "planner/copy.h"
#include "planner/history.h"

struct answer_state {
    const struct copy *copy;
    const struct history *history;
    int64_t tick; /* of the copy */
    int64_t now_ms;
};

/* Questions, as JSON:
 *     {"ask": "explain", "job": ID}
 *     {"ask": "whatif", "job": ID or 0, "teams": [ID, ..] (left out: all), "changes": [MANIFEST,
 * ..], "policy": NAME or NAME+NAME} Answers: {"tick", "explain": see explain.h} or {"tick", "whatif": see
 * whatif.h}, or
 * {"tick", "error": {"code", "text"}}. Appends one of them. */
void answer_question(
    const struct answer_state *state, const char *text, size_t length, struct strbuf *out);
