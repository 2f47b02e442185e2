/* A non-blocking socket with or without TLS, so that nobody above has to know which. */
#pragma once

#include "wire/tls.h"

struct http_socket {
    int fd;                  /* -1 when closed */
    struct tls_session *tls; /* NULL without TLS */
};

/* As tls_session_read and tls_session_write. */
MUST_CHECK ssize_t http_socket_read(
    struct http_socket *socket, void *out, size_t room, enum tls_need *ret_need, struct error *err);
MUST_CHECK ssize_t http_socket_write(struct http_socket *socket, const void *bytes, size_t length,
    enum tls_need *ret_need, struct error *err);
/* No more will be written: the peer reads an end. */
void http_socket_end_write(struct http_socket *socket);
void http_socket_close(struct http_socket *socket); /* more than once is fine */
