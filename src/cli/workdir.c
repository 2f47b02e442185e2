/* Work directories: see workdir.h. A folder is packed into a temporary file first, for its digest
 * and its size are known only at the end, and a folder that changes meanwhile is refused. */
#include "cli/workdir.h"

#include "base/memory.h"
#include "cli/api.h"
#include "cli/view.h"
#include "engine/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_packed(void *out, size_t room, void *ctx, struct error *err)
{
    const int *fd = ctx;
    ssize_t n;
    do {
        n = read(*fd, out, room);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set_errno(err, "cannot read the packed work directory");
    return n;
}

static int upload(struct cli *cli, int fd, const char *digest, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, "cannot go back in the packed work directory");
    const struct doc *answer = NULL;
    if (api_upload(api, cli->arena, "/v1/snapshots", read_packed, &fd, &answer, err) < 0)
        return -1;
    const char *theirs = view_text(answer, "digest");
    if (!theirs || strcmp(theirs, digest) != 0)
        return error_set(err, ERR_CORRUPT,
            "the server got something else than was sent: %.80s instead of %s",
            theirs ? theirs : "no digest", digest);
    return 0;
}

static int open_temporary(struct error *err)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, "cannot make a temporary file");
    return fd;
}

int workdir_pack(
    struct cli *cli, const char *folder, bool send, const char **ret_digest, struct error *err)
{
    SCOPED(fd_scope) int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return error_set_errno(err, "cannot open the folder %s", folder);
    SCOPED(fd_scope) int packed = open_temporary(err);
    if (packed < 0)
        return -1;
    struct snapshot_limits limits = snapshot_default_limits();
    char hex[65];
    if (snapshot_pack(from, packed, &limits, hex, err) < 0)
        return error_prefix(err, "%s", folder);
    const char *digest = arena_printf(cli->arena, "sha256:%s", hex);
    if (send && upload(cli, packed, digest, err) < 0)
        return -1;
    *ret_digest = digest;
    return 0;
}
