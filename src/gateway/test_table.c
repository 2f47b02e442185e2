/* Tests of the route table: who may use what, and which replica is chosen. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/balance.h"
#include "gateway/prefix.h"
#include "gateway/relay.h"
#include "gateway/table.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world {
    struct replica_states *states;
    struct route_table *table;
    uint64_t sequence, turn;
};

static void put_key(struct strbuf *out, const char *key, const char *rest)
{
    unsigned char hash[32];
    char hex[65];
    crypto_hash_sha256(hash, (const unsigned char *)key, strlen(key));
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    strbuf_printf(out, "%s{\"id\":\"id-%s\",\"hash\":\"%s\",\"user\":\"u\",%s}",
        out->text[out->length - 1] == '[' ? "" : ",", key, hex, rest);
}

static int body_bytes_max = 10;

static void put_service(
    struct strbuf *out, const char *route, const char *access, const char *replicas)
{
    strbuf_printf(out,
        "%s{\"route\":\"%s\",\"service\":\"vision/%s\",\"team\":\"vision\","
        "\"protocols\":[\"oip\"],\"options\":{\"access\":\"%s\",\"bodyBytesMax\":\"%d\"},"
        "\"replicas\":[%s]}",
        out->text[out->length - 1] == '[' ? "" : ",", route, route, access, body_bytes_max,
        replicas);
}

/* Replaces the table by one with a service "digits" of these replicas. */
static void use_replicas(struct world *world, const char *replicas)
{
    struct strbuf text = {0};
    struct route_table *table;
    strbuf_puts(&text, "{\"generation\":1,\"keys\":[");
    put_key(&text, "ann", "\"teams\":[\"vision\"],\"services\":[],\"expiresMs\":0");
    put_key(&text, "bob", "\"teams\":[\"speech\"],\"services\":[],\"expiresMs\":0");
    put_key(&text, "old", "\"teams\":[\"vision\"],\"services\":[],\"expiresMs\":1000");
    put_key(&text, "few", "\"teams\":[\"vision\"],\"services\":[\"vision/known\"],\"expiresMs\":0");
    strbuf_puts(&text, "],\"services\":[");
    put_service(&text, "digits", "team", replicas);
    put_service(&text, "known", "known", "");
    put_service(&text, "public", "public", "");
    strbuf_puts(&text, "]}");
    assert_int_equal(
        route_table_create(text.text, text.length, world->states, ++world->sequence, &table, NULL),
        0);
    route_table_destroy(world->table);
    replica_states_sweep(world->states);
    world->table = table;
    strbuf_finish(&text);
}

#define REPLICA(id, version, more)                                                                 \
    "{\"replica\":" #id ",\"version\":" #version ",\"address\":\"unix:/r/" #id "\"" more "}"
#define THREE REPLICA(1, 1, "") "," REPLICA(2, 1, "") "," REPLICA(3, 2, "")

static int setup(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    world->states = replica_states_create();
    use_replicas(world, THREE);
    *state = world;
    return sodium_init() < 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    route_table_destroy(world->table);
    replica_states_sweep(world->states);
    replica_states_destroy(world->states);
    free(world);
    return 0;
}

static bool allowed(const struct world *world, const char *route, const char *key)
{
    const struct table_service *service = route_table_service(world->table, route);
    return route_allows(service->route, key ? route_table_key(world->table, key, 2000) : NULL);
}

static void test_keys_are_found_by_their_hash_until_they_expire(void **state)
{
    struct world *world = *state;
    assert_string_equal(route_table_key(world->table, "ann", 0)->id, "id-ann");
    assert_null(route_table_key(world->table, "Ann", 0));
    assert_null(route_table_key(world->table, "", 0));
    assert_non_null(route_table_key(world->table, "old", 999));
    assert_null(route_table_key(world->table, "old", 1000));
    char long_key[2000];
    memset(long_key, 'a', sizeof long_key);
    long_key[sizeof long_key - 1] = '\0';
    assert_null(route_table_key(world->table, long_key, 0));
}

