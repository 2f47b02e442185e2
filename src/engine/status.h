/* The status of an attempt: one small file, written by whoever holds the attempt's lock (its
 * shim while that lives, the server for an attempt whose shim is gone), read by the server.
 *
 * The file has two slots which are written in turn, each with a number and a checksum, so that a
 * crash in the middle of a write leaves the status before. It is opened once, before the shim
 * gives up its rights, and never renamed: nothing in the run folder has to be writable for the
 * team's user. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "engine/engine.h"

enum { BOOT_ID_SIZE = 37, STATUS_BYTES_MAX = 8000 };

/* What a rank did: RANK_STARTING until it was executed, then a wait status of waitpid. */
enum { RANK_STARTING = -2, RANK_RUNNING = -1 };

struct status {
    uint64_t attempt;
    uint64_t job;
    uint32_t attempt_number;
    uint64_t epoch;
    char boot_id[BOOT_ID_SIZE];
    enum engine_attempt_state state;
    int32_t shim_pid;
    int32_t sandbox_pid;    /* process 1 of the sandbox, as the machine numbers it; 0: none yet */
    uint64_t sandbox_start; /* its start time in clock ticks since boot: pids are used again */
    struct attempt_end end; /* started_ms as soon as it is known */
    uint32_t rank_count;
    int32_t ranks[ENGINE_RANKS_MAX];
    uint64_t sequence; /* of the slot it was read from or written to last */
};

/* To and from the text of a status file. decode: ERR_CORRUPT. */
void status_encode(struct strbuf *out, const struct status *status);
MUST_CHECK int status_decode(const char *text, size_t size, struct status *ret, struct error *err);

/* The newest valid slot. An empty file is ERR_NOT_FOUND: the attempt has not begun. */
MUST_CHECK int status_read(int fd, struct status *ret, struct error *err);
/* Writes the other slot and waits until it is on disk; counts status->sequence up. */
MUST_CHECK int status_write(int fd, struct status *status, struct error *err);

/* The machine's boot id, which changes with every start of the machine. */
MUST_CHECK int boot_id_read(char out[BOOT_ID_SIZE], struct error *err);
/* A process's start time in clock ticks since boot; 0 when there is no such process. */
uint64_t process_start_time(pid_t pid);
