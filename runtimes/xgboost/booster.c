/* A model of XGBoost in memory: see booster.h. */
#include "booster.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xgboost/c_api.h>

struct booster {
    BoosterHandle handle;
    size_t features;
};

/* XGBoost's errors go over many lines, with a stack trace below the first, and may quote any bytes
 * of the file. */
static int fail(struct error *err, enum error_code code, const char *what)
{
    const char *from = XGBGetLastError();
    const char *place = strstr(from, "] ");
    char text[200];
    size_t length = 0;
    for (from = place ? place + 2 : from; *from && *from != '\n' && length + 1 < sizeof text;
         from++)
        text[length++] = *from >= ' ' && *from < 0x7f ? *from : '?';
    text[length] = '\0';
    return error_set(err, code, "%s: %s", what, text);
}

static int load(const char *path, int threads, struct booster *ret, struct error *err)
{
    char number[16];
    snprintf(number, sizeof number, "%d", threads);
    bst_ulong features = 0;
    if (XGBoosterCreate(NULL, 0, &ret->handle) != 0)
        return fail(err, ERR_INTERNAL, "XGBoost cannot start");
    if (XGBoosterSetParam(ret->handle, "nthread", number) != 0 ||
        XGBoosterLoadModel(ret->handle, path) != 0 ||
        XGBoosterGetNumFeature(ret->handle, &features) != 0)
        return fail(err, ERR_INVALID, path);
    if (features == 0 || features > 1000000)
        return error_set(
            err, ERR_INVALID, "%s: a model of %llu features", path, (unsigned long long)features);
    ret->features = features;
    return 0;
}

/* Predicts a row of zeros: some files load and crash at their first use. */
static int try_out(struct booster *booster, struct error *err)
{
    SCOPED(mem_scope) float *row = mem_alloc(booster->features, sizeof *row);
    const float *values;
    size_t width;
    return booster_predict(booster, row, 1, &values, &width, err);
}

/* Bounds the memory of this process to what a model of this size can need: a length of four bytes
 * in a small file can ask for all that the machine has. A number takes a byte or more of the file
 * and some 40 bytes of XGBoost's tree of JSON values, and its predictor has a room that depends on
 * no file. */
static int bound_memory(const char *path, struct error *err)
{
    enum { PER_BYTE = 64, ROOM = 512 << 20 };
    struct stat file;
    if (stat(path, &file) < 0)
        return error_set_errno(err, "cannot look at %s", path);
    unsigned long long pages = 0;
    FILE *now = fopen("/proc/self/statm", "re");
    bool known = now && fscanf(now, "%llu", &pages) == 1;
    if (now)
        fclose(now);
    if (!known)
        return error_set(err, ERR_INTERNAL, "cannot read /proc/self/statm");
    rlim_t bytes =
        (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ROOM + (rlim_t)file.st_size * PER_BYTE;
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    if (setrlimit(RLIMIT_AS, &limit) < 0)
        return error_set_errno(err, "cannot bound the memory of reading %s", path);
    return 0;
}

/* Loads the file in a child and lets it predict. -1: it did not survive that. */
static int rehearse(const char *path, struct error *err)
{
    pid_t child = fork();
    if (child < 0)
        return error_set_errno(err, "cannot start a process to look at %s", path);
    if (child == 0) {
        struct booster booster = {0};
        struct error failed;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(600); /* a file that keeps the loader busy for ever is no model either */
        /* One thread: OpenMP's pool does not survive a fork, here or in the parent. */
        bool works = bound_memory(path, &failed) == 0 && load(path, 1, &booster, &failed) == 0 &&
                     try_out(&booster, &failed) == 0;
        if (!works)
            fprintf(stderr, "%s\n", failed.text);
        _exit(works ? 0 : 1);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return error_set_errno(err, "cannot wait for the process that looks at %s", path);
    }
    if (WIFSIGNALED(status))
        return error_set(
            err, ERR_INVALID, "%s: reading it crashed XGBoost (signal %d)", path, WTERMSIG(status));
    return status == 0 ? 0 : error_set(err, ERR_INVALID, "%s: not a model of XGBoost's", path);
}

int booster_open(const char *folder, int threads, struct booster **ret, struct error *err)
{
    static const char *const names[] = {"model.ubj", "model.json", "model.model"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[4096];
        if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, names[i]) >= sizeof path)
            return error_set(err, ERR_INVALID, "the path of the model is too long");
        if (access(path, R_OK) != 0)
            continue;
        struct booster booster = {0};
        if (rehearse(path, err) < 0)
            return -1;
        if (load(path, threads, &booster, err) < 0) {
            XGBoosterFree(booster.handle);
            return -1;
        }
        *ret = mem_alloc(1, sizeof **ret);
        **ret = booster;
        return 0;
    }
    return error_set(
        err, ERR_NOT_FOUND, "there is no model.ubj, model.json or model.model in %s", folder);
}

void booster_close(struct booster *booster)
{
    if (!booster)
        return;
    XGBoosterFree(booster->handle);
    free(booster);
}

size_t booster_features(const struct booster *booster)
{
    return booster->features;
}

int booster_predict(struct booster *booster, const float *values, size_t rows,
    const float **ret_values, size_t *ret_width, struct error *err)
{
    /* NumPy's array interface, version 3: how the C API takes memory without copying it. */
    char array[160];
    snprintf(array, sizeof array,
        "{\"data\":[%llu,true],\"shape\":[%zu,%zu],\"typestr\":\"<f4\",\"version\":3}",
        (unsigned long long)(uintptr_t)values, rows, booster->features);
    static const char config[] = "{\"type\":0,\"training\":false,\"iteration_begin\":0,"
                                 "\"iteration_end\":0,\"strict_shape\":true,\"missing\":NaN,"
                                 "\"cache_id\":0}";
    const bst_ulong *shape;
    bst_ulong dimensions;
    const float *result;
    assert(rows > 0);
    if (XGBoosterPredictFromDense(
            booster->handle, array, config, NULL, &shape, &dimensions, &result) != 0)
        return fail(err, ERR_INVALID, "XGBoost cannot predict");
    size_t width = 1;
    for (bst_ulong i = 1; i < dimensions; i++)
        width *= shape[i];
    if (dimensions == 0 || shape[0] != rows || width == 0)
        return error_set(err, ERR_INVALID, "XGBoost predicted another number of rows than asked");
    *ret_values = result;
    *ret_width = width;
    return 0;
}
