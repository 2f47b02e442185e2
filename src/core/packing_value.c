/* Prices and values of what jobs ask for: see packing_value.h.
 *
 * The linear program is solved by subgradient steps on its dual, of a length after Polyak, and the
 * mean of the second half is taken: some hundred packings of one device, each a table of a hundred
 * entries. That is not exact, and need not be: prices order choices, and nothing else rests on
 * them. All of it is in whole numbers; a device is 2^16. */
#include "core/packing_value.h"
#include "base/lanes.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"

#include <assert.h>

enum { PRICE_STEPS = 200, PRICE_BITS = 20 };
#define PRICE_ONE ((int64_t)1 << PRICE_BITS) /* a device's size, in prices */

/* Levels that the shape takes of one device, rounded up; 0: none, or more devices than a node has.
 */
static int32_t level_of(const struct shape_row *shape)
{
    if (shape->accelerator_milli > (int64_t)VALUE_DEVICES_MAX * DEVICE_MILLI)
        return 0;
    if (shape->accelerator_milli >= DEVICE_MILLI)
        return VALUE_LEVELS;
    return (int32_t)((shape->accelerator_milli + 9) / 10);
}

static int64_t devices_of(const struct shape_row *shape)
{
    return most(shape->accelerator_milli / DEVICE_MILLI, 1);
}

/* ---- prices -----------------------------------------------------------------------------------
 */

struct size_prices {
    int64_t demand[VALUE_LEVELS + 1]; /* of sizes, in parts of all devices, if they were filled */
    int64_t price[VALUE_LEVELS + 1];
    int32_t sizes[VALUE_LEVELS + 1]; /* that are asked for */
    int32_t count;
};

static int64_t size_whole(int32_t level)
{
    return PRICE_ONE * level / VALUE_LEVELS;
}

/* Whether devices are asked for. */
static bool prices_init(struct size_prices *prices, const struct mix *mix)
{
    int64_t ranks[VALUE_LEVELS + 1] = {0}, asked = 0;
    *prices = (struct size_prices){0};
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        int32_t level = level_of(shape);
        if (!level)
            continue;
        ranks[level] += mix->items.items[i].ranks * devices_of(shape);
        asked += mix->items.items[i].ranks * devices_of(shape) * level;
    }
    for (int32_t level = 1; level <= VALUE_LEVELS; level++) {
        if (!ranks[level])
            continue;
        prices->demand[level] =
            (int64_t)((__int128)ranks[level] * VALUE_LEVELS * PRICE_ONE / asked);
        prices->price[level] = size_whole(level);
        prices->sizes[prices->count++] = level;
    }
    return asked > 0;
}

enum { PACK_LANES = 8 }; /* levels at a time */

/* What a device of each level from `level` on is worth if it may have this size once more. */
LANES_PART void pack_more(int32_t *worth, int32_t level, int32_t size, int32_t price)
{
    int32_t with[PACK_LANES];
    for (int k = 0; k < PACK_LANES; k++)
        with[k] = worth[level - size + k] + price;
    for (int k = 0; k < PACK_LANES; k++)
        worth[level + k] = with[k] > worth[level + k] ? with[k] : worth[level + k];
}

/* The same of all levels, if it may have the size as often as it fits. A size that is less than the
 * lanes is taken once, from above, and for the rest in twos. */
LANES_PART void pack_size(int32_t *worth, int32_t size, int32_t price)
{
    for (; size < PACK_LANES; size *= 2, price *= 2) {
        int32_t level = VALUE_LEVELS + 1;
        for (; level - PACK_LANES >= size; level -= PACK_LANES)
            pack_more(worth, level - PACK_LANES, size, price);
        for (level--; level >= size; level--)
            worth[level] = (int32_t)most(worth[level], worth[level - size] + price);
    }
    for (int32_t level = size; level <= VALUE_LEVELS; level += PACK_LANES)
        pack_more(worth, level, size, price);
}

/* The smallest size that a best packing of the level has; 0 when that is one of the level below. */
LANES_PART int32_t pack_taken(const struct size_prices *prices, const int32_t *worth, int32_t level)
{
    for (int32_t i = 0; worth[level] > worth[level - 1]; i++) {
        int32_t size = prices->sizes[i];
        assert(i < prices->count && size <= level);
        if (worth[level - size] + prices->price[size] == worth[level])
            return size;
    }
    return 0;
}

