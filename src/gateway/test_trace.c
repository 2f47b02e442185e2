/* Tests of traces: contexts as the recommendation says, rings that lose nothing silently, and OTLP
 * that a collector takes. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/trace.h"
#include "gateway/trace_otlp.h"
#include "wire/doc.h"
#include "wire/otlp_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN  "00f067aa0ba902b7"

static void test_a_parent_is_read_and_written_as_it_was(void **state)
{
    (void)state;
    struct trace_context context;
    char out[TRACE_PARENT_TEXT];
    assert_true(trace_parent_read("00-" TRACE "-" SPAN "-01", &context));
    assert_int_equal(context.flags, TRACE_SAMPLED);
    assert_int_equal(context.trace[0], 0x4b);
    assert_int_equal(context.span[7], 0xb7);
    trace_parent_write(&context, out);
    assert_string_equal(out, "00-" TRACE "-" SPAN "-01");
    /* Flags that are not known are not passed on, nor what a later version adds. */
    assert_true(trace_parent_read("cc-" TRACE "-" SPAN "-ff-what-comes", &context));
    trace_parent_write(&context, out);
    assert_string_equal(out, "00-" TRACE "-" SPAN "-03");
    assert_true(trace_parent_read("cc-" TRACE "-" SPAN "-00", &context));
}

static void test_what_is_no_parent_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "00",
        "00-" TRACE "-" SPAN "-0",
        "00-" TRACE "-" SPAN "-01-",
        "00-" TRACE "-" SPAN "-01-more",
        "00-" TRACE "-" SPAN "-011",
        "cc-" TRACE "-" SPAN "-01.more",
        "ff-" TRACE "-" SPAN "-01",
        "0x-" TRACE "-" SPAN "-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" TRACE "-0000000000000000-01",
        "00_" TRACE "-" SPAN "-01",
        "00-" TRACE "_" SPAN "-01",
        "00-" TRACE "-" SPAN "_01",
        " 00-" TRACE "-" SPAN "-01",
        "00-" TRACE "-" SPAN "-g1",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct trace_context context = {.flags = 0x55};
        assert_false(trace_parent_read(rows[i], &context));
        assert_int_equal(context.flags, 0x55);
    }
}

static void test_states_are_lists_of_different_keys(void **state)
{
    (void)state;
    static const char *const fine[] = {"a=1", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        "a=1, b=2 ,\tc=3", "a=1,,b=2", "a=1,", "tenant@system=x", "0a=1", "a_-*/=x", "a=b c"};
    static const char *const wrong[] = {"", ",", "a", "a=", "=1", "A=1", "a=1,a=2", "a=1;b=2",
        "a=b=c", "a =1", "a=\x80", "a=1\n", "-a=1", "a= "};
    for (size_t i = 0; i < ARRAY_LEN(fine); i++)
        assert_true(trace_state_valid(fine[i]));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_false(trace_state_valid(wrong[i]));
}

static void test_states_have_bounds(void **state)
{
    (void)state;
    struct strbuf text = {0};
    for (int i = 0; i < TRACE_STATE_MEMBERS; i++)
        strbuf_printf(&text, "%sk%d=v", i ? "," : "", i);
    assert_true(trace_state_valid(strbuf_text(&text)));
    strbuf_puts(&text, ",more=v");
    assert_false(trace_state_valid(strbuf_text(&text)));
    strbuf_clear(&text);
    for (int i = 0; i < 257; i++)
        strbuf_putc(&text, 'k');
    strbuf_puts(&text, "=v");
    assert_false(trace_state_valid(strbuf_text(&text)));
    assert_true(trace_state_valid(strbuf_text(&text) + 1));
    strbuf_clear(&text);
    strbuf_puts(&text, "k=v");
    while (text.length < TRACE_STATE_TEXT)
        strbuf_putc(&text, ',');
    assert_false(trace_state_valid(strbuf_text(&text)));
    strbuf_finish(&text);
}

static void test_a_ratio_takes_its_part_and_all_of_a_smaller_one(void **state)
{
    (void)state;
    enum { TRACES = 20000 };
    struct prng prng = {7};
    size_t taken = 0;
    for (int i = 0; i < TRACES; i++) {
        struct trace_context context;
        for (size_t n = 0; n < sizeof context.trace; n++)
            context.trace[n] = (uint8_t)prng_next(&prng);
        assert_true(trace_sampled(&context, 1000000));
        assert_false(trace_sampled(&context, 0));
        taken += trace_sampled(&context, 100000);
        if (trace_sampled(&context, 100000))
            assert_true(trace_sampled(&context, 100001));
    }
    assert_in_range(taken, TRACES / 10 - TRACES / 50, TRACES / 10 + TRACES / 50);
}

/* ---- OTLP ------------------------------------------------------------------------------------ */

static void fill(struct trace_record *record)
{
    memset(record, 0, sizeof *record);
    assert_true(trace_parent_read("00-" TRACE "-" SPAN "-01", &record->context));
    record->begin_ns = 1000;
    record->end_ns = 9000;
    record->status = 200;
    record->tokens_known = true;
    record->input_tokens = 3;
    record->output_tokens = 12;
    snprintf(record->method, sizeof record->method, "POST");
    snprintf(record->path, sizeof record->path, "/v1/chat/completions");
    snprintf(record->route, sizeof record->route, "/v1/chat/completions");
    snprintf(record->operation, sizeof record->operation, "chat");
    snprintf(record->client, sizeof record->client, "[::1]:51234");
    record->part_count = 2;
    record->parts[0] = (struct trace_part){
        .kind = TRACE_QUEUE, .span = {1}, .inside = -1, .begin_ns = 2000, .end_ns = 3000};
    record->parts[1] = (struct trace_part){.kind = TRACE_MODEL,
        .span = {2},
        .inside = -1,
        .begin_ns = 3000,
        .end_ns = 8000,
        .status = 200,
        .replica = 7,
        .version = 3,
        .model = "a \"model\""};
}

