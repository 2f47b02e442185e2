/* How often replicas find the beginning of a prompt in their caches, by who chooses them: each in
 * turn, by load, by prefix affinity, and beside them one cache as large as all together, which is
 * the most that any choice can reach.
 *
 *     bench_prefix TRACE.jsonl[.gz] [REPLICAS [BLOCKS]]
 *
 * The trace is Mooncake's (FAST 2025): arrival, lengths in tokens, and hashes of the blocks of 512
 * tokens, each of all up to its end. A replica keeps BLOCKS of them, the least recently used goes
 * first; it takes 50 us for each token it has to compute and 20 ms for each that it writes, and any
 * number of requests at once. Choices are made by the gateway's own code. */
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "gateway/balance.h"
#include "gateway/prefix.h"
#include "gateway/table.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { LINE_BYTES = 1 << 20, REPLICAS_MAX = 64, BLOCK_TOKENS = 512, PREFILL_US = 50, WRITE_US = 20000 };

struct request {
    int64_t at_us, output;
    int64_t input;
    uint32_t *blocks;
    size_t count;
};

typedef VEC(struct request) request_vec;

/* ---- the trace ------------------------------------------------------------------------------- */

static struct request request_of(const struct doc *line)
{
    const struct doc *ids = doc_get(line, "hash_ids");
    struct request request = {.at_us = doc_get_int(line, "timestamp", 0) * 1000,
        .output = doc_get_int(line, "output_length", 0),
        .input = doc_get_int(line, "input_length", 0)};
    request.blocks = mem_alloc(ids->count + 1, sizeof *request.blocks);
    for (const struct doc *id = ids->first; id; id = id->next) {
        int64_t number = 0;
        if (doc_as_int(id, &number))
            request.blocks[request.count++] = (uint32_t)number;
    }
    return request;
}

static int read_trace(const char *path, request_vec *ret)
{
    gzFile file = gzopen(path, "rb");
    char *line = mem_alloc(LINE_BYTES, 1);
    while (file && gzgets(file, line, LINE_BYTES)) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        const struct doc *doc = doc_parse_json(arena, line, strlen(line), LINE_BYTES, NULL);
        if (doc && doc_get(doc, "hash_ids"))
            vec_push(ret, request_of(doc));
    }
    if (file)
        gzclose(file);
    free(line);
    return ret->count > 0 ? 0 : -1;
}

/* ---- a cache of blocks ----------------------------------------------------------------------- */

struct lru {
    uint32_t *next, *prev; /* by block; 0 is the list's end, blocks are from 1 */
    bool *there;
    size_t count, most;
};

static void lru_init(struct lru *lru, size_t blocks, size_t most)
{
    *lru = (struct lru){mem_alloc(blocks + 1, sizeof *lru->next),
        mem_alloc(blocks + 1, sizeof *lru->prev), mem_alloc(blocks + 1, sizeof *lru->there), 0,
        most};
}

static void lru_free(struct lru *lru)
{
    free(lru->next);
    free(lru->prev);
    free(lru->there);
}

static void lru_take_out(struct lru *lru, uint32_t block)
{
    lru->next[lru->prev[block]] = lru->next[block];
    lru->prev[lru->next[block]] = lru->prev[block];
    lru->there[block] = false;
    lru->count--;
}

static void lru_use(struct lru *lru, uint32_t block)
{
    if (lru->there[block])
        lru_take_out(lru, block);
    else if (lru->count == lru->most)
        lru_take_out(lru, lru->prev[0]);
    lru->next[block] = lru->next[0];
    lru->prev[block] = 0;
    lru->prev[lru->next[0]] = block;
    lru->next[0] = block;
    lru->there[block] = true;
    lru->count++;
}

/* How many blocks of the beginning are there; all are afterwards. The first are used last: without
 * them the others are worth nothing. */
static size_t lru_hits(struct lru *lru, const struct request *request)
{
    size_t hits = 0;
    while (hits < request->count && lru->there[request->blocks[hits] + 1])
        hits++;
    for (size_t i = request->count; i > 0; i--)
        lru_use(lru, request->blocks[i - 1] + 1);
    return hits;
}

/* ---- choosing -------------------------------------------------------------------------------- */

enum choice { IN_TURN, BY_LOAD, BY_PREFIX, ONE_CACHE, CHOICES };

struct ending {
    int64_t at_us;
    size_t replica;
};

struct world {
    const struct table_service *service;
    struct prefix_map *map;
    struct lru caches[REPLICAS_MAX];
    size_t replicas;
    VEC(struct ending) endings; /* under way */
    uint64_t turn;
    int64_t most_outstanding;
};

static void end_until(struct world *world, int64_t now_us)
{
    for (size_t i = 0; i < world->endings.count;) {
        if (world->endings.items[i].at_us > now_us) {
            i++;
            continue;
        }
        replica_state_done(
            world->service->replicas[world->endings.items[i].replica].state, false);
        world->endings.items[i] = world->endings.items[--world->endings.count];
    }
}

