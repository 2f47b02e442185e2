/* The gateway's place: its folder, the lock on it, and its sockets, which go from one gateway to
 * the next while they listen. Only the holder of the lock changes what is in the folder; a gateway
 * that was replaced has let go of it. */
#include "gateway/gateway_internal.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/access_log.h"
#include "gateway/control.h"
#include "gateway/handover.h"
#include "gateway/table.h"
#include "gateway/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { INCARNATION_BYTES = (GATEWAY_INCARNATION_BYTES - 1) / 2 };

void gateway_path(const struct gateway *gateway, const char *name, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/gateway%s%s", gateway->config.data_dir, *name ? "/" : "", name);
}

static int take_lock(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    gateway_path(gateway, "lock", path);
    gateway->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (gateway->lock_fd < 0)
        return error_set_errno(err, "cannot open %s", path);
    if (flock(gateway->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, ERR_CONFLICT, "another gateway runs on %s", gateway->config.data_dir);
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(gateway->lock_fd, 0) < 0 ||
        pwrite(gateway->lock_fd, text, (size_t)length, 0) != length)
        log_warn("the process id could not be written into %s", path);
    return 0;
}

/* The id in the file is good for as long as somebody holds the lock. */
pid_t gateway_running(const char *data_dir)
{
    char path[PATH_BYTES], text[32] = "";
    snprintf(path, sizeof path, "%s/gateway/lock", data_dir);
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    /* Who writes its number there has the lock already, and what a dead one wrote does not count.
     */
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    long pid = strtol(text, NULL, 10);
    return pid > 1 ? (pid_t)pid : 0;
}

void gateway_stop(const char *data_dir)
{
    pid_t pid = gateway_running(data_dir);
    if (pid)
        kill(pid, SIGTERM);
}

/* What a gateway left that died while it made a usage file. Only the holder of the lock may. */
static void remove_unfinished(const char *folder)
{
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.' && entry->d_name[1] && strcmp(entry->d_name, "..") != 0)
            unlinkat(dirfd(stream), entry->d_name, 0);
    }
    if (stream)
        closedir(stream);
}

/* The lock; or, in the place of a gateway that runs, its sockets: it keeps the lock for now. */
static int take_place(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    struct error fault;
    gateway_path(gateway, "handover.sock", path);
    if (!gateway->config.replace)
        return take_lock(gateway, err) < 0 ? -1 : handover_inherited(&gateway->sockets, err);
    if (handover_take(path, &gateway->sockets, &gateway->old_link, &fault) == 0)
        return 0;
    if (fault.code != ERR_NOT_FOUND)
        return error_set(err, fault.code, "%s", fault.text);
    return take_lock(gateway, err) < 0 ? -1 : handover_inherited(&gateway->sockets, err);
}

int gateway_make_folders(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    unsigned char bytes[INCARNATION_BYTES];
    const char *data_dir = gateway->config.data_dir;
    if (data_dir[0] != '/')
        return error_set(
            err, ERR_INVALID, "the data directory %s is not an absolute path", data_dir);
    /* Teams' users pass through to the folders of their jobs, as the server makes it. */
    if (file_make_dirs(data_dir, 0711, err) < 0)
        return -1;
    gateway_path(gateway, "usage", path);
    if (file_make_dirs(path, 0700, err) < 0 || take_place(gateway, err) < 0)
        return -1;
    if (gateway->old_link < 0)
        remove_unfinished(path);
    randombytes_buf(bytes, sizeof bytes);
    sodium_bin2hex(gateway->incarnation, sizeof gateway->incarnation, bytes, sizeof bytes);
    return 0;
}

static void give_sockets(void *context, struct handover_sockets *ret)
{
    const struct gateway *gateway = context;
    *ret = gateway->sockets;
    snprintf(ret->address, sizeof ret->address, "%s", gateway->listen);
    ret->control = control_fd(gateway->control);
}

/* From here on the other one is the gateway; this one ends as its requests do. */
static void let_go(void *context)
{
    struct gateway *gateway = context;
    log_info("gateway %s was replaced: ending what is under way", gateway->incarnation);
    gateway->stopping = gateway->left = true;
    control_leave(gateway->control);
    access_log_share(gateway->log);
    handover_sockets_close_listeners(&gateway->sockets);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_retire(gateway->workers[i]);
    fd_scope(&gateway->lock_fd);
    gateway->lock_fd = -1;
}

/* Requests that are still under way at replicas, as GET /status lists them. */
static void write_left(void *context, struct strbuf *out)
{
    const struct gateway *gateway = context;
    replica_states_write(gateway->states, out);
}

void gateway_on_upgrade(evutil_socket_t number, short what, void *context)
{
    const struct gateway *gateway = context;
    struct error err;
    (void)number, (void)what;
    if (gateway->stopping)
        return;
    log_info("starting the program anew, to take over");
    if (handover_respawn(&err) < 0)
        log_error("%s: this gateway goes on", err.text);
}

int gateway_open_handover(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    const struct handover_host host = {
        .context = gateway, .sockets = give_sockets, .let_go = let_go, .state = write_left};
    gateway_path(gateway, "handover.sock", path);
    return handover_open(gateway->base, path, &host, &gateway->handover, err);
}

/* Routes that came to the one before while this one began. */
static void catch_up(struct gateway *gateway)
{
    char path[PATH_BYTES];
    SCOPED(mem_scope) char *text = NULL;
    size_t length;
    uint64_t sequence;
    struct error fault;
    gateway_path(gateway, "routes.json", path);
    if (file_read(path, ROUTES_BYTES_MAX, &text, &length, &fault) < 0 ||
        gateway_put_routes(gateway, text, length, &sequence, &fault) < 0)
        log_warn("the routes stay as they were at the start: %s", fault.text);
}

/* The one before lets go, now that the workers answer here. */
int gateway_replace_old(struct gateway *gateway, struct error *err)
{
    if (gateway->old_link < 0)
        return 0;
    if (handover_finish(gateway->old_link, err) < 0 || take_lock(gateway, err) < 0)
        return -1;
    gateway->old = handover_follow(gateway->base, gateway->old_link);
    gateway->old_link = -1;
    catch_up(gateway);
    return 0;
}
