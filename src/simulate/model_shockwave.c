/* The model "shockwave": gangs that train for so many epochs, each as long as its batch makes it,
 * by measured speeds. Traces of Shockwave (Zheng et al., NSDI 2023), in the form of Gavel's.
 *
 * The number of epochs is that of the steps of the trace with the batch of the start. Batches
 * change by the rules of batch_rules.h at the beginning of an epoch (in the published simulation at
 * the end of a round, and then with the epoch counted as done). duration_ms, which finish-time
 * fairness is measured by, is that of the published schedule of batches.
 *
 * --speeds is the file of throughputs (Gavel's JSON, compressed or not; its section "v100" is
 * used). A place makes no difference: all nodes are as fast. An attempt does nothing for 20 s. A
 * job that is told to stop saves its work; one whose node fails goes back to the end of its newest
 * epoch. */
#include "base/memory.h"
#include "simulate/batch_rules.h"
#include "simulate/model.h"
#include "simulate/throughputs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RESTART_MS = 20000, EPOCHS_MAX = 100000, UNITS_AN_EPOCH = 1000000 };

struct shockwave {
    struct speed_model model;
    struct throughputs *speeds;
    int64_t restart_ms;
};

struct shockwave_state {
    int64_t *ends_ms; /* of running time, of each epoch */
    int32_t epochs, epoch;
    int32_t ranks, asked;
    int64_t ran_ms;  /* without restarts */
    int64_t at_ms;   /* accounted until then */
    int64_t from_ms; /* does nothing before */
};

static struct speed_model *create(const struct model_options *options, struct error *err)
{
    if (!options->speeds) {
        error_set(err, ERR_INVALID,
            "--speeds: the model shockwave needs the file of throughputs that the trace came with");
        return NULL;
    }
    struct throughputs *speeds = throughputs_read(options->speeds, "v100", err);
    if (!speeds)
        return NULL;
    struct shockwave *model = mem_alloc(1, sizeof *model);
    model->model.type = &model_shockwave;
    model->speeds = speeds;
    model->restart_ms = options->restart_ms >= 0 ? options->restart_ms : RESTART_MS;
    return &model->model;
}

static void destroy(struct speed_model *model)
{
    throughputs_destroy(((struct shockwave *)model)->speeds);
    free(model);
}

/* ---- a job ------------------------------------------------------------------------------- */

static int64_t epoch_ms(const struct shockwave *model, const struct batch_job *job, int64_t batch)
{
    double steps =
        throughputs_find(model->speeds, job->model->name, batch, job->ranks); /* a second */
    if (steps <= 0)
        return 0;
    double samples = (double)job->model->samples * 1000;
    return (int64_t)(samples / ((double)batch * steps) + 0.5) + 1;
}

/* As a batch that was not measured is not used. */
static int64_t epoch_length_ms(const struct shockwave *model, const struct batch_job *job,
    const char *mode, int32_t epoch, bool planned)
{
    int64_t length = epoch_ms(model, job, batch_in_epoch(job, mode, epoch, planned));
    return length ? length : epoch_ms(model, job, job->batch);
}

static int job_of(
    const struct shockwave *model, const struct trace_job *from, struct batch_job *ret)
{
    const char *end = strstr(from->model, " (batch size ");
    *ret = (struct batch_job){.batch = from->batch, .ranks = from->ranks};
    ret->model = end ? batch_model_find(from->model, end - from->model) : NULL;
    if (!ret->model || from->batch <= 0 || epoch_ms(model, ret, from->batch) == 0)
        return -1;
    int64_t steps = (ret->model->samples + from->batch - 1) / from->batch;
    int64_t epochs = (from->work + steps - 1) / steps;
    if (epochs < 1 || epochs > EPOCHS_MAX)
        return -1;
    ret->epochs = (int32_t)epochs;
    return 0;
}

