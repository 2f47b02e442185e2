/* Which pool a job goes to: by price, by egress, by transfer time and deadline; figures worked out
 * by hand. Gangs, one rank, remembered scores and promises all go by the same order. */
#include "base/prng.h"
#include "core/test_help.h"

#include <stdio.h>

enum { DEVICES = 4 };

/* A pool of one node with four devices, at a price in cents for a device-hour. */
static struct pool pool_make(
    const char *name, struct node *node, struct named_price *price, int64_t cents)
{
    *node = node_make("n", 32, 128, DEVICES);
    *price = (struct named_price){node->capacity.accelerator, cents * 10000};
    return (struct pool){.metadata.name = name,
        .nodes = {node, 1},
        .prices = {.currency = "EUR", .accelerators = {price, 1}}};
}

static void pool_put(struct world *world, const char *name, int64_t cents, const char *site,
    int64_t egress_cents, int64_t link_bytes)
{
    struct node node;
    struct named_price price;
    struct pool pool = pool_make(name, &node, &price, cents);
    pool.site = site;
    pool.link_bytes = link_bytes;
    pool.prices.egress_gib_micro = egress_cents * 10000;
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
}

static const char *pool_of(struct world *world, uint64_t job)
{
    const struct core_decision *found = NULL;
    for (size_t i = 0; i < world->decisions.count; i++) {
        if (world->decisions.items[i].kind == DECISION_ADMIT &&
            world->decisions.items[i].job == job)
            found = &world->decisions.items[i];
    }
    return found ? core_symbol(world->core, core_pool(world->core, found->pool)->name) : "";
}

static void the_cheaper_pool_goes_first(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, NULL, 0, 0);
    pool_put(world, "cheap", 200, NULL, 0, 0);
    pool_put(world, "same", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "one", 1, 1);
    uint64_t one = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, one), "cheap");
    job.metadata.name = "gang";
    job.gang.size = 3;
    uint64_t gang = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, gang), "cheap");
    /* It is full now: of equal ones the older, then what there is. */
    job.metadata.name = "next";
    uint64_t next = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, next), "same");
    job.metadata.name = "last";
    uint64_t last = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, last), "dear");
}

/* More ranks are worth more than a cheaper pool. */
static void an_elastic_gang_takes_the_pool_that_holds_more_of_it(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, NULL, 0, 0);
    pool_put(world, "cheap", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "first", 1, 1);
    world_submit(world, &job);
    world_tick(world, 0);
    job.metadata.name = "elastic";
    job.gang = (struct gang){.size = 4, .min = 1};
    uint64_t elastic = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, elastic), "dear");
}

static void a_price_that_changes_changes_the_order(void **state)
{
    struct world *world = *state;
    pool_put(world, "a", 100, NULL, 0, 0);
    pool_put(world, "b", 200, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "before", 1, 1);
    uint64_t before = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, before), "a");
    pool_put(world, "a", 201, NULL, 0, 0);
    job.metadata.name = "after";
    uint64_t after = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, after), "b");
}

/* 100 GiB lie at home. Work elsewhere costs 10 cents a GiB of egress: 10.00. A job of one device
 * for two hours costs 2 * 3.00 = 6.00 at home and 2 * 1.00 + 10.00 = 12.00 away; one of twenty
 * hours 60.00 at home and 30.00 away. */
static void data_keep_short_work_at_home_and_let_long_work_go(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 100, "far", 0, 0);
    pool_put(world, "home", 300, "here", 10, 0);
    world_team(world, "t");
    struct job_data data = {"here", 100 * GIB, NULL};
    struct job job = job_make("t", "short", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = 2 * HOUR_MS;
    uint64_t small = world_submit(world, &job);
    job.metadata.name = "long";
    job.duration_ms = 20 * HOUR_MS;
    uint64_t large = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, small), "home");
    assert_string_equal(pool_of(world, large), "away");
    /* Break-even is where 3 h = h + 10: 5 hours, and the older pool takes that. */
    job.metadata.name = "even";
    job.duration_ms = 5 * HOUR_MS;
    uint64_t even = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, even), "away");
    job.metadata.name = "less";
    job.duration_ms -= MINUTE_MS;
    uint64_t less = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, less), "home");
}

/* 36 GiB over 10 MiB a second, the slower of two links, take 3686.4 s: 1 h 1 min 26.4 s. With an
 * hour of work the deadline is missed there by a job that has 2 h 1 min, and kept with 2 h 2 min.
 */
