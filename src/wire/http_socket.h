/* A non-blocking socket with or without TLS, so that nobody above has to know which. */
#pragma once

#include "wire/tls.h"

#include <sys/socket.h>
#include <sys/types.h>

struct http_socket {
    int fd;                  /* -1 when closed */
    struct tls_session *tls; /* NULL without TLS */
};

/* recv, send and sendmsg of bytes as they are, without signals. */
ssize_t http_socket_recv(int fd, void *out, size_t room);
ssize_t http_socket_send(int fd, const void *bytes, size_t length);
ssize_t http_socket_sendmsg(int fd, const struct msghdr *message);

/* As tls_session_read and tls_session_write. */
MUST_CHECK ssize_t http_socket_read(
    struct http_socket *socket, void *out, size_t room, enum tls_need *ret_need, struct error *err);
MUST_CHECK ssize_t http_socket_write(struct http_socket *socket, const void *bytes, size_t length,
    enum tls_need *ret_need, struct error *err);
/* Sends what was gathered and a piece after it, in one call and without copying; the count of bytes
 * that the system took of both, 0 when it takes none now or the connection is broken (the next
 * write tells). Without TLS only. */
size_t http_socket_write_both(struct http_socket *socket, const void *gathered,
    size_t gathered_length, const void *piece, size_t piece_length);
/* No more will be written: the peer reads an end. */
void http_socket_end_write(struct http_socket *socket);
void http_socket_close(struct http_socket *socket); /* more than once is fine */
