/* The table of placement policies, and calls of the one that the core was made with. */
#include "core/packing.h"
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"

/* The first is the default. */
static const struct {
    const char *name;
    const struct packing *packing;
} policies[] = {
    {"default", &packing_learned},
    {"random", &packing_random},
    {"dot-product", &packing_dot_product},
    {"gpu-packing", &packing_gpu_packing},
    {"gpu-clustering", &packing_gpu_clustering},
    {"best-fit", &packing_best_fit},
    {"fgd", &packing_fgd},
    {"first-fit", &packing_first_fit},
    {"tight", &packing_tight},
};

const struct packing *packing_find(const char *name)
{
    if (!name || !*name)
        return policies[0].packing;
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        if (strcmp(policies[i].name, name) == 0)
            return policies[i].packing;
    }
    return NULL;
}

const char *core_placement_name(size_t i)
{
    return i < ARRAY_LEN(policies) ? policies[i].name : NULL;
}

int64_t packing_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    return core->packing->score(core, job, node, ranks);
}

void packing_scores(const struct core *core, const struct live_job *job, const uint32_t *ordinals,
    size_t count, int64_t *ret)
{
    if (core->packing->scores) {
        core->packing->scores(core, job, ordinals, count, ret);
        return;
    }
    for (size_t i = 0; i < count; i++)
        ret[i] = packing_score(core, job, core->scores.nodes.items[ordinals[i]], 1);
}

int32_t packing_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    return core->packing->device(core, job, node, taken);
}

uint64_t packing_ready(struct core *core, struct live_shape *shape)
{
    if (core->packing->ready)
        core->packing->ready(core, shape);
    return core->packing_version;
}

void packing_learn(struct core *core)
{
    if (core->packing->learns)
        mix_learn(core);
    packing_ready(core, NULL);
}

void packing_forget(struct core *core)
{
    if (core->packing->forget)
        core->packing->forget(core);
}

int32_t packing_fullest_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    (void)core;
    return device_pick_share(node, job->shape->row.accelerator_milli, taken);
}
