/* Reads the measured curves of Pollux's workloads: see pollux.h. Files come from outside: what does
 * not make sense is refused with file and line. */
#include "base/memory.h"
#include "simulate/pollux.h"
#include "trace/line.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POINTS_MAX = 100000, BATCH_MAX = 1 << 16, VALIDATIONS_MAX = 64, PATH_BYTES = 4096 };

/* The models, in the order that reports list them, and the total batches that they were validated
 * with, 0 at the end. */
static const struct {
    const char *name;
    int32_t epochs;
    int32_t local_max; /* 0: the largest measured */
    int32_t batches[12];
} models[] = {
    {"bert", 2, 0, {12, 24, 48, 96, 192, 384}},
    {"cifar10", 100, 0, {128, 256, 512, 1024, 2048, 4096}},
    {"deepspeech2", 80, 0, {20, 40, 80, 160, 320, 640}},
    {"imagenet", 90, 0, {200, 400, 800, 1600, 3200, 6400, 12800}},
    {"ncf", 10, 0, {256, 512, 1024, 2048, 4096, 8192, 16384, 32768}},
    {"yolov3", 50, 8, {8, 16, 32, 64, 128, 256, 512}},
};

static int read_number(const struct lines *lines, size_t column, double low, double high,
    double *ret, struct error *err)
{
    const char *text = lines_text(lines, column);
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        return lines_expected(lines, column, "a number in range", err);
    *ret = value;
    return 0;
}

static int read_point(
    const struct lines *lines, size_t from, struct pollux_point *ret, struct error *err)
{
    int64_t batch = 0;
    if (lines_int(lines, from, 1, BATCH_MAX, &batch, err) < 0 ||
        read_number(lines, from + 1, 1e-9, 1e6, &ret->step_s, err) < 0 ||
        read_number(lines, from + 2, 0, 1e6, &ret->sync_s, err) < 0)
        return -1;
    if (ret->sync_s > ret->step_s)
        return lines_expected(lines, from + 2, "a part of step_time", err);
    ret->local_batch = (int32_t)batch;
    return 0;
}

static struct pollux_curve *curve_of(
    pollux_curves *curves, int32_t nodes, int32_t ranks, uint64_t digits)
{
    for (size_t i = curves->count; i-- > 0;) {
        struct pollux_curve *curve = &curves->items[i];
        if (curve->nodes == nodes && curve->ranks == ranks && curve->digits == digits)
            return curve;
    }
    vec_push(curves, ((struct pollux_curve){.nodes = nodes, .ranks = ranks, .digits = digits}));
    return &curves->items[curves->count - 1];
}

/* Keeps points in order of batch. */
static void curve_add(struct pollux_curve *curve, const struct pollux_point *point)
{
    size_t at = 0;
    while (at < curve->points.count && curve->points.items[at].local_batch < point->local_batch)
        at++;
    vec_push(&curve->points, *point);
    for (size_t i = curve->points.count - 1; i > at; i--)
        curve->points.items[i] = curve->points.items[i - 1];
    curve->points.items[at] = *point;
}

/* Points of one batch become their mean. */
static void curve_average(struct pollux_curve *curve)
{
    size_t kept = 0;
    for (size_t i = 0; i < curve->points.count;) {
        struct pollux_point sum = curve->points.items[i];
        size_t end = i + 1;
        for (; end < curve->points.count && curve->points.items[end].local_batch == sum.local_batch;
             end++) {
            sum.step_s += curve->points.items[end].step_s;
            sum.sync_s += curve->points.items[end].sync_s;
        }
        sum.step_s /= (double)(end - i);
        sum.sync_s /= (double)(end - i);
        curve->points.items[kept++] = sum;
        i = end;
    }
    curve->points.count = kept;
}

static int read_place(
    const struct lines *lines, size_t column, struct pollux_place *ret, struct error *err)
{
    const char *text = lines_text(lines, column);
    int32_t ranks_on[POLLUX_NODES_MAX], nodes = 0;
    for (; *text >= '1' && *text <= '9' && nodes < POLLUX_NODES_MAX; text++)
        ranks_on[nodes++] = *text - '0';
    if (nodes == 0 || *text)
        return lines_expected(lines, column, "a digit from 1 to 9 for each node", err);
    pollux_place_make(ret, ranks_on, nodes);
    return 0;
}

