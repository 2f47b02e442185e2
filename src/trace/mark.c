/* Jobs of a trace that get what the trace does not say: some are urgent, and each saves its work at
 * an interval of its own. Everything is drawn from the seed and the job's number, so that runs
 * under different policies see the same jobs. */
#include "base/prng.h"
#include "trace/trace.h"

#include <stdlib.h>

enum { URGENT = 1000, LOW = 100 }; /* as in spec/kinds.h */

struct marked {
    struct trace_source source;
    struct trace_source *of;
    struct trace_mark mark;
    uint64_t seed;
};

static int marked_next(struct trace_source *source, struct trace_job *ret_job, struct error *err)
{
    struct marked *marked = (struct marked *)source;
    int got = trace_next(marked->of, ret_job, err);
    if (got <= 0)
        return got;
    struct prng prng = {marked->seed * 0x9e3779b97f4a7c15u + ret_job->number};
    const struct trace_mark *mark = &marked->mark;
    int64_t level = (int64_t)prng_below(&prng, 1000);
    uint64_t spread = (uint64_t)(mark->interval_max_ms - mark->interval_ms) + 1;
    uint64_t interval = mark->interval_max_ms ? prng_below(&prng, spread) : 0;
    if (level < mark->urgent_milli)
        ret_job->priority = URGENT;
    else if (level < mark->urgent_milli + mark->low_milli)
        ret_job->priority = LOW;
    if (mark->interval_max_ms && ret_job->checkpoint_ms == 0)
        ret_job->checkpoint_ms = mark->interval_ms + (int64_t)interval;
    return got;
}

static void marked_close(struct trace_source *source)
{
    struct marked *marked = (struct marked *)source;
    trace_close(marked->of);
    free(marked);
}

static const struct trace_source_type marked_type = {marked_next, marked_close};

struct trace_source *trace_mark(
    struct trace_source *source, const struct trace_mark *mark, uint64_t seed)
{
    struct marked *marked = mem_alloc(1, sizeof *marked);
    marked->source = (struct trace_source){.type = &marked_type, .expected = source->expected};
    marked->of = source;
    marked->mark = *mark;
    marked->seed = seed;
    return &marked->source;
}
