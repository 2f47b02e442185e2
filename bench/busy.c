/* A server that does so much at once and no more, as a model does: the upstream of an overload.
 *
 *   busy SOCKET CONCURRENCY MICROSECONDS
 *
 * works on CONCURRENCY requests at a time, MICROSECONDS on each; others wait in the order they
 * came. Its most is thus CONCURRENCY / MICROSECONDS, whatever comes. One thread, one epoll;
 * connections are kept, requests not pipelined. Its clients are the benchmark's own: what is not
 * such a request ends it. */
#include "base/clock.h"
#include "base/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, REQUEST_MAX = 4096, DESCRIPTORS_MAX = 8192 };

static char requests[DESCRIPTORS_MAX][REQUEST_MAX + 1];
static size_t received[DESCRIPTORS_MAX];

/* All take equally long, so what began first ends first: one ring, of which the first `working`
 * are being worked on. A connection that closes meanwhile leaves its place to nobody. */
static struct work {
    int fd;
    int64_t ends_ns;
} ring[DESCRIPTORS_MAX];
static size_t first, working, held;
static size_t concurrency;
static int64_t each_ns;

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "busy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void set_timer(int timer)
{
    int64_t ends = working ? ring[first].ends_ns : 0;
    struct itimerspec when = {.it_value = {ends / 1000000000, ends % 1000000000}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0)
        die("timerfd_settime");
}

static void begin_work(void)
{
    int64_t now = clock_monotonic_ns();
    while (working < held && working < concurrency)
        ring[(first + working++) % DESCRIPTORS_MAX].ends_ns = now + each_ns;
}

static void end_work(void)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 2\r\n\r\n{}";
    int64_t now = clock_monotonic_ns();
    for (; working > 0 && ring[first].ends_ns <= now; first = (first + 1) % DESCRIPTORS_MAX) {
        int fd = ring[first].fd;
        if (fd >= 0 && send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
            errno != EPIPE && errno != ECONNRESET)
            die("send");
        working--;
        held--;
    }
}

static void forget(int fd)
{
    for (size_t i = 0; i < held; i++) {
        struct work *work = &ring[(first + i) % DESCRIPTORS_MAX];
        work->fd = work->fd == fd ? -1 : work->fd;
    }
    received[fd] = 0;
    close(fd);
}

static bool is_whole(int fd)
{
    const char *end = strstr(requests[fd], "\r\n\r\n");
    const char *length = end ? strcasestr(requests[fd], "\r\ncontent-length:") : NULL;
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return end && received[fd] >= (size_t)(end - requests[fd]) + 4 + body;
}

static void on_readable(int fd)
{
    ssize_t n = recv(fd, requests[fd] + received[fd], REQUEST_MAX - received[fd], MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        forget(fd);
        return;
    }
    received[fd] += (size_t)n;
    requests[fd][received[fd]] = '\0';
    if (!is_whole(fd))
        return;
    received[fd] = 0;
    ring[(first + held++) % DESCRIPTORS_MAX].fd = fd;
}

static int listen_at(const char *path)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (strlen(path) >= sizeof where.sun_path)
        die("the path is too long");
    strcpy(where.sun_path, path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&where, sizeof where) < 0 || listen(fd, 4096) < 0)
        die("cannot listen");
    return fd;
}

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= DESCRIPTORS_MAX)
            die("too many connections");
        watch(epoll, fd);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: busy SOCKET CONCURRENCY MICROSECONDS\n");
        return 2;
    }
    concurrency = strtoul(argv[2], NULL, 10);
    each_ns = strtoll(argv[3], NULL, 10) * 1000;
    prctl(PR_SET_TIMERSLACK, 1);
    int listener = listen_at(argv[1]), epoll = epoll_create1(0);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(epoll, listener);
    watch(epoll, timer);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else if (events[i].data.fd != timer)
                on_readable(events[i].data.fd);
        }
        end_work();
        begin_work();
        set_timer(timer);
    }
}
