/* The models "pollux" and "pollux-adaptive": jobs of Pollux's workloads run as fast as was measured
 * on the place they have, and are done after so many epochs. See pollux.h for what is measured.
 *
 * With "pollux" a job has the ranks and the total batch of the trace; with "pollux-adaptive" it
 * takes any number of ranks from 1 to what its largest batch can be divided to, always has the
 * batch of the best goodput there, and says how fast it would be with how many. NCF always has one
 * rank and its largest batch, as under Pollux.
 *
 * Time goes as in the published simulation, in steps of 60 s: an attempt does nothing for 30 s;
 * within a step progress is linear; an epoch ends when its progress is reached within the step, the
 * seconds to there rounded to a whole number, half to even. So an end may be rounded to the very
 * beginning of a step, when its place has just been decided upon for the whole step: it is then one
 * millisecond later, so that who decides sees it as the published simulation does. */
#include "base/memory.h"
#include "simulate/model.h"
#include "simulate/pollux.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP_MS = 60000,
    RESTART_MS = 30000,
    UNITS = 1000, /* of work in one of progress: what is reported is whole */
    NCF_BATCH = 32768,
};

struct pollux_model {
    struct speed_model model;
    struct pollux_apps apps;
    int64_t restart_ms;
    bool adaptive;
};

struct pollux_state {
    struct pollux_app *app;
    int32_t batch; /* total; 0: the best */
    int32_t ranks_max;
    int32_t epoch;
    double progress;
    int64_t at_ms;             /* accounted until then */
    int64_t from_ms;           /* does nothing before */
    int64_t done_ms;           /* MODEL_NEVER while it has no place */
    int64_t said_epoch;        /* that it reported its speeds for, plus one */
    struct pollux_place place; /* of no ranks: none */
};

static struct speed_model *create(const struct model_options *options,
    const struct model_type *type, bool adaptive, struct error *err)
{
    if (!options->speeds) {
        error_set(err, ERR_INVALID,
            "the model %s needs measured speeds: the folder that has traces/, of Pollux's artifact",
            type->name);
        return NULL;
    }
    struct pollux_model *model = mem_alloc(1, sizeof *model);
    model->model.type = type;
    model->adaptive = adaptive;
    model->restart_ms = options->restart_ms >= 0 ? options->restart_ms : RESTART_MS;
    if (pollux_load(&model->apps, options->speeds, err) < 0) {
        free(model);
        return NULL;
    }
    return &model->model;
}

static struct speed_model *create_fixed(const struct model_options *options, struct error *err)
{
    return create(options, &model_pollux, false, err);
}

static struct speed_model *create_adaptive(const struct model_options *options, struct error *err)
{
    return create(options, &model_pollux_adaptive, true, err);
}

static void destroy(struct speed_model *model)
{
    struct pollux_model *pollux = (struct pollux_model *)model;
    pollux_unload(&pollux->apps);
    free(pollux);
}

/* ---- time passes -------------------------------------------------------------------------- */

static double goodput(const struct pollux_state *state)
{
    if (!state->batch)
        return pollux_goodput_best(state->app, &state->place, state->epoch);
    return pollux_goodput(state->app, &state->place,
        pollux_batch_of(state->app, state->place.ranks, state->batch), state->epoch);
}

/* Of a value that is not negative. */
static int64_t round_half_even(double value)
{
    int64_t whole = (int64_t)value;
    double rest = value - (double)whole;
    if (rest > 0.5 || (rest == 0.5 && whole % 2 == 1))
        whole++;
    return whole;
}

static bool is_done(const struct pollux_state *state)
{
    return state->epoch >= state->app->epochs;
}

/* One epoch's end, the end of a step, or `until`, whichever comes first. */
static void run_piece(struct pollux_state *state, int64_t until_ms)
{
    int64_t step_end_ms = (state->at_ms / STEP_MS + 1) * STEP_MS;
    int64_t limit_ms = step_end_ms < until_ms ? step_end_ms : until_ms;
    double rate = goodput(state), end = state->app->epoch_end[state->epoch];
    if (state->progress + rate * ((double)(step_end_ms - state->at_ms) / 1000) >= end) {
        int64_t rest_s = round_half_even((end - state->progress) / rate);
        int64_t end_ms = state->at_ms + rest_s * 1000;
        bool late =
            rest_s == 0 && state->at_ms % STEP_MS == 0 && state->epoch + 1 == state->app->epochs;
        end_ms += late;
        if (end_ms <= until_ms) {
            state->progress = end;
            state->epoch++;
            state->at_ms = end_ms;
            return;
        }
    }
    state->progress += rate * ((double)(limit_ms - state->at_ms) / 1000);
    state->at_ms = limit_ms;
}

static void run_until(struct pollux_state *state, int64_t until_ms)
{
    if (!state->place.ranks) {
        state->at_ms = until_ms;
        return;
    }
    if (state->at_ms < state->from_ms)
        state->at_ms = state->from_ms < until_ms ? state->from_ms : until_ms;
    while (state->at_ms < until_ms && !is_done(state))
        run_piece(state, until_ms);
}

