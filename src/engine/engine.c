/* The interface of the engines: hands each call to the engine it is for. */
#include "engine/engine.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/engine_operations.h"
#include "engine/launch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool engine_view(const struct engine *engine, uint64_t attempt, struct attempt_view *ret_view)
{
    return engine->operations->view(engine, attempt, ret_view);
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
    return engine->operations->node ? engine->operations->node(engine) : NULL;
}

void engine_site(const struct engine *engine, struct engine_site *ret_site)
{
    *ret_site = (struct engine_site){0};
    if (engine->operations->site)
        engine->operations->site(engine, ret_site);
}

/* On this machine an attempt is placed from the beginning. */
static int where_here(const struct engine *engine, uint64_t attempt, struct engine_where *ret_where,
    struct error *err)
{
    struct attempt_view view;
    if (!engine_view(engine, attempt, &view))
        return error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, attempt);
    *ret_where = (struct engine_where){.submission = view.state == ENGINE_ATTEMPT_ENDED
                                                         ? ENGINE_SUBMISSION_OVER
                                                         : ENGINE_SUBMISSION_PLACED};
    const struct engine_node *node = engine_node(engine);
    snprintf(ret_where->nodes, sizeof ret_where->nodes, "%s", node ? node->name : "");
    return 0;
}

int engine_where(const struct engine *engine, uint64_t attempt, struct engine_where *ret_where,
    struct error *err)
{
    return engine->operations->where ? engine->operations->where(engine, attempt, ret_where, err)
                                     : where_here(engine, attempt, ret_where, err);
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
    return engine->operations->serve_socket ? engine->operations->serve_socket(engine, attempt)
                                            : NULL;
}

char *engine_serve_address(const struct engine *engine, uint64_t attempt)
{
    if (engine->operations->serve_address)
        return engine->operations->serve_address(engine, attempt);
    SCOPED(mem_scope) char *socket = engine_serve_socket(engine, attempt);
    struct strbuf address = {0};
    if (!socket)
        return NULL;
    strbuf_printf(&address, "unix:%s", socket);
    return strbuf_steal(&address);
}

uint32_t engine_serve_port(const struct engine *engine, uint64_t attempt, uint32_t wanted)
{
    return engine->operations->serve_port ? engine->operations->serve_port(engine, attempt)
                                          : wanted;
}

const char *engine_mark(const char *owner, uint64_t attempt, char out[ENGINE_MARK_TEXT])
{
    assert(strlen(owner) <= 16);
    snprintf(out, ENGINE_MARK_TEXT, "muster-%s-%016" PRIx64, owner, attempt);
    return out;
}

bool engine_mark_read(const char *text, const char *owner, uint64_t *ret_attempt)
{
    char again[ENGINE_MARK_TEXT];
    const char *number = text ? strrchr(text, '-') : NULL;
    if (!number)
        return false;
    uint64_t attempt = strtoull(number + 1, NULL, 16);
    if (strcmp(engine_mark(owner, attempt, again), text) != 0)
        return false;
    *ret_attempt = attempt;
    return true;
}

void engine_destroy(struct engine *engine)
{
    if (engine)
        engine->operations->destroy(engine);
}
