/* The ledger of the Slurm engine: what was accepted and what was done about it, on this server's
 * own disk. An attempt is a folder, made beside its place and renamed there:
 *
 *     sites/POOL/run/ATTEMPT/   launch; stored; ledger, when there is something to say
 *     sites/POOL/boot           when the machine had started that wrote there last
 *
 * Nothing is submitted before all that it needs is durable (slurm_store.c), and that `stored` is
 * there means that a submission may have been sent. What is written later is not waited for: after
 * a power failure it may be the old one, torn or gone, and is learnt again, from the cluster, from
 * the shared storage and from whoever wants the attempt. A process that dies leaves all files as
 * they are: what was not stored yet is only distrusted when the machine has started since.
 */
#include "engine/slurm.h"

#include "base/file.h"
#include "base/log.h"
#include "engine/launch.h"
#include "engine/layout.h"
#include "engine/record.h"
#include "engine/status.h"

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

/* Every member is written, the last one last. */
static bool is_whole(const struct record *record)
{
    return record_text(record, members[ARRAY_LEN(members) - 1].name) != NULL;
}

/* Where there is none, or a power failure left part of it, the attempt is looked up as one whose
 * submission was tried. */
static int load_ledger(
    struct slurm *slurm, uint64_t id, struct slurm_ledger *ret, struct error *err)
{
    SCOPED(mem_scope) char *path = layout_run(slurm->data, id, "ledger");
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_ledger ledger = {.end.rank = -1};
    struct record record;
    int rc = read_record(arena, path, &record, err);
    if (rc == 0 && !is_whole(&record))
        rc = error_set(err, ERR_CORRUPT, "it is cut off");
    if (rc == 0)
        rc = record_decode(&record, members, ARRAY_LEN(members), &ledger, err);
    if (rc < 0 && err->code == ERR_IO)
        return -1;
    if (rc < 0 || ledger.end.reason >= ENGINE_END_COUNT) {
        if (rc == 0 || err->code != ERR_NOT_FOUND)
            log_warn(
                "attempt %" PRIx64 " is looked for at the cluster: its ledger cannot be read", id);
        ledger = (struct slurm_ledger){.tried = true, .end.rank = -1};
    }
    *ret = ledger;
    return 0;
}

/* Whether the machine has started since an engine wrote here; it is written down that it has. */
static int has_restarted(const struct slurm *slurm, bool *ret, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(mem_scope) char *text = NULL;
    char now[BOOT_ID_SIZE];
    size_t size;
    strbuf_printf(&path, "%s/boot", slurm->data);
    if (boot_id_read(now, err) < 0)
        return -1;
    *ret = file_read(path.text, BOOT_ID_SIZE, &text, &size, err) < 0 || strcmp(text, now) != 0;
    return *ret ? file_replace(path.text, now, strlen(now), 0600, err) : 0;
}

static bool is_stored(const struct slurm *slurm, uint64_t id)
{
    SCOPED(mem_scope) char *path = layout_run(slurm->data, id, SLURM_STORED);
    return access(path, F_OK) == 0;
}

/* What there is of it, here and on the storage that the nodes share: whoever wants it starts it
 * again.
 */
static int drop_unstored(struct slurm *slurm, uint64_t id, struct error *err)
{
    SCOPED(mem_scope) char *ours = layout_run(slurm->data, id, NULL);
    SCOPED(mem_scope) char *shared = slurm_folder_attempt(&slurm->folder, id, NULL);
    log_warn("attempt %" PRIx64 " was not stored before the machine failed: it is made again", id);
    if (trash_put(slurm->shared_trash, shared, err) < 0)
        return -1;
    return trash_put(slurm->trash, ours, err);
}

static int load_one(struct slurm *slurm, uint64_t id, bool restarted, struct error *err)
{
    SCOPED(mem_scope) char *path = layout_run(slurm->data, id, "launch");
    SCOPED(mem_scope) char *text = NULL;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_ledger ledger;
    struct launch launch;
    size_t size;
    if (load_ledger(slurm, id, &ledger, err) < 0)
        return -1;
    if (restarted && !is_stored(slurm, id) && ledger.number == 0 && !ledger.ended &&
        slurm_folder_claimed_by(&slurm->folder, id) < 0)
        return drop_unstored(slurm, id, err);
    if (file_read(path, LAUNCH_BYTES_MAX, &text, &size, err) < 0 ||
        launch_decode(arena, text, size, &launch, err) < 0)
        return -1;
    struct slurm_attempt *attempt = slurm_attempt_create(slurm, &launch);
    attempt->ledger = ledger;
    if (ledger.number)
        idmap_put(&slurm->by_number, ledger.number, attempt);
    else if (!ledger.ended)
        slurm_store_add(slurm->store, id);
    return 0;
}

int slurm_ledger_load(struct slurm *slurm, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    strbuf_printf(&path, "%s/run", slurm->data);
    bool restarted;
    if (file_make_dirs(path.text, 0700, err) < 0 || has_restarted(slurm, &restarted, err) < 0)
        return -1;
    DIR *listing = opendir(path.text);
    const struct dirent *entry;
    int rc = 0;
    if (!listing)
        return error_set_errno(err, "cannot read %s", path.text);
    while (rc == 0 && (entry = readdir(listing))) {
        char *end;
        uint64_t id = strtoull(entry->d_name, &end, 10);
        if (*end == '\0' && id > 0 && load_one(slurm, id, restarted, err) < 0)
            rc = error_prefix(err, "the attempt in %s/%s", path.text, entry->d_name);
    }
    closedir(listing);
    return rc;
}
