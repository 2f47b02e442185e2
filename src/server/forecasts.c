/* Asking the planner how long jobs would wait: see forecasts.h.
 *
 * What the core decides by has to be in the store, so an answer of the planner becomes a command of
 * a tick like any other, checked by the core: its numbers are those of another process. One
 * question is open at a time. */
#include "server/forecasts.h"

#include "base/log.h"
#include "base/memory.h"
#include "core/core.h"
#include "server/context.h"
#include "server/planner_link.h"
#include "server/ticker.h"
#include "wire/doc.h"

#include <event2/event.h>
#include <stdlib.h>

enum {
    LOOK_S = 1,
    ANSWER_MS = 20 * 1000, /* is waited for so long */
    HOLD_MS = 15 * 1000,   /* a job that begins to wait is held back so long for its first one */
    ANSWER_BYTES_MAX = 1 << 20,
};

struct forecasts {
    struct server *server;
    struct event *timer;
    bool open;      /* a question is */
    bool abandoned; /* it is to be freed with the answer */
};

/* What a tick tells the core. */
struct telling {
    size_t count;
    struct core_forecast forecasts[CORE_FORECASTS_MAX];
};

static int tell(struct tick *tick, void *context, struct error *err)
{
    const struct telling *telling = context;
    return core_forecast_put(tick_core(tick), telling->forecasts, telling->count, err);
}

static void report(struct forecasts *forecasts, const struct telling *telling)
{
    struct telling *copy = mem_alloc(1, sizeof *copy);
    *copy = *telling;
    ticker_report(forecasts->server->ticker, "planner", tell, free, copy);
}

static void take_one(struct telling *telling, const struct doc *one)
{
    if (telling->count == CORE_FORECASTS_MAX)
        return;
    telling->forecasts[telling->count++] =
        (struct core_forecast){.job = (uint64_t)doc_get_int(one, "job", 0),
            .at_ms = doc_get_int(one, "atMs", 0),
            .start_ms = doc_get_int(one, "startMs", 0)};
}

static void on_answer(void *context, const char *text, size_t length)
{
    struct forecasts *forecasts = context;
    struct error err;
    forecasts->open = false;
    if (forecasts->abandoned) {
        free(forecasts);
        return;
    }
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *answer =
        text ? doc_parse_json(arena, text, length, ANSWER_BYTES_MAX, &err) : NULL;
    const struct doc *waits = doc_get(answer, "waits");
    struct telling telling = {.count = 0};
    for (const struct doc *one = waits ? waits->first : NULL; one; one = one->next)
        take_one(&telling, one);
    if (telling.count)
        report(forecasts, &telling);
}

static void count_wanted(void *context, uint64_t job)
{
    (void)job;
    ++*(size_t *)context;
}

static void ask(struct forecasts *forecasts)
{
    static const char question[] = "{\"ask\":\"waits\"}";
    struct error err;
    forecasts->open = planner_link_ask(forecasts->server->planner, question, sizeof question - 1,
                          ANSWER_MS, on_answer, forecasts, &err) == 0;
}

/* The core may be read while a tick commits; it is only not changed then. */
static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct forecasts *forecasts = context;
    const struct core *core = forecasts->server->core;
    size_t wanted = 0;
    (void)fd, (void)what;
    if (!core || !core_bursts(core) || ticker_trouble(forecasts->server->ticker))
        return;
    if (forecasts->open || !planner_link_ready(forecasts->server->planner))
        return;
    core_forecast_wanted(core, count_wanted, &wanted);
    if (wanted)
        ask(forecasts);
}

void forecasts_run(const struct forecasts *forecasts, struct core *core)
{
    if (forecasts && core_bursts(core))
        core_forecast_expect(core, planner_link_ready(forecasts->server->planner) ? HOLD_MS : 0);
}

struct forecasts *forecasts_create(struct server *server)
{
    struct forecasts *forecasts = mem_alloc(1, sizeof *forecasts);
    struct timeval every = {LOOK_S, 0};
    forecasts->server = server;
    forecasts->timer = event_new(server->base, -1, EV_PERSIST, on_timer, forecasts);
    event_add(forecasts->timer, &every);
    return forecasts;
}

void forecasts_destroy(struct forecasts *forecasts)
{
    if (!forecasts)
        return;
    event_free(forecasts->timer);
    forecasts->timer = NULL;
    forecasts->abandoned = true;
    if (!forecasts->open)
        free(forecasts);
}
