/* Tests of the cache: one asker leads, the others wait or go alone, bounds hold, and a random run
 * against a plain model never gives an answer that was not the last one settled for its key. */
#include "base/memory.h"
#include "base/test.h"
#include "gateway/cache.h"
#include "gateway/cache_key.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int told;

static void on_verdict(struct cache_ticket *ticket)
{
    (void)ticket;
    told++;
}

static struct cache_key key_of(unsigned number)
{
    struct cache_key key = {{0}};
    memcpy(key.bytes, &number, sizeof number);
    return key;
}

static struct cache_ticket ask(struct cache *cache, unsigned number, int64_t now_ms)
{
    struct cache_ticket ticket = {.key = key_of(number), .waits = true};
    cache_ask(cache, &ticket, now_ms);
    return ticket;
}

static void settle(struct cache *cache, unsigned number, const char *text, int64_t now_ms)
{
    static const struct cache_field fields[] = {{"Content-Type", "application/json"}};
    struct cache_outcome outcome = {.key = key_of(number),
        .answer =
            text ? cache_answer_create(200, fields, 1, "\"e\"", text, strlen(text), now_ms) : NULL,
        .shelf = number % 2 ? "vision/odd" : "vision/even",
        .ttl_ms = 1000,
        .shelf_bytes_max = 4096};
    cache_settle(cache, &outcome, now_ms);
}

static void assert_hit(struct cache_ticket *ticket, const char *text)
{
    assert_int_equal(ticket->verdict, CACHE_HIT);
    assert_int_equal(ticket->answer->body_length, strlen(text));
    assert_memory_equal(ticket->answer->body, text, strlen(text));
    assert_string_equal(ticket->answer->fields[0].value, "application/json");
    cache_answer_unref(ticket->answer);
}

static void an_answer_is_given_again_until_it_is_too_old(void **state)
{
    (void)state;
    struct cache *cache = cache_create(1 << 20, on_verdict);
    struct cache_ticket ticket = ask(cache, 1, 0);
    assert_int_equal(ticket.verdict, CACHE_LEAD);
    settle(cache, 1, "one", 10);
    ticket = ask(cache, 1, 1009);
    assert_hit(&ticket, "one");
    ticket = ask(cache, 1, 1010);
    assert_int_equal(ticket.verdict, CACHE_LEAD);
    settle(cache, 1, "two", 1010);
    ticket = (struct cache_ticket){.key = key_of(1), .anew = true};
    assert_int_equal(cache_ask(cache, &ticket, 1011), CACHE_LEAD);
    settle(cache, 1, NULL, 1011);
    cache_destroy(cache);
}

static void equal_questions_make_one_call(void **state)
{
    (void)state;
    struct cache *cache = cache_create(1 << 20, on_verdict);
    struct cache_ticket lead = ask(cache, 1, 0), waiting[100];
    struct cache_ticket hasty = {.key = key_of(1)};
    assert_int_equal(lead.verdict, CACHE_LEAD);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = (struct cache_ticket){.key = key_of(1), .waits = true};
        assert_int_equal(cache_ask(cache, &waiting[i], 0), CACHE_WAITS);
    }
    assert_int_equal(cache_ask(cache, &hasty, 0), CACHE_ALONE);
    told = 0;
    settle(cache, 1, "one", 10);
    assert_int_equal(told, ARRAY_LEN(waiting));
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        assert_hit(&waiting[i], "one");
    cache_destroy(cache);
}

