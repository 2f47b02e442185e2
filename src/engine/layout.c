/* Paths: see layout.h. */
#include "engine/layout.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"

#include <errno.h>
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

/* Makes a folder of the team's. Only its parent's owner can have put something else there. */
static int make_team_folder(char *path, uid_t uid, gid_t gid, struct error *err)
{
    SCOPED(mem_scope) char *owned = path;
    if (mkdir(owned, 0700) < 0 && errno != EEXIST)
        return error_set_errno(err, "cannot make the folder %s", owned);
    if (geteuid() == 0 && lchown(owned, uid, gid) < 0)
        return error_set_errno(err, "cannot give %s to user %u", owned, (unsigned)uid);
    return 0;
}

int layout_make(const char *data, uint64_t job, uint32_t attempt_number, uid_t uid, gid_t gid,
    struct error *err)
{
    static const char *const names[] = {"work", "tmp", "job", "log"};
    SCOPED(mem_scope) char *attempt = layout_attempt(data, job, attempt_number, NULL);
    if (file_make_dirs(attempt, 0700, err) < 0)
        return -1;
    if (make_team_folder(layout_job(data, job, "checkpoint"), uid, gid, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *path = layout_attempt(data, job, attempt_number, names[i]);
        if (make_team_folder(path, uid, gid, err) < 0)
            return -1;
    }
    return 0;
}
