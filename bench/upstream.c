/* A server that costs next to nothing, so that the proxy before it is what is measured:
 *
 *   upstream SOCKET
 *
 * answers each request with the number of bytes that its path names after a hyphen
 * (/v2/models/answer-200/infer: 200), from memory, on connections that it keeps. Bodies of requests
 * are read and dropped. A path with stream-N instead is answered with N events of 64 bytes, each a chunk
 * and a send of its own. One thread, one epoll. Its clients are the benchmark's own: what is not such
 * a request ends it. */
#include "base/memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { BODY_MAX = 1 << 20, EVENTS_MAX = 256, REQUEST_MAX = 4096, DESCRIPTORS_MAX = 4096 };

static char body[BODY_MAX];

/* What is under way, by descriptor. */
static struct link {
    char request[REQUEST_MAX + 1]; /* what has come of it, and its end */
    size_t received;
    size_t rest; /* bytes of the answer, from its end, that could not be sent at once */
} links[DESCRIPTORS_MAX];

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "upstream: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int epoll, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        die("epoll_ctl");
}

static void send_rest(int epoll, int fd)
{
    ssize_t n = send(fd, body, links[fd].rest, MSG_NOSIGNAL | MSG_DONTWAIT);
    links[fd].rest -= n > 0 ? (size_t)n : 0;
    if (links[fd].rest == 0)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
}

/* What does not fit into the socket at once ends the process: streams are small. */
static void send_whole(int fd, const char *text, size_t length)
{
    if (send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)length && errno == EAGAIN)
        die("a stream is too long");
}

static void stream(int fd, unsigned long count)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    char event[80];
    int length = snprintf(event, sizeof event, "40\r\n%-62.62s\n\n\r\n", "data: {\"text\":\"word\"}");
    send_whole(fd, head, sizeof head - 1);
    for (unsigned long i = 0; i < count; i++)
        send_whole(fd, event, (size_t)length);
    send_whole(fd, "0\r\n\r\n", 5);
}

static void answer(int epoll, int fd, const char *request)
{
    char head[128];
    const char *hyphen = strpbrk(request, "-\r");
    size_t length = *hyphen == '-' ? strtoul(hyphen + 1, NULL, 10) : BODY_MAX;
    if (length >= BODY_MAX)
        die("a request is not as expected");
    if (hyphen - request > 6 && !memcmp(hyphen - 6, "stream", 6)) {
        stream(fd, length);
        return;
    }
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", length);
    struct iovec parts[] = {{head, (size_t)n}, {body, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < n)
        return; /* the proxy has gone */
    links[fd].rest = length - ((size_t)sent - (size_t)n);
    if (links[fd].rest > 0)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

/* Whether head and body have come; proxies send them together or one after the other. */
static int request_whole(const struct link *link)
{
    const char *end = strstr(link->request, "\r\n\r\n");
    const char *field = end ? strcasestr(link->request, "\r\nContent-Length:") : NULL;
    size_t length = field && field < end ? strtoul(field + 17, NULL, 10) : 0;
    return end && link->received >= (size_t)(end + 4 - link->request) + length;
}

static void on_ready(int epoll, int fd, uint32_t events)
{
    struct link *link = &links[fd];
    if (events & EPOLLOUT) {
        send_rest(epoll, fd);
        return;
    }
    ssize_t n = recv(fd, link->request + link->received, REQUEST_MAX - link->received, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        if (link->received == REQUEST_MAX)
            die("a request is too long");
        link->received = 0;
        close(fd);
        return;
    }
    link->received += (size_t)n;
    link->request[link->received] = '\0';
    if (!request_whole(link))
        return;
    link->received = 0;
    answer(epoll, fd, link->request);
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct epoll_event events[EVENTS_MAX];
    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: upstream SOCKET\n");
        return 2;
    }
    memset(body, 'x', sizeof body);
    strcpy(address.sun_path, argv[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1024) < 0)
        die("cannot listen");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                on_ready(epoll, fd, events[i].events);
                continue;
            }
            int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (accepted >= 0 && accepted < DESCRIPTORS_MAX)
                watch(epoll, EPOLL_CTL_ADD, accepted, EPOLLIN);
        }
    }
}