static void the_lead_passes_on_when_the_leader_goes(void **state)
{
    (void)state;
    struct cache *cache = cache_create(1 << 20, on_verdict);
    struct cache_ticket lead = ask(cache, 1, 0), waiting[3];
    assert_int_equal(lead.verdict, CACHE_LEAD);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++) {
        waiting[i] = (struct cache_ticket){.key = key_of(1), .waits = true};
        cache_ask(cache, &waiting[i], 0);
    }
    struct cache_outcome gone = {.key = key_of(1), .gone = true, .shelf = ""};
    cache_settle(cache, &gone, 1);
    assert_int_equal(waiting[0].verdict, CACHE_LEAD);
    assert_int_equal(waiting[1].verdict, CACHE_WAITS);
    settle(cache, 1, NULL, 2);
    assert_int_equal(waiting[1].verdict, CACHE_ALONE);
    assert_int_equal(waiting[2].verdict, CACHE_ALONE);
    lead = ask(cache, 1, 3);
    assert_int_equal(lead.verdict, CACHE_LEAD);
    cache_settle(cache, &gone, 4);
    cache_destroy(cache);
}

/* Shelves hold 4096 bytes each and the cache 6000: an answer takes about 1300. */
static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct cache *cache = cache_create(6000, on_verdict);
    struct cache_figures figures;
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    for (unsigned i = 1; i <= 5; i += 2) {
        ask(cache, i, 0);
        settle(cache, i, text, 0);
        struct cache_ticket first = ask(cache, 1, 0);
        assert_hit(&first, text);
    }
    struct cache_ticket again = ask(cache, 5, 0);
    assert_hit(&again, text);
    ask(cache, 7, 0);
    settle(cache, 7, text, 0);
    /* Of 1, 3, 5 the one that was not asked for since is gone. */
    again = ask(cache, 3, 0);
    assert_int_equal(again.verdict, CACHE_LEAD);
    settle(cache, 3, NULL, 0);
    for (unsigned i = 2; i <= 6; i += 2) {
        ask(cache, i, 0);
        settle(cache, i, text, 0);
    }
    cache_figures(cache, &figures);
    assert_true(figures.bytes <= 6000);
    assert_int_equal(figures.entries, 4);
    assert_true(figures.evicted >= 3);
    char large[5000];
    memset(large, 'y', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    ask(cache, 9, 0);
    settle(cache, 9, large, 0);
    again = ask(cache, 9, 0);
    assert_int_equal(again.verdict, CACHE_LEAD);
    settle(cache, 9, NULL, 0);
    cache_destroy(cache);
}

/* What the cache gives for a key is what was settled last for it, and never past its time. */
static void random_runs_agree_with_a_model(void **state)
{
    (void)state;
    enum { KEYS = 12, STEPS = 4000 };
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct cache *cache = cache_create(9000, on_verdict);
        int value[KEYS] = {0}, made_ms[KEYS] = {0};
        uint64_t random = seed * 0x9e3779b97f4a7c15u;
        for (int step = 1; step <= STEPS; step++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            unsigned key = (unsigned)(random >> 33) % KEYS;
            int now = step * 3;
            struct cache_ticket ticket = ask(cache, key + 1, now);
            char text[600] = {0};
            if (ticket.verdict == CACHE_HIT) {
                memcpy(text, ticket.answer->body, ticket.answer->body_length);
                assert_int_equal(atoi(text), value[key]);
                assert_true(now < made_ms[key] + 1000);
                cache_answer_unref(ticket.answer);
                continue;
            }
            assert_int_equal(ticket.verdict, CACHE_LEAD);
            snprintf(text, sizeof text, "%0*d", (int)(random >> 50 & 511) + 8, step);
            settle(cache, key + 1, random >> 40 & 1 ? text : NULL, now);
            value[key] = step;
            made_ms[key] = now;
        }
        cache_destroy(cache);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

static bool make(const struct cache_request *request, struct cache_subject *ret)
{
    return cache_key_make(request, ret);
}

static struct cache_request chat(const char *body)
{
    return (struct cache_request){.service = "chat/large",
        .tenant = "chat,",
        .protocol = PROTOCOL_OPENAI,
        .verb = "/v1/chat/completions",
        .body = body,
        .length = strlen(body),
        .json_length = -1};
}

static void equal_requests_have_equal_keys(void **state)
{
    (void)state;
    struct cache_request a = chat("{\"model\":\"m\",\"temperature\":0,\"stop\":[\"a\",\"b\"]}");
    struct cache_request b =
        chat(" {\"stop\" : [\"a\", \"\\u0062\"], \"temperature\":0 ,\"model\":\"m\"}\n");
    struct cache_subject one, two;
    assert_true(make(&a, &one) && make(&b, &two));
    assert_memory_equal(&one.key, &two.key, sizeof one.key);
    assert_false(one.streams);
}

/* Each differs from the first in one thing. */
static void different_requests_have_different_keys(void **state)
{
    (void)state;
    static const char first[] = "{\"temperature\":0,\"a\":[\"x\",\"y\"]}";
    struct cache_request cases[] = {chat(first), chat("{\"temperature\":0,\"a\":[\"y\",\"x\"]}"),
        chat("{\"temperature\":0,\"a\":[\"xy\"]}"), chat("{\"temperature\":0,\"a\":\"x\"}"),
        chat("{\"temperature\":0,\"a\":[\"x\",\"y\"],\"b\":null}"),
        chat("{\"temperature\":0,\"a\":[\"x\",\"y\",null]}"),
        chat("{\"temperature\":0,\"a\":[\"x\",1.5]}"), chat(first), chat(first), chat(first),
        chat(first)};
    struct cache_subject subjects[ARRAY_LEN(cases)];
    cases[7].tenant = "speech,";
    cases[8].service = "chat/small";
    cases[9].versions = 7;
    cases[10].verb = "/v1/completions";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(make(&cases[i], &subjects[i]));
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(&subjects[i].key, &subjects[k].key, sizeof subjects[i].key);
    }
}

