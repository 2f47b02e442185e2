/* The local engine: attempts as isolated processes of this machine. See README.md for the tour, and
 * local_start.c for how one starts. */
#include "engine/local.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/layout.h"
#include "engine/nvml.h"
#include "engine/plan.h"
#include "engine/sandbox.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 1000 };

static struct local *of_engine(const struct engine *engine)
{
    return (struct local *)engine;
}

/* ---- Stopping and commands ---------------------------------------------------------------- */

/* The attempt, or NULL with the error that there is none. */
static struct attempt *find(const struct engine *engine, uint64_t id, struct error *err)
{
    struct attempt *attempt = attempt_find(of_engine(engine), id);
    if (!attempt)
        error_set(err, ERR_NOT_FOUND, "there is no attempt %" PRIu64, id);
    return attempt;
}

static int local_stop(struct engine *engine, uint64_t id, uint64_t grace_ms, struct error *err)
{
    struct attempt *attempt = find(engine, id, err);
    SCOPED(strbuf_finish) struct strbuf message = {0};
    if (!attempt)
        return -1;
    if (attempt->ended)
        return 0;
    record_put(&message, "type", "stop");
    record_put_number(&message, "grace_ms", grace_ms);
    if (attempt_ask(attempt, &message, NULL, 0, NULL) == 0)
        return 0;
    if (!attempt->stop_pending || grace_ms < attempt->stop_grace_ms)
        attempt->stop_grace_ms = grace_ms;
    attempt->stop_pending = true;
    return 0;
}

static int local_kill(struct engine *engine, uint64_t id, struct error *err)
{
    struct attempt *attempt = find(engine, id, err);
    SCOPED(strbuf_finish) struct strbuf message = {0};
    if (!attempt)
        return -1;
    record_put(&message, "type", "kill");
    if (!attempt->ended && attempt_ask(attempt, &message, NULL, 0, NULL) < 0)
        attempt->kill_pending = true;
    return 0;
}

static int local_exec(
    struct engine *engine, uint64_t id, const struct exec_request *request, struct error *err)
{
    struct attempt *attempt = find(engine, id, err);
    SCOPED(strbuf_finish) struct strbuf message = {0};
    if (!attempt)
        return -1;
    if (attempt->ended || attempt->status.state == ENGINE_ATTEMPT_STARTING)
        return error_set(err, ERR_CONFLICT, "the attempt is not running");
    record_put(&message, "type", "exec");
    record_put_number(&message, "exec", request->exec);
    record_put_number(&message, "terminal", request->terminal);
    for (size_t i = 0; request->argv[i]; i++)
        record_put(&message, "argument", request->argv[i]);
    if (attempt_ask(attempt, &message, request->fds, ARRAY_LEN(request->fds), err) < 0)
        return -1;
    vec_push(&attempt->execs, request->exec);
    return 0;
}

/* ---- Looking and forgetting --------------------------------------------------------------- */

static struct attempt_view view_of(const struct attempt *attempt)
{
    const struct status *status = &attempt->status;
    return (struct attempt_view){.attempt = attempt->id,
        .job = status->job,
        .attempt_number = status->attempt_number,
        .state = status->state,
        .end = status->end};
}

static bool local_view(const struct engine *engine, uint64_t id, struct attempt_view *ret_view)
{
    const struct attempt *attempt = attempt_find(of_engine(engine), id);
    if (attempt)
        *ret_view = view_of(attempt);
    return attempt != NULL;
}

static void local_observe(
    const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    const struct local *local = of_engine(engine);
    struct attempt_view *views = mem_alloc(local->attempts.count, sizeof *views);
    for (size_t i = 0; i < local->attempts.count; i++)
        views[i] = view_of(local->attempts.items[i]);
    *ret_views = views;
    *ret_count = local->attempts.count;
}

/* Removes what only a running attempt needs. */
static int remove_work(const struct attempt *attempt, struct error *err)
{
    static const char *const names[] = {"work", "tmp"};
    const struct status *status = &attempt->status;
    for (size_t i = 0; i < ARRAY_LEN(names) && status->job; i++) {
        SCOPED(mem_scope)
        char *path =
            layout_attempt(attempt->local->data, status->job, status->attempt_number, names[i]);
        if (trash_put(attempt->local->trash, path, err) < 0)
            return -1;
    }
    SCOPED(mem_scope) char *serve = layout_serve(attempt->local->data, attempt->id, NULL);
    return trash_put(attempt->local->trash, serve, err);
}

static int local_forget(struct engine *engine, uint64_t id, struct error *err)
{
    struct local *local = of_engine(engine);
    struct attempt *attempt = attempt_find(local, id);
    struct cgroup group;
    if (!attempt)
        return 0;
    if (!attempt->ended)
        return error_set(err, ERR_CONFLICT, "attempt %" PRIu64 " has not ended", id);
    cgroup_of_attempt(&local->cgroups, id, &group);
    cgroup_kill(&group); /* nothing is there, unless its shim had lied about the end */
    cgroup_remove(&group);
    /* The record goes last, and at once: no part of it is left that looks like an attempt that
     * never began. */
    if (remove_work(attempt, err) < 0 || trash_put(local->trash, attempt->run, err) < 0)
        return -1;
    attempt_drop(attempt);
    return 0;
}

