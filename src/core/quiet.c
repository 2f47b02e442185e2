/* See quiet.h. Integers only. */
#include "core/quiet.h"

enum { WINDOW_MS_MAX = 60000, WINDOW_MS_MIN = 1000 };

/* Requests so far are not more than this: of it a rate can be made. */
#define COUNT_MAX (INT64_MAX / 1000000000)

int64_t quiet_window_ms(const struct service_quiet_load *rule)
{
    int64_t window = rule->for_ms / 4;
    window = window < WINDOW_MS_MAX ? window : WINDOW_MS_MAX;
    return window > WINDOW_MS_MIN ? window : WINDOW_MS_MIN;
}

static bool goes_on(const struct quiet_load *load, const struct quiet_report *report)
{
    return load->begun && report->source == load->last.source &&
           report->at_ms >= load->last.at_ms && report->arrived >= load->last.arrived &&
           report->at_ms - load->last.at_ms <= QUIET_STALE_MS;
}

static int64_t rate_micro(int64_t count, int64_t ms)
{
    return (count < COUNT_MAX ? count : COUNT_MAX) * 1000000000 / ms;
}

static bool set(struct quiet_load *load, bool holds, int64_t now_ms)
{
    load->holds = holds;
    load->changed_ms = now_ms;
    return true;
}

/* The window is over, or has as many requests as it takes to know. */
static void close_window(struct quiet_load *load, const struct service_quiet_load *rule,
    const struct quiet_report *report, int64_t rate)
{
    bool calm = rate < rule->below_micro;
    if (!calm)
        load->calm_since_ms = 0;
    else if (load->calm_since_ms == 0)
        load->calm_since_ms = load->window.at_ms;
    load->rate_micro = rate;
    load->is_measured = true;
    load->window = *report;
}

bool quiet_load_report(struct quiet_load *load, const struct service_quiet_load *rule,
    const struct quiet_report *report)
{
    const int64_t window_ms = quiet_window_ms(rule);
    if (!goes_on(load, report)) {
        load->begun = true;
        load->last = load->window = *report;
        load->calm_since_ms = 0;
        return false;
    }
    load->last = *report;
    int64_t count = report->arrived - load->window.arrived;
    int64_t span_ms = report->at_ms - load->window.at_ms;
    bool busy = rate_micro(count, span_ms > window_ms ? span_ms : window_ms) >= rule->above_micro;
    if (span_ms < window_ms && !(load->holds && busy))
        return false;
    close_window(load, rule, report, rate_micro(count, span_ms > 0 ? span_ms : 1));
    if (load->holds)
        return busy && set(load, false, report->at_ms);
    bool calm = load->calm_since_ms > 0 && report->at_ms - load->calm_since_ms >= rule->for_ms;
    return calm && set(load, true, report->at_ms);
}
