/* What the agent's own files share; nobody else includes it, its fuzz target apart.
 *
 *   http_agent.c           agents and endpoints: options, the queue of links that want attention
 *   http_agent_dial.c      connecting
 *   http_agent_link.c      a link, which is one connection: bytes, deadlines, life and end
 *   http_agent_tls.c       the same bytes over TLS
 *   http_agent_answer.c    what arrives on it: heads, bodies, and the calling of callbacks
 *   http_agent_exchange.c  requests: the public calls of an exchange
 *
 * A link has at most one exchange, which is part of it. Calls into the interface send what the
 * connection takes at once, note the rest and queue the link (link_attend); link_service, called
 * from the loop, does everything else, and it alone calls callbacks. */
#pragma once

#include "wire/http_agent.h"

#include "base/memory.h"
#include "wire/http_body.h"
#include "wire/http_buffer.h"
#include "wire/http_head_memo.h"
#include "wire/http_parse.h"
#include "wire/http_spares.h"
#include "wire/resolve.h"
#include "wire/tls.h"
#include "wire/watcher.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    READ_BYTES = 256 * 1024, /* of the agent's one read buffer */
    AHEAD_BYTES = 4096, /* read of a link before the others that something came for are served */
    AHEAD_STRIDE = AHEAD_BYTES + 320, /* so that not all share the same few lines of the cache */
    FIELDS_MAX = 128,                 /* of an answer */
    INFORMATIONAL_MAX = 16,           /* 1xx answers before the final one */
    STATUS_LINE_BYTES = 4096,
    DIRECT_BYTES =
        4096, /* smaller pieces of a body are gathered: with the head, or until the loop turns */
    ROW = 32, /* links that wait for attention: many */
    DIAL_AGAIN_MS = 10, /* when the queue of a Unix socket is full */
};

enum link_state {
    LINK_CONNECTING, /* fd is -1 when connecting has to be tried again, or has failed */
    LINK_BUSY,
    LINK_IDLE,
    LINK_DEAD, /* closed; freed when its service is over */
};

struct http_exchange {
    bool open; /* callbacks may be called */
    struct http_exchange_callbacks callbacks;
    void *ctx;
    int64_t timeout_ms;

    bool to_head; /* the method is HEAD: no body in the answer */
    bool streamed, chunked;
    bool request_complete; /* nothing of it is still to be handed over by the caller */
    uint64_t body_left;    /* of a streamed length */
    bool wants_drain;      /* a write asked the caller to wait */
    bool unsafe;           /* it may not be sent, and is to fail */

    bool paused;
    bool answered; /* the final head was handed over */
    int informational;
};

struct http_link {
    LIST_ENTRY(http_link) all;  /* of the endpoint */
    LIST_ENTRY(http_link) idle; /* while LINK_IDLE */
    TAILQ_ENTRY(http_link) attention;
    bool attention_queued;

    struct http_endpoint *endpoint;
    enum link_state state;
    int fd;
    struct tls_session *tls; /* owned; NULL in the clear, and until the connection is made */
    char *problem;           /* why connecting failed; owned */
    int dials;               /* addresses of the name that were tried */
    bool kept;               /* it has carried an exchange before this one */
    bool writing;            /* write_event is there */
    bool readable;           /* a read may bring something */
    bool large;              /* the last read brought more than is read ahead */
    bool peer_ended;         /* an end follows the bytes that are there */
    bool write_blocked;      /* until write_event fires */
    bool write_broken;       /* the peer takes no more, but may have answered */
    bool input_ended;
    bool input_broken; /* ended by an error, which completes nothing */
    bool progress;     /* since the deadline was last looked at */

    struct watch watch;
    struct event write_event, timer;
    int64_t timer_ms;    /* when the timer fires; 0: not armed */
    int64_t deadline_ms; /* 0: none */
    int64_t give_up_ms;  /* while connecting */

    char *ahead; /* what was read before it was told, in the agent's memory; NULL: nothing */
    size_t ahead_length;
    struct http_buffer input; /* what was read and cannot be handed over yet */
    struct http_buffer output;
    struct http_head_parser parser;
    struct http_head_hint hint;      /* the last head */
    bool parsing;                    /* the parser holds the beginning of a head */
    struct http_field_slice *slices; /* its fields when the head came in parts; owned */
    struct http_body body;
    struct http_exchange exchange;
};

LIST_HEAD(http_link_list, http_link);

struct http_endpoint {
    LIST_ENTRY(http_endpoint) link;
    struct http_agent *agent;
    bool released;
    struct http_link_list links;
    struct http_link_list idle; /* used last, first */
    size_t idle_count;
    char *path; /* of a Unix socket; owned; else NULL */
    uid_t owner;
    struct sockaddr_storage address; /* of TCP */
    socklen_t address_size;
    struct resolver *resolver; /* of a host known by name; owned; else NULL */
    char *authority;           /* of the Host field; owned; NULL: "muster" */
    char *name;                /* as it was given, for texts; owned */
    struct tls_client *tls;    /* NULL: in the clear */
    char *host;                /* whom the certificate has to be for; owned; NULL in the clear */
};

