/* Paths: see layout.h. */
#include "engine/layout.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "engine/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

char *layout_run(const char *data, uint64_t attempt, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(
        &path, "%s/run/%" PRIu64 "%s%s", data, attempt, name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

char *layout_job(const char *data, uint64_t job, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/jobs/%" PRIu64 "%s%s", data, job, name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

char *layout_attempt(const char *data, uint64_t job, uint32_t attempt_number, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/jobs/%" PRIu64 "/attempt-%" PRIu32 "%s%s", data, job, attempt_number,
        name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

char *layout_output(const char *data, uint64_t job, const char *name, const char *part)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/jobs/%" PRIu64 "/output%s%s%s%s", data, job, name ? "/" : "",
        name ? name : "", part ? "/" : "", part ? part : "");
    return strbuf_steal(&path);
}

char *layout_serve(const char *data, uint64_t attempt, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(
        &path, "%s/serve/%" PRIu64 "%s%s", data, attempt, name ? "/" : "", name ? name : "");
    return strbuf_steal(&path);
}

/* Makes a folder of the team's, or opens one up again that an earlier attempt closed to itself: its
 * shim could not read it. Nothing here follows a link, which the team may have put in its place. */
static int make_team_folder(char *path, uid_t uid, gid_t gid, struct error *err)
{
    SCOPED(mem_scope) char *owned = path;
    if (mkdir(owned, 0700) < 0 &&
        (errno != EEXIST || fchmodat(AT_FDCWD, owned, 0700, AT_SYMLINK_NOFOLLOW) < 0))
        return error_set_errno(err, "cannot make the folder %s", owned);
    if (geteuid() == 0 && lchown(owned, uid, gid) < 0)
        return error_set_errno(err, "cannot give %s to user %u", owned, (unsigned)uid);
    return 0;
}

/* The outputs' folders. Their parent, and with parts each output's own folder, is the server's: so
 * what the job puts into a folder of its own is never a component of a path used here. */
static int make_outputs(
    const char *data, const struct launch *launch, uid_t uid, gid_t gid, struct error *err)
{
    uint64_t job = launch_output_job(launch);
    for (size_t i = 0; i < launch->output_count; i++) {
        SCOPED(mem_scope)
        char *parent =
            layout_output(data, job, launch->output_part ? launch->outputs[i] : NULL, NULL);
        if (file_make_dirs(parent, 0700, err) < 0 ||
            make_team_folder(layout_output(data, job, launch->outputs[i], launch->output_part), uid,
                gid, err) < 0)
            return -1;
    }
    return 0;
}

static int make_serve(
    const char *data, const struct launch *launch, uid_t uid, gid_t gid, struct error *err)
{
    return launch->serve.on
               ? make_team_folder(layout_serve(data, launch->attempt, NULL), uid, gid, err)
               : 0;
}

int layout_make(
    const char *data, const struct launch *launch, uid_t uid, gid_t gid, struct error *err)
{
    static const char *const names[] = {"work", "tmp", "job", "log"};
    SCOPED(mem_scope)
    char *attempt = layout_attempt(data, launch->job, launch->attempt_number, NULL);
    if (file_make_dirs(attempt, 0700, err) < 0)
        return -1;
    if (make_team_folder(layout_job(data, launch->job, "checkpoint"), uid, gid, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = layout_attempt(data, launch->job, launch->attempt_number, names[i]);
        if (make_team_folder(path, uid, gid, err) < 0)
            return -1;
    }
    if (make_outputs(data, launch, uid, gid, err) < 0)
        return -1;
    return make_serve(data, launch, uid, gid, err);
}
