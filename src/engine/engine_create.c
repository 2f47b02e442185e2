/* Which engine a pool names: see engine_create. A file of its own, so that what runs attempts on
 * this machine only is linked without the engines of clusters. */
#include "engine/engine.h"

#include "engine/engine_kubernetes.h"
#include "engine/engine_slurm.h"
#include "spec/kinds.h"

#include <assert.h>

static struct engine *create_local(const struct engine_options *options, struct error *err)
{
    const struct engine_local_options local = {.base = options->base,
        .data = options->data,
        .report = options->report,
        .context = options->context};
    return engine_local_create(&local, err);
}

typedef struct engine *create_fn(const struct engine_options *options, struct error *err);

struct engine *engine_create(const struct engine_options *options, struct error *err)
{
    static create_fn *const engines[] = {
        [ENGINE_LOCAL] = create_local,
        [ENGINE_SLURM] = engine_slurm_create,
        [ENGINE_KUBERNETES] = engine_kubernetes_create,
    };
    enum engine_kind kind = options->pool->engine;
    assert((size_t)kind < sizeof engines / sizeof *engines);
    if (engines[kind])
        return engines[kind](options, err);
    error_set(err, ERR_UNAVAILABLE, "this version cannot run the jobs of the pool %s",
        options->pool->metadata.name);
    return NULL;
}
