/* The sandbox: see sandbox.h. What is shown of the machine is in tables: a path that is in none
 * of them is not there. Nothing is writable but the attempt's own folders and small file systems
 * in memory. */
#include "engine/sandbox.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STAGE "/mnt" /* the hierarchy standard has it on every machine, for this kind of use */

/* Without a memory limit /dev/shm is bounded all the same: it is memory. */
enum { DEFAULT_SHM_BYTES = 1 << 30, SECRETS_BYTES = 1 << 20 };

static const char *const system_folders[] = {
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

static const char *const readable[] = {
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/OpenCL",
    "/etc/protocols",
    "/etc/python3",
    "/etc/python3.11",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/etc/vulkan",
    "/opt",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
};

static const char *const readable_with_host_network[] = {
    "/etc/resolv.conf", "/etc/hosts", "/etc/gai.conf"};

/* A device of an accelerator: %u stands for its index. Those without are for all devices. */
static const struct {
    const char *type;
    const char *path;
    unsigned base; /* added to the index */
} device_nodes[] = {
    {"nvidia", "/dev/nvidia%u", 0},
    {"nvidia", "/dev/nvidiactl", 0},
    {"nvidia", "/dev/nvidia-uvm", 0},
    {"nvidia", "/dev/nvidia-uvm-tools", 0},
    {"nvidia", "/dev/nvidia-modeset", 0},
    {"amd", "/dev/kfd", 0},
    {"amd", "/dev/dri/renderD%u", 128},
};

static const char *const accelerator_folders[] = {"/sys/class/kfd", "/sys/class/drm",
    "/sys/devices/pci0000:00", "/sys/devices/virtual/kfd", "/proc/driver/nvidia"};

/* ---- The stage --------------------------------------------------------------------------- */

void sandbox_sources_finish(struct sandbox_sources *sources)
{
    free(sources->work);
    free(sources->tmp);
    free(sources->checkpoint);
    free(sources->job);
    free(sources->program);
    free(sources->serve);
    for (size_t i = 0; i < ENGINE_ARTIFACTS_MAX; i++) {
        free(sources->inputs[i]);
        free(sources->outputs[i]);
    }
    *sources = (struct sandbox_sources){0};
}

/* A source on its way to the stage. It is held by a descriptor, since what is mounted on /mnt
 * hides it when that is where the data directory is. */
struct staged {
    char **source;
    char name[16];
    int fd;
};

struct staged_list {
    struct staged items[SANDBOX_SOURCES_MAX];
    size_t count;
};

static int hold_source(struct staged *staged, struct error *err)
{
    staged->fd = open(*staged->source, O_PATH | O_CLOEXEC);
    return staged->fd < 0 ? error_set_errno(err, "cannot open %s", *staged->source) : 0;
}

/* Shows the source as `/mnt/NAME` and makes that its path. */
static int stage_source(const struct staged *staged, struct error *err)
{
    struct stat st;
    char held[64], path[64];
    snprintf(held, sizeof held, "/proc/self/fd/%d", staged->fd);
    snprintf(path, sizeof path, STAGE "/%s", staged->name);
    if (fstat(staged->fd, &st) < 0)
        return error_set_errno(err, "cannot stat %s", *staged->source);
    int made = S_ISDIR(st.st_mode) ? mkdir(path, 0755) : mknod(path, S_IFREG | 0644, 0);
    if (made < 0 || mount(held, path, NULL, MS_BIND, NULL) < 0)
        return error_set_errno(err, "cannot show %s as %s", *staged->source, path);
    free(*staged->source);
    *staged->source = mem_strdup(path);
    return 0;
}

static void staged_finish(struct staged_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        fd_scope(&list->items[i].fd);
}

/* Adds a source that is there, under a name with a number when it is one of several. */
static void list_source(struct staged_list *list, char **source, const char *name, int number)
{
    if (!*source)
        return;
    assert(list->count < ARRAY_LEN(list->items));
    struct staged *staged = &list->items[list->count++];
    *staged = (struct staged){.source = source, .fd = -1};
    if (number < 0)
        snprintf(staged->name, sizeof staged->name, "%s", name);
    else
        snprintf(staged->name, sizeof staged->name, "%s-%d", name, number);
}

static void list_sources(struct staged_list *list, struct sandbox_sources *sources)
{
    list_source(list, &sources->work, "work", -1);
    list_source(list, &sources->tmp, "tmp", -1);
    list_source(list, &sources->checkpoint, "checkpoint", -1);
    list_source(list, &sources->job, "job", -1);
    list_source(list, &sources->program, "muster", -1);
    list_source(list, &sources->serve, "serve", -1);
    for (int i = 0; i < ENGINE_ARTIFACTS_MAX; i++) {
        list_source(list, &sources->inputs[i], "input", i);
        list_source(list, &sources->outputs[i], "output", i);
    }
}

static int stage_all(const struct staged_list *list, struct error *err)
{
    if (mount("muster", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=64k") < 0)
        return error_set_errno(err, "cannot mount on " STAGE);
    for (size_t i = 0; i < list->count; i++) {
        if (stage_source(&list->items[i], err) < 0)
            return -1;
    }
    return 0;
}

static int hold_all(struct staged_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (hold_source(&list->items[i], err) < 0)
            return -1;
    }
    return 0;
}

int sandbox_stage(struct sandbox_sources *sources, const char *data, struct error *err)
{
    SCOPED(staged_finish) struct staged_list list = {.count = 0};
    list_sources(&list, sources);
    if (unshare(CLONE_NEWNS) < 0)
        return error_set_errno(err, "cannot make a mount namespace");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return error_set_errno(err, "cannot part the mount namespace from the machine's");
    if (hold_all(&list, err) < 0 || stage_all(&list, err) < 0)
        return -1;
    /* A data directory below the stage is hidden by it, and then is not there to be covered. */
    if (mount("muster", data, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "mode=0000,size=4k") < 0 &&
        errno != ENOENT)
        return error_set_errno(err, "cannot hide %s", data);
    return 0;
}

/* ---- Rights ------------------------------------------------------------------------------ */

static int drop_capabilities(struct error *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0)
        return error_set_errno(err, "cannot give up capabilities");
    return 0;
}

int sandbox_drop_rights(uid_t uid, gid_t gid, struct error *err)
{
    if (geteuid() == 0) {
        for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
            if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
                return error_set_errno(err, "cannot bound capabilities");
        }
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
            return error_set_errno(err, "cannot become user %u", (unsigned)uid);
        if (setresuid(0, 0, 0) == 0)
            return error_set(err, ERR_INTERNAL, "root's rights came back after they were dropped");
    }
    if (drop_capabilities(err) < 0)
        return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(err, "cannot forbid new privileges");
    assert(geteuid() == uid && getegid() == gid);
    return 0;
}

