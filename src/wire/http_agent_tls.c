/* The bytes of a link over TLS: see http_agent_internal.h. To the link a session looks like its
 * socket: bytes moved, or -1 with EAGAIN where it has to wait.
 *
 * A session that could not write a record wants the same bytes again, with more behind them or not:
 * the link keeps what was not taken at the beginning of its output, so that is what it gets. */
#include "wire/http_agent_internal.h"

#include <errno.h>

static int note_problem(struct http_link *link, const struct error *err)
{
    struct error whole = *err;
    error_prefix(&whole, "cannot connect to %s", link->endpoint->name);
    free(link->problem);
    link->problem = mem_strdup(whole.text);
    return -1;
}

int link_tls_begin(struct http_link *link)
{
    const struct http_endpoint *endpoint = link->endpoint;
    struct error err = {0};
    assert(!link->tls && link->fd >= 0);
    if (tls_session_connect(endpoint->tls, link->fd, endpoint->host, &link->tls, &err) < 0)
        return note_problem(link, &err);
    return 0;
}

int link_tls_shake(struct http_link *link)
{
    enum tls_need need = TLS_NEED_NOTHING;
    struct error err = {0};
    assert(link->tls);
    int done = tls_session_handshake(link->tls, &need, &err);
    if (done < 0)
        return note_problem(link, &err);
    link->write_blocked = need == TLS_NEED_WRITE;
    return done;
}

static ssize_t would_block(void)
{
    errno = EAGAIN;
    return -1;
}

static ssize_t broken(void)
{
    errno = EPIPE;
    return -1;
}

ssize_t link_tls_send(struct http_link *link, const struct iovec *parts, int count)
{
    size_t sent = 0;
    for (int i = 0; i < count; i++) {
        for (size_t done = 0; done < parts[i].iov_len;) {
            enum tls_need need;
            ssize_t n = tls_session_write(link->tls, (const char *)parts[i].iov_base + done,
                parts[i].iov_len - done, &need, NULL);
            if (n <= 0 && sent > 0)
                return (ssize_t)sent; /* the next call meets it again */
            if (n <= 0)
                return n < 0 ? broken() : would_block();
            done += (size_t)n;
            sent += (size_t)n;
        }
    }
    return (ssize_t)sent;
}

ssize_t link_tls_recv(struct http_link *link, void *out, size_t room)
{
    enum tls_need need;
    ssize_t n = tls_session_read(link->tls, out, room, &need, NULL);
    if (n < 0)
        return broken();
    return n == 0 && need != TLS_NEED_NOTHING ? would_block() : n;
}

void link_tls_end(struct http_link *link)
{
    if (!link->tls)
        return;
    tls_session_end(link->tls);
    tls_session_destroy(link->tls);
    link->tls = NULL;
}
