/* Both sides of a proxy in one loop that never sleeps: its clients and its upstream.
 *
 *   peers --serve SOCKET (--port PORT | --direct) --path PATH --answer BYTES
 *         --connections N --seconds S [--rate R] [--token TOKEN]
 *
 * What a proxy costs is found where it alone is the bottleneck. A client and an upstream that are two
 * programs on one processor take turns on it: they sleep and have to be woken, by the proxy, in whose
 * time that is then counted, the more often the faster they are. On a network nobody wakes the process
 * at the other end. So here requests and answers are made beforehand, a message is recognised by the
 * length that the first of its kind had, the rest of a large answer is dropped by the system unread
 * (MSG_TRUNC), and the one thread looks for events without waiting for them.
 *
 * The clients are as load.c's: kept connections, one request under way on each, POSTs of 200 bytes. With
 * --rate requests are due at fixed times, and are timed from there. The upstream answers each
 * request with BYTES bytes. --direct: the clients are its own, without a proxy.
 *
 * One line of JSON says what came of it; "spare" is the part of the time in which there was
 * nothing to do here: the proxy was what the requests waited for. Whatever is not as expected
 * ends the run. */
#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    HEAD_MAX = 4096,     /* of a message; of an answer that is what is read of it */
    REQUEST_BYTES = 200, /* of a body */
    SAMPLES_MAX = 1 << 21,
    SILENCE_S = 10, /* without an answer, before the run is given up */
};

struct plan {
    const char *serve, *path, *token;
    bool direct;
    uint16_t port;
    int connections;
    size_t answer_bytes;
    double seconds, rate;
};

/* A message that is sent again and again. */
struct message {
    char *bytes;
    size_t length;
};

/* One end of a connection: a client's, or the upstream's. */
struct peer {
    int fd;
    bool upstream;
    size_t head, whole; /* lengths of the message before; 0: there was none */
    size_t got;         /* of the message that is coming */
    size_t rest;        /* of our own that could not be sent at once */
    int64_t begin_ns;   /* of a client: when its request was sent, or was due */
    char *part;         /* what has come of a message that came in parts */
};

struct run {
    struct plan plan;
    struct message request, answer;
    int epoll, listener;
    struct peer *clients;
    struct peer **idle; /* with a rate: clients without a request */
    size_t idle_count;
    int64_t now_ns, begin_ns, end_ns, heard_ns, spare_ns;
    int64_t sent, answered;
    uint32_t *latency_us; /* of the first SAMPLES_MAX */
};

static char buffer[HEAD_MAX + 1];
static char sink[64 * 1024]; /* a Unix socket copies what is dropped */

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "peers: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct message request_make(const struct plan *plan)
{
    static const char tensor[] = "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":"
                                 "[1,16],\"data\":[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0,1.1,1.2,"
                                 "1.3,1.4,1.5,1.6]}]}";
    struct message message = {mem_alloc(1, HEAD_MAX), 0};
    int length = snprintf(message.bytes, HEAD_MAX,
        "POST %s HTTP/1.1\r\nHost: localhost\r\n%s%s%sContent-Type: application/json\r\n"
        "Content-Length: %d\r\n\r\n%-*s",
        plan->path, plan->token ? "Authorization: Bearer " : "", plan->token ? plan->token : "",
        plan->token ? "\r\n" : "", REQUEST_BYTES, REQUEST_BYTES, tensor);
    if (length >= HEAD_MAX)
        die("the request is too long");
    message.length = (size_t)length;
    return message;
}

static struct message answer_make(const struct plan *plan)
{
    struct message message = {mem_alloc(1, HEAD_MAX + plan->answer_bytes), 0};
    int head = snprintf(message.bytes, HEAD_MAX,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        plan->answer_bytes);
    memset(message.bytes + head, 'x', plan->answer_bytes);
    message.length = (size_t)head + plan->answer_bytes;
    return message;
}

/* Whether the head is as long as that of the message before, and so is all of it then. */
static bool as_before(const struct peer *peer, const char *bytes, size_t length)
{
    return peer->head && length >= peer->head &&
           memcmp(bytes + peer->head - 4, "\r\n\r\n", 4) == 0;
}

/* Learns how long a message is from its head; false when that has not come whole. */
static bool learn(struct peer *peer, char *bytes, size_t length)
{
    bytes[length] = 0;
    const char *end = strstr(bytes, "\r\n\r\n");
    if (!end)
        return false;
    const char *field = strcasestr(bytes, "\r\nContent-Length:");
    errno = 0;
    if (!peer->upstream && memcmp(bytes, "HTTP/1.1 200", 12) != 0)
        die(bytes);
    if (!field || field > end)
        die("a message without Content-Length");
    peer->head = (size_t)(end + 4 - bytes);
    peer->whole = peer->head + strtoul(field + 17, NULL, 10);
    return true;
}

