/* Tests of the sentences about a job that waits, one for each reason. */
#include "base/memory.h"
#include "base/test.h"
#include "server/explain.h"

#include <string.h>

/* The sentences, one a line. */
static char *words_of(struct arena *arena, const char *json)
{
    struct error err;
    const struct doc *shown = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, &err);
    assert_non_null(shown);
    char *text = arena_strdup(arena, "");
    const struct doc *words = explain_words(arena, shown);
    for (const struct doc *one = words->first; one; one = one->next)
        text = arena_printf(arena, "%s%s%s", text, *text ? "\n" : "", one->text);
    return text;
}

static void each_reason_has_its_sentence(void **state)
{
    static const struct {
        const char *waits, *sentence;
    } cases[] = {
        {"{\"kind\":\"held\"}", "It is held until somebody releases it (muster release)."},
        {"{\"kind\":\"dependency\",\"job\":{\"name\":\"a\",\"team\":\"t\"},\"more\":2}",
            "It waits for t/a and 2 more to end."},
        {"{\"kind\":\"dependency\",\"job\":{\"hidden\":true},\"more\":0}",
            "It waits for another team's job to end."},
        {"{\"kind\":\"moment\",\"until\":\"2026-01-01T00:00:00Z\",\"retry\":false}",
            "It may start from 2026-01-01T00:00:00Z on."},
        {"{\"kind\":\"moment\",\"until\":\"2026-01-01T00:00:00Z\",\"retry\":true}",
            "It failed and is tried again at 2026-01-01T00:00:00Z."},
        {"{\"kind\":\"claim\",\"node\":\"n\",\"pool\":\"p\"}",
            "A place is being made for it on n of the pool p: who runs there is stopping."},
        {"{\"kind\":\"impossible\",\"nearest\":{\"node\":\"n1\",\"pool\":\"a\",\"lacks\":[{"
         "\"what\":"
         "\"accelerators\",\"need\":\"16\",\"has\":\"8\"}]}}",
            "No pool could hold it, not even idle. It asks 16 accelerators a rank; the nearest "
            "node, "
            "n1 of the pool a, has 8."},
        {"{\"kind\":\"impossible\",\"nearest\":{\"node\":\"n1\",\"pool\":\"a\",\"lacks\":[{"
         "\"what\":"
         "\"taint\",\"need\":\"spot\",\"has\":\"\"}]}}",
            "No pool could hold it, not even idle. The nearest node, n1 of the pool a, has the "
            "taint "
            "spot."},
        {"{\"kind\":\"impossible\",\"nearest\":{\"node\":\"n1\",\"pool\":\"a\",\"lacks\":[{"
         "\"what\":"
         "\"label\",\"need\":\"zone\",\"has\":\"x\"}]}}",
            "No pool could hold it, not even idle. The nearest node, n1 of the pool a, does not "
            "meet "
            "what it requires of the label zone."},
        {"{\"kind\":\"impossible\",\"ranks\":{\"pool\":\"a\",\"most\":6}}",
            "No pool could hold it, not even idle. The pool a, idle, holds 6 of its ranks."},
        {"{\"kind\":\"closed\",\"nodes\":{\"matching\":2,\"open\":0,\"closed\":[{\"node\":\"n1\","
         "\"pool\":\"a\",\"why\":\"cordoned\"},{\"node\":\"n2\",\"pool\":\"a\",\"why\":\"lost\"}]}"
         "}",
            "The nodes that could hold it (2) take no work now: n1 of the pool a is cordoned, n2 "
            "of "
            "the pool a is lost."},
        {"{\"kind\":\"array\",\"held\":3,\"limit\":3}",
            "Its array runs 3 of at most 3 elements at once."},
        {"{\"kind\":\"limit\",\"team\":\"t\",\"resource\":\"memory\",\"held\":\"3Gi\",\"limit\":"
         "\"4Gi\",\"need\":\"2Gi\"}",
            "The team t is at its limit: it holds 3Gi of 4Gi memory, and this needs 2Gi."},
        {"{\"kind\":\"guarantee\",\"team\":\"t\",\"resource\":\"cpu\",\"need\":\"2\"}",
            "It can not be preempted, and the 2 cpu that it needs beyond what the team t is "
            "guaranteed are guaranteed to others."},
        {"{\"kind\":\"room\",\"held\":1,\"need\":2,\"nodes\":{\"matching\":3,\"open\":3}}",
            "There is no room now: 1 of its 2 ranks would fit; 3 nodes could hold one."},
        {"{\"kind\":\"impossible\",\"level\":\"rack\",\"domain\":\"r1\",\"what\":"
         "\"accelerators\",\"need\":64,\"held\":32}",
            "No rack holds 64 accelerators, not even idle; the largest, r1, holds 32."},
        {"{\"kind\":\"promise\",\"held\":1,\"need\":4,\"node\":\"n\",\"pool\":\"p\",\"more\":3,"
         "\"until\":\"2026-01-01T00:00:00Z\",\"nodes\":{\"matching\":4,\"open\":4}}",
            "There is no room now: 1 of its 4 ranks would fit; 4 nodes could hold one. A place is "
            "kept "
            "for it on n and 3 more from 2026-01-01T00:00:00Z."},
        {"{\"kind\":\"checkpoint\",\"job\":{\"name\":\"a\",\"team\":\"t\"},\"more\":0,\"due\":"
         "\"2026-01-01T00:05:00Z\",\"until\":\"2026-01-01T00:20:00Z\"}",
            "It lets t/a go on to its next checkpoint, due at 2026-01-01T00:05:00Z, and then takes "
            "its place; it waits for such until 2026-01-01T00:20:00Z at the latest."},
        {"{\"kind\":\"checkpoint\",\"job\":{\"hidden\":true},\"more\":2,\"due\":"
         "\"2026-01-01T00:05:00Z\",\"until\":\"2026-01-01T00:20:00Z\"}",
            "It lets another team's job and 2 more go on to their next checkpoints, the first due "
            "at 2026-01-01T00:05:00Z, and then takes their place; it waits for such until "
            "2026-01-01T00:20:00Z at the latest."},
        {"{\"kind\":\"kept\",\"job\":{\"hidden\":true},\"node\":\"n\",\"pool\":\"p\",\"until\":"
         "\"2026-01-01T00:00:00Z\",\"orLater\":true,\"timeLimit\":false}",
            "The room there is is kept for another team's job from 2026-01-01T00:00:00Z at the "
            "earliest, and when the jobs without a time limit that run there have ended; with a "
            "time "
            "limit (spec.timeLimit) it could run until then."},
        {"{\"kind\":\"spot\",\"policy\":\"slack\",\"held\":0,\"need\":2,\"elsewhere\":2,"
         "\"until\":\"2026-01-01T00:00:00Z\"}",
            "It waits for spot capacity, as the policy slack has it: 0 of its 2 ranks would fit "
            "there now, on other capacity 2. It is looked at again when capacity comes free, and "
            "at 2026-01-01T00:00:00Z."},
        {"{\"kind\":\"round\",\"policy\":\"elastic\",\"held\":2,\"need\":2,\"target\":0,"
         "\"until\":\"2026-01-01T00:00:00Z\"}",
            "The allotment elastic decides in rounds who runs, and the last gave it 0 ranks; 2 of "
            "the 2 that it needs at least would fit now. The next round is at "
            "2026-01-01T00:00:00Z."},
        {"{\"kind\":\"round\",\"policy\":\"edf\",\"held\":0,\"need\":2,\"target\":0}",
            "The allotment edf decides in rounds who runs, and the last gave it 0 ranks; 0 of the "
            "2 that it needs at least would fit now. The next round is held when something "
            "changes."},
        {"{\"kind\":\"turn\"}", "There is room for it, and others have their turn before it."},
        {"{\"kind\":\"something new\"}", "It waits."},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        char *json = arena_printf(arena, "{\"state\":\"queued\",\"waits\":%s}", cases[i].waits);
        assert_string_equal(words_of(arena, json), cases[i].sentence);
    }
}