static int prepare(
    struct speed_model *any, void *any_state, struct trace_job *from, struct error *err)
{
    const struct shockwave *model = (const struct shockwave *)any;
    struct shockwave_state *state = any_state;
    struct batch_job job;
    if (job_of(model, from, &job) < 0)
        return error_set(err, ERR_INVALID,
            "job %.64s: no speed was measured of it with %d ranks, or its steps make no epochs",
            from->model, (int)from->ranks);
    state->epochs = job.epochs;
    state->asked = from->ranks;
    state->ends_ms = mem_alloc((size_t)job.epochs, sizeof *state->ends_ms);
    int64_t planned_ms = 0, ends_ms = 0;
    for (int32_t i = 0; i < job.epochs; i++) {
        planned_ms += epoch_length_ms(model, &job, from->mode, i, true);
        ends_ms += epoch_length_ms(model, &job, from->mode, i, false);
        state->ends_ms[i] = ends_ms;
    }
    if (planned_ms > TRACE_TIME_MS_MAX || ends_ms > TRACE_TIME_MS_MAX) {
        free(state->ends_ms);
        state->ends_ms = NULL;
        return error_set(err, ERR_INVALID, "job %.64s: it would run for centuries", from->model);
    }
    from->duration_ms = planned_ms;
    return 0;
}

static void forget(struct speed_model *model, void *any)
{
    (void)model;
    free(((struct shockwave_state *)any)->ends_ms);
}

/* ---- time passes ------------------------------------------------------------------------- */

static int64_t begin_ms(const struct shockwave_state *state)
{
    return state->at_ms > state->from_ms ? state->at_ms : state->from_ms;
}

static void place(
    struct speed_model *model, void *any, const struct model_place *where, int64_t now_ms)
{
    struct shockwave_state *state = any;
    state->ranks = where->ranks;
    state->at_ms = now_ms;
    state->from_ms = now_ms + ((const struct shockwave *)model)->restart_ms;
}

/* A gang of fewer ranks than it asked for is slower in proportion. */
static int64_t done_ms(const struct speed_model *model, const void *any)
{
    (void)model;
    const struct shockwave_state *state = any;
    if (state->ranks == 0)
        return MODEL_NEVER;
    int64_t left = (state->ends_ms[state->epochs - 1] - state->ran_ms) * state->asked;
    return begin_ms(state) + (left + state->ranks - 1) / state->ranks;
}

static void advance(struct speed_model *model, void *any, int64_t now_ms)
{
    (void)model;
    struct shockwave_state *state = any;
    int64_t passed = now_ms - begin_ms(state);
    if (state->ranks && passed > 0)
        state->ran_ms += passed * state->ranks / state->asked;
    while (state->epoch < state->epochs - 1 && state->ran_ms >= state->ends_ms[state->epoch])
        state->epoch++;
    state->at_ms = now_ms > state->at_ms ? now_ms : state->at_ms;
}

static int64_t epoch_begin_ms(const struct shockwave_state *state)
{
    return state->epoch ? state->ends_ms[state->epoch - 1] : 0;
}

static void stop(
    struct speed_model *model, void *any, int64_t now_ms, bool told, struct model_loss *ret_loss)
{
    struct shockwave_state *state = any;
    advance(model, any, now_ms);
    *ret_loss = (struct model_loss){0};
    if (!told) {
        int64_t lost = state->ran_ms - epoch_begin_ms(state);
        *ret_loss = (struct model_loss){lost, lost * state->asked};
        state->ran_ms -= lost;
    }
    state->ranks = 0;
}

/* Epochs left, and how fast the one that it is in goes: what comes is not known. */
static void progress(struct speed_model *model, void *any, struct model_progress *ret)
{
    const struct shockwave_state *state = any;
    int64_t length = state->ends_ms[state->epoch] - epoch_begin_ms(state);
    int64_t done = (state->ran_ms - epoch_begin_ms(state)) * UNITS_AN_EPOCH / length;
    int64_t left = (int64_t)(state->epochs - state->epoch) * UNITS_AN_EPOCH - done;
    *ret = (struct model_progress){.remaining = left > 1 ? left : 1,
        .restart_ms = ((const struct shockwave *)model)->restart_ms,
        .count = 1};
    ret->speeds[0] = (struct model_speed){
        state->asked, state->asked, (int64_t)UNITS_AN_EPOCH * 1000 * 1000 / length};
}

const struct model_type model_shockwave = {
    .name = "shockwave",
    .summary = "gangs whose batch changes, by measured speeds of each",
    .create = create,
    .destroy = destroy,
    .state_size = sizeof(struct shockwave_state),
    .prepare = prepare,
    .forget = forget,
    .place = place,
    .done_ms = done_ms,
    .advance = advance,
    .stop = stop,
    .progress = progress,
};
