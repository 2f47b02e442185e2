/* How fast a model trains on a place, from what was measured: see pollux.h.
 *
 * Places of up to four nodes were measured one by one, others only for some (nodes, ranks). The
 * gaps: with the same number of ranks on each node, the time of a pass is taken as linear in the
 * number of nodes between the nearest two that were measured; on so many nodes, as linear in ranks;
 * at a size, as linear in the local batch, beyond the largest measured as its last piece goes on.
 */
#include "base/memory.h"
#include "simulate/pollux.h"

#include <assert.h>
#include <stdlib.h>

enum { DIGITS_MAX = 16, ACCUMULATE_MAX = 32 };

/* ---- places ------------------------------------------------------------------------------- */

void pollux_place_make(struct pollux_place *place, const int32_t *ranks_on, int32_t nodes)
{
    *place = (struct pollux_place){.nodes = nodes};
    for (int32_t i = 0; i < nodes; i++)
        place->ranks += ranks_on[i];
    if (nodes > DIGITS_MAX)
        return;
    for (int32_t first = 0; first < nodes; first++) {
        uint64_t digits = 0;
        for (int32_t i = 0; i < nodes; i++)
            digits = digits * 10 + (uint64_t)ranks_on[(first + i) % nodes];
        if (!place->digits || digits < place->digits)
            place->digits = digits;
    }
}

void pollux_place_packed(struct pollux_place *place, int32_t ranks)
{
    int32_t ranks_on[POLLUX_RANKS_MAX], nodes = 0;
    assert(ranks >= 1 && ranks <= POLLUX_RANKS_MAX);
    for (; ranks > 0; ranks -= POLLUX_NODE_DEVICES)
        ranks_on[nodes++] = ranks < POLLUX_NODE_DEVICES ? ranks : POLLUX_NODE_DEVICES;
    pollux_place_make(place, ranks_on, nodes);
}

/* ---- time of a pass ----------------------------------------------------------------------- */

static struct pollux_point blend(struct pollux_point a, struct pollux_point b, double part)
{
    return (struct pollux_point){
        .step_s = a.step_s + (b.step_s - a.step_s) * part,
        .sync_s = a.sync_s + (b.sync_s - a.sync_s) * part,
    };
}

/* Linear in the batch; below the smallest as there. */
static struct pollux_point curve_at(const struct pollux_curve *curve, double batch)
{
    const struct pollux_point *points = curve->points.items;
    size_t count = curve->points.count, at = 1;
    assert(count);
    if (count == 1 || batch <= points[0].local_batch)
        return points[0];
    while (at + 1 < count && points[at].local_batch < batch)
        at++;
    const struct pollux_point *a = &points[at - 1], *b = &points[at];
    return blend(*a, *b, (batch - a->local_batch) / (b->local_batch - a->local_batch));
}

static const struct pollux_curve *curve_find(
    const pollux_curves *curves, int32_t nodes, int32_t ranks, uint64_t digits)
{
    for (size_t i = 0; i < curves->count; i++) {
        const struct pollux_curve *curve = &curves->items[i];
        if (curve->nodes == nodes && curve->ranks == ranks && curve->digits == digits)
            return curve;
    }
    return NULL;
}

/* On so many nodes, which were measured: linear in ranks, at the ends as there. */
static struct pollux_point nodes_at(
    const struct pollux_app *app, int32_t nodes, double ranks, double batch)
{
    const struct pollux_curve *below = NULL, *above = NULL;
    for (size_t i = 0; i < app->sizes.count; i++) {
        const struct pollux_curve *curve = &app->sizes.items[i];
        if (curve->nodes != nodes)
            continue;
        if (curve->ranks <= ranks && (!below || curve->ranks > below->ranks))
            below = curve;
        if (curve->ranks >= ranks && (!above || curve->ranks < above->ranks))
            above = curve;
    }
    if (!below || !above || below == above)
        return curve_at(below ? below : above, batch);
    return blend(curve_at(below, batch), curve_at(above, batch),
        (ranks - below->ranks) / (above->ranks - below->ranks));
}

static struct pollux_point interpolate(
    const struct pollux_app *app, int32_t nodes, int32_t ranks, double batch)
{
    int32_t below = 0, above = 0;
    for (size_t i = 0; i < app->sizes.count; i++) {
        int32_t measured = app->sizes.items[i].nodes;
        if (measured <= nodes && measured > below)
            below = measured;
        if (measured >= nodes && (!above || measured < above))
            above = measured;
    }
    double per_node = (double)ranks / nodes;
    if (!below || !above || below == above) {
        int32_t only = below ? below : above;
        return nodes_at(app, only, per_node * only, batch);
    }
    return blend(nodes_at(app, below, per_node * below, batch),
        nodes_at(app, above, per_node * above, batch), (double)(nodes - below) / (above - below));
}

/* What is carried on beyond what was measured stays a time. */
static struct pollux_point sane(struct pollux_point point)
{
    point.step_s = point.step_s > 1e-6 ? point.step_s : 1e-6;
    point.sync_s = point.sync_s > 0 ? point.sync_s : 0;
    point.sync_s = point.sync_s < point.step_s ? point.sync_s : point.step_s;
    return point;
}

void pollux_time(const struct pollux_app *app, const struct pollux_place *place,
    int32_t local_batch, struct pollux_point *ret)
{
    const struct pollux_curve *curve =
        curve_find(&app->places, place->nodes, place->ranks, place->digits);
    if (curve) {
        *ret = sane(curve_at(curve, local_batch));
        return;
    }
    curve = curve_find(&app->known, place->nodes, place->ranks, 0);
    for (size_t i = 0; curve && i < curve->points.count; i++) {
        if (curve->points.items[i].local_batch == local_batch) {
            *ret = curve->points.items[i];
            return;
        }
    }
    *ret = sane(interpolate(app, place->nodes, place->ranks, local_batch));
}

