/* What the structs of all kinds are made of: see kinds.h. */
#pragma once

#include <stddef.h>

struct text_list {
    const char **items;
    size_t count;
};

struct label {
    const char *key;
    const char *value;
};

struct label_list {
    struct label *items;
    size_t count;
};

struct metadata {
    const char *name; /* [a-z0-9]([-a-z0-9.]*[a-z0-9])?, at most 63 */
    const char *team; /* jobs, datasets, models and services belong to one */
    struct label_list labels;
};
