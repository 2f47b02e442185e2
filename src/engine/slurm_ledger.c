/* The ledger of the Slurm engine: what was accepted and what was done about it, on this server's
 * own disk. An attempt is a folder, made beside its place and renamed there:
 *
 *     sites/POOL/run/ATTEMPT/   launch; ledger, when there is something to say
 *
 * Nothing is submitted before the launch is durable (slurm_store.c), and that it is there means
 * that a submission may have been sent. What is written later is not waited for: after a power
 * failure it is learnt again, from the cluster, from the shared storage and from whoever wants the
 * attempt.
 */
#include "engine/slurm.h"

#include "base/file.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/layout.h"
#include "engine/record.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMBER(member, kind) RECORD_MEMBER(struct slurm_ledger, member, kind)
static const struct record_member members[] = {
    MEMBER(tried, RECORD_BOOL),
    MEMBER(number, RECORD_U64),
    MEMBER(sent_ms, RECORD_I64),
    MEMBER(known_ms, RECORD_I64),
    MEMBER(stop_asked, RECORD_BOOL),
    MEMBER(stop_until_ms, RECORD_I64),
    MEMBER(kill_sent, RECORD_BOOL),
    MEMBER(serve_address, RECORD_CHARS),
    MEMBER(ended, RECORD_BOOL),
    MEMBER(end.reason, RECORD_U32),
    MEMBER(end.code, RECORD_I32),
    MEMBER(end.rank, RECORD_I32),
    MEMBER(end.text, RECORD_CHARS),
    MEMBER(end.started_ms, RECORD_I64),
    MEMBER(end.ended_ms, RECORD_I64),
    MEMBER(end.stop_asked, RECORD_BOOL),
};

static char *run_file(const struct slurm_attempt *attempt, const char *name)
{
    return layout_run(attempt->slurm->data, attempt->launch.attempt, name);
}

int slurm_ledger_save(const struct slurm_attempt *attempt)
{
    SCOPED(mem_scope) char *path = run_file(attempt, "ledger");
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct error err;
    struct slurm_ledger written = attempt->ledger;
    written.tried = true;
    record_encode(&text, members, ARRAY_LEN(members), &written);
    if (file_replace(path, text.text, text.length, 0600, &err) == 0)
        return 0;
    log_warn("attempt %" PRIx64 " waits: %s", attempt->launch.attempt, err.text);
    return -1;
}

int slurm_ledger_create(struct slurm_attempt *attempt, struct error *err)
{
    SCOPED(mem_scope) char *place = run_file(attempt, NULL);
    SCOPED(strbuf_finish) struct strbuf text = {0}, beside = {0}, file = {0};
    strbuf_printf(&beside, "%s.new", place);
    strbuf_printf(&file, "%s.new/launch", place);
    launch_encode(&text, &attempt->launch);
    if (file_remove_tree(beside.text, err) < 0 || file_make_dirs(beside.text, 0700, err) < 0 ||
        file_replace(file.text, text.text, text.length, 0600, err) < 0)
        return -1;
    if (rename(beside.text, place) < 0)
        return error_set_errno(err, "cannot make %s", place);
    return attempt->ledger.tried && slurm_ledger_save(attempt) < 0
               ? error_set(err, ERR_IO, "the attempt's ledger cannot be written")
               : 0;
}

int slurm_ledger_drop(const struct slurm_attempt *attempt, struct error *err)
{
    SCOPED(mem_scope) char *place = run_file(attempt, NULL);
    return trash_put(attempt->slurm->trash, place, err);
}

/* ---- loading --------------------------------------------------------------------------------- */

static int read_record(struct arena *arena, const char *path, struct record *ret, struct error *err)
{
    char *text;
    size_t size;
    if (file_read(path, LAUNCH_BYTES_MAX, &text, &size, err) < 0)
        return -1;
    int rc = record_parse(arena, text, size, ret, err);
    free(text);
    return rc;
}

/* Where there is none, or a power failure left nothing of it, the attempt is looked up as one whose
 * submission was tried. */
static int load_ledger(struct slurm_attempt *attempt, struct arena *arena, struct error *err)
{
    SCOPED(mem_scope) char *path = run_file(attempt, "ledger");
    struct record record;
    int rc = read_record(arena, path, &record, err);
    if (rc == 0)
        rc = record_decode(&record, members, ARRAY_LEN(members), &attempt->ledger, err);
    if (rc < 0 && err->code == ERR_IO)
        return -1;
    if (rc < 0 || attempt->ledger.end.reason >= ENGINE_END_COUNT) {
        if (rc == 0 || err->code != ERR_NOT_FOUND)
            log_warn("attempt %" PRIx64 " is looked for at the cluster: its ledger cannot be read",
                attempt->launch.attempt);
        attempt->ledger = (struct slurm_ledger){.tried = true, .end.rank = -1};
    }
    return 0;
}

/* What is not submitted may have gone in a power failure: whoever wants it starts it again. */
static int load_one(struct slurm *slurm, uint64_t id, struct error *err)
{
    SCOPED(mem_scope) char *folder = layout_run(slurm->data, id, NULL);
    SCOPED(mem_scope) char *launch_path = layout_run(slurm->data, id, "launch");
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct launch launch;
    char *text;
    size_t size;
    if (file_read(launch_path, LAUNCH_BYTES_MAX, &text, &size, err) < 0)
        return -1;
    int rc = launch_decode(arena, text, size, &launch, err);
    free(text);
    if (rc < 0) {
        log_warn("attempt %" PRIx64 " was not stored before a failure: %s", id, err->text);
        return trash_put(slurm->trash, folder, err);
    }
    struct slurm_attempt *attempt = slurm_attempt_create(slurm, &launch);
    if (load_ledger(attempt, arena, err) < 0)
        return -1;
    if (attempt->ledger.number)
        idmap_put(&slurm->by_number, attempt->ledger.number, attempt);
    else if (!attempt->ledger.ended)
        slurm_store_add(slurm->store, id);
    return 0;
}

int slurm_ledger_load(struct slurm *slurm, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/run", slurm->data);
    if (file_make_dirs(path.text, 0700, err) < 0)
        return -1;
    DIR *listing = opendir(path.text);
    const struct dirent *entry;
    int rc = 0;
    if (!listing)
        return error_set_errno(err, "cannot read %s", path.text);
    while (rc == 0 && (entry = readdir(listing))) {
        char *end;
        uint64_t id = strtoull(entry->d_name, &end, 10);
        if (*end == '\0' && id > 0 && load_one(slurm, id, err) < 0)
            rc = error_prefix(err, "the attempt in %s/%s", path.text, entry->d_name);
    }
    closedir(listing);
    return rc;
}