struct http_agent {
    struct event_base *base;
    struct http_agent_options options;
    struct http_head_limits head_limits;
    LIST_HEAD(, http_endpoint) endpoints;
    TAILQ_HEAD(, http_link) attention;
    size_t attention_count;
    struct event wake;
    struct watcher watcher;
    struct http_agent_stats stats;
    struct http_link *serving; /* whose service is running */
    int64_t now_ns;            /* when that began */
    int64_t now_ms;            /* when that, or the last begin, was */
    struct http_buffer head;   /* of the request with a large body that is being begun */
    struct http_spares spares; /* buffers of links that are idle */
    char *scratch;             /* READ_BYTES: where reads land */
    char *ahead;               /* a place for each that is told in a look: AHEAD_STRIDE of them */
    struct http_head_memo *heads; /* that came before */
    struct http_field_slice slices[FIELDS_MAX];
    struct http_field fields[FIELDS_MAX];
};

static inline struct http_link *exchange_link(const struct http_exchange *exchange)
{
    return (struct http_link *)((char *)exchange - offsetof(struct http_link, exchange));
}

static inline struct http_agent *link_agent(const struct http_link *link)
{
    return link->endpoint->agent;
}

/* http_agent.c */
/* Has the links that want attention served, by the loop if not by http_agent_serve. */
void agent_wake(struct http_agent *agent);
/* Frees a released endpoint when its last link is gone. */
void endpoint_settle(struct http_endpoint *endpoint);

/* http_agent_dial.c */
enum dial { DIAL_DONE, DIAL_UNDER_WAY, DIAL_LATER, DIAL_FAILED };
/* "unix:/path" or "http://address:port" into the endpoint; "https://address:port" where it has tls.
 */
MUST_CHECK int dial_parse(const char *text, struct http_endpoint *ret_endpoint, struct error *err);
/* "http://host:port" or "https://host:port", or "unix:/path" in the clear, with all that a URL
 * says. */
MUST_CHECK int dial_parse_url(
    const char *text, struct http_endpoint *ret_endpoint, struct error *err);
/* Begins to connect; err tells why with DIAL_FAILED, otherwise *ret_fd is set, but with DIAL_LATER:
 * the peer's queue is full. */
enum dial dial_begin(const struct http_endpoint *endpoint, int *ret_fd, struct error *err);

/* http_agent_link.c */
/* An idle link made of a connected socket, for tests; or of nothing (fd -1), to be dialled. */
struct http_link *link_create(struct http_endpoint *endpoint, int fd);
/* Has link_service called from the loop. */
void link_attend(struct http_link *link);
/* Does everything that can be done now. May free link. */
void link_service(struct http_link *link);
/* After calls into the interface: the timer for what is waited for now, and the events. */
void link_settle(struct http_link *link);
/* Milliseconds of the monotonic clock. */
int64_t link_now_ms(void);
/* Closes it now. The exchange ends without a word; who calls it says what there is to say. */
void link_kill(struct http_link *link);
/* Kills and frees it, at once unless its service is running. */
void link_destroy(struct http_link *link);
/* Makes it idle, for the next exchange. */
void link_park(struct http_link *link);
/* Fails the exchange and kills the link. From its service only. */
void link_fail(struct http_link *link, enum http_failure failure, const char *format, ...) COLD
    PRINTF_LIKE(3, 4);
/* Its socket from now on; and no longer. */
void link_set_fd(struct http_link *link, int fd);
void link_close(struct http_link *link);
/* Hears of its socket. -1: link->problem says why it cannot. */
MUST_CHECK int link_watch(struct http_link *link);

/* http_agent_connect.c */
/* Begins to connect, or to connect again. */
void link_dial(struct http_link *link);
/* One more look at a connection that is being made. */
void link_connect(struct http_link *link);
/* It took too long. */
void link_connect_late(struct http_link *link);

/* http_agent_bytes.c */
static inline bool link_sends(const struct http_link *link)
{
    return http_buffer_length(&link->output) > 0;
}

static inline bool link_wants_input(const struct http_link *link)
{
    return link->state == LINK_BUSY && !link->exchange.paused;
}

/* Puts parts behind what waits to be sent: sends what the connection takes at once, copies the
 * rest. */
void link_send(struct http_link *link, const struct iovec *parts, int count);
/* Sends what waits, as far as the system takes it. */
void link_flush(struct http_link *link);
/* Takes what came, which calls callbacks. */
void link_read(struct http_link *link);
/* Reads into the place, AHEAD_BYTES at most, what link_read is to take; nothing where it would not
 * have been read, or where more than that is to be expected. */
void link_read_ahead(struct http_link *link, char *place);
/* Whether nothing waits to be read, on a connection that is to be kept. */
bool link_is_silent(struct http_link *link);

/* http_agent_tls.c */
/* Begins the session of a link that is connected. -1: link->problem says why not. */
MUST_CHECK int link_tls_begin(struct http_link *link);
/* Goes on with the handshake: 1 when it is done, 0 when the peer has to be waited for, -1 when
 * link->problem says why it failed. */
MUST_CHECK int link_tls_shake(struct http_link *link);
/* As sendmsg and recv on the socket, errno included. */
ssize_t link_tls_send(struct http_link *link, const struct iovec *parts, int count);
ssize_t link_tls_recv(struct http_link *link, void *out, size_t room);
/* Says goodbye if that can be done at once, and frees the session. */
void link_tls_end(struct http_link *link);

/* http_agent_answer.c */
/* Hands over what can be of bytes, which are the link's input from where it was left; true when the
 * exchange has ended. *ret_used of them are done with. */
bool answer_take(struct http_link *link, char *bytes, size_t length, size_t *ret_used);
/* The input has ended, and all of it was taken. */
void answer_input_ended(struct http_link *link);
