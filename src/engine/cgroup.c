/* Control groups: see cgroup.h. One table says which file of which version holds what, so that
 * the versions differ in data only. */
#include "engine/cgroup.h"

#include "base/file.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20, KILL_ROUNDS = 100 };

static const char *const kind_names[CGROUP_KINDS] = {
    [CGROUP_MEMORY] = "memory",
    [CGROUP_CPU] = "cpu",
    [CGROUP_CPUACCT] = "cpuacct",
    [CGROUP_PIDS] = "pids",
    [CGROUP_CPUSET] = "cpuset",
    [CGROUP_TREE] = "tree",
};

/* ---- Where the groups are ---------------------------------------------------------------- */

/* Is word one of the list's words, parted by any of the separators? */
static bool list_has(const char *list, size_t length, const char *separators, const char *word)
{
    size_t wanted = strlen(word);
    for (const char *at = list, *end = list + length; at < end;) {
        size_t size = strcspn(at, separators);
        if (size > (size_t)(end - at))
            size = (size_t)(end - at);
        if (size == wanted && !memcmp(at, word, wanted))
            return true;
        at += size + 1;
    }
    return false;
}

/* Finds this process's path in the hierarchy with that controller; "" stands for version 2, whose
 * line is "0::/path". False: there is no such hierarchy. */
static bool find_own_path(const char *text, const char *controller, char *ret, size_t size)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *list = strchr(line, ':');
        const char *path = list ? strchr(list + 1, ':') : NULL;
        size_t length = strcspn(line, "\n");
        if (!path || path > line + length)
            continue;
        size_t listed = (size_t)(path - list - 1);
        bool found = *controller ? list_has(list + 1, listed, ",", controller) : listed == 0;
        if (!found)
            continue;
        return (size_t)snprintf(ret, size, "%.*s", (int)(line + length - path - 1), path + 1) <
               size;
    }
    return false;
}

struct mount_line {
    char root[CGROUP_PATH_SIZE];
    char point[CGROUP_PATH_SIZE];
    char type[32];
    char options[256];
};

/* "36 35 98:0 /root /point options ... - type source super-options" */
static bool parse_mount(const char *line, size_t length, struct mount_line *mount)
{
    char copy[4096];
    if (length >= sizeof copy)
        return false;
    memcpy(copy, line, length);
    copy[length] = '\0';
    const char *tail = strstr(copy, " - ");
    return tail && sscanf(copy, "%*s %*s %*s %511s %511s", mount->root, mount->point) == 2 &&
           sscanf(tail, " - %31s %*s %255s", mount->type, mount->options) == 2;
}

/* The folder of a group path as seen through the mount: "" when it is not below the mount. */
static bool mounted_folder(const struct mount_line *mount, const char *path, char *ret)
{
    size_t skip = strcmp(mount->root, "/") ? strlen(mount->root) : 0;
    if (strncmp(path, mount->root, skip) != 0 || (path[skip] != '/' && path[skip] != '\0'))
        return false;
    const char *rest = strcmp(path + skip, "/") ? path + skip : "";
    int used = snprintf(ret, CGROUP_PATH_SIZE, "%s%s", mount->point, rest);
    if (used < 0 || used >= CGROUP_PATH_SIZE)
        ret[0] = '\0';
    return ret[0] != '\0';
}

/* Finds the mount of a hierarchy and this process's folder in it. */
static bool find_folder(
    const char *mounts, const char *controller, const char *path, char *ret_folder)
{
    for (const char *line = mounts; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        struct mount_line mount;
        if (!parse_mount(line, strcspn(line, "\n"), &mount))
            continue;
        bool wanted = *controller
                          ? !strcmp(mount.type, "cgroup") &&
                                list_has(mount.options, strlen(mount.options), ",", controller)
                          : !strcmp(mount.type, "cgroup2");
        if (wanted && mounted_folder(&mount, path, ret_folder))
            return true;
    }
    return false;
}

void cgroup_locate(const char *cgroup_text, const char *mounts_text,
    const char *unified_controllers, struct cgroup *ret)
{
    char path[CGROUP_PATH_SIZE], unified[CGROUP_PATH_SIZE] = "";
    *ret = (struct cgroup){0};
    if (find_own_path(cgroup_text, "", path, sizeof path))
        find_folder(mounts_text, "", path, unified);
    for (int kind = 0; kind < CGROUP_TREE; kind++) {
        /* Version 2 has no controller for accounting: cpu.stat is always there. */
        const char *name = kind == CGROUP_CPUACCT ? "cpu" : kind_names[kind];
        if (find_own_path(cgroup_text, kind_names[kind], path, sizeof path) &&
            find_folder(mounts_text, kind_names[kind], path, ret->folder[kind]))
            continue;
        ret->unified[kind] =
            *unified && list_has(unified_controllers, strlen(unified_controllers), " \n", name);
        if (ret->unified[kind])
            memcpy(ret->folder[kind], unified, sizeof unified);
    }
    memcpy(ret->folder[CGROUP_TREE], unified, sizeof unified);
    ret->unified[CGROUP_TREE] = true;
}

