/* The table of models, and which one a format is run by. */
#include "simulate/model.h"

#include <string.h>

const struct model_type *const model_types[] = {
    &model_fixed,
    &model_pollux,
    &model_pollux_adaptive,
    &model_scaling,
    &model_shockwave,
    NULL,
};

static const struct {
    const char *format;
    const struct model_type *type;
} habits[] = {
    {"pollux", &model_pollux},
    {"elasticflow", &model_scaling},
    {"shockwave", &model_shockwave},
    {NULL, NULL},
};

const struct model_type *model_find(const char *name)
{
    for (size_t i = 0; model_types[i]; i++) {
        if (strcmp(model_types[i]->name, name) == 0)
            return model_types[i];
    }
    return NULL;
}

const struct model_type *model_of_format(const char *format)
{
    for (size_t i = 0; habits[i].format; i++) {
        if (strcmp(habits[i].format, format) == 0)
            return habits[i].type;
    }
    return &model_fixed;
}
