/* Uploaded work directories, kept by digest below the data directory. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Opens the snapshot "sha256:<hex>" for reading. -1: ERR_NOT_FOUND and so on. */
MUST_CHECK int snapshots_open(const char *data_dir, const char *digest, struct error *err);
/* Whether it can be opened. */
bool snapshots_exist(const char *data_dir, const char *digest);
/* The path of a digest, or of an upload under way with a number, in out (at least 4096 bytes). */
void snapshots_path(const char *data_dir, const char *digest, char *out, unsigned size);
