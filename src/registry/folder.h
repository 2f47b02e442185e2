/* Reading a folder that somebody hostile fills and may still be writing to. Nothing is followed: no
 * symbolic link, no mount point, nothing but folders and regular files of the folder's own owner.
 */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "base/vec.h"

#include <sys/stat.h>

struct folder_list {
    struct arena *arena;
    VEC(const char *) paths; /* of all regular files, ascending by byte */
};

/* Frees the paths and leaves an empty list. */
void folder_list_finish(struct folder_list *list);
/* Lists every file below an open folder. The list, to be finished by the caller, is set on success
 * only. ERR_INVALID names what may not be in an artifact; also when there is no file.
 * ERR_TOO_LARGE above ARTIFACT_FILES_MAX files or folders. ERR_IO. */
MUST_CHECK int folder_list(int folder_fd, struct folder_list *ret, struct error *err);
/* Opens a regular file of the list for reading; returns the descriptor, the caller's to close.
 * ERR_INVALID: it is something else by now, or belongs to somebody else. ERR_IO. */
MUST_CHECK int folder_open_file(
    int folder_fd, const char *path, struct stat *ret_st, struct error *err);