/* The best packing of one device: its worth, and how often it has each size. */
LANES static int64_t pack(const struct size_prices *prices, int64_t *ret_uses)
{
    int32_t worth[VALUE_LEVELS + 1 + PACK_LANES] = {0};
    for (int32_t i = 0; i < prices->count; i++)
        pack_size(worth, prices->sizes[i], (int32_t)prices->price[prices->sizes[i]]);
    memset(ret_uses, 0, (VALUE_LEVELS + 1) * sizeof *ret_uses);
    for (int32_t level = VALUE_LEVELS; level > 0;) {
        int32_t taken = pack_taken(prices, worth, level);
        ret_uses[taken] += taken != 0;
        level -= taken ? taken : 1;
    }
    return worth[VALUE_LEVELS];
}

/* length * more / PRICE_ONE, which nearly always fits 64 bits. */
static int64_t price_moved(int64_t length, int64_t more)
{
    int64_t product;
    if (!__builtin_mul_overflow(length, more, &product))
        return product / PRICE_ONE;
    return (int64_t)((__int128)length * more / PRICE_ONE);
}

/* One step against the difference of what is packed and what is asked for. A device has a size
 * VALUE_LEVELS times at most, so that no difference is above that many PRICE_ONE. */
static void price_step(struct size_prices *prices, int64_t *bound, int32_t step)
{
    int64_t uses[VALUE_LEVELS + 1], dual = pack(prices, uses), norm = 0;
    for (int32_t i = 0; i < prices->count; i++) {
        int32_t size = prices->sizes[i];
        int64_t more = uses[size] * PRICE_ONE - prices->demand[size];
        dual += ((size_whole(size) - prices->price[size]) * prices->demand[size]) >> PRICE_BITS;
        norm += more * more >> PRICE_BITS;
    }
    *bound = least(*bound, dual);
    if (norm == 0)
        return;
    int64_t hope = PRICE_ONE * 5 / (100 + step); /* how far below the best the optimum may be */
    int64_t length = ((dual - *bound + hope) << PRICE_BITS) / norm;
    for (int32_t i = 0; i < prices->count; i++) {
        int32_t size = prices->sizes[i];
        int64_t more = uses[size] * PRICE_ONE - prices->demand[size];
        int64_t price = prices->price[size] - price_moved(length, more);
        prices->price[size] = most(0, least(price, size_whole(size)));
    }
}

static void prices_solve(struct size_prices *prices)
{
    int64_t bound = INT64_MAX, sum[VALUE_LEVELS + 1] = {0};
    for (int32_t step = 0; step < PRICE_STEPS; step++) {
        price_step(prices, &bound, step);
        for (int32_t i = 0; step >= PRICE_STEPS / 2 && i < prices->count; i++)
            sum[prices->sizes[i]] += prices->price[prices->sizes[i]];
    }
    for (int32_t i = 0; i < prices->count; i++)
        prices->price[prices->sizes[i]] = sum[prices->sizes[i]] / (PRICE_STEPS / 2);
}

/* ---- lines ------------------------------------------------------------------------------------
 */

/* Prices of CPU and memory, in percent of what a whole device is worth for each unit that goes with
 * one on average. */
static const struct {
    int32_t cpu, memory;
} lines[VALUE_LINES] = {
    {0, 0}, {30, 0}, {110, 0}, {450, 0}, {0, 50}, {30, 50}, {110, 50}, {450, 50}};

static int64_t mib(int64_t bytes)
{
    return bytes >> 20;
}

int64_t values_per_device(const struct mix *mix, bool memory)
{
    __int128 sum = 0, milli = 0;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct shape_row *shape = &mix->items.items[i].shape->row;
        if (!level_of(shape))
            continue;
        int64_t ask = memory ? mib(shape->memory_bytes) : shape->cpu_milli;
        sum += (__int128)mix->items.items[i].ranks * ask;
        milli += (__int128)mix->items.items[i].ranks * shape->accelerator_milli;
    }
    return (int64_t)most((int64_t)(sum * DEVICE_MILLI / milli), 1);
}