static void a_deadline_goes_before_the_price(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 100, "far", 0, 20 << 20);
    pool_put(world, "home", 900, "here", 0, 10 << 20);
    world_team(world, "t");
    struct job_data data = {"here", 36 * GIB, NULL};
    struct job job = job_make("t", "tight", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = HOUR_MS;
    job.placement.spot = SPOT_NEVER;
    job.deadline_ms = world->now_ms + 2 * HOUR_MS + MINUTE_MS;
    uint64_t tight = world_submit(world, &job);
    job.metadata.name = "wide";
    job.deadline_ms += MINUTE_MS;
    uint64_t wide = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, tight), "home");
    assert_string_equal(pool_of(world, wide), "away");
}

/* The place is held while data come: an hour of transfer at 2.00 is 2.00 more. */
static void a_transfer_costs_the_place_too(void **state)
{
    struct world *world = *state;
    pool_put(world, "away", 200, "far", 0, 1 << 20);
    pool_put(world, "home", 390, "here", 0, 0);
    world_team(world, "t");
    struct job_data data = {"here", (int64_t)3600 << 20, NULL};
    struct job job = job_make("t", "hour", 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = HOUR_MS;
    uint64_t hour = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, hour), "home"); /* 3.90 against 4.00 */
    job.metadata.name = "longer";
    job.duration_ms = 2 * HOUR_MS;
    uint64_t longer = world_submit(world, &job);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, longer), "away"); /* 6.00 against 7.80 */
}

static void other_currencies_come_last(void **state)
{
    struct world *world = *state;
    struct node node;
    struct named_price price;
    pool_put(world, "first", 300, NULL, 0, 0);
    struct pool pool = pool_make("foreign", &node, &price, 1);
    pool.prices.currency = "USD";
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    pool_put(world, "third", 400, NULL, 0, 0);
    world_team(world, "t");
    static const char *const expected[] = {"first", "third", "foreign"};
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "j%d", i);
        struct job job = job_make("t", name, 1, DEVICES);
        uint64_t id = world_submit(world, &job);
        world_tick(world, 0);
        assert_string_equal(pool_of(world, id), expected[i]);
    }
}

struct seen {
    struct core_pool_view views[8];
    size_t count;
};

static void see(void *context, const struct core_pool_view *view)
{
    struct seen *seen = context;
    seen->views[seen->count++] = *view;
}

static void every_pool_says_what_it_is_for_a_job(void **state)
{
    struct world *world = *state;
    pool_put(world, "dear", 300, "here", 10, 0);
    pool_put(world, "cheap", 200, "far", 0, 0);
    struct node node;
    struct named_price price;
    struct pool pool = pool_make("law", &node, &price, 1);
    pool.jurisdiction = "us";
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
    pool_put(world, "full", 1, NULL, 0, 0);
    world_team(world, "t");
    struct job job = job_make("t", "filler", 1, DEVICES);
    job.placement.pool = "full";
    world_submit(world, &job);
    world_tick(world, 0);
    struct job_data data = {"here", 10 * GIB, NULL};
    job = job_make("t", "job", 1, 2);
    job.data.items = &data;
    job.data.count = 1;
    job.hold = true;
    job.duration_ms = HOUR_MS;
    uint64_t id = world_submit(world, &job);
    struct seen seen = {0};
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.views[0].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[0].cost_micro, 6000000);
    assert_int_equal(seen.views[1].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[1].egress_micro, 1000000);
    assert_int_equal(seen.views[1].cost_micro, 5000000);
    assert_int_equal(seen.views[2].verdict, POOL_NEXT); /* 0.02 and 1.00 of egress */
    assert_int_equal(seen.views[2].cost_micro, 1020000);
    assert_int_equal(seen.views[3].verdict, POOL_NO_ROOM);
    assert_int_equal(seen.views[3].held, 0);
    assert_int_equal(core_job_release(world->core, id, NULL), 0);
    world_tick(world, 0);
    assert_string_equal(pool_of(world, id), "law");
    seen.count = 0;
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.views[1].verdict, POOL_BEHIND);
    assert_int_equal(seen.views[2].verdict, POOL_HERE);
    job.metadata.name = "bound";
    job.placement.jurisdiction = "us";
    id = world_submit(world, &job);
    seen.count = 0;
    core_job_pools(world->core, id, see, &seen);
    assert_int_equal(seen.views[0].verdict, POOL_UNFIT);
    assert_string_equal(seen.views[0].lacks, "jurisdiction");
}

