/* What a shim opens: see shim_setup.h. As the server's user it reads the launch and opens status,
 * control socket and folders; as root it then makes a mount namespace of its own, in which the data
 * directory is empty. shim_spawn.c goes on from there. */
#include "engine/shim_setup.h"

#include "base/file.h"
#include "engine/channel.h"
#include "engine/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_at(int folder, const char *name, int flags, int *ret_fd, struct error *err)
{
    int fd = openat(folder, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", name);
    *ret_fd = fd;
    return 0;
}

static int read_launch(const struct shim_arguments *arguments, struct shim_files *files,
    struct record *ret_record, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    char *text;
    size_t size;
    strbuf_printf(&path, "%s/launch", arguments->run);
    if (file_read(strbuf_text(&path), LAUNCH_BYTES_MAX, &text, &size, err) < 0)
        return -1;
    SCOPED(mem_scope) char *owned = text;
    if (launch_decode(files->arena, owned, size, &files->launch, err) < 0)
        return -1;
    return record_parse(files->arena, owned, size, ret_record, err);
}

static int open_run_folder(
    const struct shim_arguments *arguments, struct shim_files *files, struct error *err)
{
    files->run_fd = open(arguments->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->run_fd < 0)
        return error_set_errno(err, "cannot open %s", arguments->run);
    if (open_at(files->run_fd, "status", O_RDWR | O_CREAT, &files->status_fd, err) < 0)
        return -1;
    return channel_listen(files->run_fd, "control", &files->listen_fd, err);
}

/* The paths the server wrote into the launch file, and whom to become. */
static int take_surroundings(
    const struct record *record, struct shim_files *files, struct error *err)
{
    const char *node = record_text(record, "here");
    const char *program = record_text(record, "program");
    if (!node || !program)
        return error_set(err, ERR_CORRUPT, "the launch file does not say where it is");
    files->place = launch_placement_on(&files->launch, node);
    if (!files->place)
        return error_set(err, ERR_INVALID, "no rank of the launch is placed on %s", node);
    cgroup_decode(record, &files->cgroup);
    if (!cores_parse(record_text(record, "cores"), &files->cores))
        return error_set(err, ERR_CORRUPT, "the launch file's list of cores is not one");
    files->sources.program = mem_strdup(program);
    files->server_uid = geteuid();
    files->uid = files->launch.uid ? files->launch.uid : geteuid();
    files->gid = files->launch.uid ? files->launch.gid : getegid();
    if (files->uid == 0)
        return error_set(err, ERR_DENIED, "no job is run as root");
    return 0;
}

int shim_open(const struct shim_arguments *arguments, struct shim_files *files, struct error *err)
{
    struct record record;
    if (open_run_folder(arguments, files, err) < 0 ||
        read_launch(arguments, files, &record, err) < 0)
        return -1;
    return take_surroundings(&record, files, err);
}

/* Opens a folder of the team's. The path is kept where ret_path is given, for the sandbox. */
static int open_folder(char *path, char **ret_path, int *ret_fd, struct error *err)
{
    SCOPED(mem_scope) char *owned = path;
    int fd = open(owned, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, "cannot open %s", owned);
    *ret_fd = fd;
    if (ret_path) {
        *ret_path = owned;
        owned = NULL;
    }
    return 0;
}

static int open_attempt_folders(struct shim_files *files, const char *data, struct error *err)
{
    struct sandbox_sources *sources = &files->sources;
    const struct {
        const char *name;
        char **path;
        int *fd;
    } folders[] = {
        {"work", &sources->work, &files->work_fd},
        {"tmp", &sources->tmp, &files->tmp_fd},
        {"job", &sources->job, &files->job_fd},
        {"log", NULL, &files->log_fd},
    };
    const struct launch *launch = &files->launch;
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char *path = layout_attempt(data, launch->job, launch->attempt_number, folders[i].name);
        if (open_folder(path, folders[i].path, folders[i].fd, err) < 0)
            return -1;
    }
    return 0;
}

/* The folders that the launch may have: outputs, and that of the socket. */
static int open_asked_folders(struct shim_files *files, const char *data, struct error *err)
{
    const struct launch *launch = &files->launch;
    struct sandbox_sources *sources = &files->sources;
    files->serve_fd = -1;
    for (size_t i = 0; i < launch->output_count; i++) {
        char *path =
            layout_output(data, launch_output_job(launch), launch->outputs[i], launch->output_part);
        if (open_folder(path, &sources->outputs[i], &files->output_fds[i], err) < 0)
            return -1;
    }
    if (!launch->serve.on)
        return 0;
    return open_folder(
        layout_serve(data, launch->attempt, NULL), &sources->serve, &files->serve_fd, err);
}

/* An input is somebody else's to keep: that it is there is found out now, while the reason can
 * still be told in plain words. */
static int find_inputs(struct shim_files *files, struct error *err)
{
    const struct launch *launch = &files->launch;
    for (size_t i = 0; i < launch->input_count; i++) {
        const struct launch_input *input = &launch->inputs[i];
        SCOPED(fd_scope) int fd = open(input->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return error_set_errno(
                err, "the folder of the input %s is not there: %s", input->name, input->folder);
        files->sources.inputs[i] = mem_strdup(input->folder);
    }
    return 0;
}

/* The run folder is DATA/run/ATTEMPT. */
static char *data_folder(const struct shim_files *files)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", files->run_fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = '\0';
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (!slash || slash == path)
            return NULL;
        *slash = '\0';
    }
    return mem_strdup(path);
}

int shim_open_folders(struct shim_files *files, struct error *err)
{
    SCOPED(mem_scope) char *data = data_folder(files);
    struct sandbox_sources *sources = &files->sources;
    if (!data)
        return error_set(err, ERR_INVALID, "the run folder is not in a data directory");
    if (open_attempt_folders(files, data, err) < 0 ||
        open_folder(layout_job(data, files->launch.job, "checkpoint"), &sources->checkpoint,
            &files->checkpoint_fd, err) < 0 ||
        open_asked_folders(files, data, err) < 0 || find_inputs(files, err) < 0)
        return -1;
    return geteuid() == 0 ? sandbox_stage(sources, data, err) : 0;
}
