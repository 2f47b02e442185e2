/* Prices of classes of nodes: see packing_market.h.
 *
 * How much a class draws a shape is a power of two, falling with what the shape loses there for
 * each device, and how large the class is. What is multiplied stays within 64 bits: draws have
 * DRAW_BITS, shares of all devices SHARE_BITS, and a weight is a share of at most 2^WEIGHT_BITS as
 * much. All sums are of whole numbers, so that the order of classes, which is that of nodes, makes
 * no difference. */
#include "core/packing_market.h"
#include "base/lanes.h"
#include "core/limits.h"
#include "core/packing_view.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"

#include <assert.h>

enum {
    MARKET_ROUNDS = 20, /* by then prices move by a few hundredths */
    DRAW_BITS = 26,     /* of the class that draws most; also what draws no more after halvings */
    SHARE_BITS = 24,
    WEIGHT_BITS = 12,
    FALL_MOST = 13,  /* halvings from the cheapest class to the dearest */
    MOVE_MOST = 4,   /* times in one round */
    STEPS_BITS = 5,  /* of one halving */
    LOG_BITS = 8,    /* of a logarithm */
    PRICE_PARTS = 3, /* of what would clear the market counts one: decisions see nodes in use, too,
                      * on which less is lost than on idle ones */
};
/* So much more lost of each device draws half as much: one and a half devices, weighed. */
#define HALVES ((int64_t)3 << (VALUE_BITS + 9))

/* 2^(DRAW_BITS - k / 32) */
static const uint32_t halving[1 << STEPS_BITS] = {67108864, 65670859, 64263668, 62886630, 61539100,
    60220444, 58930044, 57667294, 56431603, 55222390, 54039088, 52881142, 51748008, 50639155,
    49554062, 48492221, 47453133, 46436310, 45441276, 44467563, 43514715, 42582284, 41669834,
    40776935, 39903169, 39048127, 38211406, 37392614, 36591368, 35807290, 35040014, 34289178};

struct market {
    size_t classes, items;
    uint32_t *draws;                       /* of each item, by class */
    int64_t share[MIX_ITEMS_MAX];          /* of what is asked for */
    int64_t room[MIX_CLASSES_MAX];         /* share of the devices there are */
    int64_t weight[MIX_CLASSES_MAX];       /* room, less what its price keeps away */
    int64_t fill[MIX_CLASSES_MAX];         /* share of devices, as asked for */
    struct view views[MIX_CLASSES_MAX];    /* of idle nodes.. */
    struct worth worths[MIX_CLASSES_MAX];  /* ..what those are worth.. */
    struct reach reaches[MIX_CLASSES_MAX]; /* ..and what they have within reach */
};

/* What is lost of each device that a rank takes of an idle node, weighed. */
static int64_t loss_of(const struct market *market, const struct balance *balance, size_t class,
    const struct view_ask *ask, const struct reach *asks)
{
    struct worth before = market->worths[class];
    struct view_taken taken = view_take(&market->views[class], ask, 1);
    const struct reach *has = &market->reaches[class];
    int64_t lost = worth_weighed(before) - worth_weighed(taken.worth) +
                   balance_stranded_one(balance, has, asks, taken.worth.bare) -
                   balance_stranded(balance, has, has, 0, before.bare);
    return lost * DEVICE_MILLI / ask->milli;
}

/* By how much less than the best class one draws. */
static uint32_t draw_of(int64_t loss, int64_t best)
{
    uint64_t steps = (uint64_t)(loss - best) / (HALVES >> STEPS_BITS);
    uint64_t halvings = steps >> STEPS_BITS;
    return halvings < DRAW_BITS ? halving[steps % (1 << STEPS_BITS)] >> halvings : 0;
}

static void draws_make(struct market *market, const struct mix *mix, const struct values *values,
    const struct balance *balance, size_t item)
{
    const struct shape_row *shape = &mix->items.items[item].shape->row;
    uint32_t *draws = &market->draws[item * market->classes];
    int64_t losses[MIX_CLASSES_MAX], best = INT64_MAX;
    struct view_ask ask;
    struct reach asks;
    view_ask_make(values, shape, &ask);
    reach_make(balance, shape->cpu_milli, shape->memory_bytes, &asks);
    for (size_t i = 0; i < market->classes; i++) {
        const struct mix_class *class = &mix->classes.items[i];
        losses[i] = INT64_MAX;
        if (!market->room[i] || !mix_allows(class, item) ||
            fit_idle_ranks(shape, class->like, 1) == 0)
            continue;
        losses[i] = loss_of(market, balance, i, &ask, &asks);
        best = least(best, losses[i]);
    }
    for (size_t i = 0; i < market->classes; i++)
        draws[i] = losses[i] == INT64_MAX ? 0 : draw_of(losses[i], best);
}

