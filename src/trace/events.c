/* Machines that come and go, as a file has it: Bamboo's preemption traces (Thorpe et al., NSDI
 * 2023) and whoever writes the same. */
#include "trace/line.h"
#include "trace/trace.h"

#include <string.h>

enum { TIME, WHAT, NODE };
static const struct line_column columns[] = {{"time"}, {"event"}, {"node"}, {NULL}};

enum { EVENTS_MAX = 10 * 1000 * 1000 };

static int row(struct trace_events *events, const struct lines *lines, struct error *err)
{
    struct trace_event event = {0};
    const char *what = lines_text(lines, WHAT), *node = lines_text(lines, NODE);
    if (lines_int(lines, TIME, 0, TRACE_TIME_MS_MAX, &event.at_ms, err) < 0)
        return -1;
    event.up = strcmp(what, "add") == 0;
    if (!event.up && strcmp(what, "remove") != 0)
        return lines_expected(lines, WHAT, "add or remove", err);
    if (!*node || strlen(node) > TRACE_TEXT_MAX)
        return lines_expected(lines, NODE, "a name of at most 200 bytes", err);
    if (events->items.count >= EVENTS_MAX)
        return lines_wrong(lines, "more than 10 million events", err);
    if (events->items.count && event.at_ms < events->items.items[events->items.count - 1].at_ms)
        return lines_wrong(lines, "the event comes before the one of the line above", err);
    event.node = arena_strdup(events->arena, node);
    vec_push(&events->items, event);
    return 0;
}

int trace_events_read(struct trace_events *events, const char *path, struct error *err)
{
    struct lines *lines = lines_open(path, ',', true, columns, err);
    int got = lines ? 1 : -1;
    events->arena = arena_create();
    while (got > 0 && (got = lines_next(lines, err)) > 0)
        got = row(events, lines, err) < 0 ? -1 : 1;
    lines_close(lines);
    if (got == 0)
        return 0;
    trace_events_finish(events);
    return -1;
}

void trace_events_finish(struct trace_events *events)
{
    vec_free(&events->items);
    arena_destroy(events->arena);
    *events = (struct trace_events){0};
}
