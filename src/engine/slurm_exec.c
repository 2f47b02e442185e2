/* Commands inside running attempts on Slurm: slurmrestd starts none, so the first rank's script
 * does, which looks for them once a second (slurm_rank.c).
 *
 * Invariants:
 * - A number is asked for once in the life of an attempt, also by a server that comes later: the
 *   shared storage says which was the last one.
 * - What a command leaves is as hostile as the job: it is read by descriptors, with bounds, and
 *   what it says ends that command only.
 * - Nothing here waits: descriptors of callers that are full are tried again on the next turn. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    COMMANDS_MAX = 8,     /* at once in an attempt: as many fit in the line */
    PIPE_BYTES = 1 << 20, /* what passes in a turn */
    PIECE = 64 * 1024,
};
#define INPUT_BYTES_MAX (UINT64_C(256) << 20)

/* ---- what is wanted -------------------------------------------------------------------------- */

static size_t count_of(const struct slurm *slurm, uint64_t attempt)
{
    size_t count = 0;
    for (size_t i = 0; i < slurm->commands.count; i++)
        count += slurm->commands.items[i].attempt == attempt;
    return count;
}

/* "3 2 3= " says that three were asked for until now and the second and third are wanted, the
 * third with all of its input there. */
static int say_wanted(struct slurm_attempt *attempt, struct error *err)
{
    const struct slurm *slurm = attempt->slurm;
    SCOPED(strbuf_finish) struct strbuf text = {0};
    strbuf_printf(&text, "%" PRIu32 " ", attempt->commands);
    for (size_t i = 0; i < slurm->commands.count; i++) {
        const struct slurm_command *command = &slurm->commands.items[i];
        if (command->attempt == attempt->launch.attempt)
            strbuf_printf(&text, "%" PRIu32 "%s ", command->number, command->input < 0 ? "=" : "");
    }
    return slurm_folder_want(&slurm->folder, attempt->launch.attempt, strbuf_text(&text), err);
}

void slurm_exec_forsake(struct slurm_attempt *attempt)
{
    char wanted[SLURM_TEXT_MAX];
    struct error err;
    if (count_of(attempt->slurm, attempt->launch.attempt) > 0 ||
        slurm_folder_wanted(&attempt->slurm->folder, attempt->launch.attempt, wanted) < 0)
        return;
    attempt->commands = (uint32_t)strtoul(wanted, NULL, 10);
    if (attempt->commands > 0 && say_wanted(attempt, &err) < 0)
        attempt->commands = 0;
}

/* ---- starting -------------------------------------------------------------------------------- */

/* Its descriptors, which do not keep this thread waiting and take what a turn brings. */
static int take_fds(struct slurm_command *command, const int fds[3], struct error *err)
{
    for (int i = 0; i < 3; i++) {
        int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        command->fds[i] = fd;
        if (fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
            return error_set_errno(err, "cannot take the descriptors of a command");
        (void)fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES); /* else less passes in a turn */
    }
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_command(struct slurm_command *command)
{
    for (int i = 0; i < 3; i++)
        close_fd(&command->fds[i]);
    close_fd(&command->input);
}

static int check(
    const struct slurm_attempt *attempt, const struct exec_request *request, struct error *err)
{
    char wanted[SLURM_TEXT_MAX];
    if (!attempt->started || attempt->ledger.ended || attempt->finishing)
        return error_set(err, ERR_CONFLICT, "the attempt does not run");
    if (request->terminal)
        return error_set(err, ERR_UNAVAILABLE,
            "a job on Slurm gives commands no terminal: leave --tty away, or on a machine of the "
            "cluster, as the job's user, srun --overlap --jobid=%" PRIu64 " --pty sh",
            attempt->ledger.number);
    if (count_of(attempt->slurm, attempt->launch.attempt) >= COMMANDS_MAX)
        return error_set(err, ERR_BUSY, "%d commands run in this attempt already", COMMANDS_MAX);
    if (slurm_folder_wanted(&attempt->slurm->folder, attempt->launch.attempt, wanted) < 0)
        return error_set(err, ERR_UNAVAILABLE,
            "the attempt's script looks for no commands: it was submitted by an earlier version");
    return 0;
}

static int ask(struct slurm_attempt *attempt, struct slurm_command *command,
    const struct exec_request *request, struct error *err)
{
    struct slurm *slurm = attempt->slurm;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct launch there;
    struct slurm_folder theirs;
    if (take_fds(command, request->fds, err) < 0 ||
        slurm_at_site(slurm, arena, &attempt->launch, &there, &theirs, err) < 0)
        return -1;
    command->input = slurm_folder_put_command(&theirs, &there, command->number, request->argv, err);
    if (command->input < 0)
        return -1;
    attempt->commands = command->number;
    vec_push(&slurm->commands, *command);
    if (say_wanted(attempt, err) == 0)
        return 0;
    slurm->commands.count--;
    return -1;
}

int slurm_exec(
    struct engine *engine, uint64_t id, const struct exec_request *request, struct error *err)
{
    struct slurm_attempt *attempt = slurm_attempt_find(slurm_of_engine(engine), id);
    if (!attempt)
        return error_set(err, ERR_NOT_FOUND, "the engine has no attempt %" PRIx64, id);
    if (check(attempt, request, err) < 0)
        return -1;
    struct slurm_command command = {.attempt = id,
        .job = attempt->launch.job,
        .exec = request->exec,
        .number = attempt->commands + 1,
        .fds = {-1, -1, -1},
        .input = -1};
    if (ask(attempt, &command, request, err) == 0)
        return 0;
    close_command(&command);
    slurm_folder_drop_command(&attempt->slurm->folder, id, command.number);
    return -1;
}

/* ---- while it runs --------------------------------------------------------------------------- */

/* Adds what came. 1: more may; 0: that was all; -1: no more is taken. */
static int pass_input(struct slurm_command *command, struct error *err)
{
    char piece[PIECE];
    ssize_t size;
    for (size_t passed = 0; passed < PIPE_BYTES; passed += (size_t)size) {
        size = read(command->fds[0], piece, sizeof piece);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return 1;
        if (size <= 0)
            return 0;
        command->sent += (uint64_t)size;
        if (command->sent > INPUT_BYTES_MAX)
            return error_set(err, ERR_INVALID, "a command on Slurm takes 256 MiB of input at most");
        if (file_write_all(command->input, piece, (size_t)size, err) < 0)
            return -1;
    }
    return 1;
}

/* Passes its input on. -1: it cannot go on. */
static int feed(struct slurm *slurm, struct slurm_command *command, struct error *err)
{
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, command->attempt);
    if (!attempt || command->input < 0)
        return 0;
    int rc = pass_input(command, err);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    close_fd(&command->input);
    return say_wanted(attempt, err);
}

