/* A client that costs little: so many connections, each with one request under way at any time.
 *
 *   load --unix PATH | --port PORT [--tls] [--token TOKEN]
 *        (--get PATH | --post PATH | --jobs PREFIX TEAM POOL)
 *        [--body FILE [--json-length N]] --connections N --seconds S [--rate R] [--count N]
 *        [--queues N] [--stream]
 *
 * Connections are kept and requests are not pipelined: the next one goes out when the answer has
 * come whole. --post sends a request for inference, 200 bytes long, or what --body has (8 KiB at
 * most; --json-length: the length of its JSON, when tensors come behind it). A --jobs request
 * submits a job of its own name, PREFIX-1, PREFIX-2 and so on. One line of JSON says what came of
 * it; an answer other than 2xx counts as refused.
 *
 * Without --rate the loop is closed: each connection asks again as soon as it may, and says how
 * much a server carries. With it the loop is open: R requests are due in each second whether or not
 * the server keeps up, and the time of each counts from when it was due. A server that stalls is
 * thus charged for all that would have been asked meanwhile (a closed loop leaves those out and
 * reports the stall once: "coordinated omission").
 *
 * --count ends the run after so many requests. With --queues the jobs go to the teams TEAM-0 to
 * TEAM-(N-1) in turn, and are of the three sizes of Kueue's performance tests, seven small, two
 * medium and one large in ten.
 *
 * One thread, one epoll. Answers must carry a Content-Length; anything else ends the run. With
 * --stream they are chunked instead, and the time of each is that of its first chunk. */
#include "base/clock.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, BUFFER_BYTES = 128 * 1024, SAMPLES_MAX = 1 << 21 };
enum { BODY_BYTES_MAX = 8192, HEAD_BYTES_MAX = 1024 };

struct plan {
    const char *unix_path, *get_path, *post_path, *prefix, *team, *pool, *token;
    char *body; /* of --post; NULL: the usual one */
    size_t body_length, json_length;
    uint16_t port;
    bool tls, stream;
    int connections, queues;
    int64_t count; /* of requests at most; 0: any */
    double seconds;
    double rate; /* requests a second; 0: as many as are answered */
};

struct client {
    int fd;
    SSL *tls;
    int64_t begin_ns; /* of the request under way: when it was sent, or was due */
    char out[HEAD_BYTES_MAX + BODY_BYTES_MAX];
    size_t out_length;
    char in[BUFFER_BYTES];
    size_t in_length;
    int64_t first_ns; /* of a stream: when its first chunk came; 0: not yet */
};

struct run {
    struct plan plan;
    SSL_CTX *tls;
    int epoll;
    struct client *clients;
    int64_t sent, answered, refused;
    int64_t begin_ns, end_ns;
    struct client **idle; /* with a rate: connections without a request */
    size_t idle_count;
    uint32_t *latency_us; /* of the first SAMPLES_MAX answers */
    uint32_t *refused_us; /* of the first that were refused */
};

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A workload of Kueue's tests: 1, 5 or 20 processors, the larger the more urgent. */
static size_t workload_text(const struct run *run, char *out, size_t size)
{
    static const struct {
        int cpus, priority;
    } kinds[] = {{1, 50}, {5, 100}, {20, 200}};
    const struct plan *plan = &run->plan;
    int64_t turn = run->sent / plan->queues % 10;
    size_t kind = turn < 7 ? 0 : turn < 9 ? 1 : 2;
    return (size_t)snprintf(out, size,
        "{\"apiVersion\":\"muster/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"%s-%lld\","
        "\"team\":\"%s-%lld\"},\"spec\":{\"command\":[\"true\"],\"priority\":%d,"
        "\"resources\":{\"cpu\":%d,\"memory\":\"64Mi\"},\"placement\":{\"pool\":\"%s\"}}}",
        plan->prefix, (long long)run->sent, plan->team, (long long)(run->sent % plan->queues),
        kinds[kind].priority, kinds[kind].cpus, plan->pool);
}

static size_t job_text(const struct run *run, char *out, size_t size)
{
    const struct plan *plan = &run->plan;
    if (plan->queues)
        return workload_text(run, out, size);
    return (size_t)snprintf(out, size,
        "{\"apiVersion\":\"muster/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"%s-%lld\","
        "\"team\":\"%s\"},\"spec\":{\"command\":[\"python3\",\"train.py\",\"--epochs\",\"10\"],"
        "\"env\":{\"SEED\":\"17\"},\"resources\":{\"cpu\":1,\"memory\":\"64Mi\"},"
        "\"placement\":{\"pool\":\"%s\"}}}",
        plan->prefix, (long long)run->sent, plan->team, plan->pool);
}