static void classes_see(struct market *market, const struct mix *mix, const struct values *values,
    const struct balance *balance)
{
    __int128 all = 0;
    for (size_t i = 0; i < market->classes; i++)
        all += (__int128)mix->classes.items[i].nodes * mix->classes.items[i].like->row.devices;
    for (size_t i = 0; i < market->classes; i++) {
        const struct node_row *row = &mix->classes.items[i].like->row;
        if (row->devices == 0)
            continue;
        __int128 devices = (__int128)mix->classes.items[i].nodes * row->devices;
        market->room[i] = market->weight[i] = 1 + (int64_t)((devices << SHARE_BITS) / all);
        view_make_idle(values, row, i, &market->views[i]);
        market->worths[i] = view_worth(&market->views[i]);
        reach_make(balance, row->cpu_milli, row->memory_bytes, &market->reaches[i]);
    }
}

static void items_see(struct market *market, const struct mix *mix, const struct values *values,
    const struct balance *balance)
{
    __int128 asked = 0;
    for (size_t i = 0; i < market->items; i++)
        asked +=
            (__int128)mix->items.items[i].ranks * mix->items.items[i].shape->row.accelerator_milli;
    for (size_t i = 0; i < market->items; i++) {
        int64_t milli = mix->items.items[i].shape->row.accelerator_milli;
        if (milli == 0)
            continue;
        __int128 share = (__int128)mix->items.items[i].ranks * milli << SHARE_BITS;
        market->share[i] = (int64_t)(share / asked);
        draws_make(market, mix, values, balance, i);
    }
}

/* Lets the item go where it is drawn to. */
LANES static void item_goes(struct market *market, size_t item)
{
    const uint32_t *restrict draws = &market->draws[item * market->classes];
    uint64_t drawn[MIX_CLASSES_MAX], sum = 0;
    for (size_t i = 0; i < market->classes; i++) {
        drawn[i] = draws[i] * (uint64_t)market->weight[i] >> DRAW_BITS;
        sum += drawn[i];
    }
    if (sum == 0)
        return; /* nowhere */
    uint64_t each = ((uint64_t)market->share[item] << DRAW_BITS) / sum;
    for (size_t i = 0; i < market->classes; i++)
        market->fill[i] += (int64_t)(drawn[i] * each >> DRAW_BITS);
}

/* The cheapest class weighs as much as there is room for numbers; no other less than its part. */
static void weights_scale(struct market *market)
{
    int64_t cheapest = 1; /* with as many bits again as a weight has */
    for (size_t i = 0; i < market->classes; i++) {
        if (market->room[i])
            cheapest = most(cheapest, (market->weight[i] << WEIGHT_BITS) / market->room[i]);
    }
    for (size_t i = 0; i < market->classes; i++) {
        int64_t weight = (int64_t)(((__int128)market->weight[i] << 2 * WEIGHT_BITS) / cheapest);
        market->weight[i] = most(weight, market->room[i] >> (FALL_MOST - WEIGHT_BITS));
    }
}

static void market_round(struct market *market)
{
    memset(market->fill, 0, sizeof market->fill);
    for (size_t i = 0; i < market->items; i++) {
        if (market->share[i])
            item_goes(market, i);
    }
    for (size_t i = 0; i < market->classes; i++) {
        int64_t weight = market->weight[i];
        int64_t moved = (int64_t)((__int128)weight * market->room[i] / most(market->fill[i], 1));
        market->weight[i] = most(least(moved, weight * MOVE_MOST), weight / MOVE_MOST);
    }
    weights_scale(market);
}

/* Of a positive number, with LOG_BITS; a straight line between powers of two. */
static int64_t logarithm(int64_t value)
{
    assert(value > 0);
    int64_t whole = 63 - __builtin_clzll((uint64_t)value);
    int64_t rest = value - ((int64_t)1 << whole);
    return (whole << LOG_BITS) + (int64_t)((__int128)rest * (1 << LOG_BITS) >> whole);
}

void market_make(const struct mix *mix, const struct values *values, const struct balance *balance,
    int64_t ret_prices[MIX_CLASSES_MAX + 1])
{
    memset(ret_prices, 0, (MIX_CLASSES_MAX + 1) * sizeof *ret_prices);
    if (mix->classes.count < 2 || balance->slack_mille == 0)
        return;
    SCOPED(mem_scope) struct market *market = mem_alloc(1, sizeof *market);
    market->classes = (size_t)least((int64_t)mix->classes.count, MIX_CLASSES_MAX);
    market->items = mix->items.count;
    SCOPED(mem_scope)
    uint32_t *draws = mem_alloc(market->items * market->classes + 1, sizeof *draws);
    market->draws = draws;
    classes_see(market, mix, values, balance);
    items_see(market, mix, values, balance);
    weights_scale(market);
    for (int i = 0; i < MARKET_ROUNDS; i++)
        market_round(market);
    for (size_t i = 0; i < market->classes; i++) {
        if (!market->room[i])
            continue;
        int64_t falls = (WEIGHT_BITS << LOG_BITS) + logarithm(market->room[i]) -
                        logarithm(most(market->weight[i], 1));
        int64_t price = (most(falls, 0) * HALVES >> LOG_BITS) / PRICE_PARTS;
        ret_prices[i] = price * balance->slack_mille / 1000;
    }
}