/* ---- The command line -------------------------------------------------------------------- */

void argument_list_finish(struct argument_list *arguments)
{
    for (size_t i = 0; i < arguments->list.count; i++)
        free(arguments->list.items[i]);
    vec_free(&arguments->list);
}

static void add(struct argument_list *out, const char *text)
{
    vec_push(&out->list, mem_strdup(text));
}

static void add_all(struct argument_list *out, const char *const *texts)
{
    for (; *texts; texts++)
        add(out, *texts);
}

#define ADD(out, ...) add_all((out), (const char *const[]){__VA_ARGS__, NULL})

static void add_number(struct argument_list *out, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    add(out, text);
}

static void add_namespaces(const struct launch *launch, struct argument_list *out)
{
    ADD(out, "--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc",
        "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--as-pid-1", "--new-session",
        "--clearenv", "--cap-drop", "ALL");
    if (launch->network != ENGINE_NETWORK_HOST)
        add(out, "--unshare-net");
    char host[HOST_NAME_MAX + 1];
    snprintf(host, sizeof host, "%s", launch->job_name);
    ADD(out, "--hostname", host);
}

/* A system folder may be a link into /usr or a folder of its own. */
static void add_system_folder(const char *path, struct argument_list *out)
{
    char target[256];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n > 0) {
        target[n] = '\0';
        ADD(out, "--symlink", target, path);
    } else {
        ADD(out, "--ro-bind-try", path, path);
    }
}

static void add_readable(const char *const *paths, size_t count, struct argument_list *out)
{
    for (size_t i = 0; i < count; i++)
        ADD(out, "--ro-bind-try", paths[i], paths[i]);
}