static const struct doc *attribute(const struct doc *span, const char *key)
{
    for (const struct doc *item = doc_get(span, "attributes")->first; item; item = item->next) {
        if (!strcmp(doc_get_string(item, "key"), key))
            return doc_get(item, "value")->first;
    }
    return NULL;
}

static const struct doc *spans_of(struct arena *arena, const struct strbuf *body)
{
    struct error err;
    const struct doc *doc = doc_parse_json(arena, body->text, body->length, DOC_BYTES_MAX, &err);
    assert_non_null(doc);
    const struct doc *resource = doc_get(doc, "resourceSpans")->first;
    return doc_get(doc_get(resource, "scopeSpans")->first, "spans");
}

static void test_a_record_becomes_spans_with_parents(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(mem_scope) struct trace_record *record = mem_alloc(1, sizeof *record);
    struct strbuf body = {0};
    fill(record);
    trace_otlp_begin(&body, "i1");
    assert_int_equal(trace_otlp_record(&body, record, 1000000), 3);
    record->broken = true;
    memset(record->parent, 0xab, sizeof record->parent);
    assert_int_equal(trace_otlp_record(&body, record, 0), 3);
    trace_otlp_end(&body);
    const struct doc *spans = spans_of(arena, &body), *root = spans->first;
    assert_int_equal(spans->count, 6);
    assert_string_equal(doc_get_string(root, "traceId"), TRACE);
    assert_string_equal(doc_get_string(root, "spanId"), SPAN);
    assert_null(doc_get(root, "parentSpanId"));
    assert_string_equal(doc_get_string(root, "name"), "POST /v1/chat/completions");
    assert_string_equal(doc_get_string(root, "startTimeUnixNano"), "1001000");
    assert_string_equal(attribute(root, "client.address")->text, "::1");
    assert_null(doc_get(root, "status"));
    const struct doc *queue = root->next, *model = queue->next;
    assert_string_equal(doc_get_string(queue, "parentSpanId"), SPAN);
    assert_string_equal(doc_get_string(queue, "name"), "queue");
    assert_string_equal(doc_get_string(model, "name"), "chat a \"model\"");
    assert_string_equal(attribute(model, "gen_ai.usage.output_tokens")->text, "12");
    assert_string_equal(attribute(model, "gen_ai.request.model")->text, "a \"model\"");
    const struct doc *broken = model->next;
    assert_string_equal(doc_get_string(broken, "parentSpanId"), "abababababababab");
    assert_int_equal(doc_get_int(doc_get(broken, "status"), "code", 0), 2);
    assert_string_equal(attribute(broken, "error.type")->text, "broken");
    strbuf_finish(&body);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void test_what_does_not_fit_is_counted(void **state)
{
    (void)state;
    enum { RECORDS = 3 * TRACE_RING_RECORDS };
    SCOPED(mem_scope) struct trace_record *record = mem_alloc(1, sizeof *record);
    struct tracer *tracer;
    struct error err;
    const struct tracer_options options = {.address = "unix:/nowhere/at/all",
        .ratio_million = 1000000,
        .period_ms = 1,
        .instance = "i"};
    assert_int_equal(tracer_create(&options, 2, &tracer, &err), 0);
    fill(record);
    for (int i = 0; i < RECORDS; i++)
        tracer_push(tracer, i % 2, record);
    struct tracer_counts counts;
    tracer_counts(tracer, &counts);
    assert_int_equal(counts.exported, 0);
    /* Each has three spans. The thread was woken and took one batch, which nobody takes from it. */
    const uint64_t most = (RECORDS - 2 * TRACE_RING_RECORDS) * 3;
    assert_int_equal(counts.dropped_queue % 3, 0);
    assert_in_range(counts.dropped_queue, most - (uint64_t)128 * 3, most);
    tracer_destroy(tracer);
}

static void test_addresses_are_checked(void **state)
{
    (void)state;
    static const char *const fine[] = {"http://127.0.0.1:4318", "http://[::1]:4318/otlp/v1/traces",
        "http://collector:4318", "https://collector.example/v1/traces", "unix:/run/collector.sock"};
    static const char *const wrong[] = {"", "127.0.0.1:4318", "ftp://collector:4318", "http://",
        "http://user@collector", "unix:relative", "http://127.0.0.1:4318/a b"};
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(fine); i++)
        assert_int_equal(otlp_address_check(fine[i], &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(otlp_address_check(wrong[i], &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_parent_is_read_and_written_as_it_was),
        cmocka_unit_test(test_what_is_no_parent_is_refused),
        cmocka_unit_test(test_states_are_lists_of_different_keys),
        cmocka_unit_test(test_states_have_bounds),
        cmocka_unit_test(test_a_ratio_takes_its_part_and_all_of_a_smaller_one),
        cmocka_unit_test(test_a_record_becomes_spans_with_parents),
        cmocka_unit_test(test_what_does_not_fit_is_counted),
        cmocka_unit_test(test_addresses_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
