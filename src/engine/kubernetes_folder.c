/* What jobs leave: logs on this server's disk, checkpoints and outputs on the volume of the pool's
 * claim where this server sees it. */
#include "engine/kubernetes.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/layout.h"
#include "engine/trash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

int kubernetes_make_folders(struct kubernetes *engine, struct error *err)
{
    static const char *const names[] = {"run", "jobs", "trash"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct strbuf path = {0};
        strbuf_printf(&path, "%s/%s", engine->data, names[i]);
        int rc = file_make_dirs(path.text, 0700, err);
        if (rc == 0 && strcmp(names[i], "trash") == 0) {
            engine->trash = trash_create(engine->base, path.text, err);
            rc = engine->trash ? 0 : -1;
        }
        strbuf_finish(&path);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The folder of a job where this server sees the claim's volume; NULL: it does not. */
static char *kept_folder(const struct kubernetes *engine, uint64_t job, const char *name)
{
    struct strbuf path = {0};
    if (!engine->site.folder)
        return NULL;
    strbuf_printf(&path, "%s/jobs/%016" PRIx64 "%s%s", engine->site.folder, job, name ? "/" : "",
        name ? name : "");
    return strbuf_steal(&path);
}

int kubernetes_purge(struct engine *base, uint64_t job, struct error *err)
{
    struct kubernetes *engine = (struct kubernetes *)base;
    for (size_t i = 0; i < engine->attempts.count; i++) {
        const struct kube_attempt *attempt = engine->attempts.items[i];
        if (attempt->ledger.job == job && !attempt->ledger.forgotten)
            return error_set(err, ERR_CONFLICT, "the job has an attempt here");
    }
    SCOPED(mem_scope) char *here = layout_job(engine->data, job, NULL);
    SCOPED(mem_scope) char *kept = kept_folder(engine, job, NULL);
    if (kept && file_remove_tree(kept, err) < 0)
        return -1;
    return trash_put(engine->trash, here, err);
}

char *kubernetes_log_folder(const struct engine *base, uint64_t job, uint32_t number)
{
    return layout_attempt(((const struct kubernetes *)base)->data, job, number, "log");
}

int kubernetes_output_open(
    const struct engine *base, uint64_t job, const char *name, struct error *err)
{
    struct strbuf path = {0};
    SCOPED(mem_scope) char *folder = kept_folder((const struct kubernetes *)base, job, "output");
    if (!folder)
        return error_set(err, ERR_NOT_FOUND,
            "this server does not see the volume of the pool's claim: spec.kubernetes.folder says "
            "where");
    strbuf_printf(&path, "%s/%s", folder, name);
    int fd = open(path.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    strbuf_finish(&path);
    return fd >= 0 ? fd : error_set(err, ERR_NOT_FOUND, "there is no output %s", name);
}

int kubernetes_outputs_drop(struct engine *base, uint64_t job, struct error *err)
{
    SCOPED(mem_scope) char *folder = kept_folder((struct kubernetes *)base, job, "output");
    return folder ? file_remove_tree(folder, err) : 0;
}