/* ---- progress ----------------------------------------------------------------------------- */

static int32_t batch_min(const struct pollux_app *app)
{
    return app->validations.items[0].batch;
}

static int32_t batch_max(const struct pollux_app *app)
{
    return app->validations.items[app->validations.count - 1].batch;
}

static int32_t ceil_div(int32_t a, int32_t b)
{
    return (a + b - 1) / b;
}

struct pollux_batch pollux_batch_of(const struct pollux_app *app, int32_t ranks, int32_t batch)
{
    int32_t per_rank = ceil_div(batch, ranks);
    struct pollux_batch ret = {.accumulate = ceil_div(per_rank, app->local_max) - 1};
    /* The noise of gradients is measured from two passes at least. */
    if (ranks == 1 && batch > batch_min(app) && ret.accumulate < 1)
        ret.accumulate = 1;
    int32_t passes = ret.accumulate + 1;
    int32_t limit = batch_max(app) / (ranks * passes);
    ret.local = ceil_div(per_rank, passes);
    ret.local = ret.local > limit ? limit : ret.local;
    return ret;
}

/* Noise of gradients in the epoch, linear between the two validated batches around this one. */
static void noise_at(
    const struct pollux_app *app, int32_t batch, int32_t epoch, double *ret_sqr, double *ret_var)
{
    size_t at = 1, count = app->validations.count;
    while (at + 1 < count && app->validations.items[at].batch < batch)
        at++;
    const struct pollux_validation *a = &app->validations.items[count > 1 ? at - 1 : 0];
    const struct pollux_validation *b = &app->validations.items[count > 1 ? at : 0];
    const struct pollux_epoch *left = &a->epochs.items[epoch], *right = &b->epochs.items[epoch];
    double part = a == b ? 0 : (double)(batch - a->batch) / (b->batch - a->batch);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    *ret_sqr = left->sqr + (right->sqr - left->sqr) * part;
    *ret_var = left->var + (right->var - left->var) * part;
}

double pollux_goodput(const struct pollux_app *app, const struct pollux_place *place,
    struct pollux_batch batch, int32_t epoch)
{
    struct pollux_point time;
    double sqr, var;
    int32_t total = place->ranks * batch.local * (batch.accumulate + 1);
    pollux_time(app, place, batch.local, &time);
    noise_at(app, total, epoch, &sqr, &var);
    double scale = (double)total / batch_min(app);
    double gain = (var + sqr) / (var / scale + sqr);
    return gain / (time.step_s + (time.step_s - time.sync_s) * batch.accumulate);
}

static double try_batch(const struct pollux_app *app, const struct pollux_place *place,
    int32_t epoch, int32_t local, int32_t accumulate)
{
    int32_t total = place->ranks * local * (accumulate + 1);
    if (local < app->local_min || local > app->local_max || total > batch_max(app) ||
        total < batch_min(app))
        return 0;
    if (place->ranks == 1 && accumulate == 0 && total > batch_min(app))
        return 0;
    return pollux_goodput(app, place, (struct pollux_batch){local, accumulate}, epoch);
}

/* Tries the measured local batches, those half-way between them, and the largest allowed. */
static double search_batch(
    const struct pollux_app *app, const struct pollux_place *place, int32_t epoch)
{
    const struct pollux_curve *curve = &app->places.items[0];
    double best = 0;
    for (int32_t a = 0; a <= ACCUMULATE_MAX; a++) {
        int32_t last = 0, largest = batch_max(app) / (place->ranks * (a + 1));
        largest = largest > app->local_max ? app->local_max : largest;
        double one = try_batch(app, place, epoch, largest, a);
        best = one > best ? one : best;
        for (size_t i = 0; i < curve->points.count; i++) {
            int32_t local = curve->points.items[i].local_batch;
            one = try_batch(app, place, epoch, (last + local) / 2, a);
            best = one > best ? one : best;
            one = try_batch(app, place, epoch, local, a);
            best = one > best ? one : best;
            last = local;
        }
    }
    if (best > 0)
        return best;
    /* Too few ranks for the smallest batch, or too many for the largest: as near as can be. */
    return pollux_goodput(app, place, pollux_batch_of(app, place->ranks, batch_min(app)), epoch);
}

static struct pollux_best *best_of(struct pollux_app *app, const struct pollux_place *place)
{
    struct pollux_best *best = app->best;
    while (best && (best->digits != place->digits || best->nodes != place->nodes ||
                       best->ranks != place->ranks))
        best = best->next;
    if (best)
        return best;
    best = mem_alloc(1, sizeof *best);
    *best = (struct pollux_best){
        .digits = place->digits, .nodes = place->nodes, .ranks = place->ranks, .next = app->best};
    best->goodput = mem_alloc((size_t)app->epochs, sizeof *best->goodput);
    app->best = best;
    return best;
}

double pollux_goodput_best(struct pollux_app *app, const struct pollux_place *place, int32_t epoch)
{
    struct pollux_best *best = best_of(app, place);
    assert(epoch >= 0 && epoch < app->epochs);
    if (best->goodput[epoch] == 0)
        best->goodput[epoch] = search_batch(app, place, epoch);
    return best->goodput[epoch];
}

int32_t pollux_ranks_max(const struct pollux_app *app)
{
    int32_t ranks = batch_max(app) / app->local_min;
    return ranks > POLLUX_RANKS_MAX ? POLLUX_RANKS_MAX : ranks < 1 ? 1 : ranks;
}
