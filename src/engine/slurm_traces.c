/* What ranks leave: see slurm_traces.h, and slurm_rank.c for who writes it. */
#include "engine/slurm_traces.h"

#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- ends ------------------------------------------------------------------------------------ */

/* "0m1.25s 0m0.10s" in two lines, as the shell's `times` says it: of itself and of what it waited
 * for. Returns the sum in milliseconds. */
static uint64_t read_times(const char *text)
{
    enum { TIMES = 4 };
    uint64_t sum = 0;
    for (int i = 0; i < TIMES; i++) {
        uint64_t minutes, seconds;
        char part[4] = "";
        int length = 0;
        if (sscanf(text, " %9" SCNu64 "m%9" SCNu64 "%*1[.,]%3[0-9]%*[0-9s]%n", &minutes, &seconds,
                part, &length) != 3 ||
            length == 0)
            return 0;
        for (size_t at = strlen(part); at < 3; at++)
            part[at] = '0';
        sum += minutes * 60000 + seconds * 1000 + (uint64_t)strtoul(part, NULL, 10);
        text += length;
    }
    return sum;
}

/* The last line, where it is whole; NULL: it is not, the rank is still at it. */
static const char *last_line(char *text)
{
    size_t length = strlen(text);
    if (length == 0 || text[length - 1] != '\n')
        return NULL;
    text[length - 1] = '\0';
    const char *before = strrchr(text, '\n');
    return before ? before + 1 : text;
}

static void take_failure(
    struct slurm_traces *traces, uint32_t rank, int status, int64_t at_ms, int64_t *first_ms)
{
    traces->all_zero = false;
    if (traces->failed_rank >= 0 && at_ms >= *first_ms)
        return;
    traces->failed_rank = (int32_t)rank;
    traces->failed_status = status & 0xff;
    *first_ms = at_ms;
}

static void look_at_end(int out, uint32_t rank, struct slurm_traces *traces, int64_t *first_ms)
{
    char name[40], text[SLURM_TEXT_MAX], asked[9] = "";
    int status;
    snprintf(name, sizeof name, "rank-%" PRIu32 ".end", rank);
    int64_t at_ms = slurm_folder_read(out, name, text);
    uint64_t cpu_ms = read_times(text);
    const char *line = at_ms ? last_line(text) : NULL;
    if (!line)
        return;
    traces->ended++;
    traces->cpu_ms += cpu_ms;
    if (at_ms > traces->ended_ms)
        traces->ended_ms = at_ms;
    if (sscanf(line, "start %d", &status) == 1) {
        traces->start_errno = status > 0 && status < 4096 ? status : ENOENT;
        traces->all_zero = false;
    } else if (strncmp(line, "port ", 5) == 0) {
        traces->port_taken = true;
        traces->all_zero = false;
    } else if (sscanf(line, "exit %d %8s", &status, asked) < 1) {
        take_failure(traces, rank, 1, at_ms, first_ms);
    } else if (status != 0) {
        take_failure(traces, rank, status, at_ms, first_ms);
    }
    traces->unasked &= strcmp(asked, "unasked") == 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool is_there(int out, const char *name)
{
    char text[SLURM_TEXT_MAX];
    return slurm_folder_read(out, name, text) > 0;
}

void slurm_traces_look(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    struct slurm_traces *ret_traces)
{
    SCOPED(fd_scope) int out = slurm_folder_out(folder, attempt);
    char name[40], text[SLURM_TEXT_MAX];
    int64_t first_ms = 0;
    *ret_traces = (struct slurm_traces){.failed_rank = -1};
    if (out < 0)
        return;
    ret_traces->all_zero = ret_traces->unasked = true;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        snprintf(name, sizeof name, "rank-%" PRIu32 ".begin", rank);
        int64_t at_ms = slurm_folder_read(out, name, text);
        ret_traces->begun += at_ms > 0;
        if (at_ms > 0 && (ret_traces->started_ms == 0 || at_ms < ret_traces->started_ms))
            ret_traces->started_ms = at_ms;
        look_at_end(out, rank, ret_traces, &first_ms);
    }
    ret_traces->all_zero &= ret_traces->ended == ranks;
    ret_traces->finished = ranks == 1 ? ret_traces->ended == 1 : is_there(out, "batch.end");
    ret_traces->serves = is_there(out, "serves");
    ret_traces->complete = is_there(out, "complete");
}

bool slurm_traces_usage(const struct slurm_folder *folder, uint64_t attempt, uint32_t ranks,
    uint64_t *ret_cpu_ms, uint64_t *ret_memory_bytes)
{
    SCOPED(fd_scope) int out = slurm_folder_out(folder, attempt);
    char name[40], text[SLURM_TEXT_MAX];
    uint64_t cpu_ms = 0, memory_kib = 0;
    bool found = false;
    for (uint32_t rank = 0; out >= 0 && rank < ranks; rank++) {
        uint64_t cpu, memory;
        snprintf(name, sizeof name, "rank-%" PRIu32 ".usage", rank);
        if (slurm_folder_read(out, name, text) == 0 ||
            sscanf(text, "%11" SCNu64 " %11" SCNu64, &cpu, &memory) != 2)
            continue;
        cpu_ms += cpu;
        memory_kib += memory;
        found = true;
    }
    *ret_cpu_ms = cpu_ms;
    *ret_memory_bytes = memory_kib * 1024;
    return found;
}