static void test_access(void **state)
{
    static const struct {
        const char *key;
        bool digits, known, public;
    } cases[] = {
        {"ann", true, true, true},
        {"bob", false, true, true},
        {"few", false, true, true},
        {"old", false, false, true},
        {"none", false, false, true},
        {NULL, false, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(allowed(*state, "digits", cases[i].key), cases[i].digits);
        assert_int_equal(allowed(*state, "known", cases[i].key), cases[i].known);
        assert_int_equal(allowed(*state, "public", cases[i].key), cases[i].public);
    }
}

static const struct table_replica *pick(struct world *world, struct balance_query query)
{
    static const struct balance_tried nothing;
    if (!query.tried)
        query.tried = &nothing;
    return balance_pick(route_table_service(world->table, "digits"), &query, &world->turn);
}

static uint64_t pick_id(struct world *world, struct balance_query query)
{
    const struct table_replica *replica = pick(world, query);
    return replica ? replica->route->replica : 0;
}

static void test_the_least_loaded_is_chosen_and_ties_take_turns(void **state)
{
    struct world *world = *state;
    struct balance_query any = {.version = BALANCE_ANY_VERSION};
    int seen[4] = {0};
    for (int i = 0; i < 300; i++) {
        const struct table_replica *replica = pick(world, any);
        replica_state_begin(replica->state);
        seen[replica->route->replica]++;
    }
    for (int i = 1; i <= 3; i++)
        assert_int_equal(seen[i], 100);
    replica_state_done(route_table_replica(world->table, 1)->state, false);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pick_id(world, any), 2);
    for (size_t i = 0; i < 3; i++) {
        struct replica_state *replica = route_table_replica(world->table, i)->state;
        while (atomic_load(&replica->outstanding) > 0)
            replica_state_done(replica, false);
    }
}

static void test_versions_draining_and_tried_replicas(void **state)
{
    struct world *world = *state;
    struct balance_tried tried = {0};
    struct balance_query query = {.version = 2};
    assert_int_equal(pick_id(world, query), 3);
    query.version = 9;
    assert_int_equal(pick_id(world, query), 0);
    query = (struct balance_query){.version = 1, .tried = &tried};
    balance_note(&tried, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pick_id(world, query), 2);
    balance_note(&tried, 2);
    assert_int_equal(pick_id(world, query), 0);
    query.again = true;
    assert_int_not_equal(pick_id(world, query), 0);
    use_replicas(world, REPLICA(1, 1, ",\"draining\":true") "," REPLICA(2, 1, ""));
    query = (struct balance_query){.version = BALANCE_ANY_VERSION};
    for (int i = 0; i < 5; i++)
        assert_int_equal(pick_id(world, query), 2);
    use_replicas(world, REPLICA(1, 1, ",\"draining\":true"));
    assert_int_equal(pick_id(world, query), 0);
}

static void test_who_refused_is_set_aside_when_others_are_there(void **state)
{
    struct world *world = *state;
    struct balance_query query = {.version = 1, .now_ms = 1000};
    struct replica_state *first = route_table_replica(world->table, 0)->state;
    struct replica_state *second = route_table_replica(world->table, 1)->state;
    replica_state_refused(first, 1000);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pick_id(world, query), 2);
    replica_state_refused(second, 1000);
    assert_int_not_equal(pick_id(world, query), 0);
    query.now_ms = 1051;
    assert_int_not_equal(pick_id(world, query), 0);
    for (int i = 0; i < 100; i++)
        replica_state_refused(first, 1000);
    assert_int_equal(atomic_load(&first->aside_until_ms), 2000);
    replica_state_answered(first);
    assert_int_equal(atomic_load(&first->aside_until_ms), 0);
}

