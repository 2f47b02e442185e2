/* What an engine has to implement: see engine.h for what each operation promises. Only engines
 * include this. */
#pragma once

#include "engine/engine.h"

struct engine_operations {
    int (*start)(struct engine *engine, const struct launch *launch, struct error *err);
    int (*stop)(struct engine *engine, uint64_t attempt, uint64_t grace_ms, struct error *err);
    int (*kill)(struct engine *engine, uint64_t attempt, struct error *err);
    void (*observe)(
        const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count);
    int (*forget)(struct engine *engine, uint64_t attempt, struct error *err);
    int (*purge)(struct engine *engine, uint64_t job, struct error *err);
    int (*exec)(struct engine *engine, uint64_t attempt, const struct exec_request *request,
        struct error *err);
    const struct engine_node *(*node)(const struct engine *engine);
    char *(*log_folder)(const struct engine *engine, uint64_t job, uint32_t attempt_number);
    int (*output_open)(
        const struct engine *engine, uint64_t job, const char *name, struct error *err);
    int (*outputs_drop)(struct engine *engine, uint64_t job, struct error *err);
    char *(*serve_socket)(const struct engine *engine, uint64_t attempt);
    void (*destroy)(struct engine *engine);
};

/* The first member of each engine's own struct. */
struct engine {
    const struct engine_operations *operations;
};
