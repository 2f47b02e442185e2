/* Strays: see stray.h. */
#include "engine/stray.h"

#include "base/memory.h"
#include "engine/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

void stray_mark(int run_fd, uint64_t attempt, char ret[STRAY_MARK_SIZE])
{
    struct stat st;
    *ret = '\0';
    if (fstat(run_fd, &st) == 0)
        snprintf(ret, STRAY_MARK_SIZE, "muster-attempt-%" PRIu64 "-%jx-%jx", attempt,
            (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
}

/* Does /proc/PID/NAME begin with text, as a word of its own? */
static bool begins_with(pid_t pid, const char *name, const char *text)
{
    char path[64], start[STRAY_MARK_SIZE + 1];
    size_t length = strlen(text);
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, start, sizeof start);
    return n > (ssize_t)length && !memcmp(start, text, length) &&
           (start[length] == '\0' || start[length] == '\n');
}

static bool kill_if_marked(pid_t pid, const char *mark)
{
    /* Its short name first: that can be read of any process without waiting for it. */
    if (pid <= 1 || !begins_with(pid, "comm", strrchr(SANDBOX_PROGRAM, '/') + 1))
        return false;
    SCOPED(fd_scope) int pidfd = pidfd_open(pid, 0);
    /* The mark is read after the descriptor is open, so both are of the same process. */
    return pidfd >= 0 && begins_with(pid, "cmdline", mark) &&
           pidfd_send_signal(pidfd, SIGKILL, NULL, 0) == 0;
}

bool stray_kill(const char *mark)
{
    bool found = false;
    DIR *folder = *mark ? opendir("/proc") : NULL;
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)))
        found |= kill_if_marked((pid_t)strtol(entry->d_name, NULL, 10), mark);
    if (folder)
        closedir(folder);
    return found;
}
