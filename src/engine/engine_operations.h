/* What an engine has to implement: see engine.h for what each operation promises. Only engines
 * include this. Those that stand at the end may be NULL: engine.c says what is so then. */
#pragma once

#include "engine/engine.h"

struct engine_operations {
    int (*start)(struct engine *engine, const struct launch *launch, struct error *err);
    int (*stop)(struct engine *engine, uint64_t attempt, uint64_t grace_ms, struct error *err);
    int (*kill)(struct engine *engine, uint64_t attempt, struct error *err);
    void (*observe)(
        const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count);
    bool (*view)(const struct engine *engine, uint64_t attempt, struct attempt_view *ret_view);
    int (*forget)(struct engine *engine, uint64_t attempt, struct error *err);
    int (*purge)(struct engine *engine, uint64_t job, struct error *err);
    int (*exec)(struct engine *engine, uint64_t attempt, const struct exec_request *request,
        struct error *err);
    char *(*log_folder)(const struct engine *engine, uint64_t job, uint32_t attempt_number);
    int (*output_open)(
        const struct engine *engine, uint64_t job, const char *name, struct error *err);
    int (*outputs_drop)(struct engine *engine, uint64_t job, struct error *err);
    void (*destroy)(struct engine *engine);
    const struct engine_node *(*node)(const struct engine *engine);
    char *(*serve_socket)(const struct engine *engine, uint64_t attempt);
    char *(*serve_address)(const struct engine *engine, uint64_t attempt);
    uint32_t (*serve_port)(const struct engine *engine, uint64_t attempt);
    int (*where)(const struct engine *engine, uint64_t attempt, struct engine_where *ret_where,
        struct error *err);
    void (*site)(const struct engine *engine, struct engine_site *ret_site);
};

/* The first member of each engine's own struct. */
struct engine {
    const struct engine_operations *operations;
};
