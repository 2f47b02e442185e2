/* Fixed work: a job that takes its duration on the ranks it asks for takes twice as long on half of
 * them. It saves its work as often as it says, and when it is told to stop. */
#include "simulate/model.h"

#include <assert.h>
#include <stdlib.h>

struct fixed {
    struct speed_model model;
    int64_t restart_ms;
    int64_t checkpoint_ms;
};

struct fixed_state {
    int64_t left;          /* work, in rank-milliseconds */
    int64_t left_saved;    /* at the newest checkpoint, or when the attempt began */
    int64_t at_ms;         /* up to when left is accounted; in the future while it restarts */
    int64_t saved_ms;      /* when left_saved was so */
    int64_t checkpoint_ms; /* how often; 0: only when told to stop; -1: never */
    int32_t ranks;         /* that run; 0: it waits */
};

static struct speed_model *fixed_create(const struct model_options *options, struct error *err)
{
    (void)err;
    struct fixed *model = mem_alloc(1, sizeof *model);
    model->model.type = &model_fixed;
    model->restart_ms = options->restart_ms > 0 ? options->restart_ms : 0;
    model->checkpoint_ms = options->checkpoint_ms;
    return &model->model;
}

static void fixed_destroy(struct speed_model *model)
{
    free(model);
}

static int fixed_prepare(
    struct speed_model *model, void *state, struct trace_job *job, struct error *err)
{
    (void)err;
    const struct fixed *fixed = (const struct fixed *)model;
    struct fixed_state *job_state = state;
    int64_t duration_ms = job->duration_ms > 0 ? job->duration_ms : 1;
    static_assert(TRACE_TIME_MS_MAX < INT64_MAX / TRACE_RANKS_MAX, "work does not overflow");
    job_state->left = job_state->left_saved = duration_ms * job->ranks;
    job_state->checkpoint_ms = job->checkpoint_ms ? job->checkpoint_ms : fixed->checkpoint_ms;
    return 0;
}

static void fixed_place(
    struct speed_model *model, void *state, const struct model_place *place, int64_t now_ms)
{
    const struct fixed *fixed = (const struct fixed *)model;
    struct fixed_state *job = state;
    assert(place->ranks > 0);
    job->ranks = place->ranks;
    job->at_ms = now_ms + (place->moved ? fixed->restart_ms : 0);
    job->left_saved = job->left;
    job->saved_ms = job->at_ms;
}

static int64_t fixed_done_ms(const struct speed_model *model, const void *state)
{
    (void)model;
    const struct fixed_state *job = state;
    if (job->ranks == 0)
        return MODEL_NEVER;
    return job->at_ms + (job->left + job->ranks - 1) / job->ranks;
}

/* What was saved until at_ms, at whole intervals of running. */
static void save(struct fixed_state *job)
{
    if (job->checkpoint_ms <= 0)
        return;
    int64_t times = (job->at_ms - job->saved_ms) / job->checkpoint_ms;
    job->saved_ms += times * job->checkpoint_ms;
    job->left_saved -= times * job->checkpoint_ms * job->ranks;
    job->left_saved = job->left_saved > job->left ? job->left_saved : job->left;
}

static void fixed_advance(struct speed_model *model, void *state, int64_t now_ms)
{
    (void)model;
    struct fixed_state *job = state;
    if (job->ranks == 0 || now_ms <= job->at_ms)
        return;
    job->left -= (now_ms - job->at_ms) * job->ranks;
    job->left = job->left > 0 ? job->left : 0;
    job->at_ms = now_ms;
    save(job);
}

static void fixed_stop(
    struct speed_model *model, void *state, int64_t now_ms, bool told, struct model_loss *ret_loss)
{
    struct fixed_state *job = state;
    fixed_advance(model, state, now_ms);
    bool saves = told && job->checkpoint_ms == 0;
    int64_t lost = saves ? 0 : job->left_saved - job->left;
    *ret_loss = (struct model_loss){lost / job->ranks, lost};
    job->left += lost;
    job->ranks = 0;
}

static int64_t fixed_checkpoint_ms(const struct speed_model *model, const void *state)
{
    (void)model;
    const struct fixed_state *job = state;
    if (job->ranks == 0 || job->checkpoint_ms <= 0)
        return MODEL_NEVER;
    return job->saved_ms + job->checkpoint_ms;
}

static void fixed_progress(
    struct speed_model *model, void *state, struct model_progress *ret_progress)
{
    const struct fixed *fixed = (const struct fixed *)model;
    const struct fixed_state *job = state;
    *ret_progress =
        (struct model_progress){.remaining = job->left > 0 ? job->left : 1, fixed->restart_ms, 0};
}

const struct model_type model_fixed = {
    .name = "fixed",
    .summary = "work in proportion to ranks and time",
    .create = fixed_create,
    .destroy = fixed_destroy,
    .state_size = sizeof(struct fixed_state),
    .prepare = fixed_prepare,
    .place = fixed_place,
    .done_ms = fixed_done_ms,
    .advance = fixed_advance,
    .stop = fixed_stop,
    .checkpoint_ms = fixed_checkpoint_ms,
    .progress = fixed_progress,
};
