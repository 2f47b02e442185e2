/* What was accepted becomes durable, many attempts in one pass, on a thread of its own: waiting for
 * the disk a dozen times for each attempt on the loop would hold up everybody. Until then nothing
 * of an attempt is submitted, so that one which a power failure takes away never was anywhere:
 * whoever wants it starts it again.
 *
 * A pass first sends all files on their way and then waits for each: a file system that commits
 * what it has in one go does so once for all of them. */
#include "engine/slurm.h"

#include "base/file.h"
#include "base/log.h"
#include "engine/layout.h"
#include "engine/worker.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASS_MOST = 64, SECRETS = 2, FOLDERS = 3 };

struct item {
    uint64_t attempt;
    char *folders[FOLDERS]; /* whose files, and themselves, are to be durable */
    int error;              /* 0: it is */
};

struct slurm_store {
    struct slurm *slurm;
    struct worker *worker; /* NULL: not needed yet */
    VEC(uint64_t) waiting;
    bool under_way;
    int problem; /* the errno that was last said to keep attempts waiting; 0: none does */
    /* The pass: the thread's while it is under way. */
    char *roots[2]; /* in which the folders are */
    struct item items[PASS_MOST];
    size_t count;
};

/* ---- on the thread --------------------------------------------------------------------------- */

static void send_file(int fd)
{
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* only a hint: fsync follows */
}

static int errno_of_sync(int fd)
{
    return fsync(fd) < 0 ? errno : 0;
}

/* Visits the regular files of a folder of ours; not those in folders of it. */
static int each_file(int folder_fd, bool wait)
{
    int copy = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
    DIR *listing = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    struct stat status;
    if (!listing)
        return errno;
    while (error == 0 && (entry = readdir(listing))) {
        SCOPED(fd_scope)
        int fd = openat(folder_fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
            continue;
        if (wait)
            error = errno_of_sync(fd);
        else
            send_file(fd);
    }
    closedir(listing);
    return error;
}

static int sync_folder(const char *path, bool files, bool wait)
{
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 ? errno : files ? each_file(fd, wait) : 0;
    return error || !wait ? error : errno_of_sync(fd);
}

static void sync_items(struct slurm_store *store, bool wait)
{
    for (size_t i = 0; i < store->count; i++) {
        struct item *item = &store->items[i];
        for (size_t k = 0; k < FOLDERS && item->error == 0; k++) {
            item->error = sync_folder(item->folders[k], true, wait);
            if (k == SECRETS && item->error == ENOENT)
                item->error = 0; /* it has none */
        }
    }
}

static void work(void *context)
{
    struct slurm_store *store = context;
    int error = 0;
    sync_items(store, false);
    sync_items(store, true);
    for (size_t k = 0; k < ARRAY_LEN(store->roots) && error == 0; k++)
        error = sync_folder(store->roots[k], false, true);
    for (size_t i = 0; error && i < store->count; i++)
        store->items[i].error = error;
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void free_pass(struct slurm_store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        for (size_t k = 0; k < FOLDERS; k++)
            free(store->items[i].folders[k]);
    }
    store->count = 0;
}

/* A full disk is tried again several times a second, and said once. */
static void say_problem(struct slurm_store *store, int problem)
{
    if (problem && problem != store->problem) {
        errno = problem;
        log_warn("pool %s: attempts wait, as they cannot be stored: %m", store->slurm->pool);
    }
    store->problem = problem;
}

/* One that is not known any more needs nothing. */
static void done(void *context)
{
    struct slurm_store *store = context;
    int problem = 0;
    for (size_t i = 0; i < store->count; i++) {
        const struct item *item = &store->items[i];
        struct slurm_attempt *attempt = slurm_attempt_find(store->slurm, item->attempt);
        if (attempt && item->error == 0) {
            attempt->stored = true;
        } else if (attempt) {
            problem = item->error;
            vec_push(&store->waiting, item->attempt);
        }
    }
    say_problem(store, problem);
    free_pass(store);
    store->under_way = false;
    event_active(store->slurm->now, EV_TIMEOUT, 0);
}

static void take(struct slurm_store *store, uint64_t attempt)
{
    const struct slurm *slurm = store->slurm;
    store->items[store->count++] = (struct item){.attempt = attempt,
        .folders = {layout_run(slurm->data, attempt, NULL),
            slurm_folder_attempt(&slurm->folder, attempt, NULL),
            slurm_folder_attempt(&slurm->folder, attempt, "secrets")}};
}

static struct worker *worker_of(struct slurm_store *store)
{
    struct error err;
    if (!store->worker && !(store->worker = worker_create(store->slurm->base, "store", &err)))
        log_warn("pool %s: nothing is submitted: %s", store->slurm->pool, err.text);
    return store->worker;
}

void slurm_store_turn(struct slurm_store *store)
{
    size_t taken = 0;
    if (store->under_way || store->waiting.count == 0 || !worker_of(store))
        return;
    while (taken < store->waiting.count && store->count < PASS_MOST) {
        uint64_t attempt = store->waiting.items[taken++];
        if (slurm_attempt_find(store->slurm, attempt))
            take(store, attempt);
    }
    if (store->count > 0 && worker_run(store->worker, work, done, store, NULL) < 0) {
        free_pass(store); /* the next turn */
        return;
    }
    store->under_way = store->count > 0;
    for (size_t i = taken; i < store->waiting.count; i++)
        store->waiting.items[i - taken] = store->waiting.items[i];
    store->waiting.count -= taken;
}

void slurm_store_add(struct slurm_store *store, uint64_t attempt)
{
    vec_push(&store->waiting, attempt);
}

struct slurm_store *slurm_store_create(struct slurm *slurm)
{
    struct slurm_store *store = mem_alloc(1, sizeof *store);
    struct strbuf run = {0};
    strbuf_printf(&run, "%s/run", slurm->data);
    store->slurm = slurm;
    store->roots[0] = strbuf_steal(&run);
    store->roots[1] = mem_strdup(slurm->folder.root);
    return store;
}

void slurm_store_destroy(struct slurm_store *store)
{
    if (!store)
        return;
    worker_destroy(store->worker);
    free_pass(store);
    vec_free(&store->waiting);
    for (size_t k = 0; k < ARRAY_LEN(store->roots); k++)
        free(store->roots[k]);
    free(store);
}
