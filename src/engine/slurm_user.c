/* Whose jobs they are at the cluster: those of the pool's one user, or each team's those of the
 * user whose user id the team has (Team spec.uid), as its processes have it on this machine.
 *
 * slurmrestd is told the user with each question that concerns one job, and believes it by a token:
 * the user's own, or that of root or SlurmUser, who may name others. Over a Unix socket without a
 * token it takes who connects, which is this server's user, and nobody else can be named.
 *
 * On the shared storage everything of an attempt that its job can write, and all that is secret, is
 * its user's and closed to others (slurm_folder.c). What many jobs read is the server's, and lies
 * in a folder whose name cannot be guessed, in one that cannot be listed. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/worker.h"

#include <assert.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_BYTES = 16,
    NAME_FILE_MAX = 64,
    USERS_MOST = 4096,
    USER_NAME_MAX = 256,
    PASSWD_BYTES = 64 * 1024,
    AGAIN_MS = 5000,
};

int slurm_user_check(const struct slurm_site *site, struct error *err)
{
    if (site->users != SLURM_USERS_TEAM)
        return site->token_folder ? error_set(err, ERR_INVALID,
                                        "spec.slurm.tokenFolder: of use only with users: team")
                                  : 0;
    if (geteuid() != 0)
        return error_set(err, ERR_INVALID,
            "spec.slurm.users: a server that is not root cannot give files to other users: their "
            "jobs are all its own");
    if (!site->token_file && !site->token_folder)
        return error_set(err, ERR_INVALID,
            "spec.slurm.users: without a token slurmrestd takes who connects to its socket, which "
            "is this server's user: tokenFile (of root or SlurmUser) or tokenFolder is needed");
    return 0;
}

/* ---- looking up ------------------------------------------------------------------------------ */

/* A directory of users may be asked over the network, and take its time. */
struct slurm_lookup {
    struct slurm *slurm;
    uid_t uid;
    gid_t gid;
    char name[USER_NAME_MAX]; /* "": there is none */
};

/* On the thread. */
static void look_up(void *context)
{
    struct slurm_lookup *lookup = context;
    struct passwd entry, *found = NULL;
    SCOPED(mem_scope) char *room = mem_alloc(1, PASSWD_BYTES);
    if (getpwuid_r(lookup->uid, &entry, room, PASSWD_BYTES, &found) != 0 || !found ||
        strlen(found->pw_name) >= sizeof lookup->name)
        return;
    lookup->gid = found->pw_gid;
    snprintf(lookup->name, sizeof lookup->name, "%s", found->pw_name);
}

static struct slurm_user *find(struct slurm *slurm, uid_t uid)
{
    for (size_t i = 0; i < slurm->users.count; i++) {
        if (slurm->users.items[i].uid == uid)
            return &slurm->users.items[i];
    }
    return NULL;
}

static void looked_up(void *context)
{
    struct slurm_lookup *lookup = context;
    struct slurm *slurm = lookup->slurm;
    struct slurm_user *user = find(slurm, lookup->uid);
    assert(user && user->lookup == lookup);
    user->lookup = NULL;
    user->asked_ms = clock_boot_ms();
    user->gid = lookup->gid;
    if (lookup->name[0])
        user->name = arena_strdup(slurm->arena, lookup->name);
    free(lookup);
    slurm_watch_report(slurm); /* who was told to come again is told that it is time */
    slurm_soon(slurm);
}

static void ask(struct slurm *slurm, struct slurm_user *user)
{
    struct error err;
    if (user->lookup)
        return;
    if (!slurm->namer && !(slurm->namer = worker_create(slurm->base, "slurm-users", &err))) {
        log_warn("pool %s: no user is looked up: %s", slurm->pool, err.text);
        return;
    }
    struct slurm_lookup *lookup = mem_alloc(1, sizeof *lookup);
    *lookup = (struct slurm_lookup){.slurm = slurm, .uid = user->uid};
    if (worker_run(slurm->namer, look_up, looked_up, lookup, &err) == 0)
        user->lookup = lookup;
    else
        free(lookup); /* the next time */
}

