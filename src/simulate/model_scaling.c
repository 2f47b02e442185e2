/* The model "scaling": jobs whose speed with n ranks is n / (1 + c (n - 1)) times that with one, c
 * being the share of the work of a step that grows with every rank more (communication, or what can
 * not be divided: Amdahl's law has this form). The trace says how long a job takes on the ranks it
 * asks for; it may run on any number of them, one to RANKS_MAX.
 *
 * The traces of ElasticFlow (Gu et al., ASPLOS 2023) are run by it. The curves that its authors
 * measured are not free, so absolute figures depend on c: --speeds says it, 0 is perfect scaling.
 * Gavel's measurements (Narayanan et al., OSDI 2020) on eight V100 give 0.134 for ResNet-50 with a
 * batch of 128, and 0.045 for a Transformer with 256; a tenth lies between them and is taken where
 * nothing is said.
 *
 * What a start costs is their simulator's: 7 s, 47 s more for one that ran before, and 2 s for each
 * doubling of the gang and the first rank; below 256 accelerators 2 s and 27 s. A job that is told
 * to stop saves its work. */
#include "base/memory.h"
#include "base/quantity.h"
#include "simulate/model.h"

#include <assert.h>
#include <stdlib.h>

enum {
    RANKS_MAX = 128,
    SHARE_PPM = 100000, /* c, in millionths */
    SHARE_PPM_MAX = 1000000,
    UNITS_A_SECOND = 1000, /* of work, on one rank */
    LARGE_DEVICES = 256,
    DOUBLING_MS = 2000,
};

struct scaling {
    struct speed_model model;
    int64_t share_ppm;
    int64_t restart_ms; /* -1: as above */
    int64_t start_ms, again_ms;
    int64_t devices, node_devices;
};

struct scaling_state {
    int64_t left;    /* work, in millionths of a unit */
    int64_t at_ms;   /* accounted until then */
    int64_t from_ms; /* does nothing before */
    int32_t ranks;   /* that run; 0: it waits */
    int32_t ranks_max;
    bool said; /* its speeds */
};

/* Millionths of a unit a millisecond, which are thousandths of a unit a second. */
static int64_t rate(const struct scaling *scaling, int64_t ranks)
{
    return ranks * 1000000 * UNITS_A_SECOND * 1000 / (1000000 + scaling->share_ppm * (ranks - 1));
}

static void measure(struct scaling *scaling, const struct trace_cluster *cluster)
{
    scaling->node_devices = 1;
    for (size_t i = 0; i < cluster->nodes.count; i++) {
        int64_t devices = cluster->nodes.items[i].devices;
        scaling->devices += devices;
        if (devices > scaling->node_devices)
            scaling->node_devices = devices;
    }
}

static struct speed_model *create(const struct model_options *options, struct error *err)
{
    int64_t share_milli = SHARE_PPM / 1000;
    if (options->speeds && quantity_parse_milli(options->speeds, &share_milli, err) < 0) {
        error_prefix(err, "--speeds: the share of a step that grows with each rank");
        return NULL;
    }
    if (share_milli < 0 || share_milli > SHARE_PPM_MAX / 1000) {
        error_set(
            err, ERR_INVALID, "--speeds: expected a share from 0 to 1, got %.60s", options->speeds);
        return NULL;
    }
    struct scaling *scaling = mem_alloc(1, sizeof *scaling);
    scaling->model.type = &model_scaling;
    scaling->share_ppm = share_milli * 1000;
    scaling->restart_ms = options->restart_ms;
    measure(scaling, options->cluster);
    bool large = scaling->devices >= LARGE_DEVICES;
    scaling->start_ms = large ? 7000 : 2000;
    scaling->again_ms = large ? 47000 : 27000;
    return &scaling->model;
}

static void destroy(struct speed_model *model)
{
    free(model);
}