static int read_places(struct pollux_app *app, const char *path, struct error *err)
{
    static const struct line_column columns[] = {{"placement", false}, {"local_bsz", false},
        {"step_time", false}, {"sync_time", false}, {NULL, false}};
    struct lines *lines = lines_open(path, ',', false, columns, err);
    int rc = lines ? 0 : -1;
    size_t count = 0;
    while (rc == 0 && (rc = lines_next(lines, err)) == 1) {
        struct pollux_place place;
        struct pollux_point point = {0};
        rc = ++count > POINTS_MAX ? lines_expected(lines, 0, "fewer lines", err) : 0;
        if (rc < 0 || (rc = read_place(lines, 0, &place, err)) < 0 ||
            (rc = read_point(lines, 1, &point, err)) < 0)
            break;
        curve_add(curve_of(&app->places, place.nodes, place.ranks, place.digits), &point);
        curve_add(curve_of(&app->sizes, place.nodes, place.ranks, 0), &point);
        app->local_max = point.local_batch > app->local_max ? point.local_batch : app->local_max;
        if (!app->local_min || point.local_batch < app->local_min)
            app->local_min = point.local_batch;
    }
    lines_close(lines);
    return rc < 0 ? -1 : 0;
}

static int read_sizes(struct pollux_app *app, const char *path, struct error *err)
{
    static const struct line_column columns[] = {{"num_nodes", false}, {"num_replicas", false},
        {"local_bsz", false}, {"step_time", false}, {"sync_time", false}, {NULL, false}};
    struct lines *lines = lines_open(path, ',', false, columns, err);
    int rc = lines ? 0 : -1;
    size_t count = 0;
    while (rc == 0 && (rc = lines_next(lines, err)) == 1) {
        int64_t nodes = 0, ranks = 0;
        struct pollux_point point = {0};
        rc = ++count > POINTS_MAX ? lines_expected(lines, 0, "fewer lines", err) : 0;
        if (rc < 0 || (rc = lines_int(lines, 0, 1, POLLUX_NODES_MAX, &nodes, err)) < 0 ||
            (rc = lines_int(lines, 1, nodes, 4096, &ranks, err)) < 0 ||
            (rc = read_point(lines, 2, &point, err)) < 0)
            break;
        curve_add(curve_of(&app->sizes, (int32_t)nodes, (int32_t)ranks, 0), &point);
    }
    lines_close(lines);
    return rc < 0 ? -1 : 0;
}

static int read_validation(
    struct pollux_app *app, const char *path, int32_t batch, struct error *err)
{
    static const struct line_column columns[] = {
        {"progress", false}, {"grad_sqr", false}, {"grad_var", false}, {NULL, false}};
    struct lines *lines = lines_open(path, ',', false, columns, err);
    struct pollux_validation validation = {.batch = batch};
    double before = 0;
    int rc = lines ? 0 : -1;
    while (rc == 0 && (rc = lines_next(lines, err)) == 1) {
        struct pollux_epoch epoch;
        if ((rc = read_number(lines, 0, before, 1e12, &epoch.progress, err)) < 0 ||
            (rc = read_number(lines, 1, 0, 1e30, &epoch.sqr, err)) < 0 ||
            (rc = read_number(lines, 2, 0, 1e30, &epoch.var, err)) < 0)
            break;
        if (epoch.sqr + epoch.var < 1e-30) {
            rc = lines_expected(lines, 1, "a gradient, or noise of one", err);
            break;
        }
        before = epoch.progress;
        if (validation.epochs.count < (size_t)app->epochs)
            vec_push(&validation.epochs, epoch);
    }
    if (rc == 0 && validation.epochs.count < (size_t)app->epochs)
        rc = error_set(
            err, ERR_INVALID, "%s: expected a line for each of %d epochs", path, (int)app->epochs);
    lines_close(lines);
    vec_push(&app->validations, validation);
    return rc;
}

/* An epoch ends where the first of the validations ended it. */
static void find_ends(struct pollux_app *app)
{
    app->epoch_end = mem_alloc((size_t)app->epochs, sizeof *app->epoch_end);
    for (int32_t e = 0; e < app->epochs; e++) {
        double end = app->validations.items[0].epochs.items[e].progress;
        for (size_t v = 1; v < app->validations.count; v++) {
            double other = app->validations.items[v].epochs.items[e].progress;
            end = other < end ? other : end;
        }
        app->epoch_end[e] = end;
    }
}

static size_t model_find(const char *name)
{
    size_t i = 0;
    while (i < ARRAY_LEN(models) && strcmp(models[i].name, name) != 0)
        i++;
    return i;
}

