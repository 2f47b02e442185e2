/* A question about the state, answered from a copy of it. Made in a process of its own, because it
 * takes long and what it does to its copy is not wanted afterwards. */
#pragma once

#include "base/strbuf.h"
#include "planner/copy.h"
#include "planner/history.h"

struct answer_state {
    const struct copy *copy;
    const struct core_options *core; /* what the live core was made with */
    const struct history *history;
    int64_t tick; /* of the copy */
    int64_t now_ms;
};

/* Questions, as JSON:
 *
 *     {"ask": "explain", "job": ID}
 *     {"ask": "whatif", "job": ID or 0, "teams": [ID, ..], "changes": [MANIFEST, ..],
 *      "policy": NAME or NAME+NAME}
 *     {"ask": "waits"}
 *
 * (without "teams": all). Answers, of which one is appended:
 *
 *     {"tick", "explain": as explain.h has it}
 *     {"tick", "whatif": as whatif.h has it}
 *     {"tick", "waits": as waits.h has it}
 *     {"tick", "error": {"code", "text"}} */
void answer_question(
    const struct answer_state *state, const char *text, size_t length, struct strbuf *out);