static int prepare(struct speed_model *model, void *any, struct trace_job *job, struct error *err)
{
    (void)err;
    const struct scaling *scaling = (const struct scaling *)model;
    struct scaling_state *state = any;
    int64_t most = scaling->devices < RANKS_MAX ? scaling->devices : RANKS_MAX;
    job->duration_ms = job->duration_ms > 0 ? job->duration_ms : 1;
    __int128 left = (__int128)job->duration_ms * rate(scaling, job->ranks);
    state->left = left < INT64_MAX / 2 ? (int64_t)left : INT64_MAX / 2;
    state->ranks_max = job->ranks > most ? job->ranks : (int32_t)most;
    job->ranks_min = 1;
    job->ranks_max = state->ranks_max;
    return 0;
}

static int64_t doublings_ms(int32_t ranks)
{
    int64_t count = 1;
    for (; ranks > 1; ranks /= 2)
        count++;
    return count * DOUBLING_MS;
}

static int64_t delay_ms(const struct scaling *scaling, int32_t ranks, bool again)
{
    if (scaling->restart_ms >= 0)
        return again ? scaling->restart_ms : 0;
    return scaling->start_ms + (again ? scaling->again_ms : 0) + doublings_ms(ranks);
}

static void place(
    struct speed_model *model, void *any, const struct model_place *where, int64_t now_ms)
{
    struct scaling_state *state = any;
    assert(where->ranks > 0);
    state->ranks = where->ranks;
    state->at_ms = now_ms;
    state->from_ms = now_ms + delay_ms((const struct scaling *)model, where->ranks, where->moved);
}

static int64_t done_ms(const struct speed_model *model, const void *any)
{
    const struct scaling_state *state = any;
    if (state->ranks == 0)
        return MODEL_NEVER;
    int64_t speed = rate((const struct scaling *)model, state->ranks);
    int64_t begin_ms = state->at_ms > state->from_ms ? state->at_ms : state->from_ms;
    return begin_ms + (state->left + speed - 1) / speed;
}

static void advance(struct speed_model *model, void *any, int64_t now_ms)
{
    struct scaling_state *state = any;
    int64_t begin_ms = state->at_ms > state->from_ms ? state->at_ms : state->from_ms;
    if (state->ranks && now_ms > begin_ms) {
        __int128 does =
            (__int128)(now_ms - begin_ms) * rate((const struct scaling *)model, state->ranks);
        state->left = does < state->left ? state->left - (int64_t)does : 0;
    }
    state->at_ms = now_ms > state->at_ms ? now_ms : state->at_ms;
}

static void stop(
    struct speed_model *model, void *any, int64_t now_ms, bool told, struct model_loss *ret_loss)
{
    struct scaling_state *state = any;
    int64_t before = state->left;
    int64_t ran_ms = now_ms - (state->at_ms > state->from_ms ? state->at_ms : state->from_ms);
    advance(model, any, now_ms);
    *ret_loss = (struct model_loss){0};
    if (!told && ran_ms > 0) {
        *ret_loss = (struct model_loss){ran_ms, ran_ms * state->ranks};
        state->left = before;
    }
    state->ranks = 0;
}

static void progress(struct speed_model *model, void *any, struct model_progress *ret)
{
    const struct scaling *scaling = (const struct scaling *)model;
    struct scaling_state *state = any;
    *ret = (struct model_progress){.remaining = state->left / 1000000 + 1,
        .restart_ms = delay_ms(scaling, state->ranks_max, true)};
    for (int32_t ranks = 1; !state->said; ranks *= 2) {
        ranks = ranks < state->ranks_max ? ranks : state->ranks_max;
        int64_t nodes = (ranks + scaling->node_devices - 1) / scaling->node_devices;
        ret->speeds[ret->count++] =
            (struct model_speed){ranks, (int32_t)nodes, rate(scaling, ranks)};
        state->said = ranks == state->ranks_max;
    }
}

const struct model_type model_scaling = {
    .name = "scaling",
    .summary = "n / (1 + c (n - 1)) times as fast on n ranks; --speeds says c",
    .create = create,
    .destroy = destroy,
    .state_size = sizeof(struct scaling_state),
    .prepare = prepare,
    .place = place,
    .done_ms = done_ms,
    .advance = advance,
    .stop = stop,
    .progress = progress,
};
