/* Connecting a blocking client: see http_dial.h. The sockets are non-blocking all the same, and
 * every wait is a poll with a limit. */
#include "wire/http_dial.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int http_wait(int fd, short events, int64_t timeout_ms, struct error *err)
{
    struct pollfd pollfd = {.fd = fd, .events = events};
    int limit = timeout_ms < 0 ? -1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
    int n;
    do {
        n = poll(&pollfd, 1, limit);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? error_set_errno(err, "cannot wait for the connection") : n;
}

/* A failed attempt means that nothing was done, whatever the reason. */
static int unavailable(struct error *err, const char *what)
{
    error_set_errno(err, "cannot connect to %s", what);
    if (err)
        err->code = ERR_UNAVAILABLE;
    return -1;
}

static int connect_address(const struct sockaddr *address, socklen_t size, int64_t timeout_ms,
    const char *what, struct error *err)
{
    int problem = 0;
    socklen_t problem_size = sizeof problem;
    SCOPED(fd_scope)
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return unavailable(err, what);
    if (connect(fd, address, size) < 0) {
        if (errno != EINPROGRESS)
            return unavailable(err, what);
        int ready = http_wait(fd, POLLOUT, timeout_ms, err);
        if (ready < 0)
            return -1;
        errno = ETIMEDOUT;
        if (ready == 0)
            return unavailable(err, what);
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &problem_size);
        errno = problem;
        if (problem)
            return unavailable(err, what);
    }
    int connected = fd;
    fd = -1;
    return connected;
}

static int dial_unix(const struct url_endpoint *endpoint, int64_t timeout_ms, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, endpoint->path, strlen(endpoint->path));
    return connect_address(
        (struct sockaddr *)&address, sizeof address, timeout_ms, endpoint->path, err);
}

static void addresses_scope(struct addrinfo **list)
{
    if (*list)
        freeaddrinfo(*list);
}

static int dial_tcp(const struct url_endpoint *endpoint, int64_t timeout_ms, struct error *err)
{
    SCOPED(addresses_scope) struct addrinfo *list = NULL;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    char port[8], what[URL_HOST_MAX + 16];
    int fd = -1, one = 1;
    snprintf(port, sizeof port, "%u", endpoint->port);
    snprintf(what, sizeof what, "%s port %s", endpoint->host, port);
    int found = getaddrinfo(endpoint->host, port, &hints, &list);
    if (found != 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot find the address of %s: %s", endpoint->host,
            gai_strerror(found));
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_address(at->ai_addr, at->ai_addrlen, timeout_ms, what, err);
    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int handshake(struct http_socket *sock, int64_t timeout_ms, struct error *err)
{
    for (;;) {
        enum tls_need need = TLS_NEED_READ;
        int done = tls_session_handshake(sock->tls, &need, err);
        if (done != 0)
            return done > 0 ? 0 : -1;
        int ready = http_wait(sock->fd, need == TLS_NEED_WRITE ? POLLOUT : POLLIN, timeout_ms, err);
        if (ready < 0)
            return -1;
        if (ready == 0)
            return error_set(err, ERR_UNAVAILABLE, "the TLS handshake took too long");
    }
}

int http_dial(const struct url_endpoint *endpoint, struct tls_client *tls, int64_t timeout_ms,
    struct http_socket *ret_socket, struct error *err)
{
    assert((endpoint->scheme == URL_HTTPS) == (tls != NULL));
    struct http_socket sock = {.fd = -1};
    sock.fd = endpoint->scheme == URL_UNIX ? dial_unix(endpoint, timeout_ms, err)
                                           : dial_tcp(endpoint, timeout_ms, err);
    if (sock.fd < 0)
        return -1;
    if (tls && (tls_session_connect(tls, sock.fd, endpoint->host, &sock.tls, err) < 0 ||
                   handshake(&sock, timeout_ms, err) < 0)) {
        http_socket_close(&sock);
        if (err && err->code == ERR_IO)
            err->code = ERR_UNAVAILABLE;
        return -1;
    }
    *ret_socket = sock;
    return 0;
}
