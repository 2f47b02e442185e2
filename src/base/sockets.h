/* Which accelerators of a node share a socket (or a link): lists of devices as manifests have them.
 */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOCKETS_MAX = 16, SOCKET_DEVICES = 64 };

/* Devices as bits; each device is in one socket. */
struct sockets {
    size_t count; /* 0: nothing is known */
    uint64_t devices[SOCKETS_MAX];
};

/* Reads "0-3,8" of at most `length` characters. False: it is no list of devices below
 * SOCKET_DEVICES, or names one twice. */
bool sockets_read_list(const char *text, size_t length, uint64_t *ret_devices);
/* Reads the `count` lists of a node with so many devices. ERR_INVALID: what is wrong; each device
 * has to be in one list. No lists: count 0. */
MUST_CHECK int sockets_read(const char *const *lists, size_t count, int64_t devices,
    struct sockets *ret, struct error *err);
