/* The servers that talk to a shim: the one that started it, through an inherited socket, and
 * later ones through the control socket in the run folder. */
#pragma once

#include "engine/channel.h"
#include "engine/record.h"

#include <stdint.h>
#include <sys/types.h>

struct event_base;
struct shim_clients;

/* A request of a client. Descriptors in the message are closed after the call. */
typedef void shim_request_fn(
    void *context, const struct record *request, const struct channel_message *message);
/* What a client is told when it connects: appends one message. */
typedef void shim_greet_fn(void *context, struct strbuf *out);

struct shim_clients_options {
    struct event_base *base;
    int listen_fd; /* taken over */
    int first_fd;  /* a connected client; taken over */
    uid_t owner;   /* only this user and root are answered */
    shim_request_fn *on_request;
    shim_greet_fn *greet;
    void *context;
};

/* Listens at once; never NULL. */
struct shim_clients *shim_clients_create(const struct shim_clients_options *options);
void shim_clients_destroy(struct shim_clients *clients); /* NULL is fine */
/* Sends to every client. One that does not read is let go: it connects again and is told what
 * is. With lossy it only misses this message. */
void shim_clients_tell(struct shim_clients *clients, const struct strbuf *message, bool lossy);