static void lines_make(
    struct values *values, const struct mix *mix, const struct size_prices *prices)
{
    int64_t uses[VALUE_LEVELS + 1];
    int64_t device = pack(prices, uses) >> (PRICE_BITS - VALUE_BITS);
    int64_t cpu = values_per_device(mix, false), memory = values_per_device(mix, true);
    values->device = device;
    for (int i = 0; i < VALUE_LINES; i++) {
        values->cpu_price[i] = (device << VALUE_PRICE_BITS) * lines[i].cpu / 100 / cpu;
        values->memory_price[i] = (device << VALUE_PRICE_BITS) * lines[i].memory / 100 / memory;
    }
}

/* ---- tables -----------------------------------------------------------------------------------
 */

/* What shapes of one size pay at each line: the best net price of one. */
struct asked {
    int32_t size; /* in levels of a device, or in whole devices; 0: it asks for none */
    bool devices; /* it is more than one */
    int32_t net[VALUE_LINES];
};

/* The price less CPU and memory at the line's prices. */
static int32_t net_price(
    const struct values *values, int64_t price, const struct shape_row *shape, int line)
{
    __int128 cost = (__int128)values->cpu_price[line] * shape->cpu_milli +
                    (__int128)values->memory_price[line] * mib(shape->memory_bytes);
    __int128 net = price - (cost >> VALUE_PRICE_BITS);
    return net > 0 ? (int32_t)net : 0;
}

static struct asked asked_of(
    const struct values *values, const struct size_prices *prices, const struct shape_row *shape)
{
    int32_t level = level_of(shape), devices = (int32_t)devices_of(shape);
    struct asked asked = {.size = devices > 1 && level ? devices : level, .devices = devices > 1};
    int64_t price = prices->price[level] * devices >> (PRICE_BITS - VALUE_BITS);
    for (int line = 0; line < VALUE_LINES && level; line++)
        asked.net[line] = net_price(values, price, shape, line);
    return asked;
}

/* Of one class, sizes ascending. */
struct asked_list {
    struct asked items[VALUE_LEVELS + 1];
    int32_t count;
};

static struct asked *asked_provide(struct asked_list *list, int32_t size)
{
    int32_t at = list->count;
    while (at > 0 && list->items[at - 1].size >= size)
        at--;
    struct asked *one = &list->items[at];
    if (at < list->count && one->size == size)
        return one;
    assert((size_t)list->count < ARRAY_LEN(list->items));
    memmove(one + 1, one, (size_t)(list->count++ - at) * sizeof *one);
    *one = (struct asked){.size = size};
    return one;
}

static void asked_remove(struct asked_list *list, struct asked *one)
{
    const struct asked *end = list->items + list->count--;
    memmove(one, one + 1, (size_t)(end - one - 1) * sizeof *one);
}

/* asked: of each item of the mix. */
static void asked_collect(const struct mix *mix, const struct mix_class *class,
    const struct asked *asked, struct asked_list *levels, struct asked_list *devices)
{
    levels->count = devices->count = 0;
    for (size_t i = 0; i < mix->items.count; i++) {
        if (!asked[i].size || !mix_allows(class, i))
            continue;
        struct asked *same = asked_provide(asked[i].devices ? devices : levels, asked[i].size);
        for (int line = 0; line < VALUE_LINES; line++)
            same->net[line] = (int32_t)most(same->net[line], asked[i].net[line]);
    }
}

static_assert(VALUE_LINES == 8, "lines are lanes8");

/* Raises the table at `size` by the items that fit. One that is worth no more than what is there at
 * its own size is taken out of the list: others do as well wherever it would fit. */
LANES_PART void items_raise(struct asked_list *list, int32_t (*table)[VALUE_LINES], int32_t size)
{
    struct asked *item = list->items, *end = item + list->count;
    lanes8 best = LANES8(table[size]), with;
    for (; item < end && item->size < size; item++) {
        with = LANES8(table[size - item->size]) + LANES8(item->net);
        lanes8_most(&with, &best, &best);
    }
    if (item < end && item->size == size) {
        with = LANES8(item->net);
        if (!lanes8_any_above(&with, &best))
            asked_remove(list, item);
        else
            lanes8_most(&with, &best, &best);
    }
    memcpy(table[size], &best, sizeof best);
}

