/* Lengths of jobs: see history.h. Whole numbers only, so that a forecast is the same everywhere. */
#include "planner/history.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/vec.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNKNOWN_MS = 30 * 60 * 1000, /* with nothing to go by */
    UNKNOWN_TIMES_MAX = 16,
    LEAVE_WEIGHT = 3,
    LEAN_SAMPLES = 36,
    LEAN_MILLI = 5000,
    SAMPLES_FIRST = 4,
};
static_assert(SKETCH_SAMPLES == SAMPLES_FIRST * 4 * 4 * 4, "reached by growing");

const char *const history_level_names[HISTORY_LEVELS + 1] = {
    "jobs of this name, shape and time limit in the team",
    "jobs of this name in the team",
    "jobs of this shape, size and time limit in the team",
    "jobs of this class in the team",
    "jobs of this shape and size",
    "all jobs",
    "nothing: no job has ended yet",
};

struct sketch {
    uint64_t key;
    uint64_t used;   /* when it was learned from last, counted in lessons */
    int64_t *newest; /* a ring once it is full.. */
    int64_t *sorted; /* ..and the same in order */
    uint16_t count, next, room;
};

struct history {
    struct idmap by_key;
    VEC(struct sketch *) sketches;
    int64_t learned;
};

/* ---- what a job is known by ---------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    struct prng prng = {hash ^ value * 0x9e3779b97f4a7c15u};
    return prng_next(&prng);
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return mix(hash, 0);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The name with each run of digits as one '#': train-17 and train-18 are one; so are elements of an
 * array. */
static uint64_t mix_stem(uint64_t hash, const char *name)
{
    for (const char *at = name; *at && *at != '['; at++) {
        bool digit = is_digit(*at);
        if (digit && at > name && is_digit(at[-1]))
            continue;
        hash = (hash ^ (unsigned char)(digit ? '#' : *at)) * 0x100000001b3u;
    }
    return mix(hash, 1);
}

static uint64_t shape_hash(const struct shape_row *shape)
{
    uint64_t hash = 7;
    if (!shape)
        return hash;
    hash = mix(hash, (uint64_t)shape->cpu_milli);
    hash = mix(hash, (uint64_t)shape->memory_bytes);
    hash = mix(hash, (uint64_t)shape->accelerator_milli);
    return mix(hash, shape->accelerator);
}

void history_describe(const struct job_row *job, const struct shape_row *shape, const char *team,
    const char *name, const char *class_name, struct history_job *ret)
{
    uint64_t of_team = mix_text(11, team), of_shape = mix(shape_hash(shape), (uint64_t)job->size);
    uint64_t limited = mix(of_shape, (uint64_t)job->time_limit_ms);
    uint64_t stem = mix_stem(of_team, name);
    uint64_t keys[HISTORY_LEVELS] = {
        mix(stem, limited),
        mix(stem, 2),
        mix(of_team, limited),
        mix_text(mix(of_team, 3), class_name),
        mix(of_shape, 4),
        5,
    };
    for (size_t i = 0; i < HISTORY_LEVELS; i++)
        ret->keys[i] = keys[i] ? keys[i] : 1;
    ret->time_limit_ms = job->time_limit_ms;
}

/* ---- sketches ------------------------------------------------------------------------------ */

struct history *history_create(void)
{
    return mem_alloc(1, sizeof(struct history));
}

static void sketch_free(struct sketch *sketch)
{
    free(sketch->newest);
    free(sketch->sorted);
    free(sketch);
}

void history_destroy(struct history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < history->sketches.count; i++)
        sketch_free(history->sketches.items[i]);
    vec_free(&history->sketches);
    idmap_finish(&history->by_key);
    free(history);
}

static int by_use(const void *a, const void *b)
{
    const struct sketch *left = *(struct sketch *const *)a, *right = *(struct sketch *const *)b;
    return left->used < right->used ? 1 : left->used > right->used ? -1 : 0;
}

/* Forgets the quarter that was unused for longest: seldom, so that the search is paid for. */
static void make_room(struct history *history)
{
    size_t keep = HISTORY_SKETCHES_MAX - HISTORY_SKETCHES_MAX / 4;
    if (history->sketches.count < HISTORY_SKETCHES_MAX)
        return;
    qsort(
        history->sketches.items, history->sketches.count, sizeof *history->sketches.items, by_use);
    for (size_t i = keep; i < history->sketches.count; i++) {
        idmap_remove(&history->by_key, history->sketches.items[i]->key);
        sketch_free(history->sketches.items[i]);
    }
    history->sketches.count = keep;
}