enum { POOLS = 5, STEPS = 60, SEEDS = 40 };

/* What the core has to come to, by looking at all pools: the cheapest with room, then the oldest.
 */
struct plain {
    int64_t cents[POOLS], left[POOLS];
    struct {
        uint64_t job;
        int pool;
        int64_t devices;
    } running[STEPS];
    size_t count;
};

static int plain_choice(const struct plain *plain, int64_t devices)
{
    int best = -1;
    for (int p = 0; p < POOLS; p++) {
        if (plain->left[p] >= devices && (best < 0 || plain->cents[p] < plain->cents[best]))
            best = p;
    }
    return best;
}

static void plain_end(struct world *world, struct plain *plain, size_t at)
{
    world_end(world, plain->running[at].job, END_SUCCEEDED);
    plain->left[plain->running[at].pool] += plain->running[at].devices;
    plain->running[at] = plain->running[--plain->count];
}

/* Of one rank with one or two devices, which goes by remembered scores, or a gang of two. */
static void plain_submit(struct world *world, struct plain *plain, struct prng *prng, int step)
{
    char name[16];
    snprintf(name, sizeof name, "j%d", step);
    struct job job = job_make("t", name, 1, 1 + (int64_t)prng_below(prng, 2));
    job.gang.size = 1 + (int64_t)prng_below(prng, 2);
    int64_t devices = job.gang.size * (job.resources.accelerator_milli / 1000);
    int choice = plain_choice(plain, devices);
    if (choice < 0)
        return;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 1000);
    snprintf(name, sizeof name, "p%d", choice);
    assert_string_equal(pool_of(world, id), name);
    plain->left[choice] -= devices;
    plain->running[plain->count].job = id;
    plain->running[plain->count].devices = devices;
    plain->running[plain->count++].pool = choice;
}

static void plain_price(struct world *world, struct plain *plain, int pool, int64_t cents)
{
    char name[8];
    snprintf(name, sizeof name, "p%d", pool);
    plain->cents[pool] = cents;
    pool_put(world, name, cents, NULL, 0, 0);
}

static void random_pools_are_chosen_as_by_looking_at_all(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world_teardown(state);
        world_setup(state);
        struct world *world = *state;
        struct prng prng = {seed};
        struct plain plain = {0};
        for (int p = 0; p < POOLS; p++) {
            plain.left[p] = DEVICES;
            plain_price(world, &plain, p, (int64_t)prng_below(&prng, 4));
        }
        world_team(world, "t");
        for (int step = 0; step < STEPS; step++) {
            if (plain.count > 0 && prng_below(&prng, 2) == 0)
                plain_end(world, &plain, prng_below(&prng, plain.count));
            if (prng_below(&prng, 10) == 0) {
                int pool = (int)prng_below(&prng, POOLS);
                plain_price(world, &plain, pool, (int64_t)prng_below(&prng, 4));
            }
            plain_submit(world, &plain, &prng, step);
        }
    }
}

static void data_that_can_not_be_are_refused(void **state)
{
    struct world *world = *state;
    pool_put(world, "a", 100, NULL, 0, 0);
    world_team(world, "t");
    struct job_data data = {"here", -1, NULL};
    struct job job = job_make("t", "job", 1, 1);
    uint64_t id;
    job.data.items = &data;
    job.data.count = 1;
    assert_int_equal(core_job_submit(world->core, &job, &id, NULL), -1);
    data = (struct job_data){"", 1, NULL};
    assert_int_equal(core_job_submit(world->core, &job, &id, NULL), -1);
}

static void a_pool_that_keeps_for_ever_is_refused(void **state)
{
    struct world *world = *state;
    struct node node;
    struct named_price price;
    struct pool pool = pool_make("a", &node, &price, 100);
    pool.keep_inputs_ms = INT64_MAX; /* added to a moment it would be one long past */
    assert_int_equal(core_pool_put(world->core, &pool, NULL), -1);
    pool.keep_inputs_ms = -1;
    assert_int_equal(core_pool_put(world->core, &pool, NULL), -1);
    pool.keep_inputs_ms = 366 * 24 * HOUR_MS;
    assert_int_equal(core_pool_put(world->core, &pool, NULL), 0);
}

/* ---- copies --------------------------------------------------------------------------------- */

