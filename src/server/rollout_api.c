/* Rollouts over the API: what is seen of one, and what somebody decides about it. Each decision is
 * one of the core's, which the audit records. */
#include "core/core.h"
#include "server/context.h"
#include "server/handlers.h"
#include "server/rollout_status.h"

#include <string.h>

/* The path named it as team:name, and the route made team/name of that. */
static const char *service_name(const struct call *call)
{
    return strchr(call->parameters[0], '/') + 1;
}

void api_rollout_get(struct call *call)
{
    struct doc *doc;
    struct error err;
    if (rollout_status(call->server, call->arena, call->team, service_name(call), &doc, &err) < 0)
        call_fail(call, &err);
    else
        call_answer(call, 200, doc);
}

static int run(
    struct tick *tick, const struct call *call, enum rollout_command command, struct error *err)
{
    struct core *core = tick_core(tick);
    uint64_t id = core_service_find(core, call->team, service_name(call));
    if (!id)
        return error_set(err, ERR_NOT_FOUND, "there is no service %s", call->parameters[0]);
    return core_rollout_command(core, id, command, err);
}

static int run_pause(struct tick *tick, void *context, struct error *err)
{
    return run(tick, context, ROLLOUT_DO_PAUSE, err);
}

static int run_resume(struct tick *tick, void *context, struct error *err)
{
    return run(tick, context, ROLLOUT_DO_RESUME, err);
}

static int run_promote(struct tick *tick, void *context, struct error *err)
{
    return run(tick, context, ROLLOUT_DO_PROMOTE, err);
}

static int run_abort(struct tick *tick, void *context, struct error *err)
{
    return run(tick, context, ROLLOUT_DO_ABORT, err);
}

void api_rollout_pause(struct call *call)
{
    call_command(call, run_pause, call_answer_empty);
}

void api_rollout_resume(struct call *call)
{
    call_command(call, run_resume, call_answer_empty);
}

void api_rollout_promote(struct call *call)
{
    call_command(call, run_promote, call_answer_empty);
}

void api_rollout_abort(struct call *call)
{
    call_command(call, run_abort, call_answer_empty);
}