/* A request for inference with 200 bytes: 16 numbers in JSON, and spaces after them. */
static size_t infer_text(char *out, size_t size)
{
    static const char tensor[] = "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":"
                                 "[1,16],\"data\":[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0,1.1,1.2,"
                                 "1.3,1.4,1.5,1.6]}]}";
    return (size_t)snprintf(out, size, "%-200s", tensor);
}

/* Bytes of the caller's own. */
static void write_body(const struct plan *plan, struct client *client)
{
    char token[256] = "", json[64] = "";
    if (plan->token)
        snprintf(token, sizeof token, "Authorization: Bearer %s\r\n", plan->token);
    if (plan->json_length)
        snprintf(json, sizeof json, "Inference-Header-Content-Length: %zu\r\n", plan->json_length);
    int written = snprintf(client->out, HEAD_BYTES_MAX,
        "POST %s HTTP/1.1\r\nHost: localhost\r\n%s%sContent-Type: %s\r\nContent-Length: "
        "%zu\r\n\r\n",
        plan->post_path, token, json,
        plan->json_length ? "application/octet-stream" : "application/json", plan->body_length);
    assert(written > 0 && written < HEAD_BYTES_MAX);
    memcpy(client->out + written, plan->body, plan->body_length);
    client->out_length = (size_t)written + plan->body_length;
}

