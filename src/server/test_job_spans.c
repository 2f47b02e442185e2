/* Tests of jobs' spans: what does not fit is counted and dropped, nothing is counted twice, and
 * each kind is a span that a collector takes. */
#include "server/job_spans.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "core/rows.h"
#include "gateway/trace.h"
#include "wire/doc.h"
#include "wire/otlp.h"

#include <event2/event.h>
#include <string.h>

static struct job_span span_of(enum job_span_kind kind, int32_t reason)
{
    struct job_span span = {.kind = kind,
        .trace = {1},
        .id = {2},
        .parent = {3},
        .begin_ms = 5,
        .end_ms = 3,
        .job = 7,
        .number = 1,
        .reason = reason,
        .exit_status = 9,
        .name = "a \"job\"",
        .team = "team"};
    return span;
}

static void what_does_not_fit_is_counted_and_nothing_waits(void **state)
{
    (void)state;
    enum { PUSHED = JOB_SPANS_MAX * 2 };
    struct event_base *base = event_base_new();
    const struct tracer_options options = {.address = "unix:/nowhere/at/all", .period_ms = 3600000};
    struct job_spans *spans = NULL;
    struct job_spans_counts counts;
    struct error err;
    assert_int_equal(job_spans_create(base, &options, &spans, &err), 0);
    const struct job_span span = span_of(JOB_SPAN_RUN, END_SUCCEEDED);
    for (int i = 0; i < PUSHED; i++)
        job_spans_push(spans, &span);
    job_spans_count(spans, &counts);
    /* Half full it was woken, and took a request's worth. */
    assert_int_equal(counts.dropped_queue, PUSHED - JOB_SPANS_MAX - JOB_SPANS_OF_A_REQUEST);
    assert_int_equal(counts.exported + counts.dropped_collector, 0);
    job_spans_destroy(spans);
    event_base_free(base);
}

static const struct doc *written(struct arena *arena, const struct job_span *span)
{
    static const char *const way[] = {"resourceSpans", "scopeSpans", "spans"};
    SCOPED(strbuf_finish) struct strbuf text = {0};
    otlp_begin(&text, "muster-server", "muster.jobs", "i");
    job_span_write(span, &text);
    otlp_end(&text);
    const struct doc *doc = doc_parse_json(arena, text.text, text.length, text.length, NULL);
    for (size_t i = 0; i < ARRAY_LEN(way); i++) {
        doc = doc ? doc_get(doc, way[i]) : NULL;
        assert_non_null(doc);
        assert_int_equal(doc->count, 1);
        doc = doc->first;
    }
    return doc;
}

static void every_kind_and_reason_is_a_span(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (int kind = 0; kind < JOB_SPAN_KINDS; kind++) {
        for (int reason = 0; reason < END_REASON_COUNT; reason++) {
            struct job_span span = span_of((enum job_span_kind)kind, reason);
            bool below = (kind + reason) % 2 == 0;
            span.parent[0] = below;
            const struct doc *doc = written(arena, &span);
            bool ends = kind == JOB_SPAN_JOB || kind == JOB_SPAN_ATTEMPT || kind == JOB_SPAN_RUN ||
                        kind == JOB_SPAN_STOP;
            assert_string_equal(doc_get_string(doc, "traceId"), "01000000000000000000000000000000");
            assert_int_equal(doc_get(doc, "parentSpanId") != NULL, below);
            /* A clock that was set back makes no span that ends before it begins. */
            assert_string_equal(
                doc_get_string(doc, "endTimeUnixNano"), doc_get_string(doc, "startTimeUnixNano"));
            bool failed = doc_get(doc, "status") != NULL;
            assert_true(ends || !failed);
            if (ends && reason == END_EXIT)
                assert_true(failed);
            if (reason == END_PREEMPTED || reason == END_SUCCEEDED)
                assert_false(failed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_counted_and_nothing_waits),
        cmocka_unit_test(every_kind_and_reason_is_a_span),
    };
    return cmocka_run_group_tests_name("job_spans", tests, NULL, NULL);
}
