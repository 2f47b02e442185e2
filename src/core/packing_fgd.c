/* FGD, fragmentation gradient descent (Weng et al., "Beware of Fragmentation", USENIX ATC 2023):
 * the node whose expected fragmentation grows least.
 *
 * Typical jobs are the shapes that cover 95 % of all ranks, each with its share of them; memory
 * does not tell shapes apart. Their authors count them in the trace beforehand, here they are
 * learnt from the jobs there are. For a typical shape a node's idle devices are fragments if it can
 * not run there, else those devices are that have less left than the shape takes of one. F is the
 * mean over typical shapes, in thousandths of a device, and a node's score 100 * sigmoid(F before -
 * F after, in devices), cut off to a whole number; of equal nodes the first takes the job. A share
 * tries every device. */
#include "core/job.h"
#include "core/limits.h"
#include "core/packing.h"
#include "core/packing_mix.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>
#include <stdlib.h>

enum { TYPICAL_PERCENT = 95 };

/* Where 100 * sigmoid(x) reaches 1, 2, .. 99: ln(n / (100 - n)), in millionths, rounded up. */
static const int32_t sigmoid_at[] = {
    -4595119,
    -3891820,
    -3476098,
    -3178053,
    -2944438,
    -2751535,
    -2586689,
    -2442347,
    -2313634,
    -2197224,
    -2090741,
    -1992430,
    -1900958,
    -1815289,
    -1734601,
    -1658228,
    -1585627,
    -1516347,
    -1450010,
    -1386294,
    -1324925,
    -1265666,
    -1208311,
    -1152679,
    -1098612,
    -1045968,
    -994622,
    -944461,
    -895384,
    -847297,
    -800119,
    -753771,
    -708185,
    -663294,
    -619039,
    -575364,
    -532216,
    -489548,
    -447312,
    -405465,
    -363965,
    -322773,
    -281851,
    -241162,
    -200670,
    -160342,
    -120144,
    -80042,
    -40005,
    0,
    40006,
    80043,
    120145,
    160343,
    200671,
    241163,
    281852,
    322774,
    363966,
    405466,
    447313,
    489549,
    532217,
    575365,
    619040,
    663295,
    708186,
    753772,
    800120,
    847298,
    895385,
    944462,
    994623,
    1045969,
    1098613,
    1152680,
    1208312,
    1265667,
    1324926,
    1386295,
    1450011,
    1516348,
    1585628,
    1658229,
    1734602,
    1815290,
    1900959,
    1992431,
    2090742,
    2197225,
    2313635,
    2442348,
    2586690,
    2751536,
    2944439,
    3178054,
    3476099,
    3891821,
    4595120,
};
static_assert(sizeof sigmoid_at / sizeof sigmoid_at[0] == 99, "one for each whole number between");

