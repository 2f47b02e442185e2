/* Secrets of teams, encrypted in the store: XChaCha20-Poly1305 with a key of 0600 beside it, the
 * team and the name bound in, so that a row moved elsewhere does not open. Values leave only
 * towards a job that names them. */
#pragma once

#include "base/error.h"

#include <stddef.h>

struct store_reader;
struct tick;
struct vault;

enum { SECRET_BYTES_MAX = 64 * 1024 };

/* Reads the key file, or makes it when it is missing. */
MUST_CHECK struct vault *vault_open(const char *data_dir, struct error *err);
void vault_close(struct vault *vault); /* NULL is fine; wipes the key */
/* Stores the value within a tick. */
void vault_put(struct vault *vault, struct tick *tick, const char *team, const char *name,
    const void *value, size_t size);
void vault_delete(struct tick *tick, const char *team, const char *name);
/* The value, to be wiped and freed by vault_free. ERR_NOT_FOUND, ERR_CORRUPT. */
MUST_CHECK int vault_get(const struct vault *vault, struct store_reader *reader, const char *team,
    const char *name, char **ret_value, size_t *ret_size, struct error *err);
void vault_free(char *value, size_t size);
/* The collection and key a secret is stored under. */
extern const char vault_collection[];
/* Writes the key of a secret, "team/name". */
void vault_key(const char *team, const char *name, char *out, size_t size);