LANES static void table_fill(
    struct value_table *table, struct asked_list *levels, struct asked_list *devices)
{
    memset(table->level[0], 0, sizeof table->level[0]);
    memset(table->whole[0], 0, sizeof table->whole[0]);
    for (int32_t level = 1; level <= VALUE_LEVELS; level++) {
        memcpy(table->level[level], table->level[level - 1], sizeof table->level[level]);
        items_raise(levels, table->level, level);
    }
    for (int32_t count = 1; count <= VALUE_DEVICES_MAX; count++) {
        for (int line = 0; line < VALUE_LINES; line++)
            table->whole[count][line] =
                table->whole[count - 1][line] + table->level[VALUE_LEVELS][line];
        items_raise(devices, table->whole, count);
    }
}

/* The table of a class that may take the same shapes, among those before it; SIZE_MAX: none. */
static size_t table_like(const struct mix *mix, const struct values *values, size_t class)
{
    for (size_t i = 0; i < class; i++) {
        if (memcmp(mix->classes.items[i].allowed, mix->classes.items[class].allowed,
                sizeof mix->classes.items[i].allowed) == 0)
            return values->table_of[i];
    }
    return SIZE_MAX;
}

static void tables_make(
    struct values *values, const struct size_prices *prices, const struct mix *mix)
{
    struct asked_list levels, devices;
    SCOPED(mem_scope) struct asked *asked = mem_alloc(mix->items.count, sizeof *asked);
    for (size_t i = 0; i < mix->items.count; i++)
        asked[i] = asked_of(values, prices, &mix->items.items[i].shape->row);
    vec_clear(&values->tables);
    for (size_t i = 0; i < mix->classes.count; i++) {
        size_t table = table_like(mix, values, i);
        if (table == SIZE_MAX && values->tables.count < VALUE_TABLES_MAX) {
            table = values->tables.count;
            vec_push(&values->tables, ((struct value_table){0}));
            asked_collect(mix, &mix->classes.items[i], asked, &levels, &devices);
            table_fill(&values->tables.items[table], &levels, &devices);
        }
        values->table_of[i] = (uint8_t)(table == SIZE_MAX ? VALUE_TABLES_MAX - 1 : table);
    }
}

/* ---- pressure ---------------------------------------------------------------------------------
 */

static int64_t class_devices(const struct mix_class *class)
{
    return class->nodes * class->like->row.devices;
}

static void pressure_make(struct values *values, const struct mix *mix)
{
    int64_t all = 0, asked = 0;
    memset(values->pressure, 0, sizeof values->pressure);
    for (size_t i = 0; i < mix->classes.count; i++)
        all += class_devices(&mix->classes.items[i]);
    for (size_t i = 0; i < mix->items.count; i++)
        asked += mix->items.items[i].ranks * mix->items.items[i].shape->row.accelerator_milli;
    for (size_t i = 0; i < mix->items.count; i++) {
        const struct mix_item *item = &mix->items.items[i];
        int64_t allowed = 0, milli = item->ranks * item->shape->row.accelerator_milli;
        for (size_t c = 0; c < mix->classes.count && item->limited && milli; c++)
            allowed +=
                mix_allows(&mix->classes.items[c], i) ? class_devices(&mix->classes.items[c]) : 0;
        if (!allowed)
            continue;
        int64_t share = (int64_t)((__int128)milli * all * VALUE_DEVICE / asked / allowed);
        for (size_t c = 0; c < mix->classes.count; c++)
            values->pressure[c] += mix_allows(&mix->classes.items[c], i) ? share : 0;
    }
    for (size_t c = 0; c < mix->classes.count; c++)
        values->pressure[c] = least(values->pressure[c], 16 * VALUE_DEVICE);
}

bool values_make(const struct mix *mix, struct values *values)
{
    struct size_prices prices;
    if (!prices_init(&prices, mix))
        return false;
    prices_solve(&prices);
    lines_make(values, mix, &prices);
    tables_make(values, &prices, mix);
    pressure_make(values, mix);
    return true;
}

void values_finish(struct values *values)
{
    vec_free(&values->tables);
}