bool cgroup_keyed_value(const char *text, const char *key, uint64_t *ret_value)
{
    size_t length = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (!strncmp(line, key, length) && line[length] == ' ')
            return sscanf(line + length, " %" SCNu64, ret_value) == 1;
    }
    return false;
}

/* ---- Files of a group -------------------------------------------------------------------- */

static bool read_file(
    const struct cgroup *group, enum cgroup_kind kind, const char *file, char **ret_text)
{
    char path[CGROUP_PATH_SIZE + 64];
    size_t size;
    if (!*group->folder[kind])
        return false;
    snprintf(path, sizeof path, "%s/%s", group->folder[kind], file);
    return file_read(path, TEXT_MAX, ret_text, &size, NULL) == 0;
}

static int write_file(const struct cgroup *group, enum cgroup_kind kind, const char *file,
    const char *text, struct error *err)
{
    char path[CGROUP_PATH_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", group->folder[kind], file);
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return error_set_errno(err, "cannot write \"%s\" to %s", text, path);
    return 0;
}

/* Readings: the file of each version, and the key in it when it has lines of "key value". */
enum reading { READ_CPU, READ_MEMORY, READ_PEAK, READ_OOM_KILLS };

static const struct {
    enum cgroup_kind kind;
    struct {
        const char *file;
        const char *key;
        uint64_t scale;
    } version[2];
} readings[] = {
    [READ_CPU] = {CGROUP_CPUACCT, {{"cpuacct.usage", NULL, 1}, {"cpu.stat", "usage_usec", 1000}}},
    [READ_MEMORY] = {CGROUP_MEMORY,
        {{"memory.usage_in_bytes", NULL, 1}, {"memory.current", NULL, 1}}},
    [READ_PEAK] = {CGROUP_MEMORY,
        {{"memory.max_usage_in_bytes", NULL, 1}, {"memory.peak", NULL, 1}}},
    [READ_OOM_KILLS] = {CGROUP_MEMORY,
        {{"memory.oom_control", "oom_kill", 1}, {"memory.events", "oom_kill", 1}}},
};

static bool read_value(const struct cgroup *group, enum reading reading, uint64_t *ret)
{
    enum cgroup_kind kind = readings[reading].kind;
    bool version = group->unified[kind];
    const char *key = readings[reading].version[version].key;
    char *text;
    uint64_t value;
    if (!read_file(group, kind, readings[reading].version[version].file, &text))
        return false;
    bool known =
        key ? cgroup_keyed_value(text, key, &value) : sscanf(text, "%" SCNu64, &value) == 1;
    free(text);
    if (known)
        *ret = value * readings[reading].version[version].scale;
    return known;
}

bool cgroup_cpu_ns(const struct cgroup *group, uint64_t *ret)
{
    return read_value(group, READ_CPU, ret);
}

bool cgroup_memory_bytes(const struct cgroup *group, uint64_t *ret)
{
    return read_value(group, READ_MEMORY, ret);
}

bool cgroup_memory_peak_bytes(const struct cgroup *group, uint64_t *ret)
{
    return read_value(group, READ_PEAK, ret);
}

bool cgroup_oom_kills(const struct cgroup *group, uint64_t *ret)
{
    return read_value(group, READ_OOM_KILLS, ret);
}

/* ---- Making and removing ----------------------------------------------------------------- */

bool cgroup_is_empty(const struct cgroup *group)
{
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        if (*group->folder[kind])
            return false;
    }
    return true;
}

static void child_of(const struct cgroup *parent, const char *name, struct cgroup *ret)
{
    *ret = *parent;
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        int used = !*parent->folder[kind] ? 0
                                          : snprintf(ret->folder[kind], CGROUP_PATH_SIZE, "%s/%s",
                                                parent->folder[kind], name);
        if (used < 0 || used >= CGROUP_PATH_SIZE)
            ret->folder[kind][0] = '\0';
    }
}

/* A version 2 group with processes cannot give controllers to its children. Unless it is the
 * root, which may, the processes of this group (the server's own) move to a leaf of it. */
static void unified_leave_root(const struct cgroup *own)
{
    struct cgroup leaf;
    char *processes;
    child_of(own, "supervisor", &leaf);
    if (mkdir(leaf.folder[CGROUP_TREE], 0755) < 0 && errno != EEXIST)
        return;
    if (!read_file(own, CGROUP_TREE, "cgroup.procs", &processes))
        return;
    char *rest = processes;
    for (char *pid; (pid = strsep(&rest, "\n")) && *pid;)
        (void)!write_file(&leaf, CGROUP_TREE, "cgroup.procs", pid, NULL);
    free(processes);
}

