/* Which server to ask, and with which token.
 *
 * What is said more closely wins: the option, the environment, ~/.config/muster/config.yaml
 * (`endpoint`, `ca`, `tokenFile`), then the sockets of servers on this machine: of $MUSTER_DATA, of
 * the system (/run/muster/muster.sock), and of the user's own data directory if it is there. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "cli/paths.h"

/* What the options said, NULL where they did not; getenv-like, so that tests need no environment.
 */
struct endpoint_sources {
    const char *endpoint;
    const char *ca;
    const char *token_file;
    path_variable *variable;
};

struct endpoint {
    const char *address;
    const char *ca;    /* NULL: the system's */
    const char *token; /* NULL: none */
};

/* Fills *ret with texts in the arena. ERR_INVALID: an address that is none, a configuration that
 * cannot be read, names what it does not know; ERR_DENIED: a token that others can read. */
MUST_CHECK int endpoint_resolve(struct arena *arena, const struct endpoint_sources *sources,
    struct endpoint *ret, struct error *err);
/* A token from a file that only its owner may read, without the newline at its end. */
MUST_CHECK int endpoint_read_token(
    struct arena *arena, const char *path, const char **ret_token, struct error *err);
