/* Connecting to an endpoint: see http_agent.h.
 *
 * A Unix socket whose owner matters is opened first without connecting (O_PATH) and without
 * following a symbolic link, looked at, and connected to by that descriptor's name in /proc: what
 * was looked at is what is connected to, whoever moves files about meanwhile. */
#include "wire/http_agent_internal.h"

#include "base/strbuf.h"
#include "wire/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int tcp_address(const struct url_endpoint *url, struct http_endpoint *endpoint)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(url->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(url->port)};
    if (inet_pton(AF_INET, url->host, &v4.sin_addr) == 1)
        memcpy(&endpoint->address, &v4, endpoint->address_size = sizeof v4);
    else if (inet_pton(AF_INET6, url->host, &v6.sin6_addr) == 1)
        memcpy(&endpoint->address, &v6, endpoint->address_size = sizeof v6);
    else
        return -1;
    return 0;
}

static int parse_unix(const char *text, struct http_endpoint *endpoint, struct error *err)
{
    const char *path = text + strlen("unix:");
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return error_set(err, ERR_INVALID,
            "a Unix socket is named by an absolute path of less than %d bytes: %.100s", PATH_MAX,
            text);
    endpoint->path = mem_strdup(path);
    return 0;
}

int dial_parse_url(const char *text, struct http_endpoint *ret_endpoint, struct error *err)
{
    struct url_endpoint url;
    struct strbuf authority = {0};
    if (strncmp(text, "unix:", 5) == 0) {
        ret_endpoint->tls = NULL;
        return parse_unix(text, ret_endpoint, err);
    }
    if (url_endpoint_parse(text, &url, err) < 0)
        return -1;
    if (url.scheme == URL_HTTPS && !ret_endpoint->tls)
        return error_set(err, ERR_INVALID, "https is not possible here: %.100s", text);
    if (url.scheme == URL_HTTP)
        ret_endpoint->tls = NULL;
    if (tcp_address(&url, ret_endpoint) < 0)
        ret_endpoint->resolver = resolver_create(url.host, url.port, NULL);
    url_endpoint_authority(&url, &authority);
    ret_endpoint->authority = strbuf_steal(&authority);
    ret_endpoint->host = mem_strdup(url.host);
    return 0;
}

int dial_parse(const char *text, struct http_endpoint *ret_endpoint, struct error *err)
{
    struct url_endpoint url;
    if (strncmp(text, "unix:", 5) == 0 && !ret_endpoint->tls)
        return parse_unix(text, ret_endpoint, err);
    if (url_endpoint_parse(text, &url, err) < 0)
        return -1;
    enum url_scheme wanted = ret_endpoint->tls ? URL_HTTPS : URL_HTTP;
    if (url.scheme != wanted || tcp_address(&url, ret_endpoint) < 0)
        return error_set(err, ERR_INVALID,
            "expected %s with a numeric address and a port, got %.100s",
            ret_endpoint->tls ? "https://" : "unix:/path or http://", text);
    return 0;
}

/* ------- Unix sockets ------- */

/* A descriptor that names the socket file, when it is one that may be connected to. */
static int socket_file_open(const struct http_endpoint *endpoint, struct error *err)
{
    bool checked = endpoint->owner != (uid_t)-1;
    struct stat st;
    SCOPED(fd_scope) int fd = open(endpoint->path, O_PATH | O_CLOEXEC | (checked ? O_NOFOLLOW : 0));
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set_errno(err, "cannot open the socket %s", endpoint->path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERR_DENIED, "%s is not a socket", endpoint->path);
    if (checked && st.st_uid != endpoint->owner)
        return error_set(err, ERR_DENIED, "the socket %s belongs to uid %u, not to %u",
            endpoint->path, st.st_uid, endpoint->owner);
    int opened = fd;
    fd = -1;
    return opened;
}

/* The descriptor in ret_file, -1 if there is none, has to stay open until after the connect. */
static int unix_address(const struct http_endpoint *endpoint, struct sockaddr_un *ret_address,
    int *ret_file, struct error *err)
{
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_file = -1;
    if (endpoint->owner == (uid_t)-1 && strlen(endpoint->path) < sizeof ret_address->sun_path) {
        memcpy(ret_address->sun_path, endpoint->path, strlen(endpoint->path));
        return 0;
    }
    *ret_file = socket_file_open(endpoint, err);
    snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "/proc/self/fd/%d", *ret_file);
    return *ret_file < 0 ? -1 : 0;
}

/* ------- connecting ------- */

static enum dial connect_to(int fd, const struct sockaddr *address, socklen_t size,
    const struct http_endpoint *endpoint, struct error *err)
{
    if (connect(fd, address, size) == 0)
        return DIAL_DONE;
    if (errno == EINPROGRESS)
        return DIAL_UNDER_WAY;
    if (errno == EAGAIN && endpoint->path)
        return DIAL_LATER;
    error_set_errno(err, "cannot connect to %s", endpoint->name);
    return DIAL_FAILED;
}

static enum dial connect_unix(int fd, const struct http_endpoint *endpoint, struct error *err)
{
    struct sockaddr_un address;
    SCOPED(fd_scope) int file = -1;
    if (unix_address(endpoint, &address, &file, err) < 0)
        return DIAL_FAILED;
    return connect_to(fd, (const struct sockaddr *)&address, sizeof address, endpoint, err);
}

/* The address to connect to: the one that was given, or what its name stands for now. */
static enum resolve find_address(
    const struct http_endpoint *endpoint, struct resolved *ret, struct error *err)
{
    if (endpoint->resolver)
        return resolver_address(endpoint->resolver, link_now_ms(), ret, err);
    if (!endpoint->path)
        *ret = (struct resolved){endpoint->address, endpoint->address_size};
    return RESOLVE_FOUND;
}

enum dial dial_begin(const struct http_endpoint *endpoint, int *ret_fd, struct error *err)
{
    struct resolved to = {0};
    enum resolve found = find_address(endpoint, &to, err);
    if (found != RESOLVE_FOUND)
        return found == RESOLVE_LATER ? DIAL_LATER : DIAL_FAILED;
    int family = endpoint->path ? AF_UNIX : to.address.ss_family, one = 1;
    SCOPED(fd_scope) int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(err, "cannot make a socket");
        return DIAL_FAILED;
    }
    if (!endpoint->path)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    enum dial result = endpoint->path ? connect_unix(fd, endpoint, err)
                                      : connect_to(fd, (const struct sockaddr *)&to.address,
                                            to.size, endpoint, err);
    if (result == DIAL_DONE || result == DIAL_UNDER_WAY) {
        *ret_fd = fd;
        fd = -1;
    }
    return result;
}