static void unified_enable(const struct cgroup *group)
{
    static const enum cgroup_kind wanted[] = {
        CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_CPUSET};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        char text[32];
        snprintf(text, sizeof text, "+%s", kind_names[wanted[i]]);
        if (group->unified[wanted[i]])
            (void)!write_file(group, CGROUP_TREE, "cgroup.subtree_control", text, NULL);
    }
}

static bool any_unified(const struct cgroup *group)
{
    for (int kind = 0; kind < CGROUP_TREE; kind++) {
        if (*group->folder[kind] && group->unified[kind])
            return true;
    }
    return false;
}

/* Where this process was before an earlier server of it moved it to the leaf "supervisor". */
static void locate_own(struct cgroup *ret)
{
    char *groups = NULL, *mounts = NULL, *controllers = NULL;
    size_t size;
    *ret = (struct cgroup){0};
    if (file_read("/proc/self/cgroup", TEXT_MAX, &groups, &size, NULL) == 0 &&
        file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, &size, NULL) == 0) {
        cgroup_locate(groups, mounts, "", ret);
        if (read_file(ret, CGROUP_TREE, "cgroup.controllers", &controllers))
            cgroup_locate(groups, mounts, controllers, ret);
    }
    free(groups);
    free(mounts);
    free(controllers);
    static const char leaf[] = "/supervisor";
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        size_t length = strlen(ret->folder[kind]);
        if (ret->unified[kind] && length >= sizeof leaf - 1 &&
            !strcmp(ret->folder[kind] + length - (sizeof leaf - 1), leaf))
            ret->folder[kind][length - (sizeof leaf - 1)] = '\0';
    }
}

/* A new cpuset of version 1 has no cores and no memory, and nobody can join it: it gets those of
 * the group above it. False: it cannot be used. */
static bool cpuset_inherit(const struct cgroup *group)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    if (!*group->folder[CGROUP_CPUSET] || group->unified[CGROUP_CPUSET])
        return true;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char above[32], *text;
        snprintf(above, sizeof above, "../%s", files[i]);
        if (!read_file(group, CGROUP_CPUSET, above, &text))
            return false;
        int written = write_file(group, CGROUP_CPUSET, files[i], text, NULL);
        free(text);
        if (written < 0)
            return false;
    }
    return true;
}

void cgroup_prepare(const char *name, struct cgroup *ret, struct error *ret_why)
{
    struct cgroup own;
    error_set(ret_why, ERR_UNAVAILABLE, "no control groups are mounted");
    locate_own(&own);
    char *type = NULL;
    if (any_unified(&own) && read_file(&own, CGROUP_TREE, "cgroup.type", &type))
        unified_leave_root(&own); /* only the root group has no cgroup.type */
    free(type);
    unified_enable(&own);
    child_of(&own, name, ret);
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        char *folder = ret->folder[kind];
        if (*folder && mkdir(folder, 0755) < 0 && errno != EEXIST) {
            error_set_errno(ret_why, "cannot make the control group %s", folder);
            folder[0] = '\0';
        } else if (*folder && access(folder, W_OK) < 0) {
            error_set_errno(ret_why, "cannot write to the control group %s", folder);
            folder[0] = '\0';
        }
    }
    if (!cpuset_inherit(ret)) {
        rmdir(ret->folder[CGROUP_CPUSET]);
        ret->folder[CGROUP_CPUSET][0] = '\0';
    }
    unified_enable(ret);
}

/* Limits: for each version the file and whether it may be missing. */
static int set_limit(const struct cgroup *group, enum cgroup_kind kind, const char *const files[2],
    uint64_t value, struct error *err)
{
    char text[24];
    const char *file = files[group->unified[kind]];
    if (!*group->folder[kind] || !file)
        return 0;
    snprintf(text, sizeof text, "%" PRIu64, value);
    return write_file(group, kind, file, text, err);
}

/* 1000 milli are 1024 shares in version 1 and a weight of 100 in version 2. */
static uint64_t cpu_weight(const struct cgroup *group, uint64_t milli)
{
    uint64_t weight = group->unified[CGROUP_CPU] ? milli / 10 : milli * 1024 / 1000;
    uint64_t least = group->unified[CGROUP_CPU] ? 1 : 2;
    uint64_t most = group->unified[CGROUP_CPU] ? 10000 : 262144;
    return weight < least ? least : weight > most ? most : weight;
}

