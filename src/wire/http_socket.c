/* A socket with or without TLS: see http_socket.h. */
#include "wire/http_socket.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

ssize_t http_socket_read(
    struct http_socket *sock, void *out, size_t room, enum tls_need *ret_need, struct error *err)
{
    assert(sock->fd >= 0 && room > 0);
    if (sock->tls)
        return tls_session_read(sock->tls, out, room, ret_need, err);
    ssize_t n = recv(sock->fd, out, room, 0);
    if (n < 0 && !would_block())
        return error_set_errno(err, "cannot read from the connection");
    *ret_need = n == 0 ? TLS_NEED_NOTHING : TLS_NEED_READ;
    return n < 0 ? 0 : n;
}

ssize_t http_socket_write(struct http_socket *sock, const void *bytes, size_t length,
    enum tls_need *ret_need, struct error *err)
{
    assert(sock->fd >= 0 && length > 0);
    if (sock->tls)
        return tls_session_write(sock->tls, bytes, length, ret_need, err);
    ssize_t n = send(sock->fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && !would_block())
        return error_set_errno(err, "cannot write to the connection");
    *ret_need = TLS_NEED_WRITE;
    return n < 0 ? 0 : n;
}

size_t http_socket_write_both(struct http_socket *sock, const void *gathered,
    size_t gathered_length, const void *piece, size_t piece_length)
{
    struct iovec parts[] = {{(void *)gathered, gathered_length}, {(void *)piece, piece_length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = ARRAY_LEN(parts)};
    assert(sock->fd >= 0 && !sock->tls);
    ssize_t n = sendmsg(sock->fd, &message, MSG_NOSIGNAL);
    return n > 0 ? (size_t)n : 0;
}

void http_socket_end_write(struct http_socket *sock)
{
    if (sock->tls)
        tls_session_end(sock->tls);
    (void)shutdown(sock->fd, SHUT_WR);
}

void http_socket_close(struct http_socket *sock)
{
    tls_session_destroy(sock->tls);
    sock->tls = NULL;
    if (sock->fd >= 0)
        close(sock->fd);
    sock->fd = -1;
}
