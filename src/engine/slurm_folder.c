/* The shared storage: see slurm_folder.h. The parents of whatever the job's user can write belong
 * to the server, so a path up to there cannot be bent. */
#include "engine/slurm_folder.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/launch.h"
#include "engine/layout.h"
#include "engine/slurm_script.h"
#include "engine/snapshot.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int slurm_folder_open(struct slurm_folder *folder, const char *path, const char *owner, uid_t uid,
    gid_t gid, struct error *err)
{
    struct strbuf root = {0};
    strbuf_printf(&root, "%s/%s", path, owner);
    *folder = (struct slurm_folder){.root = strbuf_steal(&root), .uid = uid, .gid = gid};
    if (file_make_dirs(folder->root, 0755, err) < 0) {
        slurm_folder_close(folder);
        return error_prefix(err, "the folder that is shared with the nodes");
    }
    return 0;
}

void slurm_folder_close(struct slurm_folder *folder)
{
    free(folder->root);
    folder->root = NULL;
}

char *slurm_folder_attempt(const struct slurm_folder *folder, uint64_t attempt, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(
        &path, "%s/%016" PRIx64 "%s%s", folder->root, attempt, name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

char *slurm_folder_job(const struct slurm_folder *folder, uint64_t job, const char *name)
{
    return layout_job(folder->root, job, name);
}

/* ---- preparing ------------------------------------------------------------------------------- */

static int give_away(const struct slurm_folder *folder, const char *path, struct error *err)
{
    if (geteuid() != folder->uid && lchown(path, folder->uid, folder->gid) < 0)
        return error_set_errno(err, "cannot give %s to uid %u", path, (unsigned)folder->uid);
    return 0;
}

/* A folder of the job's user in one of the server's. */
static int make_theirs(const struct slurm_folder *folder, const char *path, struct error *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot make %s", path);
    return give_away(folder, path, err);
}

/* A file that the job's user reads and nobody else. */
static int write_theirs(const struct slurm_folder *folder, const char *path, const void *bytes,
    size_t size, struct error *err)
{
    if (file_replace(path, bytes, size, 0400, err) < 0)
        return -1;
    return give_away(folder, path, err);
}

static int make_outputs(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err)
{
    uint64_t job = launch_output_job(launch);
    for (size_t i = 0; i < launch->output_count; i++) {
        SCOPED(mem_scope)
        char *path = layout_output(folder->root, job, launch->outputs[i], NULL);
        SCOPED(mem_scope)
        char *part = layout_output(folder->root, job, launch->outputs[i], launch->output_part);
        SCOPED(mem_scope) char *parent = layout_output(folder->root, job, NULL, NULL);
        if (file_make_dirs(launch->output_part ? path : parent, 0755, err) < 0 ||
            make_theirs(folder, part, err) < 0)
            return -1;
    }
    return 0;
}

static int write_secrets(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err)
{
    SCOPED(mem_scope) char *secrets = slurm_folder_attempt(folder, launch->attempt, "secrets");
    for (size_t i = 0; i < launch->secret_count; i++) {
        const struct launch_secret *secret = &launch->secrets[i];
        SCOPED(strbuf_finish) struct strbuf path = {0};
        if (!secret->as_file)
            continue;
        strbuf_printf(&path, "%s/%s", secrets, secret->name);
        if (file_make_dirs(secrets, 0755, err) < 0 ||
            write_theirs(folder, path.text, secret->value, secret->size, err) < 0)
            return -1;
    }
    return 0;
}

static int write_scripts(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err)
{
    uint64_t id = launch->attempt;
    SCOPED(mem_scope) char *out = slurm_folder_attempt(folder, id, "out");
    SCOPED(mem_scope) char *work = slurm_folder_attempt(folder, id, "work");
    SCOPED(mem_scope) char *control = slurm_folder_attempt(folder, id, "control");
    SCOPED(mem_scope) char *rank = slurm_folder_attempt(folder, id, "rank");
    SCOPED(mem_scope) char *batch = slurm_folder_attempt(folder, id, "batch");
    SCOPED(mem_scope) char *secrets = slurm_folder_attempt(folder, id, "secrets");
    SCOPED(mem_scope) char *checkpoint = slurm_folder_job(folder, launch->job, "checkpoint");
    SCOPED(mem_scope)
    char *outputs = layout_output(folder->root, launch_output_job(launch), NULL, NULL);
    const struct script_places places = {.out = out,
        .work = work,
        .checkpoint = checkpoint,
        .control = control,
        .rank = rank,
        .outputs = outputs,
        .secrets = secrets};
    SCOPED(strbuf_finish) struct strbuf batch_text = {0}, rank_text = {0};
    script_write_batch(launch, &places, &batch_text);
    if (launch->world_size > 1)
        script_write_rank(launch, &places, &rank_text);
    if ((rank_text.length > 0 &&
            write_theirs(folder, rank, rank_text.text, rank_text.length, err) < 0) ||
        write_theirs(folder, batch, batch_text.text, batch_text.length, err) < 0)
        return -1;
    return file_replace(control, "run \n\n", 6, 0644, err); /* as long as "stop" */
}

/* The snapshot is unpacked as the server, into a folder that is the server's until it is done, then
 * everything in it is handed over. */
static int hand_over(const struct slurm_folder *folder, int fd, int depth, struct error *err);

static int make_work(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err)
{
    SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, launch->attempt, "work");
    struct snapshot_limits limits = snapshot_default_limits();
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot make %s", path);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", path);
    if (launch->snapshot_fd >= 0 &&
        (lseek(launch->snapshot_fd, 0, SEEK_SET) < 0 || file_remove_content(fd, err) < 0 ||
            snapshot_unpack(launch->snapshot_fd, fd, &limits, err) < 0))
        return error_prefix(err, "the work directory");
    return geteuid() == folder->uid ? 0 : hand_over(folder, fd, 0, err);
}

