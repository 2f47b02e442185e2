/* Tests of the memo of keys: it finds what the table finds, before and after it has seen a key, and
 * nothing of a table that is gone. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/key_memo.h"
#include "gateway/routes.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { KEYS = 3000, EXPIRES_MS = 1000 };

/* Keys that are multiples of step; every tenth expires. */
static struct route_table *make_table(struct replica_states *states, uint64_t sequence, size_t step)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct route_table *table;
    strbuf_puts(&text, "{\"generation\":1,\"services\":[],\"keys\":[");
    for (size_t i = 0; i < KEYS; i += step) {
        unsigned char hash[32];
        char hex[65], key[32];
        snprintf(key, sizeof key, "key-%zu", i);
        crypto_hash_sha256(hash, (const unsigned char *)key, strlen(key));
        sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
        strbuf_printf(&text,
            "%s{\"id\":\"id-%zu\",\"hash\":\"%s\",\"user\":\"u\",\"teams\":[],\"services\":[],"
            "\"expiresMs\":%d}",
            i ? "," : "", i, hex, i % 10 ? 0 : EXPIRES_MS);
    }
    strbuf_puts(&text, "]}");
    assert_int_equal(route_table_create(text.text, text.length, states, sequence, &table, NULL), 0);
    return table;
}

static void check(struct key_memo *memo, const struct route_table *table, const char *text)
{
    for (int64_t now_ms = EXPIRES_MS - 1; now_ms <= EXPIRES_MS; now_ms++) {
        const struct route_key *expected = route_table_key(table, text, now_ms);
        assert_ptr_equal(key_memo_find(memo, table, text, now_ms), expected);
        assert_ptr_equal(key_memo_find(memo, table, text, now_ms), expected);
    }
}

static void check_drawn(struct key_memo *memo, const struct route_table *table, uint64_t seed)
{
    struct prng prng = {seed};
    for (int round = 0; round < 20000; round++) {
        char key[32];
        snprintf(key, sizeof key, "key-%u", (unsigned)prng_below(&prng, KEYS + 100));
        check(memo, table, key);
    }
}

static void a_memo_finds_what_each_table_finds(void **state)
{
    struct replica_states *states = replica_states_create();
    struct key_memo *memo = key_memo_create();
    (void)state;
    for (uint64_t sequence = 1; sequence <= 4; sequence++) {
        struct route_table *table = make_table(states, sequence, sequence);
        check_drawn(memo, table, sequence);
        check(memo, table, "");
        route_table_destroy(table);
    }
    key_memo_destroy(memo);
    replica_states_destroy(states);
}

static void a_text_that_is_too_long_is_no_key(void **state)
{
    struct replica_states *states = replica_states_create();
    struct key_memo *memo = key_memo_create();
    struct route_table *table = make_table(states, 1, 1);
    char text[4000];
    (void)state;
    memset(text, 'k', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    check(memo, table, text);
    route_table_destroy(table);
    key_memo_destroy(memo);
    replica_states_destroy(states);
}

static int setup(void **state)
{
    (void)state;
    return sodium_init() < 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_memo_finds_what_each_table_finds),
        cmocka_unit_test(a_text_that_is_too_long_is_no_key),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
