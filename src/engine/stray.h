/* What is left of a sandbox that was on its way when its shim died: processes that nobody waits for
 * and whose pids nobody knows. They are found by a mark that bubblewrap gets as its name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { STRAY_MARK_SIZE = 96 };

/* The mark of an attempt: its number and its run folder, as the file system numbers that, since the
 * path may be spelled otherwise by the next server. "" where the folder cannot be looked at. */
void stray_mark(int run_fd, uint64_t attempt, char ret[STRAY_MARK_SIZE]);
/* Sends SIGKILL to every process of the machine with that mark. True: there was one, which may take
 * a moment to be gone. A process that gives itself the mark of another attempt is killed as well.
 */
bool stray_kill(const char *mark);
