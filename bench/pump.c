/* The least that a proxy can be, to see what the system alone takes:
 *
 *   pump PORT SOCKET
 *
 * gives each client that connects to the port a connection of its own to the upstream's socket, and
 * sends on what comes on either, unread. Per request that is what every proxy has to do: two reads, two
 * writes, and a share of a wait. One thread, one epoll, edge-triggered. Writes block: its clients and
 * its upstream are the benchmark's own, and read. */
#include "base/memory.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS_MAX = 512, PIPES_MAX = 4096, BUFFER_BYTES = 256 * 1024 };

static char buffer[BUFFER_BYTES];

/* By descriptor: where its bytes go; 0: nowhere any more. */
static int others[2 * PIPES_MAX];

static void __attribute__((noreturn)) die(const char *what)
{
    fprintf(stderr, "pump: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static int listen_at(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, PIPES_MAX) < 0)
        die("cannot listen");
    return fd;
}

static void on_client(int epoll, int listener, const struct sockaddr_un *upstream)
{
    int one = 1, client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool made = client >= 0 && fd >= 0 && client < 2 * PIPES_MAX && fd < 2 * PIPES_MAX &&
                connect(fd, (const struct sockaddr *)upstream, sizeof *upstream) == 0;
    if (!made) {
        fd_scope(&client);
        fd_scope(&fd);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    others[client] = fd;
    others[fd] = client;
    watch(epoll, client, EPOLLIN | EPOLLRDHUP | EPOLLET);
    watch(epoll, fd, EPOLLIN | EPOLLRDHUP | EPOLLET);
}

static void end(int fd)
{
    int other = others[fd];
    others[fd] = others[other] = 0;
    close(fd);
    close(other);
}

static void on_bytes(int fd, uint32_t events)
{
    ssize_t n;
    if (others[fd] == 0)
        return; /* ended earlier in this turn */
    do {
        n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN) ||
            (n > 0 && send(others[fd], buffer, (size_t)n, MSG_NOSIGNAL) != n)) {
            end(fd);
            return;
        }
    } while (n == BUFFER_BYTES || (n > 0 && events != EPOLLIN));
}

int main(int argc, char **argv)
{
    struct sockaddr_un upstream = {.sun_family = AF_UNIX};
    struct epoll_event events[EVENTS_MAX];
    if (argc != 3 || strlen(argv[2]) >= sizeof upstream.sun_path) {
        fprintf(stderr, "usage: pump PORT SOCKET\n");
        return 2;
    }
    strcpy(upstream.sun_path, argv[2]);
    int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listen_at((uint16_t)atoi(argv[1]));
    watch(epoll, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                on_client(epoll, listener, &upstream);
            else
                on_bytes(events[i].data.fd, events[i].events);
        }
    }
}