/* Reads; true when the message is whole. What lies behind HEAD_MAX is not looked at. */
static bool receive(struct peer *peer)
{
    for (;;) {
        bool more = peer->got >= HEAD_MAX;
        char *to = peer->got > 0 ? peer->part : buffer;
        size_t left = peer->whole - peer->got, room = HEAD_MAX - peer->got;
        if (more)
            room = left < sizeof sink ? left : sizeof sink;
        ssize_t n = recv(peer->fd, more ? sink : to + peer->got, room,
            MSG_DONTWAIT | (more ? MSG_TRUNC : 0));
        if (n < 0 && errno == EAGAIN)
            return false;
        if (n <= 0 && peer->upstream) {
            close(peer->fd); /* the proxy has more than it wants to keep */
            free(peer->part);
            free(peer);
            return false;
        }
        if (n <= 0)
            die("a connection was closed");
        size_t before = peer->got;
        peer->got += (size_t)n;
        if (!more && !as_before(peer, to, peer->got) && !learn(peer, to, peer->got))
            peer->whole = SIZE_MAX;
        if (peer->got == peer->whole)
            return true;
        if (peer->got > peer->whole || (peer->whole == SIZE_MAX && peer->got == HEAD_MAX)) {
            errno = 0;
            die("a message is not as expected");
        }
        if (!more && before == 0) {
            peer->part = peer->part ? peer->part : mem_alloc(1, HEAD_MAX + 1);
            memcpy(peer->part, buffer, peer->got);
        }
        if ((size_t)n < room)
            return false;
    }
}

static void send_message(struct peer *peer, const struct message *message)
{
    peer->got = 0;
    peer->rest = peer->rest ? peer->rest : message->length;
    ssize_t n = send(peer->fd, message->bytes + message->length - peer->rest, peer->rest,
        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        die("a message could not be sent");
    peer->rest -= n > 0 ? (size_t)n : 0;
}

/* ---- clients --------------------------------------------------------------------------------- */

static void ask(struct run *run, struct peer *client, int64_t begin_ns)
{
    run->sent++;
    client->begin_ns = begin_ns;
    send_message(client, &run->request);
}

static int64_t due_ns(const struct run *run)
{
    return run->begin_ns + (int64_t)((double)run->sent * 1e9 / run->plan.rate);
}

static void ask_due(struct run *run)
{
    for (int64_t due = due_ns(run); run->idle_count > 0 && due <= run->now_ns && due < run->end_ns;
         due = due_ns(run))
        ask(run, run->idle[--run->idle_count], due);
}

static void take_answer(struct run *run, struct peer *client)
{
    int64_t now = clock_monotonic_ns();
    if (run->answered < SAMPLES_MAX)
        run->latency_us[run->answered] = (uint32_t)((now - client->begin_ns) / 1000);
    run->answered++;
    run->heard_ns = now;
    if (run->plan.rate > 0) {
        client->got = 0;
        run->idle[run->idle_count++] = client;
    } else if (now < run->end_ns) {
        ask(run, client, now);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

/* Edge-triggered: both ends read and write until there is no more. */
static void watch(struct run *run, struct peer *peer)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = peer};
    if (peer->upstream)
        event.events |= EPOLLOUT;
    if (peer->fd < 0 || epoll_ctl(run->epoll, EPOLL_CTL_ADD, peer->fd, &event) < 0)
        die("a connection could not be made");
}

static struct sockaddr_un local_address(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        die("the socket's path is too long");
    strcpy(address.sun_path, path);
    return address;
}

static void serve(struct run *run)
{
    struct sockaddr_un address = local_address(run->plan.serve);
    unlink(run->plan.serve);
    run->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(run->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(run->listener, 4096) < 0)
        die("cannot listen");
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, run->listener, &event) < 0)
        die("epoll_ctl");
}