static size_t choose(struct world *world, enum choice choice, const struct request *request)
{
    static const struct balance_tried nothing;
    struct prefix prefix = {.count = 0};
    struct balance_query query = {.version = BALANCE_ANY_VERSION,
        .tried = &nothing,
        .now_ms = request->at_us / 1000,
        .load_percent = 150};
    if (choice == ONE_CACHE)
        return 0;
    if (choice == IN_TURN)
        return (size_t)(world->turn++ % world->replicas);
    for (size_t i = 0; i < request->count && i < PREFIX_BLOCKS_MAX; i++)
        prefix.hashes[prefix.count++] = ((uint64_t)request->blocks[i] + 1) * 0x9e3779b97f4a7c15u;
    if (choice == BY_PREFIX)
        query.affine = prefix_map_find(world->map, &prefix, NULL);
    const struct table_replica *picked = balance_pick(world->service, &query, &world->turn);
    if (choice == BY_PREFIX)
        prefix_map_note(world->map, &prefix, prefix_tag(picked->route->replica));
    return picked->index;
}

static void serve(struct world *world, const struct request *request, size_t at, size_t hits)
{
    struct replica_state *state = world->service->replicas[at].state;
    int64_t computed = request->input - (int64_t)hits * BLOCK_TOKENS;
    int64_t first_us = computed > 0 ? computed * PREFILL_US : PREFILL_US;
    replica_state_begin(state);
    replica_state_measure(state, first_us, request->at_us / 1000);
    vec_push(&world->endings,
        ((struct ending){request->at_us + first_us + request->output * WRITE_US, at}));
    int64_t outstanding = atomic_load(&state->outstanding);
    if (outstanding > world->most_outstanding)
        world->most_outstanding = outstanding;
}

static void run(const request_vec *trace, struct world *world, enum choice choice, size_t blocks)
{
    static const char *const names[] = {
        "each in turn", "by load", "prefix affinity", "one cache of all"};
    size_t hits = 0, asked = 0, distinct = 0, caches = choice == ONE_CACHE ? 1 : world->replicas;
    for (size_t i = 0; i < trace->count; i++) {
        for (size_t k = 0; k < trace->items[i].count; k++) {
            size_t block = trace->items[i].blocks[k];
            distinct = block >= distinct ? block + 1 : distinct;
        }
    }
    for (size_t i = 0; i < caches; i++)
        lru_init(&world->caches[i], distinct + 1,
            choice == ONE_CACHE ? blocks * world->replicas : blocks);
    world->map = prefix_map_create();
    world->most_outstanding = 0;
    for (size_t i = 0; i < trace->count; i++) {
        const struct request *request = &trace->items[i];
        end_until(world, request->at_us);
        size_t at = choose(world, choice, request);
        size_t found = lru_hits(&world->caches[at], request);
        serve(world, request, at, found);
        hits += found;
        asked += request->count;
    }
    end_until(world, INT64_MAX);
    printf("%-18s %5.2f %%   most under way at one %" PRId64 "\n", names[choice],
        100.0 * (double)hits / (double)asked, choice == ONE_CACHE ? 0 : world->most_outstanding);
    for (size_t i = 0; i < caches; i++)
        lru_free(&world->caches[i]);
    prefix_map_destroy(world->map);
}

static struct route_table *table_of(size_t replicas, struct replica_states *states)
{
    struct strbuf text = {0};
    struct route_table *table;
    struct error err;
    strbuf_puts(&text, "{\"generation\":1,\"keys\":[],\"services\":[{\"route\":\"m\",\"service\":"
                       "\"t/m\",\"team\":\"t\",\"protocols\":[\"openai\"],\"replicas\":[");
    for (size_t i = 0; i < replicas; i++)
        strbuf_printf(&text, "%s{\"replica\":%zu,\"version\":1,\"address\":\"unix:/r/%zu\"}",
            i ? "," : "", i + 1, i);
    strbuf_puts(&text, "]}]}");
    if (route_table_create(text.text, text.length, states, 1, &table, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    strbuf_finish(&text);
    return table;
}

int main(int argc, char **argv)
{
    request_vec trace = {0};
    struct world world = {.replicas = argc > 2 ? strtoul(argv[2], NULL, 10) : 8};
    size_t blocks = argc > 3 ? strtoul(argv[3], NULL, 10) : 5000;
    if (argc < 2 || world.replicas < 1 || world.replicas > REPLICAS_MAX || blocks < 1 ||
        read_trace(argv[1], &trace) < 0) {
        fprintf(stderr, "usage: bench_prefix TRACE.jsonl[.gz] [REPLICAS [BLOCKS]]\n");
        return 2;
    }
    struct replica_states *states = replica_states_create();
    struct route_table *table = table_of(world.replicas, states);
    world.service = route_table_service(table, "m");
    printf("%zu requests, %zu replicas with %zu blocks each\n", trace.count, world.replicas, blocks);
    for (enum choice choice = 0; choice < CHOICES; choice++)
        run(&trace, &world, choice, blocks);
    route_table_destroy(table);
    replica_states_sweep(states);
    replica_states_destroy(states);
    return 0;
}