static void test_replicas_keep_their_counts_over_tables(void **state)
{
    struct world *world = *state;
    struct replica_state *first = route_table_replica(world->table, 0)->state;
    struct strbuf text = {0};
    replica_state_begin(first);
    use_replicas(world, REPLICA(2, 1, "") "," REPLICA(1, 1, ""));
    assert_ptr_equal(route_table_replica(world->table, 1)->state, first);
    /* Out of the routes with a request under way: it is still shown. */
    use_replicas(world, REPLICA(2, 1, ""));
    replica_states_write(world->states, &text);
    assert_non_null(strstr(text.text, "{\"replica\":1,\"routed\":false,\"outstanding\":1,"));
    replica_state_done(first, true);
    replica_states_sweep(world->states);
    strbuf_clear(&text);
    replica_states_write(world->states, &text);
    assert_null(strstr(text.text, "\"replica\":1,"));
    strbuf_finish(&text);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static struct replica_state *state_at(const struct world *world, size_t index)
{
    return route_table_replica(world->table, index)->state;
}

static void test_the_faster_gets_more_until_it_is_as_slow(void **state)
{
    struct world *world = *state;
    struct balance_query any = {.version = 1, .now_ms = 1000};
    replica_state_measure(state_at(world, 0), 9000, 1000);
    replica_state_measure(state_at(world, 1), 3000, 1000);
    int seen[4] = {0};
    for (int i = 0; i < 40; i++) {
        const struct table_replica *replica = pick(world, any);
        replica_state_begin(replica->state);
        seen[replica->route->replica]++;
    }
    assert_in_range(seen[1], 9, 11);
    assert_in_range(seen[2], 29, 31);
    for (size_t i = 0; i < 2; i++) {
        while (atomic_load(&state_at(world, i)->outstanding) > 0)
            replica_state_done(state_at(world, i), false);
    }
    /* A peak counts at once, what is faster bit by bit, and after a while nothing is known. */
    replica_state_measure(state_at(world, 1), 90000, 1100);
    assert_int_equal(replica_state_latency(state_at(world, 1), 1100), 90000);
    replica_state_measure(state_at(world, 1), 1000, 1101);
    assert_in_range(replica_state_latency(state_at(world, 1), 1101), 89000, 90000);
    assert_int_equal(replica_state_latency(state_at(world, 1), 20000), 0);
}

static void test_who_fails_again_and_again_is_set_aside(void **state)
{
    struct world *world = *state;
    struct balance_query any = {.version = 1, .now_ms = 1000};
    use_replicas(world, REPLICA(11, 1, "") "," REPLICA(12, 1, ""));
    for (int i = 0; i < 4; i++)
        replica_state_outcome(state_at(world, 0), true, 5, 1000);
    replica_state_outcome(state_at(world, 0), false, 5, 1000);
    for (int i = 0; i < 4; i++)
        replica_state_outcome(state_at(world, 0), true, 5, 1000);
    int first = 0;
    for (int i = 0; i < 10; i++)
        first += pick_id(world, any) == 11;
    assert_int_equal(first, 5);
    replica_state_outcome(state_at(world, 0), true, 5, 1000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(pick_id(world, any), 12);
    any.now_ms = 2001;
    first = 0;
    for (int i = 0; i < 10; i++)
        first += pick_id(world, any) == 11;
    assert_int_equal(first, 5);
    /* The next failure, and it is away for twice as long. */
    replica_state_outcome(state_at(world, 0), true, 5, 2001);
    any.now_ms = 4000;
    assert_int_equal(pick_id(world, any), 12);
    assert_int_equal(pick_id(world, any), 12);
    use_replicas(world, THREE);
}

static void test_affinity_is_bounded_by_load(void **state)
{
    struct world *world = *state;
    struct balance_query query = {.version = 1, .affine = prefix_tag(2), .load_percent = 150};
    for (int i = 0; i < 5; i++)
        assert_int_equal(pick_id(world, query), 2);
    int seen[4] = {0};
    for (int i = 0; i < 100; i++) {
        const struct table_replica *replica = pick(world, query);
        replica_state_begin(replica->state);
        seen[replica->route->replica]++;
    }
    /* Of two replicas of version 1 none has more than 150 % of the mean. */
    assert_in_range(seen[2], 74, 76);
    assert_int_equal(seen[1] + seen[2], 100);
    for (size_t i = 0; i < 2; i++) {
        while (atomic_load(&state_at(world, i)->outstanding) > 0)
            replica_state_done(state_at(world, i), false);
    }
}

/* Of many two are drawn: loads stay near each other, and who is away is not asked. */
static void test_many_replicas_share_the_load(void **state)
{
    struct world *world = *state;
    struct strbuf replicas = {0};
    struct balance_query any = {.version = BALANCE_ANY_VERSION, .now_ms = 1000};
    for (int i = 0; i < 32; i++)
        strbuf_printf(&replicas, "%s{\"replica\":%d,\"version\":1,\"address\":\"unix:/m/%d\"%s}",
            i ? "," : "", 100 + i, i, i == 7 ? ",\"draining\":true" : "");
    use_replicas(world, replicas.text);
    int seen[132] = {0};
    for (int i = 0; i < 3100; i++) {
        const struct table_replica *replica = pick(world, any);
        replica_state_begin(replica->state);
        seen[replica->route->replica]++;
    }
    assert_int_equal(seen[107], 0);
    for (int i = 100; i < 132; i++) {
        if (i != 107)
            assert_in_range(seen[i], 90, 110);
    }
    for (size_t i = 0; i < 32; i++) {
        while (atomic_load(&state_at(world, i)->outstanding) > 0)
            replica_state_done(state_at(world, i), false);
    }
    strbuf_finish(&replicas);
    use_replicas(world, THREE);
}

static void test_what_is_tried_again_has_a_budget(void **state)
{
    struct world *world = *state;
    struct service_terms *terms = route_table_service(world->table, "digits")->terms;
    int retries = 0;
    while (terms_may_retry(terms, 5))
        retries++;
    assert_int_equal(retries, RETRIES_AHEAD);
    for (int i = 0; i < 100; i++) {
        terms_hold(terms, 5);
        terms_drop(terms, 5);
    }
    for (retries = 0; terms_may_retry(terms, 5);)
        retries++;
    assert_int_equal(retries, 20);
    for (int i = 0; i < 10000; i++) {
        terms_hold(terms, 5);
        terms_drop(terms, 5);
    }
    for (retries = 0; terms_may_retry(terms, 5);)
        retries++;
    assert_int_equal(retries, RETRIES_SAVED_MAX + RETRIES_AHEAD);
}

static struct service_terms *digits_terms(const struct world *world)
{
    return route_table_service(world->table, "digits")->terms;
}

static void test_terms_stay_while_they_are_held(void **state)
{
    struct world *world = *state;
    use_replicas(world, THREE);
    struct service_terms *first = digits_terms(world);
    use_replicas(world, "");
    assert_ptr_equal(digits_terms(world), first);
    terms_hold(first, 3);
    body_bytes_max = 20;
    use_replicas(world, THREE);
    struct service_terms *second = digits_terms(world);
    assert_ptr_not_equal(second, first);
    assert_ptr_equal(second->state, first->state);
    assert_int_equal(first->options.body_bytes_max, 10);
    assert_int_equal(second->options.body_bytes_max, 20);
    assert_string_equal(first->route, "digits");
    terms_drop(first, 3);
    replica_states_sweep(world->states);
    body_bytes_max = 10;
    use_replicas(world, THREE);
}

/* Names of all lengths, many of them alike but for one letter; every second is a service. */
static void route_name(char out[64], int number)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    memset(out, '-', 64);
    out[0] = 'r';
    snprintf(out + 1 + number / 36 % 48, 12, "%c%d", letters[number % 36], number / (36 * 48));
}

static void test_each_route_is_found_and_nothing_else(void **state)
{
    enum { NAMES = 4000 };
    (void)state;
    struct strbuf text = {0};
    struct replica_states *states = replica_states_create();
    struct route_table *table;
    char name[64];
    strbuf_puts(&text, "{\"generation\":1,\"keys\":[],\"services\":[");
    for (int i = 0; i < NAMES; i += 2) {
        route_name(name, i);
        put_service(&text, name, "public", "");
    }
    strbuf_puts(&text, "]}");
    assert_int_equal(route_table_create(text.text, text.length, states, 1, &table, NULL), 0);
    for (int i = 0; i < NAMES; i++) {
        route_name(name, i);
        const struct table_service *service = route_table_service(table, name);
        assert_int_equal(service != NULL, i % 2 == 0);
        assert_true(!service || strcmp(service->route->route, name) == 0);
    }
    assert_null(route_table_service(table, ""));
    route_table_destroy(table);
    replica_states_sweep(states);
    replica_states_destroy(states);
    strbuf_finish(&text);
}

/* Whatever a service asks for has its feature, and its stage where it has one. */
static void test_what_is_asked_for_keeps_its_stage(void **state)
{
    (void)state;
    const struct {
        struct service_gateway options;
        uint32_t features;
        int stages; /* more than run without */
    } cases[] = {
        {{.deadline.total_ms = 1}, TERMS_CARE, 2},
        {{.deadline.header = true}, TERMS_CARE, 2},
        {{.hedge.after = "p95"}, TERMS_CARE, 2},
        {{.fallback.first_byte_ms = 1}, TERMS_CARE, 2},
        {{.circuit.failures = 1}, TERMS_CARE | TERMS_CIRCUIT, 3},
        {{.labels.names.count = 1}, TERMS_LABELS, 1},
        {{.guard.max_tokens = 1}, TERMS_GUARD, 1},
        {{.guard.requests.secrets = GUARD_BLOCK}, TERMS_GUARD, 1},
        {{.guard.answers.secrets = GUARD_BLOCK}, TERMS_GUARD_ANSWERS, 0},
        {{.cache.ttl_ms = 1}, TERMS_CACHE, 1},
        {{.hold.wait_ms = 1}, TERMS_HOLD, 1},
        {{.queue.concurrency = 1}, TERMS_QUEUE, 1},
        {{.usage = USAGE_ASK}, TERMS_USAGE, 1},
        {{.batching.max = 2}, TERMS_BATCHING, 1},
        {{.record.sample_micro = 1}, TERMS_RECORD, 0},
        {{.secondary.route = "other"}, TERMS_SECONDARY, 0},
        {{0}, 0, 0},
    };
    uint32_t all = 0, plain = relay_stages(0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint32_t features = terms_features(&cases[i].options), stages = relay_stages(features);
        assert_int_equal(features, cases[i].features);
        assert_int_equal(stages & plain, plain);
        assert_int_equal(__builtin_popcount(stages & ~plain), cases[i].stages);
        all |= features;
    }
    assert_int_equal(all, TERMS_ALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_keys_are_found_by_their_hash_until_they_expire),
        IN_WORLD(test_access),
        IN_WORLD(test_the_least_loaded_is_chosen_and_ties_take_turns),
        IN_WORLD(test_versions_draining_and_tried_replicas),
        IN_WORLD(test_who_refused_is_set_aside_when_others_are_there),
        IN_WORLD(test_replicas_keep_their_counts_over_tables),
        IN_WORLD(test_terms_stay_while_they_are_held),
        IN_WORLD(test_the_faster_gets_more_until_it_is_as_slow),
        IN_WORLD(test_who_fails_again_and_again_is_set_aside),
        IN_WORLD(test_affinity_is_bounded_by_load),
        IN_WORLD(test_many_replicas_share_the_load),
        IN_WORLD(test_what_is_tried_again_has_a_budget),
        cmocka_unit_test(test_what_is_asked_for_keeps_its_stage),
        cmocka_unit_test(test_each_route_is_found_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
