/* The log of an attempt on Slurm: what its ranks append to files on the shared storage is copied
 * into a joblog of this server as it comes. An engine that is made anew copies from the beginning:
 * positions stay as they were while no line had two writers. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "engine/joblog.h"
#include "engine/layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, TURN_BYTES = 256 * 1024 };

struct source {
    struct joblog_stream stream;
    uint64_t offset;
};

struct slurm_log {
    struct joblog_writer *writer;
    int folder_fd;
    size_t count; /* two for each rank */
    struct source *sources;
};

struct slurm_log *slurm_log_open(struct slurm_attempt *attempt)
{
    const struct launch *launch = &attempt->launch;
    SCOPED(mem_scope)
    char *path = layout_attempt(attempt->slurm->data, launch->job, launch->attempt_number, "log");
    struct error err;
    if (file_make_dirs(path, 0700, &err) < 0)
        return NULL;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || file_remove_content(fd, &err) < 0) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct slurm_log *log = mem_alloc(1, sizeof *log);
    log->folder_fd = fd;
    log->writer = joblog_writer_create(fd, launch->log_file_bytes, launch->log_files);
    log->count = (size_t)launch->world_size * 2;
    log->sources = mem_alloc(log->count, sizeof *log->sources);
    for (size_t i = 0; i < log->count; i++) {
        log->sources[i].stream.rank = (uint32_t)(i / 2);
        log->sources[i].stream.kind = i % 2 ? 'e' : 'o';
    }
    return log;
}

void slurm_log_close(struct slurm_log *log)
{
    if (!log)
        return;
    joblog_writer_destroy(log->writer);
    close(log->folder_fd);
    free(log->sources);
    free(log);
}

static size_t copy_source(struct slurm_log *log, struct source *source, int out, size_t most)
{
    char name[40], piece[PIECE];
    size_t copied = 0;
    ssize_t size;
    snprintf(name, sizeof name, "rank-%" PRIu32 ".%s", source->stream.rank,
        source->stream.kind == 'o' ? "out" : "err");
    SCOPED(fd_scope) int fd = slurm_folder_file(out, name);
    while (fd >= 0 && copied < most &&
           (size = pread(fd, piece, sizeof piece, (off_t)source->offset)) > 0) {
        joblog_write(log->writer, &source->stream, clock_wall_ms(), piece, (size_t)size);
        source->offset += (uint64_t)size;
        copied += (size_t)size;
    }
    return copied;
}

bool slurm_log_copy(struct slurm_log *log, const struct slurm_attempt *attempt)
{
    SCOPED(fd_scope) int out = slurm_folder_out(&attempt->slurm->folder, attempt->launch.attempt);
    size_t copied = 0;
    for (size_t i = 0; out >= 0 && i < log->count && copied < TURN_BYTES; i++)
        copied += copy_source(log, &log->sources[i], out, TURN_BYTES - copied);
    return copied >= TURN_BYTES;
}

void slurm_log_finish(struct slurm_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        joblog_finish_stream(log->writer, &log->sources[i].stream, clock_wall_ms());
}
