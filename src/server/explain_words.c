/* The answer about a job in sentences: see explain.h. Each is made of the document alone, so that
 * nobody reads in words what the document does not show. */
#include "server/explain.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"

#include <inttypes.h>
#include <string.h>

enum { NAMED_MAX = 3 };

typedef void say_fn(const struct doc *waits, struct strbuf *out);

static const char *text_of(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);
    return value && (value->type == DOC_STRING || value->type == DOC_NUMBER) ? value->text : "";
}

static void say_job(const struct doc *job, struct strbuf *out)
{
    if (doc_get_string(job, "name"))
        strbuf_printf(out, "%s/%s", text_of(job, "team"), text_of(job, "name"));
    else
        strbuf_puts(out, "another team's job");
}

/* ---- what it waits for --------------------------------------------------------------------- */

static void say_held(const struct doc *waits, struct strbuf *out)
{
    (void)waits;
    strbuf_puts(out, "It is held until somebody releases it (muster release).");
}

static void say_dependency(const struct doc *waits, struct strbuf *out)
{
    int64_t more = doc_get_int(waits, "more", 0);
    strbuf_puts(out, "It waits for ");
    say_job(doc_get(waits, "job"), out);
    if (more > 0)
        strbuf_printf(out, " and %" PRId64 " more", more);
    strbuf_puts(out, " to end.");
}

static void say_moment(const struct doc *waits, struct strbuf *out)
{
    bool retry = doc_get_bool(waits, "retry", false);
    strbuf_printf(out, retry ? "It failed and is tried again at %s." : "It may start from %s on.",
        text_of(waits, "until"));
}

static void say_claim(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out,
        "A place is being made for it on %s of the pool %s: who runs there is "
        "stopping.",
        text_of(waits, "node"), text_of(waits, "pool"));
}

static void say_lack(const struct doc *nearest, const struct doc *lack, struct strbuf *out)
{
    const char *what = text_of(lack, "what"), *node = text_of(nearest, "node"),
               *pool = text_of(nearest, "pool");
    if (!strcmp(what, "taint"))
        strbuf_printf(out, " The nearest node, %s of the pool %s, has the taint %s.", node, pool,
            text_of(lack, "need"));
    else if (!strcmp(what, "label"))
        strbuf_printf(out,
            " The nearest node, %s of the pool %s, does not meet what it requires of the label %s.",
            node, pool, text_of(lack, "need"));
    else
        strbuf_printf(out, " It asks %s %s a rank; the nearest node, %s of the pool %s, has %s.",
            text_of(lack, "need"), what, node, pool,
            *text_of(lack, "has") ? text_of(lack, "has") : "none");
}

/* A level of topology that no domain has enough of. */
static void say_level(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out, "No %s holds %s %s, not even idle", text_of(waits, "level"),
        text_of(waits, "need"), text_of(waits, "what"));
    if (doc_get(waits, "domain"))
        strbuf_printf(
            out, "; the largest, %s, holds %s", text_of(waits, "domain"), text_of(waits, "held"));
    strbuf_putc(out, '.');
}

static void say_impossible(const struct doc *waits, struct strbuf *out)
{
    if (doc_get(waits, "level")) {
        say_level(waits, out);
        return;
    }
    const struct doc *nearest = doc_get(waits, "nearest"), *ranks = doc_get(waits, "ranks");
    const struct doc *lacks = doc_get(nearest, "lacks");
    strbuf_puts(out, "No pool could hold it, not even idle.");
    if (lacks && lacks->first)
        say_lack(nearest, lacks->first, out);
    else if (ranks)
        strbuf_printf(out, " The pool %s, idle, holds %s of its ranks.", text_of(ranks, "pool"),
            text_of(ranks, "most"));
}

static void say_closed_nodes(const struct doc *nodes, struct strbuf *out)
{
    const struct doc *closed = doc_get(nodes, "closed");
    const char *between = " ";
    for (const struct doc *one = closed ? closed->first : NULL; one; one = one->next) {
        strbuf_printf(out, "%s%s of the pool %s is %s", between, text_of(one, "node"),
            text_of(one, "pool"), text_of(one, "why"));
        between = ", ";
    }
    if (closed && closed->first)
        strbuf_putc(out, '.');
}

