/* The deciding parts of what is done for requests: deadlines, circuits, hedges, fallbacks,
 * cascades. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/cascade.h"
#include "gateway/circuit.h"
#include "gateway/deadline.h"
#include "gateway/fallback.h"
#include "gateway/hedge.h"

#include <stdlib.h>
#include <string.h>

/* ---- deadlines ------------------------------------------------------------------------------- */

static void deadlines_are_read_strictly(void **state)
{
    static const char *const bad[] = {
        "", " 5", "5 ", "-1", "1.5", "0x10", "1e3", "5ms", "12345678901234567890"};
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(deadline_parse_ms(bad[i], &ms));
    assert_true(deadline_parse_ms("0", &ms));
    assert_int_equal(ms, 0);
    assert_true(deadline_parse_ms("1500", &ms));
    assert_int_equal(ms, 1500);
    assert_true(deadline_parse_ms("999999999999999999", &ms));
    assert_int_equal(ms, DEADLINE_MS_MAX);
}

static void grpc_timeouts_are_read_with_their_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1H", 3600000}, {"2M", 120000}, {"3S", 3000}, {"250m", 250}, {"1u", 1},
        {"1000000n", 1}, {"1000001n", 2}, {"0S", 0}, {"99999999H", DEADLINE_MS_MAX}};
    static const char *const bad[] = {
        "", "S", "5", "5s", "5 S", "123456789S", "1SS", "-1S", "1.5S"};
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(deadline_parse_grpc(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(deadline_parse_grpc(bad[i], &ms));
}

static void what_is_left_of_a_deadline_is_never_negative(void **state)
{
    (void)state;
    char text[DEADLINE_TEXT];
    assert_string_equal(deadline_text(0, text), "0");
    assert_string_equal(deadline_text(INT64_MAX, text), "9223372036854775807");
    assert_int_equal(deadline_left_ms(5000000, 0), 5);
    assert_int_equal(deadline_left_ms(5000001, 0), 6);
    assert_int_equal(deadline_left_ms(5000000, 5000000), 0);
    assert_int_equal(deadline_left_ms(5000000, INT64_MAX), 0);
}

/* ---- circuits -------------------------------------------------------------------------------- */

static const struct service_circuit options = {.failures = 3, .open_ms = 100, .open_max_ms = 350};

static void a_circuit_opens_after_failures_in_a_row(void **state)
{
    struct circuit circuit = {0};
    int64_t wait;
    (void)state;
    assert_false(circuit_failed(&circuit, &options));
    assert_false(circuit_failed(&circuit, &options));
    circuit_succeeded(&circuit, false);
    assert_false(circuit_failed(&circuit, &options));
    assert_false(circuit_failed(&circuit, &options));
    assert_true(circuit_failed(&circuit, &options));
    assert_int_equal(circuit_enter(&circuit, &options, 1000, &wait), CIRCUIT_CLOSED);
    assert_true(circuit_open(&circuit, &options, 1000));
    assert_false(circuit_open(&circuit, &options, 1000));
    assert_int_equal(circuit_enter(&circuit, &options, 1040, &wait), CIRCUIT_REFUSES);
    assert_int_equal(wait, 60);
    assert_string_equal(circuit_text(&circuit, 1040), "open");
}

static void one_probe_at_a_time_and_the_time_grows_up_to_its_bound(void **state)
{
    static const int64_t times[] = {100, 200, 350, 350, 350};
    struct circuit circuit = {0};
    int64_t wait, now = 1;
    (void)state;
    assert_true(circuit_open(&circuit, &options, now));
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_int_equal(
            circuit_enter(&circuit, &options, now + times[i] - 1, &wait), CIRCUIT_REFUSES);
        now += times[i];
        assert_int_equal(circuit_enter(&circuit, &options, now, &wait), CIRCUIT_PROBE);
        assert_int_equal(circuit_enter(&circuit, &options, now, &wait), CIRCUIT_REFUSES);
        circuit_probe_failed(&circuit, &options, now);
    }
    now += 350;
    assert_int_equal(circuit_enter(&circuit, &options, now, &wait), CIRCUIT_PROBE);
    circuit_probe_gone(&circuit);
    assert_int_equal(circuit_enter(&circuit, &options, now, &wait), CIRCUIT_PROBE);
    circuit_succeeded(&circuit, true);
    assert_int_equal(circuit_enter(&circuit, &options, now, &wait), CIRCUIT_CLOSED);
    assert_true(circuit_open(&circuit, &options, now));
    assert_int_equal(circuit_enter(&circuit, &options, now + 100, &wait), CIRCUIT_PROBE);
}

