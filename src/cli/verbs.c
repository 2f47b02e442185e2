/* The table of verbs and what is common to them. A verb's own entry stands in its own file. */
#include "cli/verb.h"

#include "cli/verbs.h"

#include <assert.h>
#include <string.h>

const struct verb *const verbs[] = {
    &verb_up,
    &verb_server,
    &verb_gateway,
    &verb_planner,
    &verb_apply,
    &verb_plan,
    &verb_get,
    &verb_describe,
    &verb_delete,
    &verb_explain,
    &verb_whatif,
    &verb_run,
    &verb_logs,
    &verb_exec,
    &verb_cancel,
    &verb_hold,
    &verb_release,
    &verb_top,
    &verb_cost,
    &verb_score,
    &verb_test,
    &verb_replay,
    &verb_promote,
    &verb_promotions,
    &verb_rollout,
    &verb_approve,
    &verb_refuse,
    &verb_withdraw,
    &verb_node,
    &verb_dataset,
    &verb_model,
    &verb_collect,
    &verb_lineage,
    &verb_reproduce,
    &verb_audit,
    &verb_token,
    &verb_secret,
    &verb_backup,
    &verb_restore,
    &verb_simulate,
    &verb_schema,
    &verb_completion,
    &verb_version,
    &verb_help,
    &verb_shim,
    &verb_init,
    &verb_sim,
    NULL,
};

const struct option_spec common_options[] = {
    {"help", 'h', OPTION_FLAG, NULL, "say what the verb does and which options it has"},
    {NULL},
};

const struct option_spec remote_options[] = {
    {"endpoint", 'e', OPTION_TEXT, "ADDRESS", "the server: unix:PATH or https://HOST:PORT", NULL,
        "MUSTER_ENDPOINT"},
    {"ca", 0, OPTION_TEXT, "FILE",
        "trust the certificates in this PEM file instead of the system's", NULL, "MUSTER_CA"},
    {"token-file", 0, OPTION_TEXT, "FILE",
        "read the bearer token from this file, which nobody else may read; MUSTER_TOKEN may hold "
        "the token itself",
        NULL, "MUSTER_TOKEN_FILE"},
    {NULL},
};

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; verbs[i]; i++) {
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    }
    return NULL;
}

int verb_option_lists(const struct verb *verb, const struct option_spec *out[3])
{
    int count = 0;
    if (verb->options)
        out[count++] = verb->options;
    if (verb->scope == VERB_REMOTE)
        out[count++] = remote_options;
    out[count++] = common_options;
    return count;
}

void verb_operand_count(const struct verb *verb, int *ret_least, int *ret_most)
{
    int least = 0, most = 0;
    const char *s = verb->operands + strspn(verb->operands, " ");
    while (*s && strncmp(s, "--", 2) != 0) {
        size_t length = strcspn(s, " ");
        if (s[0] != '[')
            least++;
        if (length > 3 && memmem(s, length, "...", 3))
            most = -1;
        else if (most >= 0)
            most++;
        s += length;
        s += strspn(s, " ");
    }
    *ret_least = least;
    *ret_most = most;
}

bool verb_takes_command(const struct verb *verb)
{
    return strstr(verb->operands, "-- ") != NULL;
}

enum { SUGGEST_LENGTH_MAX = 40, SUGGEST_DISTANCE_MAX = 2 };

/* Edits between two words, where swapping neighbours is one edit (optimal string alignment). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][SUGGEST_LENGTH_MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    assert(la <= SUGGEST_LENGTH_MAX && lb <= SUGGEST_LENGTH_MAX);
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[la % 3][lb];
}

const char *verb_suggest(const char *text, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t distance = SUGGEST_DISTANCE_MAX + 1;
    size_t length = strlen(text);
    if (length < 2 || length > SUGGEST_LENGTH_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        /* The beginning of a name is as good as the name: --acc for --accelerator. */
        size_t found =
            length >= 3 && !strncmp(names[i], text, length) ? 1 : edit_distance(text, names[i]);
        if (found < distance && found < length) {
            distance = found;
            nearest = names[i];
        }
    }
    return nearest;
}
