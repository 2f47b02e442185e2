/* Listeners: Unix sockets and TCP, with or without TLS; accepting in batches. See http.h. */
#include "wire/http_internal.h"

#include "wire/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPT_BATCH = 64, EXHAUSTED_PAUSE_MS = 100 };

struct http_listener {
    LIST_ENTRY(http_listener) link;
    struct http_server *server;
    struct tls_server *tls; /* NULL without TLS */
    int fd;
    bool is_unix;
    struct event event;
    struct event resume; /* after a pause for want of descriptors */
    char *path;          /* of the Unix socket, to be removed if it is still ours */
    dev_t device;
    ino_t inode;
};

/* ------- who connects ------- */

static void peer_of_unix(int fd, struct http_peer *ret_peer, char *key, size_t key_size)
{
    struct ucred who = {0};
    socklen_t size = sizeof who;
    *ret_peer =
        (struct http_peer){.is_unix = true, .uid = (uid_t)-1, .gid = (gid_t)-1, .address = "unix"};
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
        ret_peer->uid = who.uid;
        ret_peer->gid = who.gid;
        ret_peer->pid = who.pid;
    }
    snprintf(key, key_size, "uid %u", ret_peer->uid);
}

/* IPv6 hosts own at least a /64 each, so that is what counts as one peer. */
static void peer_of_tcp(
    const struct sockaddr_storage *from, struct http_peer *ret_peer, char *key, size_t key_size)
{
    char text[INET6_ADDRSTRLEN] = "";
    *ret_peer = (struct http_peer){.uid = (uid_t)-1, .gid = (gid_t)-1};
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
    bool mapped = from->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    if (from->ss_family == AF_INET6 && !mapped) {
        struct in6_addr net = v6->sin6_addr;
        memset(net.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        snprintf(
            ret_peer->address, sizeof ret_peer->address, "[%s]:%u", text, ntohs(v6->sin6_port));
        inet_ntop(AF_INET6, &net, key, (socklen_t)key_size);
        return;
    }
    const void *address = mapped ? (const void *)(v6->sin6_addr.s6_addr + 12) : &v4->sin_addr;
    inet_ntop(AF_INET, address, text, sizeof text);
    snprintf(ret_peer->address, sizeof ret_peer->address, "%s:%u", text,
        ntohs(mapped ? v6->sin6_port : v4->sin_port));
    snprintf(key, key_size, "%s", text);
}

/* Says no in a few bytes, if they can be had for free, and closes. */
static void turn_away(struct http_listener *listener, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n";
    listener->server->stats.refused++;
    if (!listener->tls)
        (void)!send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

/* Answers go out as they are written; a peer that vanished without a word, while nothing is sent
 * to it, is noticed after two minutes. */
static void tcp_prepare(int fd)
{
    static const struct {
        int level, name, value;
    } settings[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60},
        {IPPROTO_TCP, TCP_KEEPINTVL, 15},
        {IPPROTO_TCP, TCP_KEEPCNT, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        (void)setsockopt(fd, settings[i].level, settings[i].name, &settings[i].value, sizeof(int));
}

static void welcome(struct http_listener *listener, int fd, const struct sockaddr_storage *from)
{
    struct http_server *server = listener->server;
    struct http_peer peer;
    char key[INET6_ADDRSTRLEN + 8];
    if (listener->is_unix)
        peer_of_unix(fd, &peer, key, sizeof key);
    else
        peer_of_tcp(from, &peer, key, sizeof key);
    peer.is_tls = listener->tls != NULL;
    struct http_peer_entry *entry = server->stats.connections < server->options.connections_max
                                        ? http_peers_connect(server->peers, key)
                                        : NULL;
    if (!entry) {
        turn_away(listener, fd);
        return;
    }
    if (!listener->is_unix)
        tcp_prepare(fd);
    conn_create(server, fd, &peer, entry, listener->tls);
}

/* ------- accepting ------- */

/* Without descriptors a waiting connection would wake the loop for ever. */
static void pause_accepting(struct http_listener *listener)
{
    struct timeval pause = {0, EXHAUSTED_PAUSE_MS * 1000};
    event_del(&listener->event);
    event_add(&listener->resume, &pause);
}

static void on_resume(int fd, short what, void *ctx)
{
    struct http_listener *listener = ctx;
    (void)fd, (void)what;
    event_add(&listener->event, NULL);
}

static void on_acceptable(int fd, short what, void *ctx)
{
    struct http_listener *listener = ctx;
    (void)what;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int accepted = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            welcome(listener, accepted, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(listener);
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* ------- listening ------- */

/* Takes over fd, which is bound. */
static struct http_listener *listener_start(
    struct http_server *server, int fd, struct tls_server *tls, struct error *err)
{
    if (listen(fd, BACKLOG) < 0) {
        error_set_errno(err, "cannot listen");
        close(fd);
        return NULL;
    }
    struct http_listener *listener = mem_alloc(1, sizeof *listener);
    listener->server = server;
    listener->tls = tls;
    if (tls && server->options.http2)
        tls_server_offer_http2(tls);
    listener->fd = fd;
    event_assign(&listener->event, server->base, fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    event_assign(&listener->resume, server->base, -1, 0, on_resume, listener);
    event_add(&listener->event, NULL);
    LIST_INSERT_HEAD(&server->listeners, listener, link);
    return listener;
}

void http_server_leave(struct http_server *server)
{
    struct http_listener *listener;
    LIST_FOREACH(listener, &server->listeners, link)
    {
        free(listener->path);
        listener->path = NULL;
    }
    http_listeners_close(server);
}

int http_server_listener_fd(const struct http_server *server)
{
    return LIST_EMPTY(&server->listeners) ? -1 : LIST_FIRST(&server->listeners)->fd;
}

void http_listeners_close(struct http_server *server)
{
    struct http_listener *listener;
    struct stat st;
    while ((listener = LIST_FIRST(&server->listeners))) {
        LIST_REMOVE(listener, link);
        event_del(&listener->event);
        event_del(&listener->resume);
        close(listener->fd);
        if (listener->path && lstat(listener->path, &st) == 0 && st.st_dev == listener->device &&
            st.st_ino == listener->inode)
            (void)unlink(listener->path);
        free(listener->path);
        free(listener);
    }
}

/* A socket file that refuses connections was left behind by a process that died. */
static int stale_socket_remove(
    const char *path, const struct sockaddr_un *address, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, "cannot look at %s", path);
    if (!S_ISSOCK(st.st_mode))
        return error_set(err, ERR_CONFLICT, "%s is there and is not a socket", path);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, "cannot make a socket");
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN)
        return error_set(err, ERR_CONFLICT, "another process is listening on %s", path);
    if (errno != ECONNREFUSED)
        return error_set_errno(err, "cannot tell whether anybody listens on %s", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return error_set_errno(err, "cannot remove the stale socket %s", path);
    return 0;
}

int http_server_listen_unix(
    struct http_server *server, const char *path, mode_t mode, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) > URL_UNIX_PATH_MAX)
        return error_set(err, ERR_INVALID, "a Unix socket's path has at most %d bytes: %s",
            URL_UNIX_PATH_MAX, path);
    memcpy(address.sun_path, path, strlen(path));
    if (stale_socket_remove(path, &address, err) < 0)
        return -1;
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, "cannot make a socket");
    /* Nobody can connect before listen(), so the mode is right when it first matters. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(err, "cannot bind %s", path);
    if (chmod(path, mode) < 0)
        return error_set_errno(err, "cannot set the mode of %s", path);
    int bound = fd;
    fd = -1;
    return http_server_listen_fd(server, bound, path, NULL, err);
}

int http_server_listen_fd(struct http_server *server, int fd, const char *unix_path,
    struct tls_server *tls, struct error *err)
{
    struct stat st = {0};
    struct http_listener *listener = listener_start(server, fd, tls, err);
    if (!listener)
        return error_prefix(err, "%s", unix_path ? unix_path : "a socket that was handed over");
    listener->is_unix = unix_path != NULL;
    if (!unix_path || lstat(unix_path, &st) < 0)
        return 0;
    listener->path = mem_strdup(unix_path);
    listener->device = st.st_dev;
    listener->inode = st.st_ino;
    return 0;
}

/* "host:port" with a numeric host, "[v6]:port" or ":port". */
static int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size)
{
    char host[INET6_ADDRSTRLEN + 2] = "";
    char *end;
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host || colon[1] < '0' || colon[1] > '9')
        return -1;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port > UINT16_MAX)
        return -1;
    memcpy(host, text, (size_t)(colon - text));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    size_t length = strlen(host);
    bool brackets = length > 2 && host[0] == '[' && host[length - 1] == ']';
    if (brackets)
        host[length - 1] = '\0';
    if (!brackets && host[0] && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret, &v4, *ret_size = sizeof v4);
        return 0;
    }
    if (host[0] && (!brackets || inet_pton(AF_INET6, host + 1, &v6.sin6_addr) != 1))
        return -1;
    memcpy(ret, &v6, *ret_size = sizeof v6);
    return 0;
}