/* ---- hedges ---------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* Never below the true one, and at most a bucket above: a quarter. */
static void quantiles_are_those_of_the_samples_within_a_bucket(void **state)
{
    (void)state;
    srand(20261122);
    for (int round = 0; round < 200; round++) {
        struct hedge_latency latency = {0};
        int64_t samples[500];
        size_t count = 20 + (size_t)rand() % 480;
        for (size_t i = 0; i < count; i++) {
            samples[i] = 64 + (int64_t)rand() % (1 << (8 + rand() % 20));
            hedge_latency_add(&latency, samples[i]);
        }
        qsort(samples, count, sizeof *samples, ascending);
        for (int percent = 50; percent <= 99; percent += 7) {
            size_t rank = (count * (size_t)percent + 99) / 100;
            int64_t exact = samples[rank - 1];
            int64_t found = hedge_latency_quantile(&latency, percent);
            assert_true(found > exact && found <= exact + exact / 4 + 1);
        }
    }
}

static void few_samples_say_nothing_and_old_ones_fade(void **state)
{
    struct hedge_latency latency = {0};
    (void)state;
    for (int i = 0; i < HEDGE_SAMPLES_MIN - 1; i++)
        hedge_latency_add(&latency, 1000);
    assert_int_equal(hedge_latency_quantile(&latency, 95), 0);
    for (int i = 0; i < 100000; i++)
        hedge_latency_add(&latency, 1000);
    for (int i = 0; i < 20000; i++)
        hedge_latency_add(&latency, 100000);
    assert_true(hedge_latency_quantile(&latency, 50) >= 100000);
    hedge_latency_add(&latency, INT64_MAX);
    hedge_latency_add(&latency, 0);
}

static void hedges_stay_within_their_part_of_requests(void **state)
{
    (void)state;
    for (int64_t percent = 1; percent <= 100; percent += 11) {
        struct hedge_budget budget = {0};
        int made = 0;
        for (int i = 0; i < 10000; i++) {
            hedge_budget_earn(&budget, percent);
            made += hedge_budget_take(&budget);
        }
        assert_true(made <= 10000 * percent / 100 + 1 && made >= 10000 * percent / 100 - 1);
    }
    struct hedge_budget saved = {0};
    int made = 0;
    for (int i = 0; i < 100000; i++)
        hedge_budget_earn(&saved, 100);
    while (hedge_budget_take(&saved))
        made++;
    assert_int_equal(made, 11);
}

/* ---- fallbacks ------------------------------------------------------------------------------- */

static void each_failure_has_its_reason(void **state)
{
    (void)state;
    assert_int_equal(fallback_reason_of_status(200), 0);
    assert_int_equal(fallback_reason_of_status(404), 0);
    assert_int_equal(fallback_reason_of_status(429), FALLBACK_OVERLOAD);
    assert_int_equal(fallback_reason_of_status(503), FALLBACK_OVERLOAD);
    assert_int_equal(fallback_reason_of_status(500), FALLBACK_ERROR);
    assert_int_equal(fallback_reason_of_status(504), FALLBACK_TIMEOUT);
    /* A client's own limit is no reason to ask elsewhere; that of a fallback is. */
    assert_int_equal(fallback_reason_of_refusal(429, "rate_limit_exceeded", false), 0);
    assert_int_equal(
        fallback_reason_of_refusal(429, "rate_limit_exceeded", true), FALLBACK_OVERLOAD);
    assert_int_equal(fallback_reason_of_refusal(403, "content_blocked", true), 0);
    assert_int_equal(fallback_reason_of_refusal(503, "no_replica", false), FALLBACK_CONNECTION);
}

static void a_fallback_is_chosen_by_order_and_reason(void **state)
{
    const char *overload[] = {"overload"}, *two[] = {"timeout", "error"};
    struct fallback_to to[] = {
        {.route = "a", .on = {overload, 1}}, {.route = "b", .on = {two, 2}}, {.route = "c"}};
    const struct service_fallback fallback = {.to = {to, ARRAY_LEN(to)}};
    (void)state;
    assert_int_equal(fallback_choose(&fallback, 0, FALLBACK_OVERLOAD), 0);
    assert_int_equal(fallback_choose(&fallback, 1, FALLBACK_OVERLOAD), 2);
    assert_int_equal(fallback_choose(&fallback, 0, FALLBACK_ERROR), 1);
    assert_int_equal(fallback_choose(&fallback, 0, FALLBACK_CONNECTION), 2);
    assert_int_equal(fallback_choose(&fallback, 0, FALLBACK_ANY), 0);
    assert_int_equal(fallback_choose(&fallback, 3, FALLBACK_ANY), FALLBACK_MAX);
    assert_int_equal(fallback_choose(&fallback, 0, 0), FALLBACK_MAX);
}

