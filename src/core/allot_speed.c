/* How fast a job would be with another size, from the speeds that it reported. */
#include "core/allot.h"
#include "core/sort.h"

#include <assert.h>

static int64_t fewest_nodes(int64_t ranks, int64_t per_node)
{
    return (ranks + per_node - 1) / per_node;
}

/* The reported speed with so many ranks whose nodes are nearest to the fewest, or NULL. Speeds
 * from `at` on have that many ranks. */
static const struct allot_speed *nearest(
    const struct allot_job *job, size_t at, int64_t per_node, size_t *ret_end)
{
    const struct allot_speed *best = &job->speeds[at];
    int64_t fewest = fewest_nodes(best->ranks, per_node);
    size_t end = at;
    for (; end < job->speed_count && job->speeds[end].ranks == best->ranks; end++) {
        int64_t off = job->speeds[end].nodes - fewest, best_off = best->nodes - fewest;
        if ((off < 0 ? -off : off) < (best_off < 0 ? -best_off : best_off))
            best = &job->speeds[end];
    }
    *ret_end = end;
    return best;
}

/* Between two sizes: a straight line over ranks. */
static int64_t between(const struct allot_speed *a, const struct allot_speed *b, int32_t ranks)
{
    __int128 rise = (__int128)(b->rate_milli - a->rate_milli) * (ranks - a->ranks);
    return a->rate_milli + (int64_t)(rise / (b->ranks - a->ranks));
}

int64_t allot_rate_milli(const struct allot_job *job, int32_t ranks, int64_t node_devices)
{
    assert(ranks >= 0 && node_devices >= 1);
    int64_t per_node = most(node_devices / most(job->devices, 1), 1);
    const struct allot_speed *below = NULL;
    for (size_t at = 0; at < job->speed_count;) {
        const struct allot_speed *one = nearest(job, at, per_node, &at);
        if (one->ranks == ranks)
            return one->rate_milli;
        if (one->ranks > ranks && below)
            return between(below, one, ranks);
        if (one->ranks > ranks)
            return (int64_t)((__int128)one->rate_milli * ranks / one->ranks);
        below = one;
    }
    return below ? below->rate_milli : 0;
}
