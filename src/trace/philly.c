/* Microsoft's Philly clusters, one line a job: virtual clusters are teams. Times are local ones;
 * the clock begins at midnight of the day of the first. */
#include "trace/reader.h"
#include "trace/readers.h"

#include <string.h>

enum { TIMESTAMP, DURATION, GPUS, CLUSTER };
static const struct line_column columns[] = {
    {"timestamp"}, {"duration"}, {"num_gpus"}, {"cluster"}, {NULL}};

enum { DAY_MS = 24 * 3600 * 1000 };
#define PHILLY_DAY_FIRST 16071 /* days from 1970-01-01 to 2014-01-01: no such trace is older */

/* Two digits, or -1. */
static int pair(const char *text)
{
    bool digits = text[0] >= '0' && text[0] <= '9' && text[1] >= '0' && text[1] <= '9';
    return digits ? (text[0] - '0') * 10 + text[1] - '0' : -1;
}

/* Days since 1970-01-01 of a day of the Gregorian calendar: a year that begins in March has its odd
 * day at the end, and months of 153 days in five. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* "2017-10-09 07:01:55", with a fraction or not. */
static int moment_parse(const char *text, int64_t *ret_ms)
{
    if (strlen(text) < 19 || text[4] != '-' || text[7] != '-' || text[13] != ':' || text[16] != ':')
        return -1;
    int century = pair(text), year = pair(text + 2), month = pair(text + 5), day = pair(text + 8);
    int hour = pair(text + 11), minute = pair(text + 14), second = pair(text + 17);
    if (century < 0 || year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return -1;
    int64_t days = days_of(century * 100 + year, month, day) - PHILLY_DAY_FIRST;
    *ret_ms = days * DAY_MS + (hour * 3600 + minute * 60 + second) * INT64_C(1000);
    return *ret_ms < 0 || *ret_ms > TRACE_TIME_MS_MAX / 2 ? -1 : 0;
}

static int row(const struct lines *lines, struct trace_job *job, struct error *err)
{
    if (moment_parse(lines_text(lines, TIMESTAMP), &job->submit_ms) < 0)
        return lines_expected(
            lines, TIMESTAMP, "a moment after 2014 such as 2017-10-09 07:01:55", err);
    if (lines_decimal(lines, DURATION, 1000, 0, TRACE_TIME_MS_MAX, &job->duration_ms, err) < 0 ||
        reader_text(lines, CLUSTER, false, &job->team, err) < 0)
        return -1;
    return reader_gang(lines, GPUS, job, err);
}

struct trace_source *philly_open(const struct trace_options *options, struct error *err)
{
    static const struct trace_reader reader = {.separator = ',', .columns = columns, .row = row};
    struct trace_list *list = reader_list(&reader, options->jobs, err);
    if (!list)
        return NULL;
    trace_list_sort(list);
    if (trace_list_count(list))
        trace_list_shift(list, trace_list_at(list, 0)->submit_ms / DAY_MS * DAY_MS);
    return trace_list_source(list);
}
