/* A socket with or without TLS: see http_socket.h. */
#include "wire/http_socket.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* The C library makes each of its calls a place where a thread may be cancelled, which costs two
 * atomic operations; no thread here is ever cancelled. Under ThreadSanitizer, which has to see who
 * talks to whom, they are made in the usual way. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define USUAL_WAY 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || !defined(SYS_recvfrom) || !defined(SYS_sendto)
#define USUAL_WAY 1
#endif

ssize_t http_socket_recv(int fd, void *out, size_t room)
{
#ifdef USUAL_WAY
    return recv(fd, out, room, 0);
#else
    return syscall(SYS_recvfrom, fd, out, room, 0, NULL, NULL);
#endif
}

ssize_t http_socket_send(int fd, const void *bytes, size_t length)
{
#ifdef USUAL_WAY
    return send(fd, bytes, length, MSG_NOSIGNAL);
#else
    return syscall(SYS_sendto, fd, bytes, length, MSG_NOSIGNAL, NULL, 0);
#endif
}

ssize_t http_socket_sendmsg(int fd, const struct msghdr *message)
{
#ifdef USUAL_WAY
    return sendmsg(fd, message, MSG_NOSIGNAL);
#else
    return syscall(SYS_sendmsg, fd, message, MSG_NOSIGNAL);
#endif
}

ssize_t http_socket_read(
    struct http_socket *sock, void *out, size_t room, enum tls_need *ret_need, struct error *err)
{
    assert(sock->fd >= 0 && room > 0);
    if (sock->tls)
        return tls_session_read(sock->tls, out, room, ret_need, err);
    ssize_t n = http_socket_recv(sock->fd, out, room);
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
    ssize_t n = http_socket_send(sock->fd, bytes, length);
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
    ssize_t n = http_socket_sendmsg(sock->fd, &message);
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