static void say_closed(const struct doc *waits, struct strbuf *out)
{
    const struct doc *nodes = doc_get(waits, "nodes");
    strbuf_printf(
        out, "The nodes that could hold it (%s) take no work now:", text_of(nodes, "matching"));
    say_closed_nodes(nodes, out);
}

static void say_array(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out, "Its array runs %s of at most %s elements at once.", text_of(waits, "held"),
        text_of(waits, "limit"));
}

static void say_limit(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out, "The team %s is at its limit: it holds %s of %s %s, and this needs %s.",
        text_of(waits, "team"), text_of(waits, "held"), text_of(waits, "limit"),
        text_of(waits, "resource"), text_of(waits, "need"));
}

static void say_guarantee(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out,
        "It can not be preempted, and the %s %s that it needs beyond what the team %s is "
        "guaranteed are guaranteed to others.",
        text_of(waits, "need"), text_of(waits, "resource"), text_of(waits, "team"));
}

static void say_room(const struct doc *waits, struct strbuf *out)
{
    const struct doc *nodes = doc_get(waits, "nodes");
    int64_t matching = doc_get_int(nodes, "matching", 0), open = doc_get_int(nodes, "open", 0);
    strbuf_printf(out, "There is no room now: %s of its %s ranks would fit", text_of(waits, "held"),
        text_of(waits, "need"));
    if (matching > 0)
        strbuf_printf(
            out, "; %" PRId64 " %s could hold one", matching, matching == 1 ? "node" : "nodes");
    strbuf_putc(out, '.');
    if (open < matching)
        say_closed_nodes(nodes, out);
}

static void say_until(const struct doc *waits, struct strbuf *out)
{
    strbuf_puts(out, text_of(waits, "until"));
    if (doc_get_bool(waits, "orLater", false))
        strbuf_puts(out, " at the earliest, and when the jobs without a time limit that run there "
                         "have ended");
}

static void say_promise(const struct doc *waits, struct strbuf *out)
{
    int64_t more = doc_get_int(waits, "more", 0);
    say_room(waits, out);
    strbuf_printf(out, " A place is kept for it on %s", text_of(waits, "node"));
    if (more > 0)
        strbuf_printf(out, " and %" PRId64 " more", more);
    strbuf_puts(out, " from ");
    say_until(waits, out);
    strbuf_putc(out, '.');
}

static void say_checkpoint(const struct doc *waits, struct strbuf *out)
{
    int64_t more = doc_get_int(waits, "more", 0);
    strbuf_puts(out, "It lets ");
    say_job(doc_get(waits, "job"), out);
    if (more > 0)
        strbuf_printf(out,
            " and %" PRId64 " more go on to their next checkpoints, the first due at %s, and then "
            "takes their place",
            more, text_of(waits, "due"));
    else
        strbuf_printf(out, " go on to its next checkpoint, due at %s, and then takes its place",
            text_of(waits, "due"));
    strbuf_printf(out, "; it waits for such until %s at the latest.", text_of(waits, "until"));
}

static void say_kept(const struct doc *waits, struct strbuf *out)
{
    strbuf_puts(out, "The room there is is kept for ");
    say_job(doc_get(waits, "job"), out);
    strbuf_puts(out, " from ");
    say_until(waits, out);
    strbuf_puts(out, doc_get_bool(waits, "timeLimit", false)
                         ? "; its own time limit does not end before that."
                         : "; with a time limit (spec.timeLimit) it could run until then.");
}

/* The moment at which a policy decides again, where that goes by time. */
static bool say_again(const struct doc *waits, const char *before, struct strbuf *out)
{
    const char *until = doc_get_string(waits, "until");
    if (until)
        strbuf_printf(out, "%s%s", before, until);
    return until != NULL;
}

static void say_spot(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out,
        "It waits for spot capacity, as the policy %s has it: %s of its %s ranks would fit there "
        "now, on other capacity %s. It is looked at again when capacity comes free",
        text_of(waits, "policy"), text_of(waits, "held"), text_of(waits, "need"),
        text_of(waits, "elsewhere"));
    say_again(waits, ", and at ", out);
    strbuf_putc(out, '.');
}

