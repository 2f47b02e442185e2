/* The ledger of the Kubernetes engine: a file for each attempt, `sites/POOL/run/ATTEMPT`, replaced
 * as a whole. What is not in it the cluster knows.
 *
 * What is noted outlives the server, and a machine that fails a little later. Where the machine
 * fails at once an attempt may be unknown afterwards, or torn, which is the same: it has not been
 * said of it that it runs, so it is started again, and finds by their names what it had made. So
 * only what an attempt must not go back behind is synced: that it runs, and that it has ended. */
#include "engine/kubernetes.h"

#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEDGER_BYTES_MAX = 512 * 1024 };

#define INPUT_FIELD "input" /* a folder, as often as there are any */

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
    MEMBER(bare, RECORD_BOOL),
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

static void encode(struct strbuf *out, const struct kube_attempt *attempt)
{
    record_encode(out, members, ARRAY_LEN(members), &attempt->ledger);
    for (size_t i = 0; i < attempt->inputs.count; i++)
        record_put(out, INPUT_FIELD, attempt->inputs.items[i]);
}

/* As file_write, without waiting for the disk. */
static int replace(const char *path, const struct strbuf *text, struct error *err)
{
    struct strbuf temporary = {0};
    strbuf_printf(&temporary, "%s.new", path);
    if (unlink(temporary.text) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s", temporary.text, strerror(errno));
    SCOPED(fd_scope)
    int fd = open(temporary.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -1 : file_write_all(fd, text->text, text->length, err);
    if (fd < 0 || (rc == 0 && rename(temporary.text, path) < 0))
        rc = error_set_errno(err, "cannot write %s", path);
    strbuf_finish(&temporary);
    return rc;
}

int kube_ledger_note(const struct kube_attempt *attempt, struct error *err)
{
    SCOPED(mem_scope) char *path = ledger_path(attempt->engine, attempt->ledger.attempt);
    struct strbuf text = {0};
    encode(&text, attempt);
    int rc = replace(path, &text, err);
    strbuf_finish(&text);
    return rc;
}

int kube_ledger_save(const struct kube_attempt *attempt, struct error *err)
{
    SCOPED(mem_scope) char *path = ledger_path(attempt->engine, attempt->ledger.attempt);
    struct strbuf text = {0};
    encode(&text, attempt);
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
    if (rc < 0)
        return -1;
    if (record_parse(arena, text, size, &record, err) < 0 ||
        record_decode(&record, members, ARRAY_LEN(members), &ledger, err) < 0 ||
        ledger.ranks == 0 || ledger.ranks > ENGINE_RANKS_MAX || ledger.attempt == 0) {
        log_warn("%s/run/%s is torn, and taken for unknown", engine->data, name);
        return 0;
    }
    struct kube_attempt *attempt = kube_attempt_create(engine, &ledger);
    attempt->unsure = true;
    for (size_t i = 0; i < record.count; i++) {
        if (strcmp(record.fields[i].name, INPUT_FIELD) == 0)
            kube_inputs_hold(attempt, record.fields[i].value);
    }
    for (uint32_t i = 0; i < ledger.ranks; i++)
        attempt->ranks[i].pod.created = ledger.made;
    attempt->step = ledger.made ? KUBE_STEP_MADE : KUBE_STEP_POLICY;
    attempt->tell_started = ledger.started_ms != 0 && !ledger.ended;
    attempt->tell_ended = ledger.ended;
    if (attempt->tell_started || attempt->tell_ended)
        kube_attempt_tell(attempt);
    if (attempt->tell_started)
        kube_usage_begin(engine);
    if (ledger.forgotten)
        kube_attempt_due(attempt);
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