int slurm_folder_prepare(
    const struct slurm_folder *folder, const struct launch *launch, struct error *err)
{
    SCOPED(mem_scope) char *top = slurm_folder_attempt(folder, launch->attempt, NULL);
    SCOPED(mem_scope) char *out = slurm_folder_attempt(folder, launch->attempt, "out");
    SCOPED(mem_scope) char *job = slurm_folder_job(folder, launch->job, NULL);
    SCOPED(mem_scope) char *checkpoint = slurm_folder_job(folder, launch->job, "checkpoint");
    if (file_make_dirs(top, 0755, err) < 0 || file_make_dirs(job, 0755, err) < 0 ||
        make_theirs(folder, checkpoint, err) < 0 || make_outputs(folder, launch, err) < 0 ||
        write_secrets(folder, launch, err) < 0 || make_work(folder, launch, err) < 0 ||
        write_scripts(folder, launch, err) < 0)
        return -1;
    return make_theirs(folder, out, err); /* last: a job begins when it is there */
}

/* In place, so that a node which has the file open in its cache asks for it anew. */
int slurm_folder_stop(
    const struct slurm_folder *folder, uint64_t attempt, bool kill, struct error *err)
{
    SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, attempt, "control");
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot write %s", path);
    return file_write_all(fd, kill ? "kill\n" : "stop\n", 5, err);
}

void slurm_folder_drop_secrets(const struct slurm_folder *folder, uint64_t attempt)
{
    static const char *const names[] = {"batch", "rank", "secrets"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, attempt, names[i]);
        struct error why;
        int rc = file_remove_tree(path, &why);
        (void)rc; /* what cannot be removed goes with the attempt */
    }
}

/* ---- commands -------------------------------------------------------------------------------- */

static char *command_path(
    const struct slurm_folder *folder, uint64_t attempt, uint32_t number, const char *end)
{
    char name[40];
    snprintf(name, sizeof name, "exec-%" PRIu32 "%s", number, end);
    return slurm_folder_attempt(folder, attempt, name);
}

int slurm_folder_put_command(const struct slurm_folder *folder, const struct launch *launch,
    uint32_t number, const char *const *argv, struct error *err)
{
    SCOPED(mem_scope) char *script = command_path(folder, launch->attempt, number, "");
    SCOPED(mem_scope) char *input = command_path(folder, launch->attempt, number, ".in");
    SCOPED(mem_scope)
    char *outputs = layout_output(folder->root, launch_output_job(launch), NULL, NULL);
    const struct script_places places = {.outputs = outputs};
    SCOPED(strbuf_finish) struct strbuf text = {0};
    script_put_command(launch, &places, argv, &text);
    if (write_theirs(folder, script, text.text, text.length, err) < 0)
        return -1;
    int fd = open(input, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && give_away(folder, input, err) == 0)
        return fd;
    if (fd < 0)
        return error_set_errno(err, "cannot make %s", input);
    close(fd);
    return -1;
}

enum { WORD_BYTES = 5 }; /* the first line of `control` */

/* In place and always as long, by one call: whoever reads it meanwhile gets the one or the other.
 */
int slurm_folder_want(
    const struct slurm_folder *folder, uint64_t attempt, const char *wanted, struct error *err)
{
    char line[SLURM_WANTED_MAX + 2];
    SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, attempt, "control");
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    assert(strlen(wanted) <= SLURM_WANTED_MAX);
    snprintf(line, sizeof line, "%-*s\n", SLURM_WANTED_MAX, wanted);
    if (fd < 0 || pwrite(fd, line, SLURM_WANTED_MAX + 1, WORD_BYTES) != SLURM_WANTED_MAX + 1)
        return error_set_errno(err, "cannot write %s", path);
    return 0;
}

int slurm_folder_wanted(
    const struct slurm_folder *folder, uint64_t attempt, char ret_wanted[SLURM_TEXT_MAX])
{
    SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, attempt, "control");
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : pread(fd, ret_wanted, SLURM_TEXT_MAX - 1, WORD_BYTES);
    ret_wanted[size > 0 ? size : 0] = '\0';
    return size > 0 ? 0 : -1;
}

