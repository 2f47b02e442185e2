/* Answers: see answer.h. */
#include "planner/answer.h"

#include "base/memory.h"
#include "planner/explain.h"
#include "planner/waits.h"
#include "planner/whatif.h"
#include "wire/doc.h"

#include <string.h>

enum {
    QUESTION_BYTES_MAX = 8 << 20,
    QUESTION_ITEMS_MAX = 1 << 20,
    EXPLAIN_BUDGET_MS = 4000,
    WAITS_BUDGET_MS = 4000,
    WHATIF_BUDGET_MS = 16000
};

static struct doc *explain(
    const struct answer_state *state, struct arena *arena, const struct doc *ask, struct error *err)
{
    struct core *core = copy_load(state->copy, state->core, err);
    if (!core)
        return NULL;
    core_begin(core, state->now_ms);
    struct explain_options options = {
        .history = state->history, .now_ms = state->now_ms, .budget_ms = EXPLAIN_BUDGET_MS};
    struct doc *found = explain_job(arena, core, (uint64_t)doc_get_int(ask, "job", 0), &options);
    core_destroy(core);
    if (!found)
        error_set(err, ERR_NOT_FOUND, "the job is not live");
    return found;
}

static struct doc *whatif(
    const struct answer_state *state, struct arena *arena, const struct doc *ask, struct error *err)
{
    struct whatif_options options = {.copy = state->copy,
        .core = state->core,
        .history = state->history,
        .now_ms = state->now_ms,
        .budget_ms = WHATIF_BUDGET_MS};
    return whatif_answer(arena, &options, ask, err);
}

static struct doc *waits(
    const struct answer_state *state, struct arena *arena, const struct doc *ask, struct error *err)
{
    (void)ask;
    struct core *core = copy_load(state->copy, state->core, err);
    if (!core)
        return NULL;
    core_begin(core, state->now_ms);
    struct waits_options options = {
        .history = state->history, .now_ms = state->now_ms, .budget_ms = WAITS_BUDGET_MS};
    struct doc *found = waits_answer(arena, core, &options, err);
    core_destroy(core);
    return found;
}

static const struct {
    const char *ask;
    struct doc *(*answer)(const struct answer_state *state, struct arena *arena,
        const struct doc *ask, struct error *err);
} kinds[] = {{"explain", explain}, {"whatif", whatif}, {"waits", waits}};

static struct doc *answer(const struct answer_state *state, struct arena *arena,
    const struct doc *ask, struct doc *body, struct error *err)
{
    const char *what = doc_get_string(ask, "ask");
    for (size_t i = 0; what && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(what, kinds[i].ask) != 0)
            continue;
        struct doc *found = kinds[i].answer(state, arena, ask, err);
        return found ? doc_set(arena, body, what, found) : NULL;
    }
    error_set(err, ERR_INVALID, "a question of an unknown kind");
    return NULL;
}

void answer_question(
    const struct answer_state *state, const char *text, size_t length, struct strbuf *out)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *body = doc_map(arena);
    struct error err;
    doc_set_int(arena, body, "tick", state->tick);
    const struct doc *ask =
        doc_parse_json_bounded(arena, text, length, QUESTION_BYTES_MAX, QUESTION_ITEMS_MAX, &err);
    if (!ask || !answer(state, arena, ask, body, &err)) {
        struct doc *problem = doc_set(arena, body, "error", doc_map(arena));
        doc_set_int(arena, problem, "code", err.code);
        doc_set_string(arena, problem, "text", err.text);
    }
    doc_write_json(body, 0, out);
}