enum { KEEP_MS = 10 * 60 * 1000 };

/* The cheap pool is at another site than the data: 10 GiB of them at 10 cents. */
static void begin_away(struct world *world, int64_t budget_micro)
{
    struct node node;
    struct named_price price;
    struct pool away = pool_make("away", &node, &price, 100);
    away.site = "far";
    away.burst = (struct burst){0, budget_micro, 24 * HOUR_MS};
    assert_int_equal(core_pool_put(world->core, &away, NULL), 0);
    pool_put(world, "home", 300, "here", 10, 0);
    if (budget_micro) /* it holds nothing: jobs come away for lack of another pool */
        assert_int_equal(core_node_wish(world->core, "home", "n", NODE_CORDON, NULL), 0);
    world_team(world, "t");
}

static uint64_t submit_reader(struct world *world, const char *name)
{
    static struct job_data data = {"here", 10 * GIB, "dataset/t/tall:1"};
    struct job job = job_make("t", name, 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.duration_ms = job.time_limit_ms = HOUR_MS;
    job.grace_ms = 0;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    return id;
}

struct copies {
    int count;
    struct copy_row row;
};

static void see_copy(void *context, enum row_kind kind, const void *row)
{
    struct copies *copies = context;
    assert_int_equal(kind, ROW_COPY);
    copies->count++;
    copies->row = *(const struct copy_row *)row;
}

static struct copies copies_of(const struct world *world)
{
    struct copies copies = {0};
    core_row_each(world->core, ROW_COPY, see_copy, &copies);
    return copies;
}

static void see_no_egress(void *context, const struct core_pool_view *view)
{
    (void)context;
    assert_int_equal(view->egress_micro, 0);
}

/* An hour costs 3.00 at home; away it costs 1.00 and 1.00 for egress, 0 once the data are there. */
static void what_was_brought_is_there_for_the_next(void **state)
{
    struct world *world = *state;
    begin_away(world, 0);
    uint64_t first = submit_reader(world, "first");
    assert_string_equal(pool_of(world, first), "away");
    assert_int_equal(copies_of(world).count, 0); /* a place is no copy */
    world_start(world, first);
    struct copies copies = copies_of(world);
    assert_int_equal(copies.count, 1);
    assert_string_equal(core_symbol(world->core, copies.row.site), "far");
    assert_string_equal(core_symbol(world->core, copies.row.version), "dataset/t/tall:1");
    assert_int_equal(copies.row.egress_micro, 1000000);
    world_tick(world, 0);
    assert_int_equal(world_decided(world, DECISION_DATA_COPY), 1);
    uint64_t second = submit_reader(world, "second");
    core_job_pools(world->core, second, see_no_egress, NULL);
    world_start(world, second);
    assert_int_equal(copies_of(world).count, 1);
}

static void nobody_keeps_what_nobody_uses(void **state)
{
    struct world *world = *state;
    begin_away(world, 0);
    uint64_t first = submit_reader(world, "first");
    world_start(world, first);
    uint64_t id = copies_of(world).row.id;
    world_tick(world, 30 * MINUTE_MS); /* it is read */
    assert_int_equal(copies_of(world).count, 1);
    assert_int_equal(core_copy_until_ms(world->core, id), 0);
    world_end(world, first, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(core_copy_until_ms(world->core, id), world->now_ms + KEEP_MS);
    assert_int_equal(core_next_ms(world->core), world->now_ms + KEEP_MS);
    world_tick(world, KEEP_MS - 1);
    assert_int_equal(copies_of(world).count, 1);
    world_tick(world, 1);
    assert_int_equal(copies_of(world).count, 0);
    assert_int_equal(world_decided(world, DECISION_DATA_DROP), 1);
}

/* Reads a version in the pool; it runs. */
static uint64_t submit_reader_in(
    struct world *world, const char *name, const char *pool, const char *version)
{
    struct job_data data = {"here", GIB, version};
    struct job job = job_make("t", name, 1, 1);
    job.data.items = &data;
    job.data.count = 1;
    job.placement.pool = pool;
    job.grace_ms = 0;
    uint64_t id = world_submit(world, &job);
    world_tick(world, 0);
    world_start(world, id);
    world_tick(world, 0);
    return id;
}

struct use {
    struct world *world;
    const char *version, *site;
    int found;
    bool used;
};

static void see_use(void *context, enum row_kind kind, const void *row)
{
    struct use *use = context;
    const struct core *core = use->world->core;
    const struct copy_row *copy = row;
    assert_int_equal(kind, ROW_COPY);
    if (strcmp(core_symbol(core, copy->version), use->version) != 0 ||
        strcmp(core_symbol(core, copy->site), use->site) != 0)
        return;
    use->found++;
    use->used = core_copy_until_ms(core, copy->id) == 0;
}

static bool is_used(struct world *world, const char *version, const char *site)
{
    struct use use = {.world = world, .version = version, .site = site};
    core_row_each(world->core, ROW_COPY, see_use, &use);
    assert_int_equal(use.found, 1);
    return use.used;
}

/* Two versions at each of two sites: each copy is used by who reads that version there. */
static void copies_are_used_by_those_who_read_them_where_they_are(void **state)
{
    struct world *world = *state;
    static const char *const pools[] = {"east", "west"};
    static const char *const versions[] = {"dataset/t/tall:1", "dataset/t/wide:1"};
    uint64_t readers[4];
    char name[16];
    for (int i = 0; i < 2; i++)
        pool_put(world, pools[i], 100, pools[i], 0, 0);
    pool_put(world, "home", 100, "here", 0, 0);
    world_team(world, "t");
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "r%d", i);
        readers[i] = submit_reader_in(world, name, pools[i / 2], versions[i % 2]);
    }
    assert_int_equal(copies_of(world).count, 4);
    for (int ended = 0; ended <= 4; ended++) {
        for (int i = 0; i < 4; i++)
            assert_true(is_used(world, versions[i % 2], pools[i / 2]) == (i >= ended));
        if (ended == 4)
            break;
        world_end(world, readers[ended], END_SUCCEEDED);
        world_tick(world, 0);
        world_reload(world);
    }
}

