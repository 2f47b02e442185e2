/* Finding the programs that come with muster: see programs.h. */
#include "server/programs.h"

#include "base/memory.h"

#include <string.h>
#include <unistd.h>

static const char installed[] = "/usr/lib/muster/runtimes";

/* The path without its last part. */
static void cut(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
}

const char *programs_runtimes(struct arena *arena)
{
    char folder[4096];
    ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (length <= 0 || (size_t)length >= sizeof folder - 1)
        return installed;
    folder[length] = '\0';
    cut(folder);
    const char *beside = arena_printf(arena, "%s/runtimes", folder);
    if (access(beside, X_OK) == 0)
        return beside;
    cut(folder);
    return arena_printf(arena, "%s/lib/muster/runtimes", folder);
}