/* floor(100 * sigmoid(part / whole)). */
static int64_t sigmoid_percent(int64_t part, int64_t whole)
{
    int64_t begin = 0, end = 99;
    while (begin < end) {
        int64_t middle = (begin + end) / 2;
        if ((__int128)part * 1000000 >= (__int128)sigmoid_at[middle] * whole)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* ---- typical jobs -----------------------------------------------------------------------------
 */

struct typical {
    size_t item; /* of the mix: the first that asks so */
    int64_t ranks;
};

struct fgd {
    struct typical typical[MIX_ITEMS_MAX]; /* most ranks first */
    size_t count;
    int64_t ranks; /* of them all */
};

/* But for memory and disk, which F does not look at. */
static bool asks_the_same(const struct mix *mix, size_t a, size_t b)
{
    const struct shape_row *left = &mix->items.items[a].shape->row;
    const struct shape_row *right = &mix->items.items[b].shape->row;
    if (left->cpu_milli != right->cpu_milli || left->accelerator_milli != right->accelerator_milli)
        return false;
    for (size_t i = 0; i < mix->classes.count; i++) {
        if (mix_allows(&mix->classes.items[i], a) != mix_allows(&mix->classes.items[i], b))
            return false;
    }
    return true;
}

static void typical_count(const struct mix *mix, size_t item, struct fgd *fgd)
{
    size_t at = 0;
    while (at < fgd->count && !asks_the_same(mix, fgd->typical[at].item, item))
        at++;
    if (at == fgd->count)
        fgd->typical[fgd->count++] = (struct typical){.item = item};
    fgd->typical[at].ranks += mix->items.items[item].ranks;
}

/* Most ranks first; of as many, who asks for more CPU, then for more devices. */
static bool goes_before(const struct mix *mix, const struct typical *a, const struct typical *b)
{
    const struct shape_row *left = &mix->items.items[a->item].shape->row;
    const struct shape_row *right = &mix->items.items[b->item].shape->row;
    if (a->ranks != b->ranks)
        return a->ranks > b->ranks;
    if (left->cpu_milli != right->cpu_milli)
        return left->cpu_milli > right->cpu_milli;
    return left->accelerator_milli > right->accelerator_milli;
}

static void typical_sort(const struct mix *mix, struct fgd *fgd)
{
    for (size_t i = 1; i < fgd->count; i++) {
        struct typical moved = fgd->typical[i];
        size_t to = i;
        for (; to > 0 && goes_before(mix, &moved, &fgd->typical[to - 1]); to--)
            fgd->typical[to] = fgd->typical[to - 1];
        fgd->typical[to] = moved;
    }
}

static void typical_make(const struct mix *mix, struct fgd *fgd)
{
    fgd->count = 0;
    for (size_t i = 0; i < mix->items.count; i++)
        typical_count(mix, i, fgd);
    typical_sort(mix, fgd);
    fgd->ranks = 0;
    size_t typical = 0;
    while (typical < fgd->count && fgd->ranks * 100 < mix->ranks * TYPICAL_PERCENT)
        fgd->ranks += fgd->typical[typical++].ranks;
    fgd->count = typical;
}

static void fgd_ready(struct core *core, struct live_shape *shape)
{
    (void)shape;
    if (!mix_refresh(core))
        return;
    if (!core->packing_state)
        core->packing_state = mem_alloc(1, sizeof(struct fgd));
    typical_make(&core->mix, core->packing_state);
    core->packing_version++;
}

static void fgd_forget(struct core *core)
{
    free(core->packing_state);
    core->packing_state = NULL;
}

/* Nothing is typical yet, or the node came since it was looked at. */
static bool unknown(const struct core *core, const struct live_node *node)
{
    const struct fgd *fgd = core->packing_state;
    return !fgd || fgd->ranks == 0 || !mix_knows(core, node);
}

/* ---- fragmentation ----------------------------------------------------------------------------
 */

/* What is free of a node. */
struct view {
    int64_t cpu_milli, memory_bytes, disk_bytes;
    int64_t idle; /* of all devices */
    int32_t devices;
    int16_t device[DEVICES_MAX];
};

static void view_init(const struct live_node *node, struct view *view)
{
    view->cpu_milli = node->room.all.cpu_milli;
    view->memory_bytes = node->room.all.memory_bytes;
    view->disk_bytes = node->room.all.disk_bytes;
    view->idle = 0;
    view->devices = node->row.devices;
    for (int32_t i = 0; i < node->row.devices; i++) {
        view->device[i] = (int16_t)most(device_free(node, i), 0);
        view->idle += view->device[i];
    }
}

/* Takes a rank; of whole devices the first. */
static void view_take(struct view *view, const struct shape_row *ask, int32_t device)
{
    view->cpu_milli -= ask->cpu_milli;
    view->memory_bytes -= ask->memory_bytes;
    view->disk_bytes -= ask->disk_bytes;
    view->idle -= ask->accelerator_milli;
    if (device >= 0) {
        view->device[device] = (int16_t)(view->device[device] - ask->accelerator_milli);
        return;
    }
    int64_t need = ask->accelerator_milli / DEVICE_MILLI;
    for (int32_t i = 0; i < view->devices && need > 0; i++) {
        if (view->device[i] != DEVICE_MILLI)
            continue;
        view->device[i] = 0;
        need--;
    }
}

/* Idle thousandths that the shape could not use. */
static int64_t fragments(const struct view *view, const struct shape_row *shape)
{
    int64_t milli = least(shape->accelerator_milli, DEVICE_MILLI);
    int64_t need = most(shape->accelerator_milli / DEVICE_MILLI, 1);
    if (milli == 0 || view->cpu_milli < shape->cpu_milli)
        return view->idle;
    int64_t small = 0;
    for (int32_t i = 0; i < view->devices; i++) {
        need -= view->device[i] >= milli;
        small += view->device[i] < milli ? view->device[i] : 0;
    }
    return need > 0 ? view->idle : small;
}

/* F times the typical ranks. */
static int64_t fragmentation(
    const struct core *core, const struct mix_class *class, const struct view *view)
{
    const struct fgd *fgd = core->packing_state;
    int64_t sum = 0;
    for (size_t i = 0; i < fgd->count; i++) {
        const struct typical *typical = &fgd->typical[i];
        const struct shape_row *shape = &core->mix.items.items[typical->item].shape->row;
        bool allowed = mix_allows(class, typical->item);
        sum += typical->ranks * (allowed ? fragments(view, shape) : view->idle);
    }
    return sum;
}

static int64_t score_with(const struct core *core, const struct mix_class *class,
    const struct view *before, const struct shape_row *ask, int32_t device)
{
    const struct fgd *fgd = core->packing_state;
    struct view after = *before;
    view_take(&after, ask, device);
    int64_t less = fragmentation(core, class, before) - fragmentation(core, class, &after);
    return sigmoid_percent(less, fgd->ranks * DEVICE_MILLI);
}

/* The best device for a share and its score; -1: for whole devices or none. */
static int32_t best_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken, int64_t *ret_score)
{
    const struct shape_row *ask = &job->shape->row;
    const struct mix_class *class = mix_class_of(core, node);
    struct view view;
    view_init(node, &view);
    if (ask->accelerator_milli == 0 || ask->accelerator_milli >= DEVICE_MILLI) {
        *ret_score = score_with(core, class, &view, ask, -1);
        return -1;
    }
    for (int32_t i = 0; taken && i < view.devices; i++) {
        view.device[i] = (int16_t)(view.device[i] - taken[i]);
        view.idle -= taken[i];
    }
    int32_t best = -1;
    *ret_score = -1;
    for (int32_t i = 0; i < view.devices; i++) {
        if (view.device[i] < ask->accelerator_milli)
            continue;
        int64_t score = score_with(core, class, &view, ask, i);
        if (score <= *ret_score)
            continue;
        *ret_score = score;
        best = i;
    }
    return best;
}

/* Of several ranks the first is looked at. */
static int64_t fgd_score(const struct core *core, const struct live_job *job,
    const struct live_node *node, int32_t ranks)
{
    (void)ranks;
    if (unknown(core, node))
        return 0;
    int64_t score;
    best_device(core, job, node, NULL, &score);
    return 100 - score;
}

static int32_t fgd_device(const struct core *core, const struct live_job *job,
    const struct live_node *node, const int16_t *taken)
{
    int64_t score;
    if (unknown(core, node))
        return packing_fullest_device(core, job, node, taken);
    return best_device(core, job, node, taken, &score);
}

const struct packing packing_fgd = {
    .name = "fgd",
    .summary = "the node whose expected fragmentation grows least (FGD)",
    .score = fgd_score,
    .device = fgd_device,
    .ready = fgd_ready,
    .learns = true,
    .forget = fgd_forget,
};