static enum stream_start start_of(const char *text)
{
    return fallback_stream_start(text, strlen(text));
}

static void the_start_of_a_stream_is_known_with_its_first_event(void **state)
{
    static const char *const errors[] = {"data: {\"error\": {\"message\": \"no\"}}\n\n",
        "data:{\"error\":\"x\"}\r\n\r\n", ": hello\n\ndata: { \"error\" : {}}\n\n",
        "event: error\ndata: {}\n\n", "data: {\"type\":\"error\",\"code\":\"x\"}\n\n"};
    static const char *const events[] = {"data: {\"choices\":[]}\n\n", "data: [DONE]\n\n",
        "data: {\"error\":null,\"choices\":[]}\n\n", "id: 5\ndata: x\n\n", "data: x\r\rdata: y\n"};
    static const char *const open[] = {"", ": comment\n\n", "data: {\"error\": 1}", "data: x\n",
        "data: x\r\n", "id: 1\n\n", "data: x\n\r"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        assert_int_equal(start_of(errors[i]), STREAM_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        assert_int_equal(start_of(events[i]), STREAM_EVENT);
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        assert_int_equal(start_of(open[i]), STREAM_OPEN);
}

static void whole_events_end_with_an_empty_line(void **state)
{
    (void)state;
    assert_int_equal(fallback_whole_events("", 0), 0);
    assert_int_equal(fallback_whole_events("\n", 1), 0);
    assert_int_equal(fallback_whole_events("a\n\nb\n\nc", 7), 6);
    assert_int_equal(fallback_whole_events("a\r\n\r\nb", 6), 5);
    assert_int_equal(fallback_whole_events("a\r\rb", 4), 3);
    assert_int_equal(fallback_whole_events("a\n", 2), 0);
}

/* ---- cascades -------------------------------------------------------------------------------- */

static int64_t stated(enum cascade_confidence from, const char *name, const char *body)
{
    const struct service_cascade cascade = {.confidence = from, .name = name};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    int64_t micro = -1;
    return cascade_confidence(&cascade, arena, body, strlen(body), &micro) ? micro : -1;
}

static void confidence_is_the_least_of_an_output(void **state)
{
    (void)state;
    const char *body = "{\"outputs\":[{\"name\":\"label\",\"data\":[7]},"
                       "{\"name\":\"sure\",\"data\":[[0.9],[0.25]]}]}";
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "sure", body), 250000);
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "none", body), -1);
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "sure", "{\"outputs\":{}}"), -1);
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "sure",
                         "{\"outputs\":[{\"name\":\"sure\","
                         "\"data\":[0.9,\"x\"]}]}"),
        -1);
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "sure",
                         "{\"outputs\":[{\"name\":\"sure\","
                         "\"data\":[1e400]}]}"),
        -1);
    assert_int_equal(stated(CONFIDENCE_OUTPUT, "sure", "no json"), -1);
}

static void confidence_of_logprobs_is_their_geometric_mean(void **state)
{
    (void)state;
    int64_t half = stated(CONFIDENCE_LOGPROBS, NULL,
        "{\"choices\":[{\"logprobs\":{\"content\":[{\"logprob\":-0.693147},"
        "{\"logprob\":-0.693147}]}}]}");
    assert_in_range(half, 499998, 500002);
    int64_t least = stated(CONFIDENCE_LOGPROBS, NULL,
        "{\"choices\":[{\"logprobs\":{\"token_logprobs\":[null,0]}},"
        "{\"logprobs\":{\"token_logprobs\":[-2.302585]}}]}");
    assert_in_range(least, 99998, 100002);
    assert_int_equal(stated(CONFIDENCE_LOGPROBS, NULL,
                         "{\"choices\":[{\"logprobs\":{\"content\":[{\"logprob\":-9999}]}}]}"),
        0);
    assert_int_equal(stated(CONFIDENCE_LOGPROBS, NULL, "{\"choices\":[{\"logprobs\":null}]}"), -1);
    assert_int_equal(stated(CONFIDENCE_LOGPROBS, NULL, "{\"choices\":[]}"), -1);
}