static struct sketch *sketch_of(struct history *history, uint64_t key)
{
    struct sketch *sketch = idmap_get(&history->by_key, key);
    if (sketch)
        return sketch;
    make_room(history);
    sketch = mem_alloc(1, sizeof *sketch);
    sketch->key = key;
    idmap_put(&history->by_key, key, sketch);
    vec_push(&history->sketches, sketch);
    return sketch;
}

static size_t place_in(const struct sketch *sketch, int64_t value)
{
    size_t low = 0, high = sketch->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sketch->sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Most sketches stay small. */
static void make_sample_room(struct sketch *sketch)
{
    if (sketch->count < sketch->room || sketch->room == SKETCH_SAMPLES)
        return;
    sketch->room = sketch->room ? (uint16_t)(sketch->room * 4) : SAMPLES_FIRST;
    sketch->newest = mem_resize(sketch->newest, sketch->room, sizeof *sketch->newest);
    sketch->sorted = mem_resize(sketch->sorted, sketch->room, sizeof *sketch->sorted);
}

static void sketch_add(struct sketch *sketch, int64_t value)
{
    make_sample_room(sketch);
    int64_t *sorted = sketch->sorted;
    if (sketch->count == SKETCH_SAMPLES) {
        size_t old = place_in(sketch, sketch->newest[sketch->next]);
        assert(sorted[old] == sketch->newest[sketch->next]);
        sketch->count--;
        memmove(sorted + old, sorted + old + 1, (sketch->count - old) * sizeof *sorted);
    }
    size_t at = place_in(sketch, value);
    memmove(sorted + at + 1, sorted + at, (sketch->count - at) * sizeof *sorted);
    sorted[at] = value;
    sketch->count++;
    sketch->newest[sketch->next] = value;
    sketch->next = (uint16_t)((sketch->next + 1) % SKETCH_SAMPLES);
}

void history_learn(struct history *history, const struct history_job *job, int64_t run_ms)
{
    history->learned++;
    for (size_t i = 0; i < HISTORY_LEVELS; i++) {
        struct sketch *sketch = sketch_of(history, job->keys[i]);
        sketch->used = (uint64_t)history->learned;
        sketch_add(sketch, run_ms > 0 ? run_ms : 1);
    }
}

/* ---- drawing ------------------------------------------------------------------------------- */

/* A value at `share` of 2^32 of the way through the samples from `first` on. Each sample stands for
 * what is nearer to it than to its neighbours, so that the mean stays that of the samples. */
static int64_t sketch_at(const struct sketch *sketch, size_t first, uint64_t share)
{
    uint64_t position = share * (sketch->count - first); /* in 2^-32 samples */
    size_t i = first + (size_t)(position >> 32);
    int64_t value = sketch->sorted[i];
    int64_t low = i > first ? (sketch->sorted[i - 1] + value) / 2 : value;
    int64_t high = i + 1 < sketch->count ? (value + sketch->sorted[i + 1]) / 2 : value;
    return low + (int64_t)(((__int128)(high - low) * (int64_t)(position & UINT32_MAX)) >> 32);
}

/* What has gone on for a while goes on for as long again, every other time. */
static int64_t unknown_length(int64_t elapsed_ms, uint64_t share)
{
    int64_t base_ms = elapsed_ms > UNKNOWN_MS ? elapsed_ms : UNKNOWN_MS;
    uint64_t left = ((uint64_t)1 << 32) - share;
    int64_t times_milli = (int64_t)(((uint64_t)1000 << 32) / left) - 1000;
    if (times_milli > UNKNOWN_TIMES_MAX * 1000)
        times_milli = UNKNOWN_TIMES_MAX * 1000;
    return elapsed_ms + (int64_t)((__int128)base_ms * times_milli / 1000) + 1;
}

/* How far this run takes the samples of a sketch to be off: -1 to 1 in 2^-32, the same for all jobs
 * that are drawn from it in the run, and spread evenly over the runs. */
static int64_t lean_of(const struct sketch *sketch, int run, int runs)
{
    struct prng prng = {sketch->key};
    uint64_t step = (prng_below(&prng, (uint64_t)runs) + (uint64_t)run) % (uint64_t)runs;
    return (int64_t)(((2 * step + 1) << 32) / (uint64_t)runs) - ((int64_t)1 << 32);
}

/* Samples are few, and tomorrow is not like today: errors that all jobs of a kind share do not
 * cancel out in a queue, as those of single jobs do. So each run moves all draws from a sketch the
 * same way, by at most LEAN_MILLI thousandths of 2 u (1 - u) / sqrt(samples), which is like a
 * quantile's standard error; no more than LEAN_SAMPLES count, since older ones are of another time.
 */
static uint64_t lean(const struct sketch *sketch, uint64_t share, int run, int runs)
{
    int64_t samples = sketch->count < LEAN_SAMPLES ? sketch->count : LEAN_SAMPLES, root = 1;
    while ((root + 1) * (root + 1) <= samples)
        root++;
    uint64_t left = ((uint64_t)1 << 32) - share;
    int64_t width = (int64_t)((unsigned __int128)share * left >> 31); /* 2 u (1 - u) */
    int64_t by = (int64_t)((__int128)lean_of(sketch, run, runs) * width >> 32);
    int64_t moved = (int64_t)share + by * LEAN_MILLI / 1000 / root;
    return moved < 0 ? 0 : moved > UINT32_MAX ? UINT32_MAX : (uint64_t)moved;
}

/* Of which run this is, and what part of the way through the samples it takes. */
struct draw {
    int run, runs;
    uint64_t share;
    int64_t elapsed_ms;
};

static int64_t sketch_draw(const struct sketch *sketch, size_t first, const struct draw *draw)
{
    return sketch_at(sketch, first, lean(sketch, draw->share, draw->run, draw->runs));
}

static int64_t draw_any(const struct history *history, const struct history_job *job,
    struct prng *prng, const struct draw *draw)
{
    int64_t elapsed_ms = draw->elapsed_ms;
    for (size_t i = 0; i < HISTORY_LEVELS; i++) {
        const struct sketch *sketch = idmap_get(&history->by_key, job->keys[i]);
        if (!sketch)
            continue;
        size_t first = place_in(sketch, elapsed_ms + 1);
        uint64_t there = sketch->count - first;
        if (there == 0 || prng_below(prng, there + LEAVE_WEIGHT) >= there)
            continue;
        return sketch_draw(sketch, first, draw);
    }
    /* Every sketch was left by chance: the last one that has something is used after all. */
    for (size_t i = HISTORY_LEVELS; i-- > 0;) {
        const struct sketch *sketch = idmap_get(&history->by_key, job->keys[i]);
        size_t first = sketch ? place_in(sketch, elapsed_ms + 1) : 0;
        if (sketch && first < sketch->count)
            return sketch_draw(sketch, first, draw);
    }
    return unknown_length(elapsed_ms, draw->share);
}

int64_t history_draw(const struct history *history, const struct history_job *job, uint64_t id,
    int64_t elapsed_ms, int scenario, int scenarios)
{
    assert(scenarios > 0 && scenario >= 0 && scenario < scenarios);
    /* Each job goes through the scenarios in an order of its own: in each, some are long and some
     * short, and over all of them each job is everything once. */
    struct prng prng = {id};
    uint64_t turn = prng_below(&prng, (uint64_t)scenarios);
    uint64_t step = ((uint64_t)scenario * 2 + turn) % (uint64_t)scenarios;
    if (scenarios % 2 == 0)
        step = ((uint64_t)scenario + turn) % (uint64_t)scenarios;
    struct prng own = {mix(id, (uint64_t)scenario)};
    uint64_t share = ((step << 32) + (prng_next(&own) >> 32)) / (uint64_t)scenarios;
    struct draw draw = {scenario, scenarios, share, elapsed_ms};
    int64_t length = draw_any(history, job, &own, &draw);
    if (job->time_limit_ms && length > job->time_limit_ms)
        length = job->time_limit_ms;
    return length > elapsed_ms ? length : elapsed_ms + 1;
}

int64_t history_samples(
    const struct history *history, const struct history_job *job, int *ret_level)
{
    for (int i = 0; i < HISTORY_LEVELS; i++) {
        const struct sketch *sketch = idmap_get(&history->by_key, job->keys[i]);
        if (!sketch || sketch->count == 0)
            continue;
        *ret_level = i;
        return sketch->count;
    }
    *ret_level = HISTORY_LEVELS;
    return 0;
}

size_t history_sketches(const struct history *history)
{
    return history->sketches.count;
}

int64_t history_learned(const struct history *history)
{
    return history->learned;
}
