/* Tests of sealed answers: what was sealed comes back, with its age; nothing else is an answer. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/cache_value.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static struct cache_secret secret_of(const char *text)
{
    struct cache_secret secret;
    cache_secret_make(&secret, text, strlen(text));
    return secret;
}

static const struct cache_key one = {{1, 2, 3}}, other = {{1, 2, 4}};
static const struct cache_moment made = {50000, 1700000000000};

static struct cache_answer *some_answer(struct prng *prng)
{
    static const struct cache_field fields[] = {
        {"Content-Type", "application/json"}, {"X-Of-The-Model", ""}};
    char body[3000];
    size_t length = (size_t)prng_below(prng, sizeof body);
    for (size_t i = 0; i < length; i++)
        body[i] = (char)prng_below(prng, 256);
    struct cache_answer *answer = cache_answer_create(200, fields,
        (size_t)prng_below(prng, ARRAY_LEN(fields) + 1), "\"tag\"", body, length, made.now_ms);
    answer->replica = prng_below(prng, UINT64_MAX);
    answer->version = (int64_t)prng_below(prng, 1000);
    answer->took_us = prng_below(prng, 1000000);
    answer->input_tokens = prng_below(prng, 1000);
    answer->output_tokens = prng_below(prng, 1000);
    return answer;
}

static void assert_same(const struct cache_answer *a, const struct cache_answer *b)
{
    assert_int_equal(a->status, b->status);
    assert_string_equal(a->etag, b->etag);
    assert_int_equal(a->field_count, b->field_count);
    for (size_t i = 0; i < a->field_count; i++) {
        assert_string_equal(a->fields[i].name, b->fields[i].name);
        assert_string_equal(a->fields[i].value, b->fields[i].value);
    }
    assert_int_equal(a->body_length, b->body_length);
    assert_memory_equal(a->body, b->body, a->body_length);
    assert_int_equal(a->replica, b->replica);
    assert_int_equal(a->version, b->version);
    assert_int_equal(a->took_us, b->took_us);
    assert_int_equal(a->input_tokens, b->input_tokens);
    assert_int_equal(a->output_tokens, b->output_tokens);
}

static void what_was_sealed_comes_back_with_its_age(void **state)
{
    const struct cache_secret secret = secret_of("a secret of thirty-two bytes, at least");
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct prng prng = {seed};
        SCOPED(strbuf_finish) struct strbuf sealed = {0};
        struct cache_answer *answer = some_answer(&prng);
        assert_true(cache_value_seal(&secret, &one, answer, &made, &sealed));
        /* On a machine whose monotonic clock began elsewhere, four seconds later. */
        const struct cache_moment later = {777, made.wall_ms + 4000};
        struct cache_answer *again =
            cache_value_open(&secret, &one, sealed.text, sealed.length, &later);
        assert_non_null(again);
        assert_same(answer, again);
        assert_int_equal(again->made_ms, later.now_ms - 4000);
        cache_answer_unref(again);
        cache_answer_unref(answer);
    }
}

static bool is_answer(const struct cache_secret *secret, const struct cache_key *key,
    const char *bytes, size_t length)
{
    /* In memory of exactly its size. */
    char *exact = memcpy(malloc(length + 1), bytes, length);
    struct cache_answer *answer = cache_value_open(secret, key, exact, length, &made);
    bool found = answer != NULL;
    cache_answer_unref(answer);
    free(exact);
    return found;
}

static void what_was_changed_or_cut_is_none(void **state)
{
    const struct cache_secret secret = secret_of("a secret of thirty-two bytes, at least");
    const struct cache_secret foreign = secret_of("a secret of thirty-two bytes, or more.");
    struct prng prng = {7};
    struct cache_answer *answer = some_answer(&prng);
    SCOPED(strbuf_finish) struct strbuf sealed = {0};
    (void)state;
    assert_true(cache_value_seal(&secret, &one, answer, &made, &sealed));
    assert_true(is_answer(&secret, &one, sealed.text, sealed.length));
    assert_false(is_answer(&secret, &other, sealed.text, sealed.length));
    assert_false(is_answer(&foreign, &one, sealed.text, sealed.length));
    for (size_t length = 0; length < sealed.length; length++)
        assert_false(is_answer(&secret, &one, sealed.text, length));
    strbuf_putc(&sealed, '\0');
    assert_false(is_answer(&secret, &one, sealed.text, sealed.length));
    sealed.length--;
    for (size_t i = 0; i < sealed.length; i++) {
        sealed.text[i] ^= (char)(1 << i % 8);
        assert_false(is_answer(&secret, &one, sealed.text, sealed.length));
        sealed.text[i] ^= (char)(1 << i % 8);
    }
    assert_true(is_answer(&secret, &one, sealed.text, sealed.length));
    cache_answer_unref(answer);
}

static void one_that_is_too_large_is_not_sealed(void **state)
{
    const struct cache_secret secret = secret_of("a secret of thirty-two bytes, at least");
    SCOPED(strbuf_finish) struct strbuf sealed = {0};
    char *body = mem_alloc(1, CACHE_VALUE_BYTES_MAX);
    (void)state;
    struct cache_answer *answer =
        cache_answer_create(200, NULL, 0, "", body, CACHE_VALUE_BYTES_MAX, 0);
    assert_false(cache_value_seal(&secret, &one, answer, &made, &sealed));
    assert_int_equal(sealed.length, 0);
    cache_answer_unref(answer);
    answer = cache_answer_create(200, NULL, 0, "", body, 1 << 20, made.now_ms);
    assert_true(cache_value_seal(&secret, &one, answer, &made, &sealed));
    assert_true(is_answer(&secret, &one, sealed.text, sealed.length));
    cache_answer_unref(answer);
    free(body);
}

/* By whoever has the secret, or a program with a fault. */
static void a_head_that_would_break_the_answer_is_none(void **state)
{
    static const char *const values[] = {"a\r\nSet-Cookie: b", "a\nb", "a\rb"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        SCOPED(strbuf_finish) struct strbuf plain = {0};
        const struct cache_field field = {"X", values[i]};
        struct cache_answer *answer = cache_answer_create(200, &field, 1, "", "", 0, 0);
        assert_true(cache_value_write(answer, &made, &plain));
        assert_null(cache_value_read((const uint8_t *)plain.text, plain.length, &made));
        cache_answer_unref(answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_comes_back_with_its_age),
        cmocka_unit_test(what_was_changed_or_cut_is_none),
        cmocka_unit_test(one_that_is_too_large_is_not_sealed),
        cmocka_unit_test(a_head_that_would_break_the_answer_is_none),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