static int read_speeds(struct pollux_app *app, const char *folder, struct error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/placements.csv", folder);
    if (read_places(app, path, err) < 0)
        return -1;
    snprintf(path, sizeof path, "%s/scalability.csv", folder);
    if (read_sizes(app, path, err) < 0)
        return -1;
    if (!app->places.count || !app->sizes.count)
        return error_set(err, ERR_INVALID, "%s: no speeds", folder);
    for (size_t i = 0; i < app->sizes.count; i++)
        curve_average(&app->sizes.items[i]);
    for (size_t i = 0; i < app->places.count; i++)
        curve_average(&app->places.items[i]);
    return 0;
}

int pollux_app_load(struct pollux_app *app, const char *folder, const char *name, struct error *err)
{
    size_t model = model_find(name);
    char path[PATH_BYTES];
    assert(model < ARRAY_LEN(models));
    snprintf(app->name, sizeof app->name, "%s", name);
    app->epochs = models[model].epochs;
    if (read_speeds(app, folder, err) < 0)
        return -1;
    if (models[model].local_max)
        app->local_max = models[model].local_max;
    for (size_t i = 0; models[model].batches[i]; i++) {
        int32_t batch = models[model].batches[i];
        snprintf(path, sizeof path, "%s/validation-%d.csv", folder, batch);
        if (read_validation(app, path, batch, err) < 0)
            return -1;
    }
    find_ends(app);
    return 0;
}

/* Speeds that somebody else interpolated, for a simulation that is to match his. */
static int read_known(struct pollux_apps *apps, const char *path, struct error *err)
{
    static const struct line_column columns[] = {{"application", false}, {"placement", false},
        {"local_bsz", false}, {"step_time", false}, {"sync_time", false}, {NULL, false}};
    if (access(path, R_OK) < 0)
        return 0;
    struct lines *lines = lines_open(path, ',', false, columns, err);
    int rc = lines ? 0 : -1;
    size_t count = 0;
    while (rc == 0 && (rc = lines_next(lines, err)) == 1) {
        struct pollux_place place;
        struct pollux_point point = {0};
        struct pollux_app *app = pollux_find(apps, lines_text(lines, 0));
        if (!app || ++count > POINTS_MAX) {
            rc = lines_expected(lines, 0, "a model", err);
            break;
        }
        if ((rc = read_place(lines, 1, &place, err)) < 0 ||
            (rc = read_point(lines, 2, &point, err)) < 0)
            break;
        curve_add(curve_of(&app->known, place.nodes, place.ranks, 0), &point);
    }
    lines_close(lines);
    return rc < 0 ? -1 : 0;
}

int pollux_load(struct pollux_apps *apps, const char *folder, struct error *err)
{
    char path[PATH_BYTES];
    *apps = (struct pollux_apps){0};
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        vec_push(&apps->items, (struct pollux_app){0});
        snprintf(path, sizeof path, "%s/traces/%s", folder, models[i].name);
        if (pollux_app_load(&apps->items.items[i], path, models[i].name, err) < 0) {
            pollux_unload(apps);
            return -1;
        }
    }
    snprintf(path, sizeof path, "%s/derived/tiresias_interpolated_speeds.csv", folder);
    if (read_known(apps, path, err) < 0) {
        pollux_unload(apps);
        return -1;
    }
    return 0;
}

static void curves_free(pollux_curves *curves)
{
    for (size_t i = 0; i < curves->count; i++)
        vec_free(&curves->items[i].points);
    vec_free(curves);
}

void pollux_app_unload(struct pollux_app *app)
{
    curves_free(&app->places);
    curves_free(&app->sizes);
    curves_free(&app->known);
    for (size_t i = 0; i < app->validations.count; i++)
        vec_free(&app->validations.items[i].epochs);
    vec_free(&app->validations);
    free(app->epoch_end);
    for (struct pollux_best *best = app->best, *next; best; best = next) {
        next = best->next;
        free(best->goodput);
        free(best);
    }
}

void pollux_unload(struct pollux_apps *apps)
{
    for (size_t i = 0; i < apps->items.count; i++)
        pollux_app_unload(&apps->items.items[i]);
    vec_free(&apps->items);
}

struct pollux_app *pollux_find(struct pollux_apps *apps, const char *name)
{
    for (size_t i = 0; i < apps->items.count; i++) {
        if (strcmp(apps->items.items[i].name, name) == 0)
            return &apps->items.items[i];
    }
    return NULL;
}
