/* The bytes of a connection of the agent. What was read is handed over where it lies, in the
 * agent's one buffer; what the system does not take at once is kept. */
#include "wire/http_agent_internal.h"

#include "wire/http_socket.h"

#include <errno.h>
#include <string.h>

enum { READS_MAX = 4 }; /* of a link, before the others have their turn */

/* ------- bytes out ------- */

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Sends what the system takes of the parts; the count of bytes. What cannot be sent any more is
 * dropped: the peer may still have said why before it closed. */
static size_t send_parts(struct http_link *link, struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
    ssize_t n = link->tls    ? link_tls_send(link, parts, count)
                : count == 1 ? http_socket_send(link->fd, parts->iov_base, parts->iov_len)
                             : http_socket_sendmsg(link->fd, &message);
    link->progress |= n > 0;
    if (n >= 0)
        return (size_t)n;
    if (would_block()) {
        link->write_blocked = true;
        return 0;
    }
    link->write_broken = true;
    link->readable = true;
    http_buffer_consume(&link->output, http_buffer_length(&link->output));
    link_attend(link);
    return 0;
}

void link_flush(struct http_link *link)
{
    while (link_sends(link) && !link->write_blocked && !link->write_broken) {
        struct iovec part = {
            (void *)http_buffer_bytes(&link->output), http_buffer_length(&link->output)};
        size_t n = send_parts(link, &part, 1);
        if (!link->write_broken)
            http_buffer_consume(&link->output, n);
    }
}

void link_send(struct http_link *link, const struct iovec *parts, int count)
{
    enum { PARTS_MAX = 4 };
    struct iovec all[PARTS_MAX + 1];
    size_t waiting = http_buffer_length(&link->output), sent = 0;
    assert(count <= PARTS_MAX);
    if (link->write_broken || link->state == LINK_DEAD)
        return;
    all[0] = (struct iovec){(void *)http_buffer_bytes(&link->output), waiting};
    memcpy(all + 1, parts, (size_t)count * sizeof *parts);
    if (link->state == LINK_BUSY && !link->write_blocked)
        sent = waiting > 0 ? send_parts(link, all, count + 1) : send_parts(link, all + 1, count);
    if (link->write_broken)
        return;
    http_buffer_consume(&link->output, sent < waiting ? sent : waiting);
    size_t skip = sent < waiting ? 0 : sent - waiting;
    for (int i = 0; i < count; i++) {
        size_t part = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        http_buffer_append(
            &link->output, (const char *)parts[i].iov_base + part, parts[i].iov_len - part);
        skip -= part;
    }
    if (link_sends(link)) {
        /* The event for writing is set up by the service. */
        link->write_blocked |= link->state == LINK_BUSY;
        link_attend(link);
    }
}

/* ------- bytes in ------- */

/* Takes what is held from before, or came now; true when the exchange has ended. What was read is
 * handed over where it lies, in the agent's memory; only what has to wait is copied. */
static bool link_take(struct http_link *link, char *came, size_t length)
{
    bool held = http_buffer_length(&link->input) > 0;
    size_t used = 0;
    if (held)
        http_buffer_append(&link->input, came, length);
    char *bytes = held ? link->input.bytes + link->input.start : came;
    length = held ? http_buffer_length(&link->input) : length;
    bool ended = answer_take(link, bytes, length, &used);
    if (held)
        http_buffer_consume(&link->input, used);
    else if (!ended)
        http_buffer_append(&link->input, bytes + used, length - used);
    return ended;
}

/* What came before it was told; false: nothing. */
static bool link_ahead(struct http_link *link, char **ret_bytes, size_t *ret_length)
{
    *ret_bytes = link->ahead;
    *ret_length = link->ahead_length;
    link->ahead = NULL;
    link->progress |= *ret_bytes && link->exchange.answered;
    return *ret_bytes;
}

/* False when nothing came. *ret_whole: it was all there is for now, an end perhaps apart. */
static bool link_recv(struct http_link *link, size_t *ret_length, bool *ret_whole)
{
    char *out = link_agent(link)->scratch;
    ssize_t n = link->tls ? link_tls_recv(link, out, READ_BYTES)
                          : http_socket_recv(link->fd, out, READ_BYTES);
    /* What TLS has decrypted is invisible to the event; so is an end that was told already. */
    link->readable = n == READ_BYTES || (n > 0 && (link->tls || link->peer_ended));
    *ret_whole = n < READ_BYTES && !link->tls;
    if (n <= 0 && (n == 0 || !would_block())) {
        link->input_ended = true;
        link->input_broken |= n < 0;
    }
    link->progress |= n > 0 && link->exchange.answered;
    link->large = n > AHEAD_BYTES;
    *ret_length = n > 0 ? (size_t)n : 0;
    return n > 0;
}

bool link_is_silent(struct http_link *link)
{
    char byte;
    if (!link->readable)
        return true;
    ssize_t n =
        link->tls ? link_tls_recv(link, &byte, 1) : http_socket_recv(link->fd, &byte, sizeof byte);
    link->readable = n >= 0 || !would_block();
    return !link->readable;
}

void link_read_ahead(struct http_link *link, char *place)
{
    if (link->state != LINK_BUSY || link->tls || link->large || !link_wants_input(link))
        return;
    ssize_t n = http_socket_recv(link->fd, place, AHEAD_BYTES);
    if (n <= 0) {
        /* An end is told again by the next read; an error is not. */
        link->input_broken |= n < 0 && !would_block();
        return;
    }
    link->ahead = place;
    link->ahead_length = (size_t)n;
    link->large = n == AHEAD_BYTES;
}

void link_read(struct http_link *link)
{
    char *came, *scratch = link_agent(link)->scratch;
    size_t length;
    if (link_ahead(link, &came, &length) && link_take(link, came, length))
        return;
    if (link_wants_input(link) && http_buffer_length(&link->input) > 0 &&
        link_take(link, scratch, 0))
        return;
    /* A body that is complete may have its end to be told, with no byte left to tell it by. */
    if (link_wants_input(link) && link->exchange.answered && link->body.complete &&
        link_take(link, scratch, 0))
        return;
    /* An end that follows has its own turn, so that what came before it is on its way by then. */
    bool whole = false;
    for (int i = 0; i < READS_MAX && link->readable && !whole && link_wants_input(link); i++) {
        if (!link_recv(link, &length, &whole))
            break;
        if (link_take(link, scratch, length))
            return;
    }
    if (link->input_ended && link_wants_input(link))
        answer_input_ended(link);
}