/* Passes on what is new in a file of it. Whether there is more than the caller takes now, or than a
 * turn passes: a caller's descriptor may be a file, which is never full. */
static bool pass_output(struct slurm_command *command, int out, int which)
{
    static const char *const ends[] = {"out", "err"};
    char name[40], piece[PIECE];
    int *to = &command->fds[1 + which];
    ssize_t size;
    uint64_t end = command->seen[which] + PIPE_BYTES;
    snprintf(name, sizeof name, "exec-%" PRIu32 ".%s", command->number, ends[which]);
    SCOPED(fd_scope) int fd = slurm_folder_file(out, name);
    while (fd >= 0 && *to >= 0 &&
           (size = pread(fd, piece, sizeof piece, (off_t)command->seen[which])) > 0) {
        ssize_t written = write(*to, piece, (size_t)size);
        if (written < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (written < 0)
            close_fd(to);
        else if ((command->seen[which] += (uint64_t)written) >= end)
            return true;
    }
    return false;
}

/* Whether nobody takes its output any more: a pipe says so without being written to. */
static bool is_forsaken(const struct slurm_command *command)
{
    for (int i = 1; i < 3; i++) {
        struct pollfd item = {.fd = command->fds[i]};
        if (item.fd >= 0 && (poll(&item, 1, 0) < 1 || !(item.revents & POLLERR)))
            return false;
    }
    return true;
}

/* Takes it off the list and says how it ended; after this anything may have happened to others. */
static void end_command(struct slurm *slurm, size_t i, int wait_status, const char *text)
{
    struct slurm_command command = slurm->commands.items[i];
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, command.attempt);
    struct report what = {.kind = ENGINE_REPORT_EXEC_ENDED,
        .attempt = command.attempt,
        .job = command.job,
        .at_ms = clock_wall_ms(),
        .exec = {.exec = command.exec, .wait_status = wait_status, .text = text}};
    struct error err;
    vec_remove(&slurm->commands, i);
    close_command(&command);
    if (attempt && say_wanted(attempt, &err) == 0 && wait_status >= 0)
        slurm_folder_drop_command(&slurm->folder, command.attempt, command.number);
    slurm->report(slurm->context, &what);
}

/* What `sh` says of a signal, 128 and its number, is said as it is. */
static int read_end(const struct slurm_command *command, int out)
{
    char name[40], text[SLURM_TEXT_MAX];
    int status;
    snprintf(name, sizeof name, "exec-%" PRIu32 ".end", command->number);
    if (slurm_folder_read(out, name, text) == 0 || sscanf(text, "%d", &status) != 1)
        return -1;
    return (status & 0xff) << 8;
}

/* False when it is off the list. */
static bool look_at(struct slurm *slurm, size_t i)
{
    struct slurm_command *command = &slurm->commands.items[i];
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, command->attempt);
    SCOPED(fd_scope) int out = slurm_folder_out(&slurm->folder, command->attempt);
    int status = read_end(command, out); /* before its output: then that is all */
    bool more = pass_output(command, out, 0);
    more |= pass_output(command, out, 1);
    if (!attempt || attempt->ledger.ended)
        end_command(slurm, i, -1, "the attempt has ended");
    else if (status >= 0 && !more)
        end_command(slurm, i, status, "");
    else if (is_forsaken(command))
        end_command(slurm, i, -1, "nobody waits for it");
    else
        return true;
    return false;
}

void slurm_exec_turn(struct slurm *slurm)
{
    size_t i = 0;
    while (i < slurm->commands.count) {
        struct error err;
        if (feed(slurm, &slurm->commands.items[i], &err) < 0)
            end_command(slurm, i, -1, err.text);
        else
            i += look_at(slurm, i);
    }
}

void slurm_exec_finish(struct slurm *slurm)
{
    for (size_t i = 0; i < slurm->commands.count; i++)
        close_command(&slurm->commands.items[i]);
    vec_free(&slurm->commands);
}
