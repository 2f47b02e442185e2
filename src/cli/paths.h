/* Where a server keeps its data, and its socket, unless it is told. */
#pragma once

#include "base/memory.h"

/* A variable of the environment, or NULL; tests give their own. */
typedef const char *path_variable(const char *name);

/* $MUSTER_DATA; /var/lib/muster for root; ~/.local/share/muster for others. An absolute path in the
 * arena, or NULL when there is no home either. */
const char *path_data_dir(struct arena *arena, path_variable *variable);
/* The socket of a server on that data directory: /run/muster/muster.sock for that of root, else
 * muster.sock in it. In the arena. */
const char *path_socket(struct arena *arena, const char *data_dir);
/* The file as an absolute path in the arena. */
const char *path_absolute(struct arena *arena, const char *path);

#define PATH_SYSTEM_DATA   "/var/lib/muster"
#define PATH_SYSTEM_SOCKET "/run/muster/muster.sock"