static struct slurm_user *user_of_uid(struct slurm *slurm, uid_t uid)
{
    struct slurm_user *user = find(slurm, uid);
    if (user || slurm->users.count == USERS_MOST)
        return user;
    vec_push(&slurm->users, (struct slurm_user){.uid = uid});
    return &slurm->users.items[slurm->users.count - 1];
}

static int nobody(const struct launch *launch, struct error *err)
{
    return error_set(err, ERR_INVALID,
        "the jobs of the team %.60s are nobody's at the cluster: this machine has no user with "
        "the id %u; spec.uid of the Team is to be its user's there",
        launch->team_name, (unsigned)launch->uid);
}

/* Whom nobody knew is asked for again: the user may be made meanwhile. */
int slurm_user_of(struct slurm *slurm, const struct launch *launch,
    const struct slurm_user **ret_user, struct error *err)
{
    char text[200];
    if (slurm->site.users != SLURM_USERS_TEAM) {
        *ret_user = NULL;
        return 0;
    }
    struct slurm_user *user = launch->uid ? user_of_uid(slurm, launch->uid) : NULL;
    if (!user || (!user->name && user->asked_ms && clock_boot_ms() - user->asked_ms < AGAIN_MS))
        return nobody(launch, err);
    if (!user->name) {
        ask(slurm, user);
        return error_set(err, ERR_BUSY, "the user with the id %u, whose job it is, is looked up",
            (unsigned)launch->uid);
    }
    if (slurm->rest && !rest_may_ask(slurm->rest, user->name, text, sizeof text))
        return error_set(err, ERR_INVALID, "%s", text);
    *ret_user = user;
    return 0;
}

bool slurm_user_take(struct slurm_attempt *attempt)
{
    struct slurm *slurm = attempt->slurm;
    const struct slurm_user *user;
    struct error err;
    if (slurm->site.users != SLURM_USERS_TEAM || attempt->user)
        return true;
    if (slurm_user_of(slurm, &attempt->launch, &user, &err) < 0) {
        snprintf(attempt->reason, sizeof attempt->reason, "%.190s", err.text);
        return false;
    }
    attempt->user = arena_strdup(attempt->arena, user->name);
    return true;
}

void slurm_user_finish(struct slurm *slurm)
{
    worker_destroy(slurm->namer); /* `looked_up` is not called any more */
    for (size_t i = 0; i < slurm->users.count; i++)
        free(slurm->users.items[i].lookup);
    vec_free(&slurm->users);
}

/* ---- what many read -------------------------------------------------------------------------- */

static int make_name(const char *path, char name[2 * NAME_BYTES + 1], struct error *err)
{
    unsigned char bytes[NAME_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return error_set_errno(err, "no random name");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(name + 2 * i, 3, "%02x", bytes[i]);
    return file_write(path, name, strlen(name), 0600, err);
}

/* Kept on this server's own disk, the same for as long as the pool is. */
static int secret_name(const struct slurm *slurm, char name[2 * NAME_BYTES + 1], struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    strbuf_printf(&path, "%s/inputs-name", slurm->data);
    if (file_read(path.text, NAME_FILE_MAX, &text, &size, err) < 0)
        return err->code == ERR_NOT_FOUND ? make_name(path.text, name, err) : -1;
    if (size != 2 * NAME_BYTES || strspn(text, "0123456789abcdef") != size)
        return error_set(err, ERR_CORRUPT, "%s is not a name of a folder", path.text);
    memcpy(name, text, size + 1);
    return 0;
}

char *slurm_user_inputs(struct slurm *slurm, struct error *err)
{
    struct strbuf root = {0};
    char name[2 * NAME_BYTES + 1];
    bool closed = slurm->site.users == SLURM_USERS_TEAM;
    if (closed && secret_name(slurm, name, err) < 0)
        return NULL;
    if (closed && chmod(slurm->folder.root, 0711) < 0) {
        error_set_errno(err, "cannot close %s", slurm->folder.root);
        return NULL;
    }
    strbuf_printf(&root, "%s/inputs-%s", slurm->folder.root, closed ? name : slurm->pool);
    return strbuf_steal(&root);
}
