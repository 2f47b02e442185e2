/* The relay: see init_relay.h.
 *
 * Each connection has two flows, one each way, each with one buffer of fixed size: a flow reads
 * only when its buffer is empty, so whoever does not read holds up the one who writes to him, and
 * memory is bounded by the number of connections. The end of what one side writes is passed on as
 * such (shutdown), and a connection is over when both ends have been.
 *
 * epoll is edge-triggered: a descriptor is registered once, and every event has its connection
 * moved on until both flows wait for the kernel. A connection that has had its share of a turn
 * stays on the list of those that are ready, so none can hold up the others.
 *
 * Both sides are the job's or as good as: nothing they do is an error here, it ends their
 * connection at most. */
#include "engine/init_relay.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 32 << 10,
    BACKLOG = 128,
    EVENTS_A_TURN = 64,
    ACCEPTS_A_TURN = 16,
    ROUNDS_A_TURN = 16, /* reads or writes of a flow */
    RETRY_MS = 100,     /* until it is tried again to accept what the system had no room for */
    /* Two a connection; epoll, the listening socket, the standard ones, and one being refused. */
    DESCRIPTORS = 2 * RELAY_CONNECTIONS_MAX + 8,
};

enum { CLIENT, SERVER }; /* who connected to the socket, and who listens on the port */

/* What `ends[i]` writes, on its way to the other end. */
struct flow {
    size_t from; /* bytes[from, to) wait to be written */
    size_t to;
    bool ended; /* nothing more will be read */
    bool shut;  /* and that was passed on: the flow is over */
    char bytes[BUFFER_BYTES];
};

struct connection;

struct end {
    struct connection *connection;
    int fd;
};

struct connection {
    struct end ends[2];
    bool connected; /* the server has answered */
    bool open;
    bool ready; /* it is on the list */
    bool refused;
    struct flow flows[2];
};

struct relay {
    int epoll_fd;
    int listen_fd;
    int leash_fd;
    uint16_t port;
    bool leaving; /* the program is gone: what is on the way is handed over */
    bool paused;  /* nothing is accepted until a connection has ended */
    bool starved; /* or a while has passed: the system had no room */
    struct connection *pool;
    /* The last one that was freed is taken first: its memory is there. */
    struct connection *free[RELAY_CONNECTIONS_MAX];
    size_t free_count;
    struct connection *ready[RELAY_CONNECTIONS_MAX];
    size_t ready_count;
};

/* ---- Flows ------------------------------------------------------------------------------- */

/* Nobody takes what would be written: what is left is dropped, and nothing more is read. */
static void drop_flow(struct flow *flow)
{
    flow->from = flow->to = 0;
    flow->ended = flow->shut = true;
}

/* Fills the empty buffer. False: there is nothing to read now. */
static bool fill(struct flow *flow, int fd)
{
    ssize_t n = recv(fd, flow->bytes, sizeof flow->bytes, 0);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    /* A connection that was reset has ended, too: what it sent before has been passed on. */
    flow->ended = n <= 0;
    flow->from = 0;
    flow->to = n > 0 ? (size_t)n : 0;
    return true;
}

/* Writes what is in the buffer. False: it cannot be written now. */
static bool drain(struct flow *flow, int fd)
{
    ssize_t n = send(fd, flow->bytes + flow->from, flow->to - flow->from, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        drop_flow(flow);
    else
        flow->from += (size_t)n;
    return true;
}

/* Moves the flow on until it waits for the kernel or is over. True: there may be more to do, but
 * its share of the turn is used up. */
static bool move_flow(struct flow *flow, int from_fd, int to_fd)
{
    for (int i = 0; i < ROUNDS_A_TURN && !flow->shut; i++) {
        if (flow->from < flow->to) {
            if (!drain(flow, to_fd))
                return false;
        } else if (flow->ended) {
            shutdown(to_fd, SHUT_WR);
            flow->shut = true;
        } else if (!fill(flow, from_fd)) {
            return false;
        }
    }
    return !flow->shut;
}

/* ---- Connections ------------------------------------------------------------------------- */

static void watch_listener(struct relay *relay, bool accept)
{
    struct epoll_event event = {.events = accept ? EPOLLIN : 0, .data.ptr = NULL};
    relay->paused = !accept;
    relay->starved = false;
    if (epoll_ctl(relay->epoll_fd, EPOLL_CTL_MOD, relay->listen_fd, &event) < 0)
        _exit(1);
}

/* Closing a descriptor takes it out of epoll, since no other refers to its file. */
static void release(struct relay *relay, struct connection *connection)
{
    close(connection->ends[CLIENT].fd);
    close(connection->ends[SERVER].fd);
    connection->open = false;
    relay->free[relay->free_count++] = connection;
    if (relay->paused && !relay->leaving)
        watch_listener(relay, true);
}

/* A connection on its way to the server: a descriptor, or -1. */
static int connect_server(const struct relay *relay)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons(relay->port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* What is written here was written as a whole by the other side: nothing is to be waited for.
     */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

static bool watch_end(struct relay *relay, struct end *end)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = end};
    return epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, end->fd, &event) == 0;
}

/* Begins to relay. Where that is not possible the client is told by the end of its connection. */
static void begin(struct relay *relay, int client_fd)
{
    int server_fd = connect_server(relay);
    if (server_fd < 0) {
        close(client_fd);
        return;
    }
    struct connection *connection = relay->free[--relay->free_count];
    connection->open = true;
    connection->connected = connection->ready = connection->refused = false;
    connection->ends[CLIENT] = (struct end){connection, client_fd};
    connection->ends[SERVER] = (struct end){connection, server_fd};
    for (int i = 0; i < 2; i++) {
        struct flow *flow = &connection->flows[i];
        flow->from = flow->to = 0;
        flow->ended = flow->shut = false;
    }
    if (!watch_end(relay, &connection->ends[CLIENT]) ||
        !watch_end(relay, &connection->ends[SERVER]))
        release(relay, connection);
}