static void add_system(const struct sandbox *sandbox, struct argument_list *out)
{
    ADD(out, "--ro-bind", "/usr", "/usr");
    for (size_t i = 0; i < ARRAY_LEN(system_folders); i++)
        add_system_folder(system_folders[i], out);
    add_readable(readable, ARRAY_LEN(readable), out);
    if (sandbox->launch->network == ENGINE_NETWORK_HOST)
        add_readable(readable_with_host_network, ARRAY_LEN(readable_with_host_network), out);
    ADD(out, "--perms", "0444", "--ro-bind-data");
    add_number(out, (uint64_t)sandbox->passwd_fd);
    ADD(out, "/etc/passwd", "--perms", "0444", "--ro-bind-data");
    add_number(out, (uint64_t)sandbox->group_fd);
    add(out, "/etc/group");
    if (sandbox->hosts_fd < 0)
        return;
    ADD(out, "--perms", "0444", "--ro-bind-data");
    add_number(out, (uint64_t)sandbox->hosts_fd);
    add(out, "/etc/hosts");
}

static void add_devices(const struct sandbox *sandbox, struct argument_list *out)
{
    const char *type = sandbox->launch->accelerator_type;
    if (!type || sandbox->place->device_count == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(device_nodes); i++) {
        bool each = strstr(device_nodes[i].path, "%u") != NULL;
        if (strcmp(device_nodes[i].type, type) != 0)
            continue;
        for (size_t d = 0; d < (each ? sandbox->place->device_count : 1); d++) {
            char path[64];
            const char *mark = strstr(device_nodes[i].path, "%u");
            int head = mark ? (int)(mark - device_nodes[i].path) : (int)sizeof path - 1;
            int used = snprintf(path, sizeof path, "%.*s", head, device_nodes[i].path);
            if (mark)
                snprintf(path + used, sizeof path - (size_t)used, "%u",
                    device_nodes[i].base + sandbox->place->devices[d]);
            ADD(out, "--dev-bind-try", path, path);
        }
    }
    if (!strcmp(type, "nvidia") || !strcmp(type, "amd"))
        add_readable(accelerator_folders, ARRAY_LEN(accelerator_folders), out);
}

/* Binds a source at FOLDER/NAME. bubblewrap makes the folders on the way. */
static void add_artifact(struct argument_list *out, const char *how, const char *source,
    const char *folder, const char *name)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", folder, name);
    ADD(out, how, source, strbuf_text(&path));
}

static void add_artifacts(const struct sandbox *sandbox, struct argument_list *out)
{
    const struct sandbox_sources *sources = sandbox->sources;
    const struct launch *launch = sandbox->launch;
    for (size_t i = 0; i < launch->input_count; i++)
        add_artifact(out, "--ro-bind", sources->inputs[i], SANDBOX_INPUTS, launch->inputs[i].name);
    for (size_t i = 0; i < launch->output_count; i++)
        add_artifact(out, "--bind", sources->outputs[i], SANDBOX_OUTPUTS, launch->outputs[i]);
}

static void add_own_folders(const struct sandbox *sandbox, struct argument_list *out)
{
    const struct sandbox_sources *sources = sandbox->sources;
    uint64_t memory = sandbox->launch->memory_bytes * sandbox->place->ranks;
    ADD(out, "--perms", "1777", "--size");
    add_number(out, memory ? memory : DEFAULT_SHM_BYTES);
    ADD(out, "--tmpfs", "/dev/shm");
    ADD(out, "--bind", sources->work, SANDBOX_WORK, "--bind", sources->tmp, "/tmp");
    ADD(out, "--bind", sources->checkpoint, SANDBOX_CHECKPOINT);
    ADD(out, "--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--dir", "/run/muster");
    if (sources->serve)
        ADD(out, "--bind", sources->serve, SANDBOX_SERVE);
    add_artifacts(sandbox, out);
    ADD(out, "--bind", sources->job, SANDBOX_JOB, "--ro-bind", sources->program, SANDBOX_INIT);
    ADD(out, "--perms", "0700", "--size");
    add_number(out, SECRETS_BYTES);
    ADD(out, "--tmpfs", SANDBOX_SECRETS, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir",
        SANDBOX_WORK);
}

void sandbox_arguments(const struct sandbox *sandbox, struct argument_list *out)
{
    add(out, sandbox->mark);
    add_namespaces(sandbox->launch, out);
    add_system(sandbox, out);
    ADD(out, "--proc", "/proc", "--dev", "/dev");
    add_devices(sandbox, out);
    add_own_folders(sandbox, out);
    ADD(out, "--", SANDBOX_INIT, "init");
    add_number(out, (uint64_t)sandbox->plan_fd);
    add_number(out, (uint64_t)sandbox->channel_fd);
    vec_push(&out->list, NULL);
}