static void say_round(const struct doc *waits, struct strbuf *out)
{
    strbuf_printf(out,
        "The allotment %s decides in rounds who runs, and the last gave it %s ranks; %s of the %s "
        "that it needs at least would fit now. The next round is ",
        text_of(waits, "policy"), text_of(waits, "target"), text_of(waits, "held"),
        text_of(waits, "need"));
    if (!say_again(waits, "at ", out))
        strbuf_puts(out, "held when something changes");
    strbuf_putc(out, '.');
}

static void say_turn(const struct doc *waits, struct strbuf *out)
{
    (void)waits;
    strbuf_puts(out, "There is room for it, and others have their turn before it.");
}

static const struct {
    const char *kind;
    say_fn *say;
} sentences[] = {
    {"held", say_held},
    {"dependency", say_dependency},
    {"moment", say_moment},
    {"claim", say_claim},
    {"impossible", say_impossible},
    {"closed", say_closed},
    {"array", say_array},
    {"limit", say_limit},
    {"guarantee", say_guarantee},
    {"checkpoint", say_checkpoint},
    {"promise", say_promise},
    {"kept", say_kept},
    {"spot", say_spot},
    {"round", say_round},
    {"room", say_room},
    {"turn", say_turn},
};

static void say_waits(const struct doc *shown, struct strbuf *out)
{
    const struct doc *waits = doc_get(shown, "waits");
    const char *kind = doc_get_string(waits, "kind");
    for (size_t i = 0; kind && i < ARRAY_LEN(sentences); i++) {
        if (!strcmp(kind, sentences[i].kind))
            sentences[i].say(waits, out);
    }
    if (kind && out->length == 0)
        strbuf_puts(out, "It waits.");
}

/* A job that waits for nothing. */
static void say_state(const struct doc *shown, struct strbuf *out)
{
    const char *state = text_of(shown, "state");
    if (doc_get(shown, "waits"))
        return;
    if (doc_get(shown, "ended"))
        strbuf_printf(out, "It ended at %s: %s (%s).", text_of(shown, "ended"), state,
            text_of(shown, "reason"));
    else
        strbuf_printf(out, "It has its place: it is %s.", state);
}

/* Its place is at a site whose own queue it waits in. */
static void say_site(const struct doc *shown, struct strbuf *out)
{
    const struct doc *site = doc_get(shown, "site");
    const char *state = text_of(site, "state"), *why = text_of(site, "waits");
    if (!strcmp(state, "accepted"))
        strbuf_puts(out, "Its site does not have it yet");
    else if (!strcmp(state, "queued"))
        strbuf_printf(out, "Its site has it as %s, where it waits", text_of(site, "id"));
    else
        return;
    strbuf_printf(out, "%s%s.", *why ? ": " : "", why);
}

static void say_inputs(const struct doc *shown, struct strbuf *out)
{
    if (doc_get_string(shown, "inputs"))
        strbuf_printf(out, "It waits for its inputs: %s.", text_of(shown, "inputs"));
}

/* ---- who, and when ------------------------------------------------------------------------- */

static void say_holders(const struct doc *shown, struct strbuf *out)
{
    const struct doc *holders = doc_get(shown, "holders"), *items = doc_get(holders, "items");
    int64_t count = doc_get_int(holders, "count", 0), named = 0;
    if (count == 0 || !items)
        return;
    strbuf_printf(out, "What it waits for is held by %" PRId64 " %s", count,
        count == 1 ? "job" : "jobs, of which these end first");
    for (const struct doc *one = items->first; one && named < NAMED_MAX; one = one->next, named++) {
        strbuf_puts(out, named ? "; " : ": ");
        say_job(one, out);
        strbuf_printf(out, " with %s %s", text_of(one, "holds"), text_of(one, "resource"));
        if (doc_get(doc_get(one, "end"), "median"))
            strbuf_printf(out, ", until about %s", text_of(doc_get(one, "end"), "median"));
    }
    strbuf_putc(out, '.');
}

static void say_ahead(const struct doc *shown, struct strbuf *out)
{
    const struct doc *ahead = doc_get(shown, "ahead"), *items = doc_get(ahead, "items");
    int64_t count = doc_get_int(ahead, "count", 0), named = 0;
    if (count == 0 || !items)
        return;
    strbuf_printf(out, "%" PRId64 " that %s too %s before it", count, count == 1 ? "waits" : "wait",
        count == 1 ? "starts" : "start");
    for (const struct doc *one = items->first; one && named < NAMED_MAX; one = one->next, named++) {
        strbuf_puts(out, named ? ", " : ": ");
        say_job(one, out);
    }
    strbuf_puts(out, count > named ? ", .." : ".");
}

