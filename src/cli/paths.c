/* Where things are: see paths.h. */
#include "cli/paths.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

const char *path_absolute(struct arena *arena, const char *path)
{
    char folder[PATH_MAX];
    if (path[0] == '/' || !getcwd(folder, sizeof folder))
        return arena_strdup(arena, path);
    return arena_printf(arena, "%s/%s", folder, path);
}

const char *path_data_dir(struct arena *arena, path_variable *variable)
{
    const char *data = variable("MUSTER_DATA");
    if (data && *data)
        return path_absolute(arena, data);
    if (geteuid() == 0)
        return PATH_SYSTEM_DATA;
    const char *share = variable("XDG_DATA_HOME");
    if (share && *share)
        return arena_printf(arena, "%s/muster", share);
    const char *home = variable("HOME");
    return home && *home ? arena_printf(arena, "%s/.local/share/muster", home) : NULL;
}

const char *path_socket(struct arena *arena, const char *data_dir)
{
    if (!strcmp(data_dir, PATH_SYSTEM_DATA))
        return PATH_SYSTEM_SOCKET;
    return arena_printf(arena, "%s/muster.sock", data_dir);
}
