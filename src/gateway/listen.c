/* Looking at an address before it is shared: see listen.h. */
#include "gateway/listen.h"

#include "base/memory.h"
#include "wire/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static socklen_t to_socket_address(
    const struct url_endpoint *endpoint, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, endpoint->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(endpoint->port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, endpoint->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(endpoint->port);
        return sizeof *v6;
    }
    return 0;
}

/* Binding without SO_REUSEPORT fails where anybody listens, with it or without. */
static int check_free(
    const struct url_endpoint *endpoint, bool any_port, const char *address, struct error *err)
{
    struct sockaddr_storage where;
    socklen_t length = to_socket_address(endpoint, &where);
    if (length == 0)
        return error_set(
            err, ERR_INVALID, "listen address %s: expected a numeric address", address);
    if (any_port)
        return 0;
    SCOPED(fd_scope) int fd = socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
        return error_set_errno(err, "cannot make a socket");
    if (bind(fd, (struct sockaddr *)&where, length) == 0)
        return 0;
    if (errno == EADDRINUSE)
        return error_set(err, ERR_CONFLICT, "another process listens on %s", address);
    return error_set_errno(err, "cannot listen on %s", address);
}

static int address_parse(
    const char *address, bool tls, struct url_endpoint *ret_endpoint, struct error *err)
{
    struct url_endpoint endpoint;
    char text[300];
    const char *port = strrchr(address, ':');
    snprintf(text, sizeof text, "http://%s%s", address[0] == ':' ? "0.0.0.0" : "", address);
    if (port && !strcmp(port, ":0")) /* no port of an endpoint, but one to listen on */
        snprintf(text + strlen(text) - 1, 2, "1");
    if (!port || url_endpoint_parse(text, &endpoint, NULL) < 0)
        return error_set(err, ERR_INVALID, "listen address %s: expected ADDRESS:PORT", address);
    if (!tls && !url_endpoint_is_local(&endpoint))
        return error_set(err, ERR_INVALID,
            "%s can be reached from other machines: give a certificate (--cert, --key), or listen "
            "on 127.0.0.1",
            address);
    *ret_endpoint = endpoint;
    return 0;
}

int listen_allowed(const char *address, bool tls, struct error *err)
{
    struct url_endpoint ignored;
    return address_parse(address, tls, &ignored, err);
}

int listen_check(const char *address, bool tls, struct error *err)
{
    struct url_endpoint endpoint;
    if (address_parse(address, tls, &endpoint, err) < 0)
        return -1;
    return check_free(&endpoint, !strcmp(strrchr(address, ':'), ":0"), address, err);
}

void listen_with_port(const char *address, unsigned port, char *out, size_t size)
{
    const char *colon = strrchr(address, ':');
    snprintf(out, size, "%.*s:%u", (int)(colon - address), address, port);
}
