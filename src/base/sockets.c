/* Lists of devices: see sockets.h. Input is what somebody wrote: nothing is assumed of it. */
#include "base/sockets.h"

#include <inttypes.h>
#include <string.h>

/* A number below SOCKET_DEVICES at *at, which moves behind it; -1: there is none. */
static int read_device(const char *text, size_t length, size_t *at)
{
    int value = -1;
    for (; *at < length && text[*at] >= '0' && text[*at] <= '9'; ++*at) {
        value = (value < 0 ? 0 : value) * 10 + (text[*at] - '0');
        if (value >= SOCKET_DEVICES)
            return -1;
    }
    return value;
}

bool sockets_read_list(const char *text, size_t length, uint64_t *ret_devices)
{
    uint64_t devices = 0;
    for (size_t at = 0;; at++) {
        int first = read_device(text, length, &at), last = first;
        if (at < length && text[at] == '-') {
            at++;
            last = read_device(text, length, &at);
        }
        if (first < 0 || last < first)
            return false;
        for (int i = first; i <= last; i++) {
            if (devices >> i & 1)
                return false;
            devices |= (uint64_t)1 << i;
        }
        if (at == length)
            break;
        if (text[at] != ',')
            return false;
    }
    *ret_devices = devices;
    return true;
}

int sockets_read(
    const char *const *lists, size_t count, int64_t devices, struct sockets *ret, struct error *err)
{
    struct sockets sockets = {.count = count};
    uint64_t all = devices >= 64 ? UINT64_MAX : ((uint64_t)1 << devices) - 1, seen = 0;
    if (count > SOCKETS_MAX)
        return error_set(err, ERR_INVALID, "expected at most %d sockets", SOCKETS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *text = lists[i];
        uint64_t *one = &sockets.devices[i];
        if (!sockets_read_list(text, strlen(text), one))
            return error_set(err, ERR_INVALID,
                "expected a list of devices such as \"0-3\" or \"0,2\", got \"%.40s\"", text);
        if (*one & seen)
            return error_set(err, ERR_INVALID, "\"%.40s\" has a device of another socket", text);
        seen |= *one;
    }
    if (count > 0 && seen != all)
        return error_set(err, ERR_INVALID,
            "expected each of the node's %" PRId64 " accelerators, 0 to %" PRId64
            ", in one of the lists",
            devices, devices - 1);
    *ret = sockets;
    return 0;
}