static void confidence_by_pointer(void **state)
{
    (void)state;
    const char *body = "{\"a/b\":[{\"~\":0.5},0.75],\"n\":null}";
    assert_int_equal(stated(CONFIDENCE_POINTER, "/a~1b/0/~0", body), 500000);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/a~1b/1", body), 750000);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/a~1b/2", body), -1);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/a~1b/01", body), -1);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/a~1b/-", body), -1);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/n", body), -1);
    assert_int_equal(stated(CONFIDENCE_POINTER, "/n/x", body), -1);
}

static enum cascade_edit prepared(
    enum cascade_confidence from, const char *verb, const char *body, const char *expected)
{
    const struct service_cascade cascade = {.confidence = from};
    const struct target target = {.protocol = PROTOCOL_OPENAI, .verb = verb};
    SCOPED(strbuf_finish) struct strbuf held = {0};
    strbuf_puts(&held, body);
    enum cascade_edit edit = cascade_prepare(&cascade, &target, &held);
    assert_string_equal(strbuf_text(&held), expected ? expected : body);
    return edit;
}

static void requests_are_made_to_ask_for_logprobs(void **state)
{
    static const char chat[] = "/v1/chat/completions";
    const enum cascade_confidence from = CONFIDENCE_LOGPROBS;
    (void)state;
    assert_int_equal(
        prepared(from, chat, " {\"model\":\"m\"}", " {\"logprobs\":true,\"model\":\"m\"}"),
        CASCADE_EDITED);
    assert_int_equal(
        prepared(from, "/v1/completions", "{\"model\":\"m\"}", "{\"logprobs\":1,\"model\":\"m\"}"),
        CASCADE_EDITED);
    assert_int_equal(
        prepared(from, chat, "{\"model\":\"m\",\"logprobs\":true}", NULL), CASCADE_AS_IS);
    assert_int_equal(
        prepared(from, chat, "{\"model\":\"m\",\"logprobs\":false}", NULL), CASCADE_NOT);
    assert_int_equal(prepared(from, chat, "{\"model\":\"m\",\"stream\":true}", NULL), CASCADE_NOT);
    assert_int_equal(prepared(from, "/v1/embeddings", "{\"model\":\"m\"}", NULL), CASCADE_NOT);
    assert_int_equal(prepared(CONFIDENCE_HEADER, chat, "{\"model\":\"m\",\"stream\":false}", NULL),
        CASCADE_AS_IS);
    assert_int_equal(prepared(CONFIDENCE_HEADER, chat, "{\"model\":\"m\"", NULL), CASCADE_NOT);
}

static void logprobs_that_nobody_asked_for_are_taken_out(void **state)
{
    static const char body[] =
        "{\"id\":1.50,\"choices\":[{\"logprobs\":{\"content\":[]},\"text\":\"\\u00e4\"}]}";
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf out = {0};
    (void)state;
    assert_true(cascade_strip(arena, body, strlen(body), &out));
    assert_non_null(strstr(out.text, "\"logprobs\":null"));
    assert_non_null(strstr(out.text, "\"id\":1.5"));
    assert_false(cascade_strip(arena, "[]", 2, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_are_read_strictly),
        cmocka_unit_test(grpc_timeouts_are_read_with_their_units),
        cmocka_unit_test(what_is_left_of_a_deadline_is_never_negative),
        cmocka_unit_test(a_circuit_opens_after_failures_in_a_row),
        cmocka_unit_test(one_probe_at_a_time_and_the_time_grows_up_to_its_bound),
        cmocka_unit_test(quantiles_are_those_of_the_samples_within_a_bucket),
        cmocka_unit_test(few_samples_say_nothing_and_old_ones_fade),
        cmocka_unit_test(hedges_stay_within_their_part_of_requests),
        cmocka_unit_test(each_failure_has_its_reason),
        cmocka_unit_test(a_fallback_is_chosen_by_order_and_reason),
        cmocka_unit_test(the_start_of_a_stream_is_known_with_its_first_event),
        cmocka_unit_test(whole_events_end_with_an_empty_line),
        cmocka_unit_test(confidence_is_the_least_of_an_output),
        cmocka_unit_test(confidence_of_logprobs_is_their_geometric_mean),
        cmocka_unit_test(confidence_by_pointer),
        cmocka_unit_test(requests_are_made_to_ask_for_logprobs),
        cmocka_unit_test(logprobs_that_nobody_asked_for_are_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
