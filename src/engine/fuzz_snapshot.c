/* Unpacking hostile bytes: whatever they are, what is accepted packs to the same bytes again. */
#include "base/file.h"
#include "base/memory.h"
#include "engine/snapshot.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_same(int folder, const uint8_t *bytes, size_t size)
{
    const struct snapshot_limits limits = {1 << 20, 1000};
    char packed[65], given[65];
    SCOPED(fd_scope) int fd = memfd_create("again", MFD_CLOEXEC);
    file_sha256_hex(bytes, size, given);
    if (snapshot_pack(folder, fd, &limits, packed, NULL) == 0 && strcmp(packed, given) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct snapshot_limits limits = {1 << 20, 1000};
    char top[] = "/dev/shm/muster-fuzz-XXXXXX", inner[64], digest[65];
    struct error err;
    SCOPED(fd_scope) int fd = memfd_create("stream", MFD_CLOEXEC);
    if (file_write_all(fd, bytes, size, NULL) < 0 || !mkdtemp(top))
        abort();
    snprintf(inner, sizeof inner, "%s/inner", top);
    if (mkdir(inner, 0700) < 0)
        abort();
    SCOPED(fd_scope) int folder = open(inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool verified = snapshot_verify(fd, &limits, digest, &err) == 0;
    bool unpacked = snapshot_unpack(fd, folder, &limits, &err) == 0;
    if (verified != unpacked)
        abort();
    if (unpacked)
        check_same(folder, bytes, size);
    /* Nothing was made beside the folder: it is all there is to remove. */
    if (file_remove_tree(inner, &err) < 0 || rmdir(top) < 0)
        abort();
    return 0;
}