static void accept_links(struct run *run)
{
    for (;;) {
        int fd = accept4(run->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct peer *link = mem_alloc(1, sizeof *link);
        *link = (struct peer){.fd = fd, .upstream = true};
        watch(run, link);
    }
}

static void dial(struct run *run, struct peer *client)
{
    struct sockaddr_un local = local_address(run->plan.serve);
    struct sockaddr_in proxy = {.sin_family = AF_INET,
        .sin_port = htons(run->plan.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool direct = run->plan.direct;
    int one = 1;
    client->fd = socket(direct ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(client->fd, direct ? (struct sockaddr *)&local : (struct sockaddr *)&proxy,
            direct ? sizeof local : sizeof proxy) < 0)
        die("cannot connect");
    if (!direct)
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(run, client);
}

/* ---- the run --------------------------------------------------------------------------------- */

static void on_event(struct run *run, const struct epoll_event *event)
{
    struct peer *peer = event->data.ptr;
    if (!peer) {
        accept_links(run);
        return;
    }
    if (peer->upstream && peer->rest > 0)
        send_message(peer, &run->answer);
    if (!(event->events & EPOLLIN) || !receive(peer))
        return;
    if (peer->upstream)
        send_message(peer, &run->answer);
    else
        take_answer(run, peer);
}

static bool goes_on(const struct run *run)
{
    return run->answered < run->sent || (run->plan.rate > 0 && due_ns(run) < run->end_ns);
}

/* One look, and how long it took when there was nothing. */
static void turn(struct run *run)
{
    struct epoll_event events[EVENTS_MAX];
    if (run->plan.rate > 0)
        ask_due(run);
    int count = epoll_wait(run->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++)
        on_event(run, &events[i]);
    int64_t now = clock_monotonic_ns();
    if (count == 0)
        run->spare_ns += now - run->now_ns;
    run->now_ns = now;
    errno = 0;
    if (now - run->heard_ns > (int64_t)SILENCE_S * 1000000000)
        die("no answer for 10 s");
}

static void run_peers(struct run *run)
{
    serve(run);
    for (int i = 0; i < run->plan.connections; i++)
        dial(run, &run->clients[i]);
    run->begin_ns = run->now_ns = run->heard_ns = clock_monotonic_ns();
    run->end_ns = run->begin_ns + (int64_t)(run->plan.seconds * 1e9);
    for (int i = 0; i < run->plan.connections; i++) {
        if (run->plan.rate > 0)
            run->idle[run->idle_count++] = &run->clients[i];
        else
            ask(run, &run->clients[i], run->begin_ns);
    }
    while (goes_on(run))
        turn(run);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_result(struct run *run)
{
    size_t count = run->answered < SAMPLES_MAX ? (size_t)run->answered : SAMPLES_MAX;
    double seconds = (double)(run->now_ns - run->begin_ns) / 1e9;
    const uint32_t *us = run->latency_us;
    qsort(run->latency_us, count, sizeof *us, compare);
    printf("{\"answered\": %lld, \"seconds\": %.6f, \"per_s\": %.1f, \"spare\": %.3f, "
           "\"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u}\n",
        (long long)run->answered, seconds, (double)run->answered / seconds,
        (double)run->spare_ns / 1e9 / seconds, us[count / 2], us[count * 99 / 100],
        us[count * 999 / 1000]);
}

static int parse(int argc, char **argv, struct plan *plan)
{
    static const struct option options[] = {
        {"serve", required_argument, NULL, 'u'},
        {"port", required_argument, NULL, 'p'},
        {"direct", no_argument, NULL, 'd'},
        {"path", required_argument, NULL, 'P'},
        {"token", required_argument, NULL, 't'},
        {"answer", required_argument, NULL, 'a'},
        {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        switch (option) {
        case 'u': plan->serve = optarg; break;
        case 'p': plan->port = (uint16_t)atoi(optarg); break;
        case 'd': plan->direct = true; break;
        case 'P': plan->path = optarg; break;
        case 't': plan->token = optarg; break;
        case 'a': plan->answer_bytes = strtoul(optarg, NULL, 10); break;
        case 'c': plan->connections = atoi(optarg); break;
        case 's': plan->seconds = atof(optarg); break;
        case 'r': plan->rate = atof(optarg); break;
        default: return -1;
        }
    }
    bool where = plan->serve && plan->direct == !plan->port;
    return where && plan->path && plan->answer_bytes > 0 && plan->connections > 0 &&
                   plan->seconds > 0 && plan->rate >= 0 && optind == argc
               ? 0
               : -1;
}

int main(int argc, char **argv)
{
    struct run run = {0};
    if (parse(argc, argv, &run.plan) < 0) {
        fprintf(stderr, "usage: peers --serve SOCKET (--port PORT | --direct) --path PATH --answer "
                        "BYTES\n             --connections N --seconds S [--rate R] [--token TOKEN]\n");
        return 2;
    }
    run.request = request_make(&run.plan);
    run.answer = answer_make(&run.plan);
    run.clients = mem_alloc((size_t)run.plan.connections, sizeof *run.clients);
    run.idle = mem_alloc((size_t)run.plan.connections, sizeof(struct peer *));
    run.latency_us = mem_alloc(SAMPLES_MAX, sizeof *run.latency_us);
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run_peers(&run);
    print_result(&run); /* the end of the process gives everything back */
    return 0;
}
