/* Sockets that change hands: see handover.h. Messages are packets (SOCK_SEQPACKET), so that each
 * comes whole. The path is made anew by whoever holds the lock. */
#include "gateway/handover.h"

#include "base/log.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { STATE_BYTES = 65536, STATE_MS = 100 };
enum { WAIT_S = 10, FIRST_INHERITED = 3, ARGUMENTS_MAX = 64, COMMAND_BYTES = 16384 };

static const char ready[] = "ready", gone[] = "gone";

void handover_sockets_close_listeners(struct handover_sockets *sockets)
{
    for (int i = 0; i < sockets->count; i++)
        fd_scope(&sockets->fds[i]);
    sockets->count = 0;
}

void handover_sockets_close(struct handover_sockets *sockets)
{
    handover_sockets_close_listeners(sockets);
    fd_scope(&sockets->control);
    sockets->control = -1;
}

/* ---- systemd --------------------------------------------------------------------------------- */

static int address_of(int fd, char out[HANDOVER_ADDRESS], struct error *err)
{
    struct sockaddr_storage where;
    socklen_t size = sizeof where;
    char text[INET6_ADDRSTRLEN];
    if (getsockname(fd, (struct sockaddr *)&where, &size) < 0)
        return error_set_errno(err, "descriptor %d, which was handed over, is no socket", fd);
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&where;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&where;
    if (where.ss_family == AF_INET)
        snprintf(out, HANDOVER_ADDRESS, "%s:%u",
            inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text), ntohs(v4->sin_port));
    else if (where.ss_family == AF_INET6)
        snprintf(out, HANDOVER_ADDRESS, "[%s]:%u",
            inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text), ntohs(v6->sin6_port));
    else
        return error_set(err, ERR_INVALID, "socket %d, which was handed over, is not of TCP", fd);
    return 0;
}

int handover_inherited(struct handover_sockets *ret, struct error *err)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    *ret = (struct handover_sockets){.control = -1};
    if (!pid || !count || atol(pid) != (long)getpid())
        return 0;
    int wanted = atoi(count);
    if (wanted < 1 || wanted > HANDOVER_SOCKETS_MAX)
        return error_set(err, ERR_INVALID, "LISTEN_FDS: expected 1 to %d", HANDOVER_SOCKETS_MAX);
    for (int fd = FIRST_INHERITED; fd < FIRST_INHERITED + wanted; fd++) {
        if (address_of(fd, ret->address, err) < 0)
            return -1;
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        ret->fds[ret->count++] = fd;
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return 0;
}

void handover_tell_systemd(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[64];
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') /* the abstract names of Linux */
        address.sun_path[0] = '\0';
    int length = snprintf(text, sizeof text, "MAINPID=%ld\nREADY=1", (long)getpid());
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd < 0 ||
        sendto(fd, text, (size_t)length, MSG_NOSIGNAL, (struct sockaddr *)&address, size) != length)
        log_warn("systemd could not be told that the gateway is ready");
}

/* ---- packets --------------------------------------------------------------------------------- */

union rights {
    char bytes[CMSG_SPACE(sizeof(int) * (HANDOVER_SOCKETS_MAX + 1))];
    struct cmsghdr align;
};

