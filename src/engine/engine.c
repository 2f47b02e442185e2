/* The interface of the engines: hands each call to the engine it is for. */
#include "engine/engine.h"

#include "engine/engine_operations.h"
#include "engine/launch.h"

#include <assert.h>

int engine_start(struct engine *engine, const struct launch *launch, struct error *err)
{
    if (launch_check(launch, err) < 0)
        return -1;
    return engine->operations->start(engine, launch, err);
}

int engine_stop(struct engine *engine, uint64_t attempt, uint64_t grace_ms, struct error *err)
{
    return engine->operations->stop(engine, attempt, grace_ms, err);
}

int engine_kill(struct engine *engine, uint64_t attempt, struct error *err)
{
    return engine->operations->kill(engine, attempt, err);
}

void engine_observe(const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    engine->operations->observe(engine, ret_views, ret_count);
}

int engine_forget(struct engine *engine, uint64_t attempt, struct error *err)
{
    return engine->operations->forget(engine, attempt, err);
}

int engine_purge(struct engine *engine, uint64_t job, struct error *err)
{
    return engine->operations->purge(engine, job, err);
}

int engine_exec(
    struct engine *engine, uint64_t attempt, const struct exec_request *request, struct error *err)
{
    assert(request->fds[0] >= 0 && request->fds[1] >= 0 && request->fds[2] >= 0);
    if (!request->argv || !request->argv[0] || !*request->argv[0])
        return error_set(err, ERR_INVALID, "there is no command to run");
    return engine->operations->exec(engine, attempt, request, err);
}

const struct engine_node *engine_node(const struct engine *engine)
{
    return engine->operations->node(engine);
}

char *engine_log_folder(const struct engine *engine, uint64_t job, uint32_t attempt_number)
{
    return engine->operations->log_folder(engine, job, attempt_number);
}

int engine_output_open(
    const struct engine *engine, uint64_t job, const char *name, struct error *err)
{
    return engine->operations->output_open(engine, job, name, err);
}

int engine_outputs_drop(struct engine *engine, uint64_t job, struct error *err)
{
    return engine->operations->outputs_drop(engine, job, err);
}

char *engine_serve_socket(const struct engine *engine, uint64_t attempt)
{
    return engine->operations->serve_socket(engine, attempt);
}

void engine_destroy(struct engine *engine)
{
    if (engine)
        engine->operations->destroy(engine);
}