static void accept_some(struct relay *relay)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        if (relay->free_count == 0) {
            watch_listener(relay, false);
            return;
        }
        int fd = accept4(relay->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            begin(relay, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            watch_listener(relay, false);
            relay->starved = true;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void set_ready(struct relay *relay, struct connection *connection)
{
    if (!connection->ready)
        relay->ready[relay->ready_count++] = connection;
    connection->ready = true;
}

/* Notes what happened at an end; the connection is moved on when all events have been noted, so
 * none of them is of a connection that is gone. */
static void note_event(struct relay *relay, const struct end *end, uint32_t events)
{
    struct connection *connection = end->connection;
    bool closed = events & (EPOLLERR | EPOLLHUP);
    if (end == &connection->ends[SERVER]) {
        connection->refused |= closed && !connection->connected;
        connection->connected |= !closed;
    } else if (closed) {
        /* The client has closed both ways: nobody is left to read what the server writes. Once the
         * server has what the client wrote it is cut off, so that it need not work on an answer. */
        drop_flow(&connection->flows[SERVER]);
    }
    set_ready(relay, connection);
}

/* Everything that is open is looked at once more: what has only its client left is over now. */
static void leave(struct relay *relay)
{
    if (relay->leaving)
        return;
    relay->leaving = true;
    relay->starved = false;
    close(relay->leash_fd);
    close(relay->listen_fd);
    for (size_t i = 0; i < RELAY_CONNECTIONS_MAX; i++) {
        if (relay->pool[i].open)
            set_ready(relay, &relay->pool[i]);
    }
}

static bool is_over(const struct relay *relay, const struct connection *connection)
{
    const struct flow *flows = connection->flows;
    return connection->refused || (flows[SERVER].shut && (flows[CLIENT].shut || relay->leaving));
}

/* Moves the connections that are ready on; those with more to do stay on the list. */
static void move_ready(struct relay *relay)
{
    size_t kept = 0;
    for (size_t i = 0; i < relay->ready_count; i++) {
        struct connection *connection = relay->ready[i];
        struct flow *flows = connection->flows;
        int client_fd = connection->ends[CLIENT].fd, server_fd = connection->ends[SERVER].fd;
        bool more = false;
        if (!connection->refused) {
            more |= move_flow(&flows[CLIENT], client_fd, server_fd);
            more |= move_flow(&flows[SERVER], server_fd, client_fd);
        }
        connection->ready = false;
        if (is_over(relay, connection)) {
            release(relay, connection);
        } else if (more) {
            connection->ready = true;
            relay->ready[kept++] = connection;
        }
    }
    relay->ready_count = kept;
}

/* ---- The process ------------------------------------------------------------------------- */

static void turn(struct relay *relay)
{
    struct epoll_event events[EVENTS_A_TURN];
    int wait_ms = relay->ready_count > 0 ? 0 : relay->starved ? RETRY_MS : -1;
    int count = epoll_wait(relay->epoll_fd, events, EVENTS_A_TURN, wait_ms);
    if (count < 0 && errno != EINTR)
        _exit(1);
    if (count == 0 && relay->starved)
        watch_listener(relay, true);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == &relay->leash_fd)
            leave(relay);
        else if (events[i].data.ptr)
            note_event(relay, events[i].data.ptr, events[i].events);
        else if (!relay->leaving)
            accept_some(relay);
    }
    move_ready(relay);
    if (relay->leaving && relay->free_count == RELAY_CONNECTIONS_MAX)
        _exit(0);
}

/* As many descriptors as it may need, if the machine allows: with fewer it relays less at once. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static _Noreturn void relay_run(int listen_fd, int leash_fd, uint16_t port)
{
    struct relay *relay = mem_alloc(1, sizeof *relay);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    struct epoll_event leash = {.events = EPOLLIN, .data.ptr = &relay->leash_fd};
    prctl(PR_SET_NAME, "muster-relay");
    raise_descriptors();
    relay->listen_fd = listen_fd;
    relay->leash_fd = leash_fd;
    relay->port = port;
    relay->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (relay->epoll_fd < 0 || epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0 ||
        epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, leash_fd, &leash) < 0)
        _exit(1);
    /* 16 MiB of addresses, not of memory: a page comes when a connection first writes to it, and
     * short messages never touch more than the first of a buffer. */
    relay->pool = mem_alloc(RELAY_CONNECTIONS_MAX, sizeof *relay->pool);
    for (size_t i = RELAY_CONNECTIONS_MAX; i-- > 0;)
        relay->free[relay->free_count++] = &relay->pool[i];
    for (;;)
        turn(relay);
}

/* Closes every descriptor but the standard ones and those two: what init has is none of its. */
static void close_all_but(int a, int b)
{
    const unsigned kept[] = {2, (unsigned)(a < b ? a : b), (unsigned)(a < b ? b : a)};
    assert(kept[1] > 2 && kept[1] < kept[2]);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        unsigned last = i + 1 < ARRAY_LEN(kept) ? kept[i + 1] - 1 : ~0U;
        if (kept[i] < last)
            close_range(kept[i] + 1, last, 0);
    }
}

int relay_listen(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, BACKLOG) < 0)
        return -1;
    int listening = fd;
    fd = -1;
    return listening;
}

pid_t relay_start(int listen_fd, int leash_fd, uint16_t port)
{
    pid_t pid = fork();
    if (pid == 0) {
        close_all_but(listen_fd, leash_fd);
        relay_run(listen_fd, leash_fd, port);
    }
    return pid;
}