static int local_purge(struct engine *engine, uint64_t job, struct error *err)
{
    const struct local *local = of_engine(engine);
    for (size_t i = 0; i < local->attempts.count; i++) {
        const struct attempt *attempt = local->attempts.items[i];
        if (attempt->status.job == job)
            return error_set(
                err, ERR_CONFLICT, "attempt %" PRIu64 " of the job is not forgotten", attempt->id);
        if (attempt->output_job == job)
            return error_set(err, ERR_CONFLICT,
                "attempt %" PRIu64 " of another element of the array has its outputs in the job's "
                "folder, and is not forgotten",
                attempt->id);
    }
    SCOPED(mem_scope) char *path = layout_job(local->data, job, NULL);
    return trash_put(local->trash, path, err);
}

static const struct engine_node *local_node(const struct engine *engine)
{
    return &of_engine(engine)->node;
}

static char *local_log_folder(const struct engine *engine, uint64_t job, uint32_t attempt_number)
{
    return layout_attempt(of_engine(engine)->data, job, attempt_number, "log");
}

/* Opens a folder of the team's for reading. Its name is in a folder of the server's, so it can be
 * no link; but its owner may have closed it to himself, and an ordinary server is its owner. */
static int open_team_folder(const char *path)
{
    static const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = open(path, flags);
    if (fd < 0 && errno == EACCES && fchmodat(AT_FDCWD, path, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = open(path, flags);
    return fd;
}

static int local_output_open(
    const struct engine *engine, uint64_t job, const char *name, struct error *err)
{
    if (!launch_is_artifact_name(name))
        return error_set(err, ERR_NOT_FOUND, "\"%.60s\" is not the name of an output", name);
    SCOPED(mem_scope) char *path = layout_output(of_engine(engine)->data, job, name, NULL);
    int fd = open_team_folder(path);
    if (fd < 0 && errno == ENOENT)
        return error_set(err, ERR_NOT_FOUND,
            "the job has no output %s here: no attempt of it has begun, or it was taken in", name);
    return fd < 0 ? error_set_errno(err, "cannot open the output %s", path) : fd;
}

/* The parent of the outputs is the server's folder: it can be moved whatever the job did to its
 * own. */
static int local_outputs_drop(struct engine *engine, uint64_t job, struct error *err)
{
    const struct local *local = of_engine(engine);
    for (size_t i = 0; i < local->attempts.count; i++) {
        const struct attempt *attempt = local->attempts.items[i];
        if (attempt->output_job == job && !attempt->ended)
            return error_set(
                err, ERR_CONFLICT, "attempt %" PRIu64 " may still write its outputs", attempt->id);
    }
    SCOPED(mem_scope) char *path = layout_output(local->data, job, NULL, NULL);
    return trash_put(local->trash, path, err);
}

static void local_site(const struct engine *engine, struct engine_site *ret_site)
{
    node_site(of_engine(engine), ret_site);
}

static char *local_serve_socket(const struct engine *engine, uint64_t attempt)
{
    return layout_serve(of_engine(engine)->data, attempt, SERVE_SOCKET);
}

/* ---- Beginning and end -------------------------------------------------------------------- */

static void on_poll(evutil_socket_t fd, short events, void *context)
{
    struct local *local = context;
    (void)fd, (void)events;
    /* A callback may drop attempts: the list is walked by id. */
    uint64_t next = 0;
    for (size_t i = 0; i < local->attempts.count;) {
        struct attempt *attempt = local->attempts.items[i];
        if (attempt->id < next) {
            i++;
            continue;
        }
        next = attempt->id + 1;
        attempt_read_metrics(attempt);
        i = i < local->attempts.count && local->attempts.items[i] == attempt ? i + 1 : 0;
    }
}

static void on_bury(evutil_socket_t fd, short events, void *context)
{
    struct local *local = context;
    (void)fd, (void)events;
    for (size_t i = 0; i < local->forgotten.count; i++)
        local_attempt_free(local->forgotten.items[i]);
    vec_clear(&local->forgotten);
}

static bool parse_id(const char *name, uint64_t *ret_id)
{
    int used = 0;
    return strspn(name, "0123456789") == strlen(name) &&
           sscanf(name, "%20" SCNu64 "%n", ret_id, &used) == 1 && name[used] == '\0' && *ret_id;
}

/* Finds the attempts of earlier incarnations, and clears what a crash left half-made. */
static int scan(struct local *local, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/run", local->data);
    size_t length = path.length;
    DIR *folder = opendir(path.text);
    if (!folder)
        return error_set_errno(err, "cannot read %s", path.text);
    const struct dirent *entry;
    while ((entry = readdir(folder))) {
        uint64_t id;
        bool leftover = entry->d_name[0] == '.' && entry->d_name[1] != '.' && entry->d_name[1];
        if (leftover) {
            path.length = length;
            strbuf_printf(&path, "/%s", entry->d_name);
            if (trash_put(local->trash, path.text, err) < 0)
                log_warn("%s", err->text);
        } else if (parse_id(entry->d_name, &id)) {
            struct attempt *attempt = attempt_add(local, id);
            attempt_read_launch(attempt);
            attempt_settle_later(attempt, 0);
        }
    }
    closedir(folder);
    return 0;
}

static int make_data_folders(const struct local *local, struct error *err)
{
    static const char *const names[] = {"run", "jobs", "serve"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        SCOPED(strbuf_finish) struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s", local->data, names[i]);
        if (file_make_dirs(path.text, 0700, err) < 0)
            return -1;
        if (chmod(path.text, 0700) < 0)
            return error_set_errno(err, "cannot close %s to others", path.text);
    }
    return 0;
}

static int open_trash(struct local *local, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/trash", local->data);
    local->trash = trash_create(local->base, path.text, err);
    return local->trash ? 0 : -1;
}

static char *default_program(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return mem_strdup("/proc/self/exe");
    path[n] = '\0';
    return mem_strdup(path);
}

static void prepare_cgroups(struct local *local, const char *name, struct error *ret_why)
{
    char hashed[32], digest[65];
    file_sha256_hex(local->data, strlen(local->data), digest);
    snprintf(hashed, sizeof hashed, "muster-%.12s", digest);
    if (name && !*name)
        error_set(ret_why, ERR_UNAVAILABLE, "control groups are switched off");
    else
        cgroup_prepare(name ? name : hashed, &local->cgroups, ret_why);
}

static void local_destroy(struct engine *engine);

static const struct engine_operations operations = {
    .start = local_start,
    .stop = local_stop,
    .kill = local_kill,
    .observe = local_observe,
    .view = local_view,
    .forget = local_forget,
    .purge = local_purge,
    .exec = local_exec,
    .log_folder = local_log_folder,
    .output_open = local_output_open,
    .outputs_drop = local_outputs_drop,
    .destroy = local_destroy,
    .node = local_node,
    .serve_socket = local_serve_socket,
    .site = local_site,
};

static void set_up_events(struct local *local)
{
    local->bury = evtimer_new(local->base, on_bury, local);
    local->poll = event_new(local->base, -1, EV_PERSIST, on_poll, local);
    assert(local->bury && local->poll);
    struct timeval every = {POLL_MS / 1000, (POLL_MS % 1000) * 1000};
    event_add(local->poll, &every);
}

/* Can an ordinary user make the namespaces of a sandbox here? */
static int check_sandbox(struct error *err)
{
    static const char *const switches[] = {
        "/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/user/max_user_namespaces"};
    if (access(SANDBOX_PROGRAM, X_OK) < 0)
        return error_set(err, ERR_UNAVAILABLE, SANDBOX_PROGRAM " is missing: install bubblewrap");
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        char *text;
        size_t size;
        if (file_read(switches[i], 64, &text, &size, NULL) < 0)
            continue; /* this kernel has no such switch */
        bool off = !strcmp(text, "0\n");
        free(text);
        if (off)
            return error_set(err, ERR_UNAVAILABLE,
                "user namespaces are switched off: set %s to a value above 0", switches[i]);
    }
    return 0;
}

struct engine *engine_local_create(const struct engine_local_options *options, struct error *err)
{
    assert(options->base && options->report && options->data[0] == '/');
    struct error why = {0};
    if (check_sandbox(err) < 0)
        return NULL;
    struct local *local = mem_alloc(1, sizeof *local);
    local->engine.operations = &operations;
    local->base = options->base;
    local->report = options->report;
    local->context = options->context;
    local->data = mem_strdup(options->data);
    local->program = options->program ? mem_strdup(options->program) : default_program();
    set_up_events(local);
    if (boot_id_read(local->boot_id, err) < 0 || make_data_folders(local, err) < 0 ||
        open_trash(local, err) < 0) {
        local_destroy(&local->engine);
        return NULL;
    }
    prepare_cgroups(local, options->cgroup_name, &why);
    local->nvml = nvml_open();
    local->core_count = cores_find(local->cores);
    node_discover(local, options->node_name, &why);
    if (scan(local, err) < 0) {
        local_destroy(&local->engine);
        return NULL;
    }
    return &local->engine;
}

static void local_destroy(struct engine *engine)
{
    struct local *local = of_engine(engine);
    while (local->attempts.count > 0)
        attempt_drop(local->attempts.items[local->attempts.count - 1]);
    on_bury(-1, 0, local);
    event_free(local->bury);
    event_free(local->poll);
    trash_destroy(local->trash);
    cgroup_remove(&local->cgroups); /* the parent: it stays while an attempt has a group in it */
    nvml_close(local->nvml);
    vec_free(&local->attempts);
    vec_free(&local->forgotten);
    idmap_finish(&local->by_id);
    free(local->data);
    free(local->program);
    free(local);
}