static void who_and_when_are_said(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)state;
    assert_string_equal(
        words_of(arena,
            "{\"state\":\"queued\",\"asOf\":\"2026-01-01T00:00:00Z\",\"waits\":{\"kind\":\"turn\"},"
            "\"holders\":{\"count\":7,\"items\":[{\"name\":\"a\",\"team\":\"t\",\"holds\":\"4\","
            "\"resource\":\"cpu\",\"end\":{\"median\":\"2026-01-01T00:01:00Z\"}},{\"hidden\":true,"
            "\"holds\":\"2\",\"resource\":\"cpu\"}]},"
            "\"ahead\":{\"count\":1,\"items\":[{\"name\":\"b\",\"team\":\"t\"}]},"
            "\"start\":{\"median\":\"2026-01-01T00:12:00Z\",\"earliest\":\"2026-01-01T00:11:00Z\","
            "\"latest\":\"2026-01-01T00:20:00Z\",\"runs\":9,\"known\":9},"
            "\"deadline\":{\"at\":\"2026-01-01T00:15:00Z\",\"late\":2,\"runs\":9},"
            "\"basis\":{\"samples\":12,\"of\":\"all jobs\"}}"),
        "There is room for it, and others have their turn before it.\n"
        "What it waits for is held by 7 jobs, of which these end first: t/a with 4 cpu, until "
        "about "
        "2026-01-01T00:01:00Z; another team's job with 2 cpu.\n"
        "1 that waits too starts before it: t/b.\n"
        "It will start at about 2026-01-01T00:12:00Z (in 12m), in all of 9 runs between "
        "2026-01-01T00:11:00Z and 2026-01-01T00:20:00Z.\n"
        "It misses its deadline, 2026-01-01T00:15:00Z, in 2 of 9 runs.\n"
        "How long it takes is judged by all jobs (12 looked at).");
}

