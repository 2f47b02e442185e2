/* The rules as tables. Accordion (Agarwal et al., MLSys 2021) uses the largest batch outside of
 * critical parts of a training; GNS (by the gradient noise scale, McCandlish et al., 2018) doubles
 * the batch at epochs that were found for each model, batch and number of ranks. */
#include "simulate/batch_rules.h"

#include "base/memory.h"

#include <stddef.h>
#include <string.h>

enum { PLANNED_PERCENT = 30 }; /* of its epochs: accordion's schedule changes nothing before */

static const struct batch_model models[] = {
    {"ResNet-18", 50000, 256},
    {"ResNet-50", 100000, 128},
    {"Transformer", 10000, 0},
    {"LM", 59675, 80},
    {"Recommendation", 117907, 8192},
    {"CycleGAN", 6287, 0},
    {"A3C", 4, 0},
};
enum { RESNET18, RESNET50, TRANSFORMER, LM, RECOMMENDATION };

const struct batch_model *batch_model_find(const char *name, int64_t length)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        if ((int64_t)strlen(models[i].name) == length &&
            !memcmp(models[i].name, name, (size_t)length))
            return &models[i];
    }
    return NULL;
}

/* Epochs at which the batch doubles; 0 ends them. */
static const struct {
    int32_t model, batch, ranks;
    int32_t doubles[5];
} noise[] = {
    {RESNET18, 16, 1, {31, 41, 51, 71}},
    {RESNET18, 32, 1, {21, 31, 51}},
    {RESNET18, 64, 1, {11, 31}},
    {RESNET18, 128, 1, {11}},
    {RESNET18, 16, 2, {21, 31, 91, 111}},
    {RESNET18, 32, 2, {11, 21, 41}},
    {RESNET18, 64, 2, {21, 41}},
    {RESNET18, 128, 2, {41}},
    {RESNET18, 16, 4, {11, 21, 81, 91}},
    {RESNET18, 32, 4, {21, 31, 61}},
    {RESNET18, 64, 4, {11, 61}},
    {RESNET18, 128, 4, {11}},
    {RESNET50, 64, 1, {101}},
    {RESNET50, 32, 2, {101, 111}},
    {RESNET50, 64, 2, {81}},
    {RESNET50, 32, 4, {131, 221}},
    {RESNET50, 64, 4, {191}},
    {LM, 5, 1, {31, 41, 61, 71}},
    {LM, 10, 1, {11, 21, 41}},
    {LM, 20, 1, {11, 41}},
    {LM, 40, 1, {11}},
    {LM, 5, 2, {31, 51, 61, 71}},
    {LM, 10, 2, {11, 31, 41}},
    {LM, 20, 2, {31, 41}},
    {LM, 40, 2, {11}},
    {LM, 5, 4, {11, 31, 71, 91}},
    {LM, 10, 4, {11, 31, 61}},
    {LM, 20, 4, {11, 61}},
    {LM, 40, 4, {61}},
    {RECOMMENDATION, 512, 1, {21, 41, 71, 91}},
    {RECOMMENDATION, 1024, 1, {21, 51, 91}},
    {RECOMMENDATION, 2048, 1, {21, 41}},
    {RECOMMENDATION, 4096, 1, {41}},
};

static int64_t noise_batch(const struct batch_job *job, int32_t epoch)
{
    int64_t batch = job->batch;
    for (size_t i = 0; i < ARRAY_LEN(noise); i++) {
        if (job->model != &models[noise[i].model] || job->batch != noise[i].batch ||
            job->ranks != noise[i].ranks)
            continue;
        for (const int32_t *at = noise[i].doubles; *at && epoch >= *at; at++)
            batch *= 2;
    }
    return batch;
}

struct part {
    int32_t from, until; /* epochs; until 0 ends a list */
};

/* A part of every `period` epochs, or of all of them where it is 0. `late`: of a schedule alone. */
static const struct {
    int32_t model;
    int64_t batch_from, batch_to;
    int32_t period;
    struct part parts[4], late[3];
} critical[] = {
    {RESNET18, 1, 128, 0, {{0, 10}, {150, 160}, {250, 260}}, {{0}}},
    {RESNET18, 129, INT64_MAX, 0, {{0, 20}, {150, 160}, {250, 260}}, {{0}}},
    {RESNET50, 1, INT64_MAX, 30, {{0, 10}}, {{0}}},
    {LM, 1, INT64_MAX, 0, {{0, 10}}, {{0}}},
    {RECOMMENDATION, 1, 1024, 0, {{0, 30}}, {{60, 70}, {80, 90}}},
    {RECOMMENDATION, 1025, 2048, 0, {{0, 40}}, {{60, 70}, {80, 90}}},
    {RECOMMENDATION, 2049, INT64_MAX, 0, {{0, 10}}, {{60, 70}, {80, 90}}},
};

static bool inside(const struct part *parts, int32_t epoch)
{
    for (; parts->until; parts++) {
        if (epoch >= parts->from && epoch < parts->until)
            return true;
    }
    return false;
}

static bool is_critical(const struct batch_job *job, int32_t epoch, bool planned)
{
    for (size_t i = 0; i < ARRAY_LEN(critical); i++) {
        if (job->model != &models[critical[i].model] || job->batch < critical[i].batch_from ||
            job->batch > critical[i].batch_to)
            continue;
        int32_t at = critical[i].period ? epoch % critical[i].period : epoch;
        return inside(critical[i].parts, at) || (planned && inside(critical[i].late, at));
    }
    return true;
}

int64_t batch_in_epoch(const struct batch_job *job, const char *mode, int32_t epoch, bool planned)
{
    int64_t most = job->model->batch_max, batch = job->batch;
    if (most == 0 || batch >= most)
        return batch;
    if (strcmp(mode, "gns") == 0) {
        batch = noise_batch(job, planned ? epoch : epoch + 1);
        bool last = planned && epoch == job->epochs - 1 && batch > 2 * job->batch;
        return last ? job->batch : batch < most ? batch : most;
    }
    bool early = planned && epoch * 100 <= job->epochs * PLANNED_PERCENT;
    if (strcmp(mode, "accordion") == 0 && !early && !is_critical(job, epoch, planned))
        return most;
    return batch;
}