static void tensors_count_byte_by_byte(void **state)
{
    (void)state;
    static const char one[] = "{\"inputs\":[]}\0\1\2", two[] = "{\"inputs\":[]}\0\1\3";
    struct cache_request request = {.service = "a/b",
        .tenant = "",
        .protocol = PROTOCOL_OIP,
        .verb = "/infer",
        .body = one,
        .length = sizeof one - 1,
        .json_length = 13};
    struct cache_subject a, b;
    assert_true(make(&request, &a));
    request.body = two;
    assert_true(make(&request, &b));
    assert_memory_not_equal(&a.key, &b.key, sizeof a.key);
    request.json_length = 14;
    assert_false(make(&request, &a));
    request.json_length = 1000;
    assert_false(make(&request, &a));
}

static void what_may_not_be_kept_has_no_key(void **state)
{
    (void)state;
    struct cache_subject subject;
    struct cache_request request = chat("{\"temperature\":0.7}");
    assert_false(make(&request, &subject));
    request = chat("{}");
    assert_false(make(&request, &subject));
    request.sampled = true;
    assert_true(make(&request, &subject));
    request = chat("{\"input\":\"x\"}");
    request.verb = "/v1/embeddings";
    assert_true(make(&request, &subject));
    request = chat("{\"temperature\":0,\"temperature\":0}");
    assert_false(make(&request, &subject));
    request = chat("[0]");
    assert_false(make(&request, &subject));
    request = chat("{\"id\":\"mine\",\"inputs\":[]}");
    request.protocol = PROTOCOL_OIP;
    assert_false(make(&request, &subject));
    request = chat("{\"temperature\":-0.0,\"stream\":true}");
    assert_true(make(&request, &subject));
    assert_true(subject.streams);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_given_again_until_it_is_too_old),
        cmocka_unit_test(equal_questions_make_one_call),
        cmocka_unit_test(the_lead_passes_on_when_the_leader_goes),
        cmocka_unit_test(the_least_recently_used_goes_first),
        cmocka_unit_test(random_runs_agree_with_a_model),
        cmocka_unit_test(equal_requests_have_equal_keys),
        cmocka_unit_test(different_requests_have_different_keys),
        cmocka_unit_test(tensors_count_byte_by_byte),
        cmocka_unit_test(what_may_not_be_kept_has_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
