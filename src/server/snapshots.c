/* Uploaded work directories: see snapshots.h. */
#include "server/snapshots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void snapshots_path(const char *data_dir, const char *digest, char *out, unsigned size)
{
    const char *hex = strncmp(digest, "sha256:", 7) == 0 ? digest + 7 : digest;
    snprintf(out, size, "%s/snapshots/%s", data_dir, hex);
}

/* Only hex digits may come near a path. */
static bool digest_valid(const char *digest)
{
    return strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == 71 &&
           strspn(digest + 7, "0123456789abcdef") == 64;
}

int snapshots_open(const char *data_dir, const char *digest, struct error *err)
{
    char path[4096];
    if (!digest_valid(digest))
        return error_set(err, ERR_INVALID, "\"%.80s\" is no digest of a work directory", digest);
    snapshots_path(data_dir, digest, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND,
            "the work directory %.80s was not uploaded, or was removed; upload it again", digest);
    if (fd < 0)
        return error_set_errno(err, "cannot open the work directory %.80s", digest);
    return fd;
}

bool snapshots_exist(const char *data_dir, const char *digest)
{
    char path[4096];
    snapshots_path(data_dir, digest, path, sizeof path);
    return digest_valid(digest) && access(path, R_OK) == 0;
}
