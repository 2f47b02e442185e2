/* Jobs drawn from a seed, for runs of any length: a stream, nothing is kept. They come at random
 * moments (exponential gaps), ask for one of ten shapes in turn of a die, and take from 10 s to two
 * hours, short ones more often: ten times the time is asked for half as often or less. The mean gap
 * is such that what runs comes to nine tenths of the accelerators, so that a queue builds up and
 * empties again. */
#include "trace/draw.h"
#include "trace/readers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GIB ((int64_t)1 << 30)

enum {
    SHAPES = 10,
    WEIGHTS = 100,
    LOAD_PER_MILLE = 900,
    DURATIONS = 4,
    TEAMS = 20,
    NAME_SIZE = 32
};

static const struct {
    int32_t weight; /* of WEIGHTS */
    int32_t ranks;
    int64_t cpu_milli, memory_gib, accelerator_milli;
} shapes[SHAPES] = {
    {10, 1, 2000, 8, 0},
    {5, 1, 16000, 64, 0},
    {10, 1, 4000, 16, 250},
    {10, 1, 4000, 16, 500},
    {35, 1, 8000, 32, 1000},
    {13, 1, 16000, 64, 2000},
    {9, 1, 32000, 128, 4000},
    {6, 1, 64000, 256, 8000},
    {1, 8, 8000, 32, 1000},
    {1, 4, 64000, 256, 8000},
};

/* Within each the time is drawn evenly. */
static const struct {
    int32_t weight; /* of WEIGHTS */
    int64_t low_ms, high_ms;
} durations[DURATIONS] = {
    {40, 10000, 60000},
    {40, 60000, 600000},
    {18, 600000, 3600000},
    {2, 3600000, 7200000},
};

struct synthetic {
    struct trace_source source;
    struct prng prng;
    int64_t count;
    int64_t gap_ms_micro; /* mean, in millionths of a millisecond */
    uint64_t number;
    int64_t now_micro; /* in millionths of a millisecond, above now_ms */
    int64_t now_ms;
    char name[NAME_SIZE];
    char team[NAME_SIZE];
};

/* Mean of accelerator-milliseconds of a job, in thousandths of a device. */
static int64_t mean_work(void)
{
    int64_t milli = 0, ms = 0;
    for (int i = 0; i < SHAPES; i++)
        milli += shapes[i].weight * shapes[i].ranks * shapes[i].accelerator_milli;
    for (int i = 0; i < DURATIONS; i++)
        ms += durations[i].weight * (durations[i].low_ms + durations[i].high_ms) / 2;
    return milli / WEIGHTS * (ms / WEIGHTS);
}

static size_t pick(struct prng *prng, const int32_t *weights, size_t stride)
{
    int64_t left = (int64_t)prng_below(prng, WEIGHTS);
    size_t at = 0;
    while ((left -= *(const int32_t *)((const char *)weights + at * stride)) >= 0)
        at++;
    return at;
}

/* The prefix and the number: printf would be a fiftieth of a run. */
static void name_put(char out[static NAME_SIZE], const char *prefix, uint64_t number)
{
    char digits[24], *at = digits + sizeof digits;
    *--at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    size_t length = strlen(prefix);
    memcpy(out, prefix, length);
    memcpy(out + length, at, (size_t)(digits + sizeof digits - at));
}

static int synthetic_next(struct trace_source *source, struct trace_job *ret_job, struct error *err)
{
    (void)err;
    struct synthetic *from = (struct synthetic *)source;
    if ((int64_t)from->number == from->count)
        return 0;
    from->now_micro += draw_exponential(&from->prng, from->gap_ms_micro);
    from->now_ms += from->now_micro / 1000000;
    from->now_micro %= 1000000;
    size_t shape = pick(&from->prng, &shapes[0].weight, sizeof shapes[0]);
    size_t range = pick(&from->prng, &durations[0].weight, sizeof durations[0]);
    uint64_t spread = (uint64_t)(durations[range].high_ms - durations[range].low_ms);
    int64_t duration_ms = durations[range].low_ms + (int64_t)prng_below(&from->prng, spread);
    name_put(from->team, "team-", prng_below(&from->prng, TEAMS));
    name_put(from->name, "job-", from->number);
    *ret_job = (struct trace_job){.number = from->number++,
        .name = from->name,
        .team = from->team,
        .model = "",
        .accelerators = "",
        .mode = "",
        .submit_ms = from->now_ms,
        .duration_ms = duration_ms,
        .ranks = shapes[shape].ranks,
        .ranks_min = shapes[shape].ranks,
        .ranks_max = shapes[shape].ranks,
        .cpu_milli = shapes[shape].cpu_milli,
        .memory_bytes = shapes[shape].memory_gib * GIB,
        .accelerator_milli = shapes[shape].accelerator_milli,
        .priority = 500,
        .preemptible = true};
    return 1;
}

static void synthetic_close(struct trace_source *source)
{
    free(source);
}

struct trace_source *synthetic_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_source_type type = {synthetic_next, synthetic_close};
    enum { JOBS_MAX = 1000 * 1000 * 1000 };
    char *end;
    errno = 0;
    long long count = strtoll(options->jobs, &end, 10);
    if (errno || *end || end == options->jobs || count < 1 || count > JOBS_MAX) {
        error_set(err, ERR_INVALID, "expected how many jobs, 1 to %d, got \"%.60s\"", JOBS_MAX,
            options->jobs);
        return NULL;
    }
    struct synthetic *source = mem_alloc(1, sizeof *source);
    source->source = (struct trace_source){&type, count};
    source->prng.state = options->seed;
    source->count = count;
    int64_t milli = options->cluster_milli > 0 ? options->cluster_milli : 1000;
    __int128 gap = (__int128)mean_work() * 1000000 * 1000 / ((__int128)milli * LOAD_PER_MILLE);
    source->gap_ms_micro = gap > 1 ? (int64_t)gap : 1;
    return &source->source;
}
