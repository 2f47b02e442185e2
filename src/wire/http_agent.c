/* Agents and their endpoints: see http_agent.h.
 *
 * One event of no descriptor (`wake`) stands for the queue of links that want attention, as in the
 * server: waking the loop from its own thread costs no system call. */
#include "wire/http_agent_internal.h"

#include "base/clock.h"

static void agent_options_complete(struct http_agent_options *options)
{
    static const struct http_agent_options defaults = {
        .idle_max = 128,
        .idle_ms = 30 * 1000,
        .connect_ms = 5 * 1000,
        .head_bytes_max = 32 * 1024,
        .output_bytes_high = 64 * 1024,
    };
    options->idle_max = options->idle_max ? options->idle_max : defaults.idle_max;
    options->idle_ms = options->idle_ms ? options->idle_ms : defaults.idle_ms;
    options->connect_ms = options->connect_ms ? options->connect_ms : defaults.connect_ms;
    options->head_bytes_max =
        options->head_bytes_max ? options->head_bytes_max : defaults.head_bytes_max;
    options->output_bytes_high =
        options->output_bytes_high ? options->output_bytes_high : defaults.output_bytes_high;
}

void agent_wake(struct http_agent *agent)
{
    if (!agent->watcher.apart)
        event_active(&agent->wake, EV_TIMEOUT, 1);
}

static void serve_row(struct http_agent *agent)
{
    clock_hold();
    /* Who is queued meanwhile has to wait for the next turn, so that sockets have theirs. */
    for (size_t left = agent->attention_count; left > 0 && agent->attention_count > 0; left--) {
        struct http_link *link = TAILQ_FIRST(&agent->attention);
        TAILQ_REMOVE(&agent->attention, link, attention);
        agent->attention_count--;
        link->attention_queued = false;
        link_service(link);
    }
    clock_release();
    if (agent->attention_count > 0)
        agent_wake(agent);
}

static void on_wake(int fd, short what, void *ctx)
{
    struct http_agent *agent = ctx;
    (void)fd, (void)what;
    serve_row(agent);
}

int http_agent_look(struct http_agent *agent)
{
    assert(!agent->serving);
    return watcher_look(&agent->watcher);
}

bool http_agent_serve(struct http_agent *agent)
{
    assert(!agent->serving);
    if (agent->attention_count == 0)
        return false;
    serve_row(agent);
    return true;
}

void http_agent_set_apart(struct http_agent *agent, bool apart)
{
    watcher_set_apart(&agent->watcher, apart);
    if (agent->attention_count > 0)
        agent_wake(agent);
}

void http_agent_relieve(struct http_agent *agent)
{
    assert(!agent->serving);
    if (agent->attention_count < ROW)
        return;
    serve_row(agent);
    (void)watcher_look(&agent->watcher);
}

struct http_agent *http_agent_create(
    struct event_base *base, const struct http_agent_options *options)
{
    struct http_agent *agent = mem_alloc(1, sizeof *agent);
    assert(base);
    agent->base = base;
    if (options)
        agent->options = *options;
    agent_options_complete(&agent->options);
    agent->head_limits = (struct http_head_limits){
        .line_bytes = STATUS_LINE_BYTES,
        .field_bytes = (uint32_t)agent->options.head_bytes_max,
        .field_count = FIELDS_MAX,
    };
    agent->heads = http_head_memo_create(HTTP_RESPONSE, &agent->head_limits);
    agent->scratch = mem_alloc(1, READ_BYTES);
    agent->ahead = mem_alloc(WATCHER_TOLD_MAX, AHEAD_STRIDE);
    LIST_INIT(&agent->endpoints);
    TAILQ_INIT(&agent->attention);
    event_assign(&agent->wake, base, -1, 0, on_wake, agent);
    watcher_init(&agent->watcher, base);
    return agent;
}