void slurm_folder_drop_command(const struct slurm_folder *folder, uint64_t attempt, uint32_t number)
{
    static const char *const here[] = {"", ".in"};
    static const char *const theirs[] = {".fifo", ".out", ".err", ".end"};
    for (size_t i = 0; i < ARRAY_LEN(here); i++) {
        SCOPED(mem_scope) char *path = command_path(folder, attempt, number, here[i]);
        unlink(path);
    }
    SCOPED(fd_scope) int out = slurm_folder_out(folder, attempt);
    for (size_t i = 0; out >= 0 && i < ARRAY_LEN(theirs); i++) {
        char name[40];
        snprintf(name, sizeof name, "exec-%" PRIu32 "%s", number, theirs[i]);
        unlinkat(out, name, 0);
    }
}

/* ---- claims ---------------------------------------------------------------------------------- */

int slurm_folder_out(const struct slurm_folder *folder, uint64_t attempt)
{
    SCOPED(mem_scope) char *path = slurm_folder_attempt(folder, attempt, "out");
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int slurm_folder_file(int out_fd, const char *name)
{
    struct stat status;
    int fd = openat(out_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

int64_t slurm_folder_read(int out_fd, const char *name, char text[SLURM_TEXT_MAX])
{
    SCOPED(fd_scope) int fd = slurm_folder_file(out_fd, name);
    struct stat status;
    text[0] = '\0';
    if (fd < 0 || fstat(fd, &status) < 0)
        return 0;
    ssize_t size = read(fd, text, SLURM_TEXT_MAX - 1);
    text[size > 0 ? size : 0] = '\0';
    return (int64_t)status.st_mtim.tv_sec * 1000 + status.st_mtim.tv_nsec / 1000000;
}

enum slurm_claim slurm_folder_claim(
    const struct slurm_folder *folder, uint64_t attempt, uint64_t *ret_job)
{
    SCOPED(fd_scope) int out = slurm_folder_out(folder, attempt);
    char word[SLURM_TEXT_MAX];
    *ret_job = 0;
    if (out < 0)
        return CLAIM_UNKNOWN;
    SCOPED(fd_scope)
    int fd = openat(out, "claim", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0)
        return file_write_all(fd, "server\n", 7, NULL) < 0 ? CLAIM_UNKNOWN : CLAIM_OURS;
    if (errno != EEXIST)
        return CLAIM_UNKNOWN;
    slurm_folder_read(out, "claim", word);
    *ret_job = strtoull(word, NULL, 10);
    return strcmp(word, "server\n") == 0 ? CLAIM_OURS : CLAIM_THEIRS;
}

int64_t slurm_folder_claimed_by(const struct slurm_folder *folder, uint64_t attempt)
{
    char node[SLURM_NODE_MAX];
    return slurm_folder_claimed_on(folder, attempt, node);
}

int64_t slurm_folder_claimed_on(
    const struct slurm_folder *folder, uint64_t attempt, char ret_node[SLURM_NODE_MAX])
{
    static const char in_names[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    SCOPED(fd_scope) int out = slurm_folder_out(folder, attempt);
    char word[SLURM_TEXT_MAX], *end;
    ret_node[0] = '\0';
    if (out < 0 || slurm_folder_read(out, "claim", word) == 0)
        return -1;
    long long number = strtoll(word, &end, 10);
    size_t length = *end == ' ' ? strspn(end + 1, in_names) : 0;
    if (length > 0 && length < SLURM_NODE_MAX && end[1 + length] == '\n')
        snprintf(ret_node, SLURM_NODE_MAX, "%.*s", (int)length, end + 1);
    return number;
}

/* ---- handing over ---------------------------------------------------------------------------- */

enum { DEPTH_MAX = 40 };

static int hand_over_entry(const struct slurm_folder *folder, int fd, const struct dirent *entry,
    int depth, struct error *err)
{
    if (fchownat(fd, entry->d_name, folder->uid, folder->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_set_errno(err, "cannot give %s to the job's user", entry->d_name);
    SCOPED(fd_scope)
    int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return below < 0 ? 0 : hand_over(folder, below, depth + 1, err);
}

static int hand_over(const struct slurm_folder *folder, int fd, int depth, struct error *err)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    if (!listing)
        return error_set_errno(err, "cannot read the work directory");
    while (rc == 0 && (entry = readdir(listing))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = depth < DEPTH_MAX ? hand_over_entry(folder, fd, entry, depth, err)
                                   : error_set(err, ERR_TOO_LARGE, "it is nested too deeply");
    }
    closedir(listing);
    if (rc == 0 && fchown(fd, folder->uid, folder->gid) < 0)
        return error_set_errno(err, "cannot give the work directory to the job's user");
    return rc;
}
