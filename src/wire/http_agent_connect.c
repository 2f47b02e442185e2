/* Making a connection of the agent: an address after the other, over TLS with its handshake. */
#include "wire/http_agent_internal.h"

#include <string.h>

static void link_ready(struct http_link *link)
{
    link->state = LINK_BUSY;
    link->write_blocked = false;
    link->progress = true;
    link_agent(link)->stats.connected++;
}

/* The socket is connected; over TLS the handshake follows. */
static void link_connected(struct http_link *link)
{
    if (link_watch(link) < 0) {
        link_attend(link);
        return;
    }
    if (!link->endpoint->tls || (link_tls_begin(link) == 0 && link_tls_shake(link) == 1))
        link_ready(link);
    else if (link->problem)
        link_attend(link);
}

/* A name may stand for several addresses: the next one is tried, each once. */
static bool try_another(struct http_link *link)
{
    struct resolver *resolver = link->endpoint->resolver;
    if (!resolver || ++link->dials >= resolver_blame(resolver))
        return false;
    link_close(link);
    link->write_blocked = false;
    return true;
}

void link_dial(struct http_link *link)
{
    struct error err = {0};
    int fd = -1;
    assert(link->state == LINK_CONNECTING && link->fd < 0);
    enum dial result = dial_begin(link->endpoint, &fd, &err);
    if (fd >= 0)
        link_set_fd(link, fd);
    if (result == DIAL_DONE) {
        link_connected(link);
        return;
    }
    link->write_blocked = result == DIAL_UNDER_WAY;
    if (result == DIAL_FAILED && !try_another(link)) {
        link->problem = mem_strdup(err.text);
        link_attend(link);
    }
}

void link_connect(struct http_link *link)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    if (link->fd < 0 && !link->problem)
        link_dial(link);
    if (link->state != LINK_CONNECTING)
        return;
    if (link->tls && !link->problem) {
        if (link_tls_shake(link) == 1)
            link_ready(link);
    } else if (!link->problem && link->fd >= 0 && !link->write_blocked) {
        (void)getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem && try_another(link))
            return;
        if (problem)
            link_fail(link, HTTP_FAILED_CONNECT, "cannot connect to %s: %s", link->endpoint->name,
                strerror(problem));
        else
            link_connected(link);
    }
    if (link->state == LINK_CONNECTING && link->problem)
        link_fail(link, HTTP_FAILED_CONNECT, "%s", link->problem);
}

void link_connect_late(struct http_link *link)
{
    const struct http_endpoint *endpoint = link->endpoint;
    bool has_address = !endpoint->resolver || link->fd >= 0;
    if (endpoint->resolver && has_address)
        resolver_blame(endpoint->resolver);
    link_fail(link, HTTP_FAILED_CONNECT, "%s %s within %lld ms", endpoint->name,
        has_address ? "did not take the connection" : "could not be resolved",
        (long long)endpoint->agent->options.connect_ms);
}
