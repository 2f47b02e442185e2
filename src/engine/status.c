/* The status file: see status.h. A slot is a header line, `muster-status 1 SEQUENCE SIZE DIGEST`,
 * and a record of SIZE bytes. */
#include "engine/status.h"

#include "base/file.h"
#include "base/memory.h"
#include "engine/record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOT_BYTES = 8192, HEADER_BYTES = 160 };
_Static_assert(STATUS_BYTES_MAX + HEADER_BYTES <= SLOT_BYTES, "a status fits its slot");

#define MEMBER(member, kind)     RECORD_MEMBER(struct status, member, kind)
#define END_MEMBER(member, kind) RECORD_MEMBER(struct attempt_end, member, kind)
static const struct record_member members[] = {
    MEMBER(attempt, RECORD_U64),
    MEMBER(job, RECORD_U64),
    MEMBER(attempt_number, RECORD_U32),
    MEMBER(epoch, RECORD_U64),
    MEMBER(boot_id, RECORD_CHARS),
    MEMBER(shim_pid, RECORD_I32),
    MEMBER(sandbox_pid, RECORD_I32),
    MEMBER(sandbox_start, RECORD_U64),
};

static const struct record_member end_members[] = {
    END_MEMBER(code, RECORD_I32),
    END_MEMBER(rank, RECORD_I32),
    END_MEMBER(text, RECORD_CHARS),
    END_MEMBER(started_ms, RECORD_I64),
    END_MEMBER(ended_ms, RECORD_I64),
    END_MEMBER(stop_asked, RECORD_BOOL),
};

void status_encode(struct strbuf *out, const struct status *status)
{
    record_encode(out, members, ARRAY_LEN(members), status);
    record_put_number(out, "state", status->state);
    record_put_number(out, "reason", status->end.reason);
    record_encode(out, end_members, ARRAY_LEN(end_members), &status->end);
    strbuf_puts(out, "ranks ");
    for (uint32_t i = 0; i < status->rank_count; i++)
        strbuf_printf(out, "%s%d", i ? "," : "", status->ranks[i]);
    strbuf_putc(out, '\n');
}

static int decode_ranks(const char *text, struct status *status)
{
    while (text && *text) {
        int rank, used = 0;
        if (status->rank_count == ENGINE_RANKS_MAX || sscanf(text, "%9d%n", &rank, &used) != 1)
            return -1;
        status->ranks[status->rank_count++] = rank;
        text += used;
        text += *text == ',';
    }
    return 0;
}

int status_decode(const char *text, size_t size, struct status *ret, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record record;
    struct status status = {.end.rank = -1};
    if (record_parse(arena, text, size, &record, err) < 0 ||
        record_decode(&record, members, ARRAY_LEN(members), &status, err) < 0 ||
        record_decode(&record, end_members, ARRAY_LEN(end_members), &status.end, err) < 0)
        return -1;
    uint64_t state = record_number(&record, "state", UINT64_MAX);
    uint64_t reason = record_number(&record, "reason", UINT64_MAX);
    if (state > ENGINE_ATTEMPT_ENDED || reason >= ENGINE_END_COUNT ||
        (state == ENGINE_ATTEMPT_ENDED) != (reason != ENGINE_END_NONE) ||
        decode_ranks(record_text(&record, "ranks"), &status) < 0)
        return error_set(err, ERR_CORRUPT, "a status has an impossible state, reason or rank");
    status.state = (enum engine_attempt_state)state;
    status.end.reason = (enum engine_end_reason)reason;
    *ret = status;
    return 0;
}

static void digest_of(const char *text, size_t size, uint64_t sequence, char out[65])
{
    char whole[SLOT_BYTES + 32];
    int used = snprintf(whole, sizeof whole, "%" PRIu64 "\n", sequence);
    memcpy(whole + used, text, size);
    file_sha256_hex(whole, (size_t)used + size, out);
}

/* Reads one slot. -1: it is empty, torn or not a status. */
static int read_slot(int fd, off_t at, struct status *ret, struct error *err)
{
    char slot[SLOT_BYTES + 1], claimed[65], digest[65];
    ssize_t n = pread(fd, slot, SLOT_BYTES, at);
    if (n < 0)
        return error_set_errno(err, "cannot read a status file");
    slot[n] = '\0';
    uint64_t sequence;
    size_t size;
    int used = 0;
    if (sscanf(slot, "muster-status 1 %" SCNu64 " %zu %64[0-9a-f]%n", &sequence, &size, claimed,
            &used) != 3 ||
        used == 0 || slot[used] != '\n' || size > STATUS_BYTES_MAX ||
        (size_t)used + 1 + size > (size_t)n)
        return error_set(err, ERR_CORRUPT, "a slot of a status file is torn");
    digest_of(slot + used + 1, size, sequence, digest);
    if (strcmp(claimed, digest) != 0)
        return error_set(err, ERR_CORRUPT, "a slot of a status file fails its checksum");
    struct status status;
    if (status_decode(slot + used + 1, size, &status, err) < 0)
        return -1;
    status.sequence = sequence;
    *ret = status;
    return 0;
}

int status_read(int fd, struct status *ret, struct error *err)
{
    struct status slots[2];
    bool valid[2];
    for (int i = 0; i < 2; i++)
        valid[i] = read_slot(fd, i * SLOT_BYTES, &slots[i], err) == 0;
    if (!valid[0] && !valid[1])
        return error_set(err, ERR_NOT_FOUND, "the status file has no status yet");
    bool second = valid[1] && (!valid[0] || slots[1].sequence > slots[0].sequence);
    *ret = slots[second];
    return 0;
}

int status_write(int fd, struct status *status, struct error *err)
{
    assert(status->attempt != 0);
    SCOPED(strbuf_finish) struct strbuf body = {0};
    SCOPED(strbuf_finish) struct strbuf slot = {0};
    uint64_t sequence = status->sequence + 1;
    status_encode(&body, status);
    assert(body.length <= STATUS_BYTES_MAX);
    char digest[65];
    digest_of(strbuf_text(&body), body.length, sequence, digest);
    strbuf_printf(&slot, "muster-status 1 %" PRIu64 " %zu %s\n", sequence, body.length, digest);
    strbuf_append(&slot, body.text, body.length);
    ssize_t n = pwrite(fd, slot.text, slot.length, (off_t)(sequence % 2) * SLOT_BYTES);
    if (n != (ssize_t)slot.length)
        return error_set_errno(err, "cannot write a status file");
    if (fdatasync(fd) < 0)
        return error_set_errno(err, "cannot sync a status file");
    status->sequence = sequence;
    return 0;
}

int boot_id_read(char out[BOOT_ID_SIZE], struct error *err)
{
    char *text;
    size_t size;
    if (file_read("/proc/sys/kernel/random/boot_id", 128, &text, &size, err) < 0)
        return -1;
    snprintf(out, BOOT_ID_SIZE, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
    return 0;
}

uint64_t process_start_time(pid_t pid)
{
    char path[64];
    char *text;
    size_t size;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (file_read(path, 4096, &text, &size, NULL) < 0)
        return 0;
    /* The name in brackets may hold anything; the fields after the last bracket do not. Field 22
     * is the start time, and field 3 comes first after the bracket. */
    SCOPED(mem_scope) char *owned = text;
    char *field = strrchr(owned, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field + 1, NULL, 10) : 0;
}
