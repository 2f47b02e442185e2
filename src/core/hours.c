/* See hours.h. Minutes of the day and of the week, by a clock without summer time. */
#include "core/hours.h"

enum { DAY = 24 * 60, WEEK = 7 * DAY, MINUTE_MS = 60000 };

static int64_t positive(int64_t value, int64_t of)
{
    return (value % of + of) % of;
}

bool hours_hold(const struct autoscale_hours *hours, int64_t offset_minutes, int64_t now_ms)
{
    /* The epoch began on a Thursday; a Monday is day 0. */
    int64_t minute_of_week = positive(now_ms / MINUTE_MS + offset_minutes + 3 * DAY, WEEK);
    int64_t day = minute_of_week / DAY, minute = minute_of_week % DAY, before = (day + 6) % 7;
    bool today = hours->day_bits >> day & 1, yesterday = hours->day_bits >> before & 1;
    if (hours->from_minute < hours->to_minute)
        return today && minute >= hours->from_minute && minute < hours->to_minute;
    return (today && minute >= hours->from_minute) || (yesterday && minute < hours->to_minute);
}

bool quiet_holds(const struct service_quiet *quiet, int64_t now_ms, size_t *ret_window)
{
    for (size_t i = 0; i < quiet->hours.count; i++) {
        if (!hours_hold(&quiet->hours.items[i], quiet->utc_offset_minutes, now_ms))
            continue;
        if (ret_window)
            *ret_window = i;
        return true;
    }
    return false;
}

/* From one minute of the day to the next time that another comes; a whole day to itself. */
static int64_t minutes_to(int64_t minute, int64_t wanted)
{
    int64_t ahead = positive(wanted - minute, DAY);
    return ahead ? ahead : DAY;
}

int64_t quiet_next_ms(const struct service_quiet *quiet, int64_t now_ms)
{
    int64_t minute = positive(now_ms / MINUTE_MS + quiet->utc_offset_minutes, DAY);
    int64_t least = DAY + 1;
    for (size_t i = 0; i < quiet->hours.count; i++) {
        int64_t from = minutes_to(minute, quiet->hours.items[i].from_minute);
        int64_t to = minutes_to(minute, quiet->hours.items[i].to_minute);
        int64_t first = from < to ? from : to;
        least = first < least ? first : least;
    }
    return least > DAY ? INT64_MAX : (now_ms / MINUTE_MS + least) * MINUTE_MS;
}
