/* An agent and its scripted peer for tests. Both share the test's one thread: the loop is turned
 * between looks at the peer's socket, so nothing waits longer than it has to. */
#pragma once

#include "wire/http_agent.h"

#include "base/strbuf.h"

#include <sys/types.h>

enum { TURNS_MAX = 20000 };

/* One exchange and what came of it, as text: callbacks append to `log`. */
struct talk {
    struct peer *peer;
    struct http_exchange *exchange; /* NULL when it is over */
    struct strbuf log;              /* "200 length=5 | content-type: x | " and then the events */
    struct strbuf body;
    int heads, pieces, ends, fails, drains;
    enum http_failure failure;
    bool answered;
    bool pause_each; /* after every piece */
    bool pause_head; /* in on_head */
    int cancel_at;   /* the callback, counted from 1, that cancels */
    int callbacks;
    bool again;        /* on_end begins the next */
    struct talk *next; /* what `again` fills */
};

/* The peer listens on a Unix socket of its own; the agent has one endpoint for it. */
struct peer {
    struct event_base *base;
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    char folder[32];
    char address[128];
    int listener;
};

struct peer *peer_create(const struct http_agent_options *options);
void peer_destroy(struct peer *peer);
/* Lets the agent do what it can now. */
void turn(struct peer *peer);
/* Takes the connection that waits; non-blocking. */
int peer_accept(struct peer *peer);
void peer_send(struct peer *peer, int fd, const char *bytes, size_t length);
void peer_say(struct peer *peer, int fd, const char *text);
/* Receives into got until it holds needle (NULL: until the end); false when the end came. */
bool peer_hear(struct peer *peer, int fd, struct strbuf *got, const char *needle);
/* Begins "GET /" unless request says otherwise. */
void talk_begin(struct peer *peer, struct talk *talk, const struct http_exchange_request *request);
/* Turns until it is over. */
void talk_finish(struct talk *talk);
void talk_clear(struct talk *talk);
/* A whole exchange on a fresh connection: the peer waits for the request's head, says answer, and
 * closes. */
void talk_once(struct peer *peer, struct talk *talk, const struct http_exchange_request *request,
    const char *answer, size_t length);
struct http_agent_stats peer_stats(const struct peer *peer);
extern const struct http_exchange_callbacks talk_callbacks;