/* " (in 12m)" */
static void say_in(const struct doc *shown, const struct doc *spread, struct strbuf *out)
{
    int64_t now_ms, at_ms;
    struct error ignored;
    char text[QUANTITY_TEXT];
    if (quantity_parse_time(text_of(shown, "asOf"), &now_ms, &ignored) == 0 &&
        quantity_parse_time(text_of(spread, "median"), &at_ms, &ignored) == 0)
        strbuf_printf(
            out, " (in %s)", quantity_human_duration(at_ms > now_ms ? at_ms - now_ms : 0, text));
}

static void say_moment_of(
    const struct doc *shown, const struct doc *spread, const char *verb, struct strbuf *out)
{
    int64_t runs = doc_get_int(spread, "runs", 0), known = doc_get_int(spread, "known", 0);
    if (!spread || runs == 0)
        return;
    if (known == 0) {
        strbuf_printf(out, "It did not %s in any of %" PRId64 " runs", verb, runs);
        if (doc_get(spread, "notBefore"))
            strbuf_printf(out, ", which went as far as %s", text_of(spread, "notBefore"));
        strbuf_putc(out, '.');
        return;
    }
    strbuf_printf(out, "It will %s ", verb);
    if (doc_get(spread, "median")) {
        strbuf_printf(out, "at about %s", text_of(spread, "median"));
        say_in(shown, spread, out);
    } else {
        strbuf_puts(out, "late, if at all");
    }
    if (known == runs)
        strbuf_printf(out, ", in all of %" PRId64 " runs between %s and %s.", runs,
            text_of(spread, "earliest"), text_of(spread, "latest"));
    else
        strbuf_printf(out, ", %s at the earliest; in %" PRId64 " of %" PRId64 " runs not at all.",
            text_of(spread, "earliest"), runs - known, runs);
}

static void say_start(const struct doc *shown, struct strbuf *out)
{
    say_moment_of(shown, doc_get(shown, "start"), "start", out);
}

static void say_end(const struct doc *shown, struct strbuf *out)
{
    if (doc_get_int(doc_get(shown, "end"), "known", 0) > 0)
        say_moment_of(shown, doc_get(shown, "end"), "end", out);
}

static void say_deadline(const struct doc *shown, struct strbuf *out)
{
    const struct doc *deadline = doc_get(shown, "deadline");
    int64_t runs = doc_get_int(deadline, "runs", 0), late = doc_get_int(deadline, "late", 0);
    if (runs == 0)
        return;
    if (late == runs)
        strbuf_printf(out, "It can not meet its deadline, %s, as far as can be seen.",
            text_of(deadline, "at"));
    else if (late == 0)
        strbuf_printf(out, "It meets its deadline, %s, in all runs.", text_of(deadline, "at"));
    else
        strbuf_printf(out, "It misses its deadline, %s, in %" PRId64 " of %" PRId64 " runs.",
            text_of(deadline, "at"), late, runs);
}

static void say_basis(const struct doc *shown, struct strbuf *out)
{
    const struct doc *basis = doc_get(shown, "basis");
    int64_t samples = doc_get_int(basis, "samples", 0);
    if (!basis)
        return;
    if (samples == 0)
        strbuf_puts(out, "How long such jobs take is not known yet: none has ended.");
    else
        strbuf_printf(out, "How long it takes is judged by %s (%" PRId64 " looked at).",
            text_of(basis, "of"), samples);
}

static void say_without(const struct doc *shown, struct strbuf *out)
{
    if (doc_get_string(shown, "noForecast"))
        strbuf_printf(out, "When it starts can not be said: %s.", text_of(shown, "noForecast"));
}

struct doc *explain_words(struct arena *arena, const struct doc *shown)
{
    static say_fn *const parts[] = {say_state, say_site, say_inputs, say_waits, explain_say_pools,
        explain_say_reads, say_holders, say_ahead, say_start, say_end, say_deadline, say_basis,
        say_without};
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct strbuf out = {0};
        parts[i](shown, &out);
        if (out.length > 0)
            doc_append(list, doc_string(arena, strbuf_text(&out)));
        strbuf_finish(&out);
    }
    return list;
}