static void write_request(struct run *run, struct client *client)
{
    const struct plan *plan = &run->plan;
    if (plan->body) {
        write_body(plan, client);
        return;
    }
    char body[512] = "", token[256] = "";
    size_t length = plan->prefix      ? job_text(run, body, sizeof body)
                    : plan->post_path ? infer_text(body, sizeof body)
                                      : 0;
    assert(length < sizeof body);
    if (plan->token)
        snprintf(token, sizeof token, "Authorization: Bearer %s\r\n", plan->token);
    int written = length > 0
                      ? snprintf(client->out, sizeof client->out,
                            "POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Type: "
                            "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                            plan->prefix ? "/v1/jobs" : plan->post_path, token, length, body)
                      : snprintf(client->out, sizeof client->out,
                            "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", plan->get_path, token);
    assert(written > 0 && (size_t)written < sizeof client->out);
    client->out_length = (size_t)written;
}

/* A request is smaller than any socket buffer, so it goes out at once or something is wrong. */
static void send_request(struct run *run, struct client *client, int64_t begin_ns)
{
    run->sent++;
    write_request(run, client);
    client->in_length = 0;
    client->first_ns = 0;
    client->begin_ns = begin_ns;
    ssize_t sent = client->tls ? SSL_write(client->tls, client->out, (int)client->out_length)
                               : send(client->fd, client->out, client->out_length, MSG_NOSIGNAL);
    if (sent != (ssize_t)client->out_length)
        die("a request could not be sent");
}

/* When the next request of a rate is due. */
static int64_t due_ns(const struct run *run)
{
    return run->begin_ns + (int64_t)((double)run->sent * 1e9 / run->plan.rate);
}

/* Sends what is due while there are connections for it; the rest waits, and its time runs. */
static void send_due(struct run *run)
{
    int64_t now = clock_monotonic_ns(), due = due_ns(run);
    for (; run->idle_count > 0 && due <= now && due < run->end_ns; due = due_ns(run))
        send_request(run, run->idle[--run->idle_count], due);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Whether the last chunk is there; the time of the first is noted. */
static bool stream_whole(struct client *client, const char *end, int *ret_status)
{
    static const char last[] = "\r\n0\r\n\r\n";
    size_t length = sizeof last - 1, head = (size_t)(end - client->in) + 4;
    if (client->first_ns == 0 && client->in_length > head)
        client->first_ns = clock_monotonic_ns();
    *ret_status = atoi(client->in + 9);
    return client->in_length >= head + length &&
           memcmp(client->in + client->in_length - length, last, length) == 0;
}

/* Whether the answer is there; its status goes to ret_status. */
static bool answer_whole(const struct run *run, struct client *client, int *ret_status)
{
    const char *end = memmem(client->in, client->in_length, "\r\n\r\n", 4);
    if (!end)
        return false;
    if (run->plan.stream)
        return stream_whole(client, end, ret_status);
    const char *field = strcasestr(client->in, "\r\nContent-Length:");
    if (!field || field > end || strncmp(client->in, "HTTP/1.1 ", 9) != 0) {
        errno = 0;
        die("an answer is not as expected");
    }
    *ret_status = atoi(client->in + 9);
    size_t body = strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
    return client->in_length >= (size_t)(end - client->in) + 4 + body;
}

static void take_answer(struct run *run, const struct client *client, int status)
{
    int64_t end_ns = run->plan.stream ? client->first_ns : clock_monotonic_ns();
    uint32_t us = (uint32_t)((end_ns - client->begin_ns) / 1000);
    bool refused = status / 100 != 2;
    if (run->answered < SAMPLES_MAX)
        run->latency_us[run->answered] = us;
    if (refused && run->refused < SAMPLES_MAX)
        run->refused_us[run->refused] = us;
    run->answered++;
    run->refused += refused;
    if (refused && run->refused == 1)
        fprintf(stderr, "load: first refusal: %s\n", client->in);
}

static bool receive(struct client *client)
{
    size_t room = BUFFER_BYTES - 1 - client->in_length;
    char *to = client->in + client->in_length;
    ssize_t got = client->tls ? SSL_read(client->tls, to, (int)room)
                              : recv(client->fd, to, room, MSG_DONTWAIT);
    if (client->tls && got <= 0 && SSL_get_error(client->tls, (int)got) == SSL_ERROR_WANT_READ)
        return false;
    if (!client->tls && got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0)
        die("the server closed a connection");
    client->in_length += (size_t)got;
    client->in[client->in_length] = 0;
    return true;
}

static void on_readable(struct run *run, struct client *client)
{
    int status;
    while (receive(client)) {
        if (!answer_whole(run, client, &status))
            continue;
        take_answer(run, client, status);
        if (run->plan.rate > 0) {
            run->idle[run->idle_count++] = client;
            return;
        }
        int64_t now = clock_monotonic_ns();
        if (now >= run->end_ns || (run->plan.count && run->sent >= run->plan.count))
            return;
        send_request(run, client, now);
        if (!client->tls)
            return; /* nothing can be there yet, and the loop tells */
    }
}

/* ---- the run --------------------------------------------------------------------------------- */

static int dial(const struct plan *plan)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in loopback = {.sin_family = AF_INET,
        .sin_port = htons(plan->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(plan->unix_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1, rc;
    if (plan->unix_path) {
        snprintf(local.sun_path, sizeof local.sun_path, "%s", plan->unix_path);
        rc = connect(fd, (struct sockaddr *)&local, sizeof local);
    } else {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        rc = connect(fd, (struct sockaddr *)&loopback, sizeof loopback);
    }
    if (fd < 0 || rc < 0)
        die("cannot connect");
    return fd;
}

static void open_client(struct run *run, struct client *client)
{
    client->fd = dial(&run->plan);
    if (run->tls) {
        client->tls = SSL_new(run->tls);
        SSL_set_fd(client->tls, client->fd);
        if (SSL_connect(client->tls) != 1)
            die("the TLS handshake failed");
        fcntl(client->fd, F_SETFL, O_NONBLOCK); /* a read that finds nothing comes back */
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
        die("epoll_ctl");
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Of sorted samples. */
static uint32_t percentile(const uint32_t *us, size_t count, double part)
{
    return count ? us[(size_t)((double)(count - 1) * part)] : 0;
}

static size_t sort_samples(uint32_t *us, int64_t made)
{
    size_t count = made < SAMPLES_MAX ? (size_t)made : SAMPLES_MAX;
    qsort(us, count, sizeof *us, compare);
    return count;
}

static void print_result(struct run *run, double seconds)
{
    size_t count = sort_samples(run->latency_us, run->answered);
    size_t refused = sort_samples(run->refused_us, run->refused);
    const uint32_t *all = run->latency_us, *no = run->refused_us;
    printf("{\"answered\": %lld, \"refused\": %lld, \"seconds\": %.6f, \"per_s\": %.1f, "
           "\"p50_us\": %u, \"p99_us\": %u, \"p999_us\": %u, \"refused_p50_us\": %u, "
           "\"refused_p99_us\": %u}\n",
        (long long)run->answered, (long long)run->refused, seconds, (double)run->answered / seconds,
        percentile(all, count, 0.5), percentile(all, count, 0.99), percentile(all, count, 0.999),
        percentile(no, refused, 0.5), percentile(no, refused, 0.99));
}

/* Whether there is something left to send or to wait for. */
static bool goes_on(const struct run *run)
{
    return run->answered < run->sent || (run->plan.rate > 0 && due_ns(run) < run->end_ns);
}

/* Waits for answers, with a rate no longer than until the next request is due. */
static int wait_events(const struct run *run, struct epoll_event *events)
{
    struct timespec wait = {.tv_sec = 10};
    bool timed = run->plan.rate > 0 && run->idle_count > 0 && due_ns(run) < run->end_ns;
    if (timed) {
        int64_t left = due_ns(run) - clock_monotonic_ns();
        wait = (struct timespec){.tv_nsec = left > 0 ? left % 1000000000 : 0,
            .tv_sec = left > 0 ? left / 1000000000 : 0};
    }
    int count = epoll_pwait2(run->epoll, events, CONNECTIONS_MAX, &wait, NULL);
    if ((count < 0 && errno != EINTR) || (count == 0 && !timed))
        die("no answer for 10 s");
    return count;
}

static void run_load(struct run *run)
{
    struct epoll_event events[CONNECTIONS_MAX];
    for (int i = 0; i < run->plan.connections; i++)
        open_client(run, &run->clients[i]);
    run->begin_ns = clock_monotonic_ns();
    run->end_ns = run->begin_ns + (int64_t)(run->plan.seconds * 1e9);
    for (int i = 0; i < run->plan.connections; i++) {
        if (run->plan.rate > 0)
            run->idle[run->idle_count++] = &run->clients[i];
        else
            send_request(run, &run->clients[i], clock_monotonic_ns());
    }
    while (goes_on(run)) {
        if (run->plan.rate > 0)
            send_due(run);
        int count = wait_events(run, events);
        for (int i = 0; i < count; i++)
            on_readable(run, events[i].data.ptr);
    }
    print_result(run, (double)(clock_monotonic_ns() - run->begin_ns) / 1e9);
}

static void read_body(struct plan *plan, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    plan->body = mem_alloc(BODY_BYTES_MAX, 1);
    plan->body_length = fread(plan->body, 1, BODY_BYTES_MAX, file);
    fclose(file);
}

static int parse(int argc, char **argv, struct plan *plan)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        i += strcmp(name, "--tls") != 0 && strcmp(name, "--stream") != 0;
        if (!strcmp(name, "--unix"))
            plan->unix_path = value;
        else if (!strcmp(name, "--port"))
            plan->port = (uint16_t)atoi(value);
        else if (!strcmp(name, "--tls"))
            plan->tls = true;
        else if (!strcmp(name, "--stream"))
            plan->stream = true;
        else if (!strcmp(name, "--token"))
            plan->token = value;
        else if (!strcmp(name, "--get"))
            plan->get_path = value;
        else if (!strcmp(name, "--post"))
            plan->post_path = value;
        else if (!strcmp(name, "--body"))
            read_body(plan, value);
        else if (!strcmp(name, "--json-length"))
            plan->json_length = strtoul(value, NULL, 10);
        else if (!strcmp(name, "--connections"))
            plan->connections = atoi(value);
        else if (!strcmp(name, "--seconds"))
            plan->seconds = atof(value);
        else if (!strcmp(name, "--rate"))
            plan->rate = atof(value);
        else if (!strcmp(name, "--count"))
            plan->count = atoll(value);
        else if (!strcmp(name, "--queues"))
            plan->queues = atoi(value);
        else if (!strcmp(name, "--jobs") && i + 2 < argc) {
            plan->prefix = value;
            plan->team = argv[++i];
            plan->pool = argv[++i];
        } else {
            return -1;
        }
    }
    bool what = !!plan->get_path + !!plan->post_path + !!plan->prefix == 1,
         where = !plan->unix_path != !plan->port;
    bool some = plan->connections > 0 && plan->connections <= CONNECTIONS_MAX;
    bool sane = plan->seconds > 0 && plan->rate >= 0 && plan->count >= 0 && plan->queues >= 0;
    return what && where && some && sane ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct run run = {0};
    if (parse(argc, argv, &run.plan) < 0) {
        fprintf(stderr,
            "usage: load --unix PATH | --port PORT [--tls] [--token TOKEN]\n"
            "            (--get PATH | --post PATH | --jobs PREFIX TEAM POOL)\n"
            "            [--body FILE [--json-length N]]\n"
            "            --connections N --seconds S [--rate R] [--count N] [--queues N]\n"
            "            [--stream]\n");
        return 2;
    }
    run.clients = mem_alloc((size_t)run.plan.connections, sizeof *run.clients);
    run.idle = mem_alloc((size_t)run.plan.connections, sizeof(struct client *));
    run.latency_us = mem_alloc(SAMPLES_MAX, sizeof *run.latency_us);
    run.refused_us = mem_alloc(SAMPLES_MAX, sizeof *run.refused_us);
    run.tls = run.plan.tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    /* The kernel may make a wait 50 us longer than asked, half of what lies between two requests
     * of a rate of 10,000. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    run_load(&run); /* the end of the process gives everything back */
    return 0;
}
