/* The control socket: see control.h. */
#include "gateway/control.h"

#include "base/memory.h"
#include "gateway/routes.h"
#include "wire/http.h"

#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    LEAVE_MS = 10000,
    NEWS_MS = 1000, /* GET /load/next is answered after this if not before */
    LISTENERS_MAX = 16,
};

/* A PUT /routes whose table is not yet in use everywhere. */
struct waiting {
    TAILQ_ENTRY(waiting) link;
    struct control *control;
    struct http_request *request;
    uint64_t sequence;
};

/* A GET /load/next that is not answered yet. */
struct listener {
    TAILQ_ENTRY(listener) link;
    struct control *control;
    struct http_request *request;
    struct event timer;
};

struct control {
    struct event_base *base;
    TAILQ_HEAD(, listener) listeners;
    int listener_count;
    struct http_server *http;
    struct control_host host;
    uint64_t used; /* the sequence that every worker has */
    TAILQ_HEAD(, waiting) waiting;
};

static void respond_error(struct http_request *request, const struct error *err)
{
    static const struct http_field fields[] = {{"Content-Type", "application/problem+json"}};
    /* A document is a message of ours, not a form that somebody filled in: 400 rather than 422. */
    int status = err->code == ERR_INVALID ? 400 : error_http_status(err->code);
    struct strbuf body = {0};
    strbuf_printf(&body,
        "{\"type\":\"muster:%s\",\"title\":\"%s\",\"status\":%d,\"detail\":", error_name(err->code),
        http_status_phrase(status), status);
    strbuf_json(&body, err->text);
    strbuf_puts(&body, "}\n");
    http_respond(request, status, fields, ARRAY_LEN(fields), body.text, body.length);
    strbuf_finish(&body);
}

static void on_gone(void *context)
{
    struct waiting *waiting = context;
    TAILQ_REMOVE(&waiting->control->waiting, waiting, link);
    free(waiting);
}

static void on_routes(struct http_request *request, const char *body, size_t length, void *context)
{
    struct control *control = context;
    struct error err;
    uint64_t sequence;
    if (control->host.put_routes(control->host.context, body, length, &sequence, &err) < 0) {
        respond_error(request, &err);
        return;
    }
    struct waiting *waiting = mem_alloc(1, sizeof *waiting);
    *waiting = (struct waiting){.control = control, .request = request, .sequence = sequence};
    TAILQ_INSERT_TAIL(&control->waiting, waiting, link);
    http_request_on_cancel(request, on_gone, waiting);
    control_routes_used(control, control->used);
}

void control_routes_used(struct control *control, uint64_t sequence)
{
    control->used = sequence;
    for (struct waiting *waiting = TAILQ_FIRST(&control->waiting), *next; waiting; waiting = next) {
        next = TAILQ_NEXT(waiting, link);
        if (waiting->sequence > sequence)
            continue;
        TAILQ_REMOVE(&control->waiting, waiting, link);
        http_respond(waiting->request, 204, NULL, 0, NULL, 0);
        free(waiting);
    }
}

static void put_routes(struct control *control, struct http_request *request)
{
    http_request_collect(request, ROUTES_BYTES_MAX, on_routes, control);
}

static void respond_text(struct http_request *request, const char *type, struct strbuf *body)
{
    struct http_field field = {"Content-Type", type};
    http_respond(request, 200, &field, 1, strbuf_text(body), body->length);
    strbuf_finish(body);
}

static void get_status(struct control *control, struct http_request *request)
{
    struct strbuf body = {0};
    control->host.write_status(control->host.context, &body);
    respond_text(request, "application/json", &body);
}

static void get_metrics(struct control *control, struct http_request *request)
{
    struct strbuf body = {0};
    control->host.write_metrics(control->host.context, &body);
    respond_text(request, "text/plain; version=0.0.4", &body);
}

/* ---- the load -------------------------------------------------------------------------------- */

static void get_load(struct control *control, struct http_request *request)
{
    struct strbuf body = {0};
    control->host.write_load(control->host.context, &body);
    respond_text(request, "application/json", &body);
}

static void listener_free(struct listener *listener)
{
    TAILQ_REMOVE(&listener->control->listeners, listener, link);
    listener->control->listener_count--;
    event_del(&listener->timer);
    free(listener);
}

static void on_deaf(void *context)
{
    listener_free(context);
}

static void listener_answer(struct listener *listener)
{
    struct control *control = listener->control;
    struct http_request *request = listener->request;
    listener_free(listener);
    get_load(control, request);
}

static void on_news_due(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    listener_answer(context);
}

static void get_next_load(struct control *control, struct http_request *request)
{
    static const struct timeval due = {NEWS_MS / 1000, NEWS_MS % 1000 * 1000};
    if (control->listener_count >= LISTENERS_MAX) {
        get_load(control, request);
        return;
    }
    struct listener *listener = mem_alloc(1, sizeof *listener);
    listener->control = control;
    listener->request = request;
    TAILQ_INSERT_TAIL(&control->listeners, listener, link);
    control->listener_count++;
    evtimer_assign(&listener->timer, control->base, on_news_due, listener);
    evtimer_add(&listener->timer, &due);
    http_request_on_cancel(request, on_deaf, listener);
}

void control_load_changed(struct control *control)
{
    /* An answer may lead to another question at once: each of those that wait now gets one. */
    for (int left = control->listener_count; left > 0; left--)
        listener_answer(TAILQ_FIRST(&control->listeners));
}

static void on_request(struct http_request *request, void *context)
{
    static const struct {
        const char *method, *path;
        void (*answer)(struct control *control, struct http_request *request);
    } rows[] = {
        {"PUT", "/routes", put_routes},
        {"GET", "/status", get_status},
        {"GET", "/metrics", get_metrics},
        {"GET", "/load", get_load},
        {"GET", "/load/next", get_next_load},
    };
    struct error err;
    /* The socket's mode says so already; a mode can be changed by mistake. */
    uid_t uid = http_request_peer(request)->uid;
    if (uid != 0 && uid != geteuid()) {
        error_set(&err, ERR_DENIED, "this socket is for the server's user");
        respond_error(request, &err);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!strcmp(http_request_method(request), rows[i].method) &&
            !strcmp(http_request_path(request), rows[i].path)) {
            rows[i].answer(context, request);
            return;
        }
    }
    error_set(&err, ERR_NOT_FOUND,
        "there is PUT /routes, GET /status, GET /metrics, GET /load and GET /load/next");
    respond_error(request, &err);
}

int control_open(struct event_base *base, const char *path, int fd, const struct control_host *host,
    struct control **ret, struct error *err)
{
    struct control *control = mem_alloc(1, sizeof *control);
    control->host = *host;
    TAILQ_INIT(&control->waiting);
    TAILQ_INIT(&control->listeners);
    control->base = base;
    struct http_server_options options = {.handler = on_request, .ctx = control};
    control->http = http_server_create(base, &options);
    int rc = fd < 0 ? http_server_listen_unix(control->http, path, 0600, err)
                    : http_server_listen_fd(control->http, fd, path, NULL, err);
    if (rc < 0) {
        control_close(control);
        return -1;
    }
    *ret = control;
    return 0;
}

int control_fd(const struct control *control)
{
    return http_server_listener_fd(control->http);
}

void control_leave(struct control *control)
{
    http_server_leave(control->http);
    http_server_drain(control->http, LEAVE_MS, NULL, NULL);
}

void control_close(struct control *control)
{
    if (!control)
        return;
    http_server_destroy(control->http);
    assert(TAILQ_EMPTY(&control->waiting) && TAILQ_EMPTY(&control->listeners));
    free(control);
}