static void what_is_not_known_is_not_claimed(void **state)
{
    static const struct {
        const char *start, *sentence;
    } cases[] = {
        {"{\"runs\":9,\"known\":0}", "It did not start in any of 9 runs."},
        {"{\"runs\":9,\"known\":0,\"notBefore\":\"2026-01-01T00:00:00Z\"}",
            "It did not start in any of 9 runs, which went as far as 2026-01-01T00:00:00Z."},
        {"{\"runs\":9,\"known\":6,\"median\":\"2026-01-01T00:00:00Z\",\"earliest\":"
         "\"2025-12-31T00:00:00Z\"}",
            "It will start at about 2026-01-01T00:00:00Z, 2025-12-31T00:00:00Z at the earliest; in "
            "3 "
            "of 9 runs not at all."},
        {"{\"runs\":9,\"known\":2,\"earliest\":\"2026-01-01T00:00:00Z\"}",
            "It will start late, if at all, 2026-01-01T00:00:00Z at the earliest; in 7 of 9 runs "
            "not "
            "at all."},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        char *json = arena_printf(arena,
            "{\"state\":\"queued\",\"waits\":{\"kind\":\"held\"},\"start\":%s}", cases[i].start);
        assert_string_equal(strchr(words_of(arena, json), '\n') + 1, cases[i].sentence);
    }
}

static void jobs_that_do_not_wait_answer_too(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)state;
    assert_string_equal(
        words_of(arena, "{\"state\":\"running\"}"), "It has its place: it is running.");
    assert_string_equal(words_of(arena, "{\"state\":\"starting\",\"inputs\":\"digits:1\"}"),
        "It has its place: it is starting.\nIt waits for its inputs: digits:1.");
    assert_string_equal(
        words_of(arena, "{\"state\":\"starting\",\"site\":{\"state\":\"queued\",\"id\":\"4711\","
                        "\"nodes\":\"\",\"waits\":\"Resources\"}}"),
        "It has its place: it is starting.\nIts site has it as 4711, where it waits: Resources.");
    assert_string_equal(
        words_of(arena, "{\"state\":\"starting\",\"site\":{\"state\":\"accepted\",\"id\":\"\","
                        "\"waits\":\"\"}}"),
        "It has its place: it is starting.\nIts site does not have it yet.");
    assert_string_equal(words_of(arena, "{\"state\":\"running\",\"site\":{\"state\":\"placed\","
                                        "\"id\":\"4711\",\"nodes\":\"n1\",\"waits\":\"\"}}"),
        "It has its place: it is running.");
    assert_string_equal(words_of(arena, "{\"state\":\"failed\",\"reason\":\"exit\",\"ended\":"
                                        "\"2026-01-01T00:00:00Z\"}"),
        "It ended at 2026-01-01T00:00:00Z: failed (exit).");
    assert_string_equal(
        words_of(arena, "{\"state\":\"queued\",\"waits\":{\"kind\":\"held\"},\"noForecast\":"
                        "\"there is no planner now\"}"),
        "It is held until somebody releases it (muster release).\n"
        "When it starts can not be said: there is no planner now.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_has_its_sentence),
        cmocka_unit_test(who_and_when_are_said),
        cmocka_unit_test(what_is_not_known_is_not_claimed),
        cmocka_unit_test(jobs_that_do_not_wait_answer_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
