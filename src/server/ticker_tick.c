/* What commands see of the tick that they run in: see ticker.h. */
#include "server/ticker_internal.h"

#include "base/clock.h"
#include "server/context.h"

#include <assert.h>

struct server *tick_server(const struct tick *tick)
{
    return tick->ticker->server;
}

struct core *tick_core(const struct tick *tick)
{
    return tick->ticker->server->core;
}

struct store_txn *tick_txn(const struct tick *tick)
{
    return tick->txn;
}

struct arena *tick_arena(const struct tick *tick)
{
    return tick->arena;
}

int64_t tick_now(const struct tick *tick)
{
    return tick->now_ms;
}

const char *tick_actor(const struct tick *tick)
{
    return tick->command ? tick->command->actor : "scheduler";
}

void tick_audit(struct tick *tick, const char *action, const char *kind, const char *name,
    const char *team, const char *detail)
{
    struct audit_event event = {
        .at_ms = tick->now_ms,
        .actor = tick_actor(tick),
        .action = action,
        .kind = kind,
        .name = name,
        .team = team ? team : "",
        .detail = detail,
    };
    store_txn_audit(tick->txn, &event);
}

void tick_note(struct tick *tick, const char *key, void *value)
{
    assert(value);
    strmap_put(&tick->ticker->notes, key, value);
}

void *tick_noted(const struct tick *tick, const char *key)
{
    return strmap_get(&tick->ticker->notes, key);
}

void tick_spoil(struct tick *tick)
{
    assert(tick->command);
    tick->spoiled = true;
    tick->command->spoiled = true;
}

bool tick_may_spoil(const struct tick *tick)
{
    const struct ticker *ticker = tick->ticker;
    return ticker->spoil_count < SPOILS_A_SECOND ||
           clock_monotonic_ns() - ticker->spoil_ns >= NS_PER_S;
}
