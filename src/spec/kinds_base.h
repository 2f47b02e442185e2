/* What the structs of all kinds are made of: see kinds.h. */
#pragma once

#include <stddef.h>
#include <stdint.h>

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

/* What one rank asks for, or what a node has. */
struct resources {
    int64_t cpu_milli;
    int64_t memory_bytes;
    int64_t disk_bytes;
    const char *accelerator;   /* type, such as "a100"; NULL: none */
    int64_t accelerator_milli; /* 1000 is a whole device; below that, a share of one */
};
