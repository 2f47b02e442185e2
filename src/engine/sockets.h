/* Which of a machine's accelerators hang on which processor socket. */
#pragma once

#include "engine/engine.h"

enum { SOCKET_LIST_TEXT = 256, SOCKET_LISTS_MAX = 16 };

/* The NUMA node that the kernel says of a PCI device, whose folder in /sys is given; -1: it does
 * not say. */
int32_t socket_of_device(const char *folder);
/* Lists such as "0-3", one for each socket, of positions in `devices`, in order of the first of
 * each. 0: a socket is not known, or there are too many. */
size_t sockets_of_devices(
    const struct engine_device *devices, size_t count, char (*ret_lists)[SOCKET_LIST_TEXT]);