static int64_t find_done_ms(const struct pollux_state *state)
{
    struct pollux_state ahead = *state;
    run_until(&ahead, TRACE_TIME_MS_MAX);
    return is_done(&ahead) ? ahead.at_ms : MODEL_NEVER;
}

static void place(
    struct speed_model *model, void *any, const struct model_place *where, int64_t now_ms)
{
    struct pollux_state *state = any;
    state->at_ms = now_ms;
    state->from_ms = now_ms + ((struct pollux_model *)model)->restart_ms;
    pollux_place_make(&state->place, where->ranks_on, where->nodes);
    state->done_ms = find_done_ms(state);
}

static int64_t done_ms(const struct speed_model *model, const void *any)
{
    (void)model;
    return ((const struct pollux_state *)any)->done_ms;
}

static void advance(struct speed_model *model, void *any, int64_t now_ms)
{
    (void)model;
    struct pollux_state *state = any;
    run_until(state, now_ms);
}

/* A job that is told to stop saves what it did: nothing is lost but the time of the next start. */
static void stop(
    struct speed_model *model, void *any, int64_t now_ms, bool told, struct model_loss *ret_loss)
{
    (void)told;
    struct pollux_state *state = any;
    advance(model, any, now_ms);
    state->place = (struct pollux_place){0};
    state->done_ms = MODEL_NEVER;
    *ret_loss = (struct model_loss){0};
}

/* ---- a job -------------------------------------------------------------------------------- */

/* How long it would take alone, with the ranks and batch of the trace. */
static int64_t alone_ms(const struct pollux_state *state, int32_t ranks)
{
    struct pollux_state alone = *state;
    pollux_place_packed(&alone.place, ranks);
    return find_done_ms(&alone);
}

static int prepare(struct speed_model *model, void *any, struct trace_job *job, struct error *err)
{
    struct pollux_model *pollux = (struct pollux_model *)model;
    struct pollux_state *state = any;
    struct pollux_app *app = pollux_find(&pollux->apps, job->model);
    if (!app)
        return error_set(
            err, ERR_INVALID, "job %s: no speeds of a model %s", job->name, job->model);
    if (job->ranks < 1 || job->ranks > POLLUX_RANKS_MAX || job->batch < job->ranks ||
        job->batch > INT32_MAX / 2)
        return error_set(err, ERR_INVALID, "job %s: %d ranks and a batch of %lld", job->name,
            (int)job->ranks, (long long)job->batch);
    *state = (struct pollux_state){
        .app = app, .batch = (int32_t)job->batch, .ranks_max = job->ranks, .done_ms = MODEL_NEVER};
    job->duration_ms = alone_ms(state, job->ranks);
    if (job->duration_ms == MODEL_NEVER)
        return error_set(err, ERR_INVALID, "job %s would take longer than a trace", job->name);
    if (!pollux->adaptive)
        return 0;
    bool single = strcmp(app->name, "ncf") == 0;
    state->batch = single ? NCF_BATCH : 0;
    state->ranks_max = single ? 1 : pollux_ranks_max(app);
    job->ranks = 1;
    job->ranks_min = 1;
    job->ranks_max = state->ranks_max;
    return 0;
}

/* Work that is left, and the speeds of this epoch: noise of gradients changes from epoch to epoch,
 * and with it what a larger batch is worth. */
static void progress(struct speed_model *model, void *any, struct model_progress *ret)
{
    struct pollux_model *pollux = (struct pollux_model *)model;
    struct pollux_state *state = any;
    int32_t epoch = is_done(state) ? state->app->epochs - 1 : state->epoch;
    double left = state->app->epoch_end[state->app->epochs - 1] - state->progress;
    *ret = (struct model_progress){.remaining = (int64_t)(left * UNITS) + 1};
    ret->restart_ms = pollux->restart_ms;
    if (!pollux->adaptive || state->said_epoch == epoch + 1)
        return;
    state->said_epoch = epoch + 1;
    for (int32_t ranks = 1; ranks <= state->ranks_max; ranks++) {
        struct pollux_state other = *state;
        pollux_place_packed(&other.place, ranks);
        other.epoch = epoch;
        ret->speeds[ret->count++] = (struct model_speed){
            ranks, other.place.nodes, (int64_t)(goodput(&other) * UNITS * 1000)};
    }
}

const struct model_type model_pollux = {
    .name = "pollux",
    .summary = "measured speeds of Pollux's workloads, ranks and batch of the trace",
    .create = create_fixed,
    .destroy = destroy,
    .state_size = sizeof(struct pollux_state),
    .prepare = prepare,
    .place = place,
    .done_ms = done_ms,
    .advance = advance,
    .stop = stop,
    .progress = progress,
};

const struct model_type model_pollux_adaptive = {
    .name = "pollux-adaptive",
    .summary = "the same, any number of ranks with the best batch",
    .create = create_adaptive,
    .destroy = destroy,
    .state_size = sizeof(struct pollux_state),
    .prepare = prepare,
    .place = place,
    .done_ms = done_ms,
    .advance = advance,
    .stop = stop,
    .progress = progress,
};
