/* See pace.h. */
#include "server/pace.h"

#include <stdlib.h>
#include <string.h>

#define WORK_MAX ((int64_t)1 << 50)

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Thousandths of units a second. */
static int64_t rate_of(int64_t units, int64_t passed_ms)
{
    __int128 rate = (__int128)units * 1000000 / passed_ms;
    return rate > WORK_MAX ? WORK_MAX : (int64_t)rate;
}

/* The time from its admission to its first line, without what that line's new work took. */
static void learn_restart(
    struct pace *pace, const struct pace_attempt *attempt, int64_t done, int64_t at_ms)
{
    int64_t rate_milli = pace->rate_milli ? pace->rate_milli : pace->last_milli;
    if (rate_milli <= 0 || done < pace->done)
        return;
    __int128 worked_ms = (__int128)(done - pace->done) * 1000000 / rate_milli;
    __int128 idle_ms = at_ms - attempt->admitted_ms - worked_ms;
    if (idle_ms > 0)
        pace->restart_ms = (int64_t)(idle_ms > 24 * 3600000 ? 24 * 3600000 : idle_ms);
}

static void attempt_begin(
    struct pace *pace, const struct pace_attempt *attempt, int64_t done, int64_t at_ms)
{
    if (pace->attempt && pace->attempt < attempt->number)
        learn_restart(pace, attempt, done, at_ms);
    pace->last_milli = pace->rate_milli ? pace->rate_milli : pace->last_milli;
    pace->attempt = attempt->number;
    pace->rate_milli = 0;
    pace->since_done = done;
    pace->since_ms = at_ms;
    pace->told_ms = 0;
}

static void measure(struct pace *pace, int64_t done, int64_t at_ms)
{
    if (done < pace->since_done || at_ms < pace->since_ms) {
        pace->since_done = done;
        pace->since_ms = at_ms;
        return;
    }
    if (at_ms - pace->since_ms < PACE_WINDOW_MS || done == pace->since_done)
        return;
    int64_t rate_milli = rate_of(done - pace->since_done, at_ms - pace->since_ms);
    pace->rate_milli = pace->rate_milli ? (pace->rate_milli * 3 + rate_milli) / 4 : rate_milli;
    pace->since_done = done;
    pace->since_ms = at_ms;
}

/* "8" or "8x2": ranks, and nodes where it matters. */
static bool read_size(const char *text, struct core_speed *ret)
{
    char *end = NULL;
    if (*text < '1' || *text > '9')
        return false;
    long ranks = strtol(text, &end, 10), nodes = 1;
    if (*end == 'x' && end[1] >= '1' && end[1] <= '9')
        nodes = strtol(end + 1, &end, 10);
    if (*end || ranks < 1 || ranks > 16384 || nodes < 1 || nodes > ranks)
        return false;
    *ret = (struct core_speed){.ranks = (int32_t)ranks, .nodes = (int32_t)nodes};
    return true;
}

static bool size_known(const struct core_speed *speeds, size_t count, const struct core_speed *one)
{
    for (size_t i = 0; i < count; i++) {
        if (speeds[i].ranks == one->ranks && speeds[i].nodes == one->nodes)
            return true;
    }
    return false;
}

/* What it says of other sizes, besides what was measured of this one. */
static size_t read_speeds(const struct doc *line, struct core_speed *speeds, size_t count)
{
    const struct doc *said = doc_get(line, "speeds");
    if (!said || said->type != DOC_MAP)
        return count;
    for (const struct doc *value = said->first; value && count < CORE_SPEEDS_MAX;
         value = value->next) {
        struct core_speed one;
        if (value->type != DOC_NUMBER || !read_size(value->key, &one) ||
            size_known(speeds, count, &one))
            continue;
        double rate = strtod(value->text, NULL);
        if (!(rate >= 0 && rate <= 1e12))
            continue;
        one.rate_milli = (int64_t)(rate * 1000);
        speeds[count++] = one;
    }
    return count;
}

bool pace_take(struct pace *pace, const struct doc *line, const struct pace_attempt *attempt,
    int64_t at_ms, struct core_speed *speeds, struct core_progress *ret)
{
    int64_t done = doc_get_int(line, "done", -1), total = doc_get_int(line, "total", -1);
    if (done < 0 || done > WORK_MAX || attempt->number < pace->attempt)
        return false;
    if (attempt->number != pace->attempt)
        attempt_begin(pace, attempt, done, at_ms);
    measure(pace, done, at_ms);
    pace->done = done;
    pace->at_ms = at_ms;
    if (pace->told_ms && at_ms - pace->told_ms < PACE_EVERY_MS)
        return false;
    pace->told_ms = at_ms;
    size_t count = 0;
    if (pace->rate_milli)
        speeds[count++] = (struct core_speed){attempt->ranks, attempt->nodes, pace->rate_milli};
    *ret = (struct core_progress){.remaining = total < 0 ? -1 : clamp(total - done, 0, WORK_MAX),
        .restart_ms = pace->restart_ms,
        .speeds = speeds,
        .speed_count = read_speeds(line, speeds, count)};
    return true;
}