static int tcp_bind(const struct sockaddr_storage *address, socklen_t size, bool shared,
    const char *text, struct error *err)
{
    int one = 1, off = 0;
    SCOPED(fd_scope)
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, "cannot make a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    /* The system lets only processes of the same user share the address. */
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) < 0)
        return error_set_errno(err, "cannot share %s", text);
    if (address->ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (const struct sockaddr *)address, size) < 0)
        return error_set_errno(err, "cannot bind %s", text);
    int bound = fd;
    fd = -1;
    return bound;
}

static int listen_tcp(struct http_server *server, const char *address, bool shared,
    struct tls_server *tls, uint16_t *ret_port, struct error *err)
{
    struct sockaddr_storage where = {0};
    socklen_t size;
    if (address_parse(address, &where, &size) < 0)
        return error_set(err, ERR_INVALID,
            "expected a numeric address and a port, as in 127.0.0.1:8080, got \"%.80s\"", address);
    int fd = tcp_bind(&where, size, shared, address, err);
    if (fd < 0 && errno == EAFNOSUPPORT && address[0] == ':') {
        /* A machine without IPv6: every address is every IPv4 address. */
        in_port_t port = ((struct sockaddr_in6 *)&where)->sin6_port;
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = port};
        memcpy(&where, &any, size = sizeof any);
        fd = tcp_bind(&where, size, shared, address, err);
    }
    if (fd < 0)
        return -1;
    if (!listener_start(server, fd, tls, err))
        return error_prefix(err, "%s", address);
    if (getsockname(fd, (struct sockaddr *)&where, &size) < 0)
        return error_set_errno(err, "cannot tell the port of %s", address);
    /* The port is at the same place in both families. */
    if (ret_port)
        *ret_port = ntohs(((struct sockaddr_in *)&where)->sin_port);
    return 0;
}

int http_server_listen_tcp(struct http_server *server, const char *address, struct tls_server *tls,
    uint16_t *ret_port, struct error *err)
{
    return listen_tcp(server, address, false, tls, ret_port, err);
}

int http_server_listen_tcp_shared(struct http_server *server, const char *address,
    struct tls_server *tls, uint16_t *ret_port, struct error *err)
{
    return listen_tcp(server, address, true, tls, ret_port, err);
}

int http_server_reload_tls(struct http_server *server, struct error *err)
{
    struct http_listener *listener;
    LIST_FOREACH(listener, &server->listeners, link)
    {
        if (listener->tls && tls_server_reload(listener->tls, err) < 0)
            return -1;
    }
    return 0;
}
