/* Work directories: packed as canonical tar, named by their digest, sent to the server. */
#pragma once

#include "cli/cli.h"

/* Packs the folder; with send, uploads it. *ret_digest is "sha256:..." in the arena; the server's
 * digest has to be the same. */
MUST_CHECK int workdir_pack(
    struct cli *cli, const char *folder, bool send, const char **ret_digest, struct error *err);
