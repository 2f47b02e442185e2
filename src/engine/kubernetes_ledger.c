/* The ledger of the Kubernetes engine: a file for each attempt, `sites/POOL/run/ATTEMPT`, replaced
 * as a whole. What is not in it the cluster knows. */
#include "engine/kubernetes.h"

#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/record.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEDGER_BYTES_MAX = 16 * 1024 };

#define MEMBER(member, kind) RECORD_MEMBER(struct kube_ledger, member, kind)
static const struct record_member members[] = {
    MEMBER(attempt, RECORD_U64),
    MEMBER(job, RECORD_U64),
    MEMBER(number, RECORD_U32),
    MEMBER(ranks, RECORD_U32),
    MEMBER(grace_ms, RECORD_U64),
    MEMBER(log_file_bytes, RECORD_U64),
    MEMBER(log_files, RECORD_U32),
    MEMBER(serve_port, RECORD_U32),
    MEMBER(made, RECORD_BOOL),
    MEMBER(started_ms, RECORD_I64),
    MEMBER(stop_asked, RECORD_BOOL),
    MEMBER(kill_asked, RECORD_BOOL),
    MEMBER(stop_grace_ms, RECORD_I64),
    MEMBER(ended, RECORD_BOOL),
    MEMBER(end.reason, RECORD_U32),
    MEMBER(end.code, RECORD_I32),
    MEMBER(end.rank, RECORD_I32),
    MEMBER(end.text, RECORD_CHARS),
    MEMBER(end.started_ms, RECORD_I64),
    MEMBER(end.ended_ms, RECORD_I64),
    MEMBER(end.stop_asked, RECORD_BOOL),
    MEMBER(forgotten, RECORD_BOOL),
};

static char *ledger_path(const struct kubernetes *engine, uint64_t attempt)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/run/%016" PRIx64, engine->data, attempt);
    return strbuf_steal(&path);
}

int kube_ledger_save(const struct kube_attempt *attempt, struct error *err)
{
    SCOPED(mem_scope) char *path = ledger_path(attempt->engine, attempt->ledger.attempt);
    struct strbuf text = {0};
    record_encode(&text, members, ARRAY_LEN(members), &attempt->ledger);
    int rc = file_write(path, text.text, text.length, 0600, err);
    strbuf_finish(&text);
    return rc;
}

void kube_ledger_drop(const struct kube_attempt *attempt)
{
    SCOPED(mem_scope) char *path = ledger_path(attempt->engine, attempt->ledger.attempt);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s", path, strerror(errno));
}

static int load_one(struct kubernetes *engine, const char *name, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(mem_scope) char *text = NULL;
    struct strbuf path = {0};
    struct record record;
    struct kube_ledger ledger = {0};
    size_t size;
    strbuf_printf(&path, "%s/run/%s", engine->data, name);
    int rc = file_read(path.text, LEDGER_BYTES_MAX, &text, &size, err);
    strbuf_finish(&path);
    if (rc < 0 || record_parse(arena, text, size, &record, err) < 0 ||
        record_decode(&record, members, ARRAY_LEN(members), &ledger, err) < 0)
        return -1;
    if (ledger.ranks == 0 || ledger.ranks > ENGINE_RANKS_MAX || ledger.attempt == 0)
        return error_set(err, ERR_CORRUPT, "%s is no ledger of an attempt", name);
    struct kube_attempt *attempt = kube_attempt_create(engine, &ledger);
    attempt->unsure = true;
    for (uint32_t i = 0; i < ledger.ranks; i++)
        attempt->ranks[i].pod.created = ledger.made;
    attempt->step = ledger.made ? KUBE_STEP_MADE : KUBE_STEP_POLICY;
    attempt->tell_started = ledger.started_ms != 0 && !ledger.ended;
    attempt->tell_ended = ledger.ended;
    attempt->due = ledger.forgotten;
    return 0;
}

int kube_ledger_load(struct kubernetes *engine, struct error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/run", engine->data);
    DIR *folder = opendir(path.text);
    int rc = folder ? 0 : error_set_errno(err, "cannot read %s", path.text);
    const struct dirent *entry;
    while (rc == 0 && (entry = readdir(folder))) {
        if (strlen(entry->d_name) == 16) /* not what a crash left half written */
            rc = load_one(engine, entry->d_name, err);
    }
    if (folder)
        closedir(folder);
    strbuf_finish(&path);
    return rc;
}