static int set_limits(
    const struct cgroup *group, const struct cgroup_limits *limits, struct error *err)
{
    static const char *const memory[] = {"memory.limit_in_bytes", "memory.max"};
    static const char *const memory_and_swap[] = {"memory.memsw.limit_in_bytes", NULL};
    static const char *const swap[] = {NULL, "memory.swap.max"};
    static const char *const weight[] = {"cpu.shares", "cpu.weight"};
    static const char *const pids[] = {"pids.max", "pids.max"};
    if (limits->memory_bytes) {
        if (set_limit(group, CGROUP_MEMORY, memory, limits->memory_bytes, err) < 0)
            return -1;
        /* Kernels without accounting of swap have neither file. */
        (void)!set_limit(group, CGROUP_MEMORY, memory_and_swap, limits->memory_bytes, NULL);
        (void)!set_limit(group, CGROUP_MEMORY, swap, 0, NULL);
    }
    if (limits->cpu_milli &&
        set_limit(group, CGROUP_CPU, weight, cpu_weight(group, limits->cpu_milli), err) < 0)
        return -1;
    if (limits->pids && set_limit(group, CGROUP_PIDS, pids, limits->pids, err) < 0)
        return -1;
    if (!*group->folder[CGROUP_CPUSET])
        return 0;
    if (!cpuset_inherit(group))
        return error_set(err, ERR_IO, "%s cannot be used", group->folder[CGROUP_CPUSET]);
    return write_file(group, CGROUP_CPUSET, "cpuset.cpus", limits->cpus, err);
}

void cgroup_of_attempt(const struct cgroup *parent, uint64_t attempt, struct cgroup *ret)
{
    char name[24];
    snprintf(name, sizeof name, "%" PRIu64, attempt);
    child_of(parent, name, ret);
}

int cgroup_create(const struct cgroup *parent, uint64_t attempt, const struct cgroup_limits *limits,
    struct cgroup *ret, struct error *err)
{
    struct cgroup group;
    cgroup_of_attempt(parent, attempt, &group);
    if (!limits->cpus || !*limits->cpus)
        group.folder[CGROUP_CPUSET][0] = '\0';
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        /* An engine that ended may have removed the parent. */
        if (*parent->folder[kind] && mkdir(parent->folder[kind], 0755) == 0 &&
            kind == CGROUP_CPUSET)
            cpuset_inherit(parent);
        if (*group.folder[kind] && mkdir(group.folder[kind], 0755) < 0 && errno != EEXIST) {
            error_set_errno(err, "cannot make the control group %s", group.folder[kind]);
            cgroup_remove(&group);
            return -1;
        }
    }
    if (set_limits(&group, limits, err) < 0) {
        cgroup_remove(&group);
        return -1;
    }
    *ret = group;
    return 0;
}

int cgroup_join(const struct cgroup *group, struct error *err)
{
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        if (*group->folder[kind] &&
            write_file(group, (enum cgroup_kind)kind, "cgroup.procs", "0", err) < 0)
            return -1;
    }
    return 0;
}

/* Kills what cgroup.procs lists. True: there was something. */
static bool kill_listed(const struct cgroup *group, enum cgroup_kind kind)
{
    char *text;
    if (!read_file(group, kind, "cgroup.procs", &text))
        return false;
    bool any = false;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        long pid = strtol(line, NULL, 10);
        if (pid > 1 && pid != getpid()) {
            any = true;
            kill((pid_t)pid, SIGKILL);
        }
    }
    free(text);
    return any;
}

bool cgroup_kill(const struct cgroup *group)
{
    bool any = false;
    if (*group->folder[CGROUP_TREE])
        (void)!write_file(group, CGROUP_TREE, "cgroup.kill", "1", NULL);
    for (int kind = 0; kind < CGROUP_KINDS; kind++)
        any |= *group->folder[kind] && kill_listed(group, (enum cgroup_kind)kind);
    return any;
}

void cgroup_remove(const struct cgroup *group)
{
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        if (*group->folder[kind])
            rmdir(group->folder[kind]);
    }
}

/* ---- As a record ------------------------------------------------------------------------- */

void cgroup_encode(struct strbuf *out, const struct cgroup *group)
{
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        char name[32], value[CGROUP_PATH_SIZE + 4];
        snprintf(name, sizeof name, "cgroup.%s", kind_names[kind]);
        snprintf(value, sizeof value, "%d %s", group->unified[kind] ? 2 : 1, group->folder[kind]);
        if (*group->folder[kind])
            record_put(out, name, value);
    }
}

void cgroup_decode(const struct record *record, struct cgroup *ret)
{
    *ret = (struct cgroup){0};
    for (int kind = 0; kind < CGROUP_KINDS; kind++) {
        char name[32];
        snprintf(name, sizeof name, "cgroup.%s", kind_names[kind]);
        const char *value = record_text(record, name);
        if (!value || strlen(value) < 3)
            continue;
        ret->unified[kind] = value[0] == '2';
        snprintf(ret->folder[kind], CGROUP_PATH_SIZE, "%s", value + 2);
    }
}
