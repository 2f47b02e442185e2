/* The clients of a shim: see shim_clients.h. */
#include "engine/shim_clients.h"

#include "base/memory.h"

#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLIENTS_MAX = 8 };

struct client {
    struct shim_clients *clients;
    int fd; /* -1: free */
    struct event *readable;
};

struct shim_clients {
    struct shim_clients_options options;
    struct event *acceptable;
    struct client list[CLIENTS_MAX];
    struct channel_message message;
};

static void drop(struct client *client)
{
    event_free(client->readable);
    close(client->fd);
    client->fd = -1;
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
    struct client *client = context;
    struct shim_clients *clients = client->clients;
    (void)events;
    int got = channel_receive(fd, false, &clients->message);
    if (got < 0)
        drop(client);
    if (got <= 0)
        return;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record request;
    if (record_parse(arena, clients->message.text, clients->message.size, &request, NULL) == 0)
        clients->options.on_request(clients->options.context, &request, &clients->message);
    channel_message_finish(&clients->message);
}

static void tell_one(struct client *client, const struct strbuf *message, bool lossy)
{
    struct error err;
    if (channel_send(client->fd, message, NULL, 0, &err) < 0 && !(lossy && err.code == ERR_BUSY))
        drop(client);
}

static void add(struct shim_clients *clients, int fd)
{
    SCOPED(strbuf_finish) struct strbuf greeting = {0};
    for (int i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &clients->list[i];
        if (client->fd >= 0)
            continue;
        *client = (struct client){clients, fd,
            event_new(clients->options.base, fd, EV_READ | EV_PERSIST, on_readable, client)};
        assert(client->readable);
        event_add(client->readable, NULL);
        clients->options.greet(clients->options.context, &greeting);
        tell_one(client, &greeting, false);
        return;
    }
    close(fd);
}

static bool is_allowed(const struct shim_clients *clients, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == clients->options.owner);
}

static void on_acceptable(evutil_socket_t listen_fd, short events, void *context)
{
    struct shim_clients *clients = context;
    (void)events;
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (is_allowed(clients, fd))
        add(clients, fd);
    else
        close(fd);
}

struct shim_clients *shim_clients_create(const struct shim_clients_options *options)
{
    struct shim_clients *clients = mem_alloc(1, sizeof *clients);
    clients->options = *options;
    for (int i = 0; i < CLIENTS_MAX; i++)
        clients->list[i].fd = -1;
    clients->acceptable =
        event_new(options->base, options->listen_fd, EV_READ | EV_PERSIST, on_acceptable, clients);
    assert(clients->acceptable);
    event_add(clients->acceptable, NULL);
    add(clients, options->first_fd);
    return clients;
}

void shim_clients_destroy(struct shim_clients *clients)
{
    if (!clients)
        return;
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (clients->list[i].fd >= 0)
            drop(&clients->list[i]);
    }
    event_free(clients->acceptable);
    close(clients->options.listen_fd);
    free(clients);
}

void shim_clients_tell(struct shim_clients *clients, const struct strbuf *message, bool lossy)
{
    for (int i = 0; i < CLIENTS_MAX; i++) {
        if (clients->list[i].fd >= 0)
            tell_one(&clients->list[i], message, lossy);
    }
}
