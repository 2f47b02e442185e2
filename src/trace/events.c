/* What happened to spot nodes, as three sorts of public files have it (bamboo, NSDI'23):
 *
 *     480000,add,node1                      milliseconds, add or remove, which node
 *     2021-12-10, 13:07:45, 80              date, time, how many nodes there are; a few lines are
 *                                           out of time order
 *     0.030,9                               hours (with a point) or seconds since the beginning,
 *                                           how many nodes there are
 *
 * Where a file only counts, nodes are called spot-0000, ..; the newest go first, as there is no
 * telling which one it was. The first line is time 0. */
#include "trace/line.h"
#include "trace/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENTS_MAX = 1000000, COUNT_MAX = 100000 };

enum { FIRST, SECOND, THIRD };

static const struct line_column columns[] = {
    {"time", false}, {"event or count", false}, {"node or count", true}, {NULL, false}};

struct step {
    int64_t at_ms;
    int64_t count;
    size_t order;
};

struct reading {
    struct lines *lines;
    struct trace_events *events;
    VEC(struct step) steps;  /* of files that count */
    VEC(const char *) names; /* of counted nodes */
};

/* Days from 1970-01-01 to a date of the Gregorian calendar, by counting. */
static int64_t days_before(int64_t year, int64_t month, int64_t day)
{
    static const int16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t last = year - 1;
    int64_t days = year * 365 + last / 4 - last / 100 + last / 400 - (1970 * 365 + 477);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days + before[month - 1] + (leap && month > 2) + day - 1;
}

/* "2021-12-10" and " 13:07:45" as milliseconds; whether they are that. */
static bool read_moment(const char *date, const char *time, int64_t *ret_ms)
{
    int year, month, day, hour, minute, second, end = 0;
    if (strlen(date) != 10 || sscanf(date, "%4d-%2d-%2d%n", &year, &month, &day, &end) != 3 ||
        end != 10)
        return false;
    while (*time == ' ')
        time++;
    end = 0;
    if (strlen(time) != 8 || sscanf(time, "%2d:%2d:%2d%n", &hour, &minute, &second, &end) != 3 ||
        end != 8)
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60)
        return false;
    *ret_ms = ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60000 + second * 1000;
    return true;
}

static int read_number(struct reading *reading, size_t column, int64_t *ret, struct error *err)
{
    char *end;
    const char *text = lines_text(reading->lines, column);
    long long value = strtoll(text, &end, 10);
    while (*end == ' ' || *end == '\r')
        end++;
    if (end == text || *end || value < 0 || value > COUNT_MAX)
        return lines_expected(reading->lines, column, "a number of nodes up to 100000", err);
    *ret = value;
    return 0;
}

static int read_step(struct reading *reading, bool dated, struct error *err)
{
    struct step step = {.order = reading->steps.count};
    const char *first = lines_text(reading->lines, FIRST);
    bool hours = strchr(first, '.') != NULL;
    if (dated) {
        if (!read_moment(first, lines_text(reading->lines, SECOND), &step.at_ms))
            return lines_expected(reading->lines, FIRST, "a date and a time", err);
    } else if (lines_decimal(reading->lines, FIRST, hours ? 3600000 : 1000, 0, TRACE_TIME_MS_MAX,
                   &step.at_ms, err) < 0) {
        return -1;
    }
    if (read_number(reading, dated ? THIRD : SECOND, &step.count, err) < 0)
        return -1;
    vec_push(&reading->steps, step);
    return 0;
}

static int read_event(struct reading *reading, bool up, struct error *err)
{
    struct trace_event event = {.up = up};
    const char *node = lines_text(reading->lines, THIRD);
    if (!*node || strlen(node) > TRACE_TEXT_MAX)
        return lines_expected(reading->lines, THIRD, "the name of a node", err);
    size_t count = reading->events->items.count;
    int64_t low_ms = count ? reading->events->items.items[count - 1].at_ms : 0;
    if (lines_int(reading->lines, FIRST, low_ms, TRACE_TIME_MS_MAX, &event.at_ms, err) < 0)
        return -1;
    event.node = arena_strdup(reading->events->arena, node);
    vec_push(&reading->events->items, event);
    return 0;
}

static int read_line(struct reading *reading, struct error *err)
{
    const char *second = lines_text(reading->lines, SECOND);
    bool add = strcmp(second, "add") == 0;
    bool named = add || strcmp(second, "remove") == 0;
    if (reading->events->items.count + reading->steps.count >= EVENTS_MAX)
        return lines_expected(reading->lines, FIRST, "at most a million lines", err);
    if (named ? reading->steps.count > 0 : reading->events->items.count > 0)
        return lines_expected(reading->lines, SECOND, "what the lines before have", err);
    if (named)
        return read_event(reading, add, err);
    return read_step(reading, strchr(lines_text(reading->lines, FIRST), '-') != NULL, err);
}

static int by_time(const void *a, const void *b)
{
    const struct step *left = a, *right = b;
    if (left->at_ms != right->at_ms)
        return left->at_ms < right->at_ms ? -1 : 1;
    return (left->order > right->order) - (left->order < right->order);
}

/* Nodes that come and go so that there are as many as the file says. */
static int steps_to_events(struct reading *reading, struct error *err)
{
    struct trace_events *events = reading->events;
    int64_t there = 0;
    if (reading->steps.count)
        qsort(reading->steps.items, reading->steps.count, sizeof(struct step), by_time);
    for (size_t i = 0; i < reading->steps.count; i++) {
        const struct step *step = &reading->steps.items[i];
        for (; there != step->count; there += there < step->count ? 1 : -1) {
            bool up = there < step->count;
            size_t node = (size_t)(up ? there : there - 1);
            if (node == reading->names.count)
                vec_push(&reading->names, arena_printf(events->arena, "spot-%04zu", node));
            struct trace_event event = {
                step->at_ms - reading->steps.items[0].at_ms, reading->names.items[node], up};
            vec_push(&events->items, event);
        }
        if (events->items.count > EVENTS_MAX)
            return error_set(err, ERR_TOO_LARGE, "more than a million nodes come and go");
    }
    return 0;
}

int trace_events_read(struct trace_events *events, const char *path, struct error *err)
{
    struct reading reading = {.events = events};
    reading.lines = lines_open(path, ',', true, columns, err);
    if (!reading.lines)
        return -1;
    events->arena = arena_create();
    int more;
    while ((more = lines_next(reading.lines, err)) > 0) {
        if (read_line(&reading, err) < 0) {
            more = -1;
            break;
        }
    }
    if (more == 0)
        more = steps_to_events(&reading, err);
    lines_close(reading.lines);
    vec_free(&reading.steps);
    vec_free(&reading.names);
    if (more < 0)
        trace_events_finish(events);
    return more;
}

void trace_events_finish(struct trace_events *events)
{
    arena_destroy(events->arena);
    vec_free(&events->items);
    *events = (struct trace_events){0};
}
