/* The recorder: a thread of its own that takes secrets and personal data out of what workers hand
 * it, and writes what is left below <data>/gateway/recordings/TEAM/SERVICE, or verdicts. Nothing is
 * written that it could not look at: without Hyperscan nothing is recorded.
 *
 * Workers never wait for it: what would hold more than RECORDER_BYTES_MAX is dropped and counted.
 * Files rotate by size and hour, the oldest of a service go when it has more than it may, and all
 * go when their time is over, whether their service is there or not. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORDER_BYTES_MAX = 64 << 20, /* of entries that are made or wait */
    RECORD_ID_BYTES = 129,
    RECORD_SERVICE_BYTES = 160,
    RECORD_PATH_BYTES = 200,
    RECORD_TYPE_BYTES = 100,
};

/* The folders below the gateway's that services' files are in. */
#define RECORD_REQUESTS "recordings"
#define RECORD_VERDICTS "verdicts"

struct hook;
struct recorder;

/* A request and its answer, made by a worker. */
struct record_entry {
    struct record_entry *next; /* the recorder's, as the next */
    int64_t reserved;
    const char *shelf; /* of record_shelves */
    char service[RECORD_SERVICE_BYTES];
    char id[RECORD_ID_BYTES];
    char path[RECORD_PATH_BYTES]; /* as the replica got it, without the query */
    char type[RECORD_TYPE_BYTES]; /* of the request's content */
    int64_t wall_ms, version, first_us, total_us;
    uint64_t replica;
    int status;
    struct strbuf request, answer;
    struct strbuf light; /* RECORD_VERDICTS: what the client got */
    int light_status;
    int64_t light_version;
    char by[RECORD_SERVICE_BYTES];     /* the same: whose verdict it is */
    int64_t request_head, answer_head; /* of the JSON where tensors follow; else 0 */
    bool stream;                       /* the answer is one of events */
    const char *without;               /* why there is no answer in it; NULL: there is one */
    int64_t bytes_max, keep_ms;        /* as the service says */
    char *post_url;                    /* where it is posted as well, the entry's; NULL: nowhere */
    int64_t post_timeout_ms;
    int post_retries;
};

struct recorder_counts {
    uint64_t written, unfit, dropped, failed, bytes;
};

/* folder: the gateway's. incarnation: of the gateway, in the files' names. Folders are made with
 * the first entry. ERR_IO: the thread cannot be started. */
MUST_CHECK int recorder_open(
    const char *folder, const char *incarnation, struct recorder **ret, struct error *err);
/* Entries with an address go to the hook as well, in the form in which they are written; it
 * outlives the recorder. Before the first entry. */
void recorder_post_by(struct recorder *recorder, struct hook *hook);
/* Writes what waits. NULL is fine; no entry may be with a worker. */
void recorder_close(struct recorder *recorder);

/* ---- workers ---------------------------------------------------------------------------------
 */

/* An empty one for which up to `bytes` may be held; NULL, counted, when that is too much now. It is
 * given to recorder_take or recorder_give_up. */
struct record_entry *recorder_begin(struct recorder *recorder, int64_t bytes);
void recorder_take(struct recorder *recorder, struct record_entry *entry);
/* unfit: it is counted as what cannot be recorded. */
void recorder_give_up(struct recorder *recorder, struct record_entry *entry, bool unfit);

/* ---- the main thread -------------------------------------------------------------------------
 */

/* Since the start. */
void recorder_count(const struct recorder *recorder, struct recorder_counts *ret);
/* Appends the same in Prometheus' text form. */
void recorder_write_metrics(const struct recorder *recorder, struct strbuf *out);

/* ---- for tests -------------------------------------------------------------------------------
 */

struct guard_rules;
/* The JSON of an entry with secrets and personal data taken out, appended to out; false, and
 * nothing appended: it cannot be looked at. */
bool record_entry_write(
    const struct record_entry *entry, const struct guard_rules *rules, struct strbuf *out);
/* The rules that every entry is held to. */
void record_rules_set(struct guard_rules *rules);
