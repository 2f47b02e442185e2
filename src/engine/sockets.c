/* Sockets of accelerators: see sockets.h. The kernel has them as numa_node in a device's folder, -1
 * where the firmware does not say or there is one socket only. */
#include "engine/sockets.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMA_NODES_MAX = 1024 };

int32_t socket_of_device(const char *folder)
{
    char path[400], *text, *end;
    size_t size;
    snprintf(path, sizeof path, "%s/numa_node", folder);
    if (file_read(path, 64, &text, &size, NULL) < 0)
        return -1;
    long number = strtol(text, &end, 10);
    bool fine = end != text && number >= 0 && number < NUMA_NODES_MAX;
    free(text);
    return fine ? (int32_t)number : -1;
}

/* Appends the devices of a socket; runs as "0-3". */
static void put_list(const struct engine_device *devices, size_t count, int32_t socket, char *out)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && length < SOCKET_LIST_TEXT; i++) {
        size_t last = i;
        if (devices[i].socket != socket)
            continue;
        while (last + 1 < count && devices[last + 1].socket == socket)
            last++;
        const char *comma = length ? "," : "";
        length += (size_t)(last > i ? snprintf(out + length, SOCKET_LIST_TEXT - length, "%s%zu-%zu",
                                          comma, i, last)
                                    : snprintf(out + length, SOCKET_LIST_TEXT - length, "%s%zu",
                                          comma, i));
        i = last;
    }
}

size_t sockets_of_devices(
    const struct engine_device *devices, size_t count, char (*ret_lists)[SOCKET_LIST_TEXT])
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
        while (before < i && devices[before].socket != devices[i].socket)
            before++;
        if (devices[i].socket < 0 || (before == i && found == SOCKET_LISTS_MAX))
            return 0;
        if (before == i)
            put_list(devices, count, devices[i].socket, ret_lists[found++]);
    }
    return found;
}
