/* Messages: see channel.h. */
#include "engine/channel.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16, CONTROL_BYTES = 256 };

int channel_pair(int ret_fds[2], struct error *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
        return error_set_errno(err, "cannot make a pair of sockets");
    return 0;
}

/* The folder is named through its descriptor: a socket's path has room for 107 bytes only. */
static void address_of(int folder_fd, const char *name, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int used = snprintf(
        address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", folder_fd, name);
    assert(used > 0 && (size_t)used < sizeof address->sun_path);
    (void)used;
}

int channel_listen(int folder_fd, const char *name, int *ret_fd, struct error *err)
{
    struct sockaddr_un address;
    address_of(folder_fd, name, &address);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, BACKLOG) < 0)
        return error_set_errno(err, "cannot listen on the socket %s", name);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int channel_connect(int folder_fd, const char *name, int *ret_fd, struct error *err)
{
    struct sockaddr_un address;
    address_of(folder_fd, name, &address);
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return error_set_errno(err, "cannot connect to the socket %s", name);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int channel_send(
    int fd, const struct strbuf *message, const int *fds, size_t fd_count, struct error *err)
{
    assert(fd_count <= CHANNEL_FDS_MAX && message->length > 0);
    if (message->length > CHANNEL_MESSAGE_MAX)
        return error_set(err, ERR_TOO_LARGE, "a message of %zu bytes: %d are possible",
            message->length, CHANNEL_MESSAGE_MAX);
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES] = {0};
    struct iovec part = {message->text, message->length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof *fds);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof *fds);
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof *fds);
    }
    if (sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    if (errno == EAGAIN)
        return error_set(err, ERR_BUSY, "the other side does not read its messages");
    return error_set(err, ERR_UNAVAILABLE, "the other side is gone: %s", strerror(errno));
}

static void take_rights(struct cmsghdr *part, struct channel_message *message)
{
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        if (message->fd_count < CHANNEL_FDS_MAX)
            message->fds[message->fd_count++] = fd;
        else
            close(fd);
    }
}

static void take_control(struct msghdr *header, struct channel_message *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level != SOL_SOCKET)
            continue;
        struct ucred sender;
        if (part->cmsg_type == SCM_RIGHTS)
            take_rights(part, message);
        if (part->cmsg_type != SCM_CREDENTIALS)
            continue;
        memcpy(&sender, CMSG_DATA(part), sizeof sender);
        message->pid = sender.pid;
    }
}

int channel_receive(int fd, bool wait, struct channel_message *ret)
{
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    struct iovec part = {ret->text, CHANNEL_MESSAGE_MAX};
    struct msghdr header = {.msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control};
    ssize_t n;
    do {
        n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    } while (n < 0 && errno == EINTR);
    ret->fd_count = 0;
    ret->pid = 0;
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    take_control(&header, ret);
    if (n == 0 || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        channel_message_finish(ret);
        return -1;
    }
    ret->size = (size_t)n;
    ret->text[n] = '\0';
    return 1;
}

void channel_message_finish(struct channel_message *message)
{
    while (message->fd_count > 0)
        close(message->fds[--message->fd_count]);
}
