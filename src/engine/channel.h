/* Messages between the server, the shim and init: one record each over a Unix socket that keeps
 * message boundaries (SOCK_SEQPACKET), with file descriptors beside it where a message has any. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { CHANNEL_MESSAGE_MAX = 64 * 1024, CHANNEL_FDS_MAX = 3 };

/* A pair of connected ends, closed on exec. */
MUST_CHECK int channel_pair(int ret_fds[2], struct error *err);
/* A listening socket in the folder. The name is short: the path to the folder may be any length. */
MUST_CHECK int channel_listen(int folder_fd, const char *name, int *ret_fd, struct error *err);
MUST_CHECK int channel_connect(int folder_fd, const char *name, int *ret_fd, struct error *err);

/* Never waits. -1: ERR_BUSY when the other side does not read, ERR_UNAVAILABLE when it is gone,
 * ERR_TOO_LARGE. */
MUST_CHECK int channel_send(
    int fd, const struct strbuf *message, const int *fds, size_t fd_count, struct error *err);

struct channel_message {
    char text[CHANNEL_MESSAGE_MAX + 1];
    size_t size;
    int fds[CHANNEL_FDS_MAX]; /* the receiver's, to close */
    size_t fd_count;
    pid_t pid; /* of the sender, when the socket has SO_PASSCRED; else 0 */
};

/* 1: a message; 0: none now; -1: the other side is gone or sent what is not a message. With
 * wait it blocks for one. */
int channel_receive(int fd, bool wait, struct channel_message *ret);
/* Closes the descriptors that came with the message. */
void channel_message_finish(struct channel_message *message);