static const struct pool_row *away_row(const struct world *world)
{
    return core_pool(world->core, core_pool_find(world->core, "away"));
}

/* 1.00 for an hour and 1.00 of egress are reserved for each, until the first has started: then the
 * second needs no egress any more, and what both cost has it once. */
static void egress_is_spent_once(void **state)
{
    struct world *world = *state;
    begin_away(world, 4000000);
    uint64_t first = submit_reader(world, "first");
    assert_string_equal(pool_of(world, first), "away");
    uint64_t second = submit_reader(world, "second");
    assert_string_equal(pool_of(world, second), "away");
    uint64_t third = submit_reader(world, "third");
    assert_int_equal(world_state(world, third), JOB_QUEUED); /* 4.00 are taken */
    world_start(world, first);
    world_start(world, second);
    assert_int_equal(copies_of(world).count, 1);
    world_tick(world, 30 * 1000);                       /* looks are so far apart */
    assert_string_equal(pool_of(world, third), "away"); /* without egress of its own */
    world_tick(world, HOUR_MS - 30 * 1000);
    world_end(world, first, END_SUCCEEDED);
    world_end(world, second, END_SUCCEEDED);
    world_tick(world, 0);
    assert_int_equal(away_row(world)->burst_spent_micro, 3000000);
}

/* What was never started brought nothing, as far as anybody knows. */
static void what_did_not_start_brings_nothing(void **state)
{
    struct world *world = *state;
    begin_away(world, 4000000);
    uint64_t first = submit_reader(world, "first");
    world_end(world, first, END_START_FAILED);
    world_tick(world, 0);
    assert_int_equal(copies_of(world).count, 0);
    assert_int_equal(away_row(world)->burst_spent_micro, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_cheaper_pool_goes_first),
        TEST(an_elastic_gang_takes_the_pool_that_holds_more_of_it),
        TEST(a_price_that_changes_changes_the_order),
        TEST(data_keep_short_work_at_home_and_let_long_work_go),
        TEST(a_deadline_goes_before_the_price),
        TEST(a_transfer_costs_the_place_too),
        TEST(other_currencies_come_last),
        TEST(every_pool_says_what_it_is_for_a_job),
        TEST(random_pools_are_chosen_as_by_looking_at_all),
        TEST(data_that_can_not_be_are_refused),
        TEST(a_pool_that_keeps_for_ever_is_refused),
        TEST(what_was_brought_is_there_for_the_next),
        TEST(nobody_keeps_what_nobody_uses),
        TEST(copies_are_used_by_those_who_read_them_where_they_are),
        TEST(egress_is_spent_once),
        TEST(what_did_not_start_brings_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
