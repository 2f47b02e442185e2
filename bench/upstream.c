/* A server that costs next to nothing, so that the proxy before it is what is measured:
 *
 *   upstream SOCKET
 *
 * answers GET /N with N bytes, from memory, on connections that it keeps. One thread, one epoll.
 * Its clients are the benchmark's own: what is not such a request ends it. */
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

/* What could not be sent at once, by descriptor. */
static struct rest {
    size_t length; /* bytes of the body, from its end, that are still to be sent */
} rests[DESCRIPTORS_MAX];

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
    ssize_t n = send(fd, body, rests[fd].length, MSG_NOSIGNAL | MSG_DONTWAIT);
    rests[fd].length -= n > 0 ? (size_t)n : 0;
    if (rests[fd].length == 0)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void answer(int epoll, int fd, const char *request)
{
    char head[128];
    size_t length = strncmp(request, "GET /", 5) == 0 ? strtoul(request + 5, NULL, 10) : BODY_MAX;
    if (length >= BODY_MAX)
        die("a request is not as expected");
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", length);
    struct iovec parts[] = {{head, (size_t)n}, {body, length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < n)
        return; /* the proxy has gone */
    rests[fd].length = length - ((size_t)sent - (size_t)n);
    if (rests[fd].length > 0)
        watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void on_ready(int epoll, int fd, uint32_t events)
{
    char request[REQUEST_MAX + 1];
    if (events & EPOLLOUT) {
        send_rest(epoll, fd);
        return;
    }
    ssize_t n = recv(fd, request, REQUEST_MAX, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    request[n] = '\0';
    if (n < 4 || memcmp(request + n - 4, "\r\n\r\n", 4) != 0)
        die("a request came in parts");
    answer(epoll, fd, request);
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