void http_agent_destroy(struct http_agent *agent)
{
    if (!agent)
        return;
    assert(!agent->serving);
    struct http_endpoint *endpoint, *next_endpoint;
    struct http_link *link, *next;
    for (endpoint = LIST_FIRST(&agent->endpoints); endpoint; endpoint = next_endpoint) {
        next_endpoint = LIST_NEXT(endpoint, link);
        endpoint->released = false; /* so that it stays until we are done with it */
        for (link = LIST_FIRST(&endpoint->links); link; link = next) {
            next = LIST_NEXT(link, all);
            link_destroy(link);
        }
        http_endpoint_release(endpoint);
    }
    assert(TAILQ_EMPTY(&agent->attention) && agent->stats.connections == 0);
    event_del(&agent->wake);
    watcher_finish(&agent->watcher);
    http_buffer_finish(&agent->head);
    spares_finish(&agent->spares);
    http_head_memo_destroy(agent->heads);
    free(agent->scratch);
    free(agent->ahead);
    free(agent);
}

static void endpoint_free(struct http_endpoint *endpoint)
{
    free(endpoint->path);
    resolver_release(endpoint->resolver);
    free(endpoint->authority);
    free(endpoint->host);
    free(endpoint->name);
    free(endpoint);
}

typedef int dial_parse_fn(const char *text, struct http_endpoint *ret, struct error *err);

/* Of a new endpoint what is the same for all kinds; frees it where the address is wrong. */
static int endpoint_begin(struct http_agent *agent, const char *address, dial_parse_fn *parse,
    struct http_endpoint *endpoint, struct http_endpoint **ret, struct error *err)
{
    endpoint->agent = agent;
    endpoint->name = mem_strdup(address);
    LIST_INIT(&endpoint->links);
    LIST_INIT(&endpoint->idle);
    if (parse(address, endpoint, err) < 0) {
        endpoint_free(endpoint);
        return -1;
    }
    LIST_INSERT_HEAD(&agent->endpoints, endpoint, link);
    *ret = endpoint;
    return 0;
}

int http_endpoint_create(struct http_agent *agent, const char *address, uid_t owner,
    struct http_endpoint **ret, struct error *err)
{
    struct http_endpoint *endpoint = mem_alloc(1, sizeof *endpoint);
    endpoint->owner = owner;
    return endpoint_begin(agent, address, dial_parse, endpoint, ret, err);
}

int http_endpoint_create_tls(struct http_agent *agent, const char *address, struct tls_client *tls,
    const char *host, struct http_endpoint **ret, struct error *err)
{
    struct http_endpoint *endpoint = mem_alloc(1, sizeof *endpoint);
    assert(tls && host);
    endpoint->owner = (uid_t)-1;
    endpoint->tls = tls;
    endpoint->host = mem_strdup(host);
    return endpoint_begin(agent, address, dial_parse, endpoint, ret, err);
}

int http_endpoint_create_url(struct http_agent *agent, const char *url, struct tls_client *tls,
    struct http_endpoint **ret, struct error *err)
{
    struct http_endpoint *endpoint = mem_alloc(1, sizeof *endpoint);
    endpoint->owner = (uid_t)-1;
    endpoint->tls = tls;
    return endpoint_begin(agent, url, dial_parse_url, endpoint, ret, err);
}

void endpoint_settle(struct http_endpoint *endpoint)
{
    if (!endpoint->released || !LIST_EMPTY(&endpoint->links))
        return;
    LIST_REMOVE(endpoint, link);
    endpoint_free(endpoint);
}

void http_endpoint_release(struct http_endpoint *endpoint)
{
    if (!endpoint)
        return;
    assert(!endpoint->released);
    while (!LIST_EMPTY(&endpoint->idle))
        link_destroy(LIST_FIRST(&endpoint->idle));
    endpoint->released = true;
    endpoint_settle(endpoint);
}

void http_agent_stats(const struct http_agent *agent, struct http_agent_stats *ret_stats)
{
    *ret_stats = agent->stats;
}