static int address_make(const char *path, struct sockaddr_un *ret, struct error *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return error_set(err, ERR_INVALID, "%s is too long for a socket's path", path);
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

/* The control socket is the last of the descriptors. */
static int send_sockets(int link, const struct handover_sockets *sockets)
{
    int fds[HANDOVER_SOCKETS_MAX + 1];
    size_t count = (size_t)sockets->count;
    union rights rights = {0};
    struct iovec text = {(void *)sockets->address, strlen(sockets->address) + 1};
    memcpy(fds, sockets->fds, count * sizeof *fds);
    fds[count++] = sockets->control;
    struct msghdr message = {.msg_iov = &text,
        .msg_iovlen = 1,
        .msg_control = rights.bytes,
        .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(head), fds, count * sizeof *fds);
    return sendmsg(link, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int receive_sockets(int link, struct handover_sockets *ret, struct error *err)
{
    union rights rights;
    struct iovec text = {ret->address, sizeof ret->address - 1};
    struct msghdr message = {.msg_iov = &text,
        .msg_iovlen = 1,
        .msg_control = rights.bytes,
        .msg_controllen = sizeof rights.bytes};
    ssize_t length = recvmsg(link, &message, MSG_CMSG_CLOEXEC);
    struct cmsghdr *head = length > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!head || head->cmsg_type != SCM_RIGHTS || (message.msg_flags & MSG_CTRUNC))
        return error_set(err, ERR_IO, "the gateway that runs did not hand over its sockets");
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    assert(count >= 1 && count <= HANDOVER_SOCKETS_MAX + 1);
    memcpy(ret->fds, CMSG_DATA(head), (count - 1) * sizeof(int));
    memcpy(&ret->control, CMSG_DATA(head) + (count - 1) * sizeof(int), sizeof(int));
    ret->count = (int)count - 1;
    return 0;
}

/* ---- the new side ---------------------------------------------------------------------------- */

int handover_take(const char *path, struct handover_sockets *ret, int *ret_link, struct error *err)
{
    struct sockaddr_un address;
    struct timeval wait = {.tv_sec = WAIT_S};
    struct handover_sockets sockets = {.control = -1};
    if (address_make(path, &address, err) < 0)
        return -1;
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0)
        return error_set_errno(err, "cannot make a socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            return error_set(err, ERR_NOT_FOUND, "no gateway answers on %s", path);
        return error_set_errno(err, "cannot reach the gateway that runs on %s", path);
    }
    if (receive_sockets(fd, &sockets, err) < 0)
        return -1;
    *ret = sockets;
    *ret_link = fd;
    fd = -1;
    return 0;
}

int handover_finish(int link, struct error *err)
{
    char answer[16] = "";
    if (send(link, ready, sizeof ready, MSG_NOSIGNAL) < 0 ||
        recv(link, answer, sizeof answer - 1, 0) <= 0 || strcmp(answer, gone) != 0)
        return error_set(err, ERR_UNAVAILABLE,
            "the gateway that runs did not let go within %d s: it goes on, this one ends", WAIT_S);
    return 0;
}

struct handover_old {
    struct event *event;
    int link;
    char state[STATE_BYTES];
};

static void on_state(evutil_socket_t fd, short what, void *context)
{
    struct handover_old *old = context;
    (void)what;
    ssize_t length = recv((int)fd, old->state, sizeof old->state - 1, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    old->state[length > 0 ? length : 0] = '\0';
    if (length <= 0)
        event_del(old->event);
}

struct handover_old *handover_follow(struct event_base *base, int link)
{
    struct handover_old *old = mem_alloc(1, sizeof *old);
    old->link = link;
    old->event = event_new(base, link, EV_READ | EV_PERSIST, on_state, old);
    event_add(old->event, NULL);
    /* The first word comes with the end of the handover: nobody asks before it is here. */
    ssize_t length = recv(link, old->state, sizeof old->state - 1, 0);
    old->state[length > 0 ? length : 0] = '\0';
    return old;
}

const char *handover_old_state(const struct handover_old *old)
{
    return old ? old->state : "";
}

void handover_old_free(struct handover_old *old)
{
    if (!old)
        return;
    event_free(old->event);
    close(old->link);
    free(old);
}

/* ---- the old side ---------------------------------------------------------------------------- */

struct handover {
    struct handover_host host;
    struct event_base *base;
    struct event *accepting, *waiting; /* waiting: for the one that took the sockets */
    struct event *telling;             /* it what is still done here */
    int fd, link;
};

static void link_close(struct handover *handover)
{
    if (handover->waiting)
        event_free(handover->waiting);
    handover->waiting = NULL;
    if (handover->telling)
        event_free(handover->telling);
    handover->telling = NULL;
    fd_scope(&handover->link);
    handover->link = -1;
}

static void accepting_close(struct handover *handover)
{
    if (handover->accepting)
        event_free(handover->accepting);
    handover->accepting = NULL;
    fd_scope(&handover->fd);
    handover->fd = -1;
}

/* The empty state is a packet of one NUL: one of no bytes would be the end. */
static void tell_state(evutil_socket_t fd, short what, void *context)
{
    struct handover *handover = context;
    struct strbuf text = {0};
    (void)fd, (void)what;
    handover->host.state(handover->host.context, &text);
    if (text.length < STATE_BYTES - 1)
        (void)!send(
            handover->link, strbuf_text(&text), text.length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    strbuf_finish(&text);
}

static void begin_telling(struct handover *handover)
{
    struct timeval step = {.tv_usec = STATE_MS * 1000};
    event_del(handover->waiting);
    tell_state(-1, 0, handover);
    handover->telling = event_new(handover->base, -1, EV_PERSIST, tell_state, handover);
    event_add(handover->telling, &step);
}

static void on_answer(evutil_socket_t fd, short what, void *context)
{
    struct handover *handover = context;
    char text[16] = "";
    (void)what;
    ssize_t length = recv((int)fd, text, sizeof text - 1, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length > 0 && strcmp(text, ready) == 0) {
        accepting_close(handover);
        handover->host.let_go(handover->host.context);
        (void)!send(handover->link, gone, sizeof gone, MSG_NOSIGNAL | MSG_DONTWAIT);
        begin_telling(handover);
        return;
    }
    log_warn("the gateway that was to take over ended: this one goes on");
    link_close(handover);
}

static bool may_take(int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static void on_connection(evutil_socket_t fd, short what, void *context)
{
    struct handover *handover = context;
    struct handover_sockets sockets = {.control = -1};
    (void)what;
    SCOPED(fd_scope) int link = accept4((int)fd, NULL, NULL, SOCK_CLOEXEC);
    /* One at a time; the one that is refused reads an end. */
    if (link < 0 || handover->waiting || !may_take(link))
        return;
    handover->host.sockets(handover->host.context, &sockets);
    if (send_sockets(link, &sockets) < 0)
        return;
    log_info("another gateway takes over");
    handover->link = link;
    link = -1;
    handover->waiting =
        event_new(handover->base, handover->link, EV_READ | EV_PERSIST, on_answer, handover);
    event_add(handover->waiting, NULL);
}

int handover_open(struct event_base *base, const char *path, const struct handover_host *host,
    struct handover **ret, struct error *err)
{
    struct sockaddr_un address;
    if (address_make(path, &address, err) < 0)
        return -1;
    SCOPED(fd_scope) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set_errno(err, "cannot make a socket");
    /* Its folder is ours alone, and the lock is held: what is there was left behind. */
    (void)unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0 ||
        listen(fd, 4) < 0)
        return error_set_errno(err, "cannot listen on %s", path);
    struct handover *handover = mem_alloc(1, sizeof *handover);
    *handover = (struct handover){.host = *host, .base = base, .fd = fd, .link = -1};
    fd = -1;
    handover->accepting =
        event_new(base, handover->fd, EV_READ | EV_PERSIST, on_connection, handover);
    event_add(handover->accepting, NULL);
    *ret = handover;
    return 0;
}

void handover_close(struct handover *handover)
{
    if (!handover)
        return;
    link_close(handover);
    accepting_close(handover);
    free(handover);
}

/* ---- by a signal ----------------------------------------------------------------------------- */

static int read_own(const char *path, char *out, size_t room, size_t *ret_length, struct error *err)
{
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, out, room);
    if (length <= 0 || (size_t)length == room)
        return error_set_errno(err, "cannot read %s", path);
    *ret_length = (size_t)length;
    return 0;
}

/* A program that was replaced on disk is still told by its path, with a word behind it. */
static int program_path(char out[4096], struct error *err)
{
    static const char mark[] = " (deleted)";
    ssize_t length = readlink("/proc/self/exe", out, 4095);
    if (length <= 0)
        return error_set_errno(err, "cannot tell which program this is");
    out[length] = '\0';
    size_t end = strlen(mark);
    if ((size_t)length > end && strcmp(out + length - end, mark) == 0)
        out[(size_t)length - end] = '\0';
    return 0;
}

int handover_respawn(struct error *err)
{
    char command[COMMAND_BYTES], program[4096];
    const char *argv[ARGUMENTS_MAX + 2];
    size_t length = 0, count = 0;
    bool replaces = false;
    pid_t pid;
    if (read_own("/proc/self/cmdline", command, sizeof command, &length, err) < 0 ||
        program_path(program, err) < 0)
        return -1;
    for (size_t at = 0; at < length && count < ARGUMENTS_MAX; at += strlen(command + at) + 1) {
        argv[count++] = command + at;
        replaces |= strcmp(command + at, "--replace") == 0;
    }
    if (!replaces)
        argv[count++] = "--replace";
    argv[count] = NULL;
    signal(SIGCHLD, SIG_IGN); /* one that fails is not waited for */
    int rc = posix_spawn(&pid, program, NULL, NULL, (char *const *)argv, environ);
    errno = rc;
    return rc == 0 ? 0 : error_set_errno(err, "cannot start %s", program);
}
