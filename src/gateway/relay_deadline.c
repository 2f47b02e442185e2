/* Deadlines of requests: see relay_care.h. The time runs from the request's first byte; when it is
 * over, whatever the relay waits for is left, and what is under way is cancelled. */
#include "gateway/answer.h"
#include "gateway/deadline.h"
#include "gateway/relay_care.h"

#include "base/clock.h"
#include "base/memory.h"
#include "wire/http.h"

#include <event2/event.h>
#include <strings.h>

static const char field_ms[] = DEADLINE_FIELD, field_grpc[] = "grpc-timeout";

static void refuse_late(struct relay *relay)
{
    figure_add(relay->view->figures, FIGURE_DEADLINE, 1);
    relay_refuse(relay, 504, "deadline_exceeded", "the request's deadline has passed");
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    struct relay_care *care = context;
    struct relay *relay = care->relay;
    (void)fd, (void)what;
    care->late = true;
    relay_attempt_end(relay, false);
    if (answer_break(relay))
        refuse_late(relay);
}

/* The least of what the client asks for and what the service says; -1: any time. False: the field
 * cannot be read. */
static bool allowed_ms(struct relay *relay, int64_t *ret)
{
    const struct service_deadline *options = &relay->terms->options.deadline;
    const char *ms = options->header ? http_request_header(relay->request, field_ms) : NULL;
    const char *grpc = options->header ? http_request_header(relay->request, field_grpc) : NULL;
    int64_t asked = -1, also = -1;
    if ((ms && !deadline_parse_ms(ms, &asked)) || (grpc && !deadline_parse_grpc(grpc, &also)))
        return false;
    *ret = options->total_ms > 0 ? options->total_ms : -1;
    if (asked >= 0 && (*ret < 0 || asked < *ret))
        *ret = asked;
    if (also >= 0 && (*ret < 0 || also < *ret))
        *ret = also;
    return true;
}

bool relay_deadline_begin(struct relay *relay)
{
    struct relay_care *care = relay->care;
    int64_t ms, now = clock_held_ns();
    if (!allowed_ms(relay, &ms)) {
        relay_refuse(relay, 400, "invalid_timeout",
            "%s takes milliseconds (1500), %s at most eight digits and one of H M S m u n (1500m)",
            field_ms, field_grpc);
        return false;
    }
    if (ms < 0)
        return true;
    care->deadline_ns = relay->began_ns + ms * 1000000;
    int64_t left = deadline_left_ms(care->deadline_ns, now);
    if (left == 0) {
        refuse_late(relay);
        return false;
    }
    struct timeval wait = {(time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000)};
    evtimer_assign(&care->deadline, relay->view->base, on_deadline, care);
    evtimer_add(&care->deadline, &wait);
    return true;
}

bool relay_deadline_may_send(struct relay *relay)
{
    const struct relay_care *care = relay->care;
    if (care->deadline_ns == 0 || deadline_left_ms(care->deadline_ns, clock_held_ns()) > 0)
        return true;
    refuse_late(relay);
    return false;
}

bool relay_deadline_owns(const struct relay *relay, const char *name)
{
    return relay->care->deadline_ns > 0 &&
           (!strcasecmp(name, field_ms) || !strcasecmp(name, field_grpc));
}

size_t relay_deadline_field(const struct relay *relay, struct http_field *out)
{
    const struct relay_care *care = relay->care;
    if (care->deadline_ns == 0)
        return 0;
    int64_t left = deadline_left_ms(care->deadline_ns, clock_held_ns());
    char *text = arena_alloc(http_request_arena(relay->request), DEADLINE_TEXT, 1);
    out[0] = (struct http_field){field_ms, deadline_text(left, text)};
    return 1;
}
