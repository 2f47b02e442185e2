/* The Slurm engine's own types, shared by its files. See README.md for the tour. */
#pragma once

#include "base/map.h"
#include "base/memory.h"
#include "base/vec.h"
#include "engine/engine_operations.h"
#include "engine/metrics.h"
#include "engine/slurm_dialect.h"
#include "engine/slurm_folder.h"
#include "engine/slurm_reply.h"
#include "engine/slurm_rest.h"
#include "engine/slurm_traces.h"
#include "engine/stage.h"
#include "engine/trash.h"

struct event;
struct slurm;
struct slurm_log;
struct slurm_store;
struct slurm_lookup;
struct slurm_name;
struct worker;

/* A user of the cluster, as this machine knows it. */
struct slurm_user {
    uid_t uid;
    gid_t gid;
    const char *name; /* NULL: this machine knows nobody of that uid, or was not asked yet */
    int64_t asked_ms; /* when it answered, boot clock; 0: it has not yet */
    struct slurm_lookup *lookup; /* under way; NULL */
};

/* What is written down of an attempt beside its launch, before anything is done about it. */
struct slurm_ledger {
    bool tried;                /* a submission was sent, or was about to be */
    uint64_t number;           /* of its job at the cluster; 0: not known */
    int64_t sent_ms, known_ms; /* wall clock: first submitted; that number learnt. 0: not known */
    bool stop_asked;
    int64_t stop_until_ms; /* wall clock: then it is killed */
    bool kill_sent;
    char serve_address[64]; /* of a replica that listens; "": it does not yet */
    bool ended;
    struct attempt_end end;
};

struct slurm_attempt {
    struct slurm *slurm;
    struct arena *arena; /* of the launch */
    struct launch launch;
    struct slurm_ledger ledger;
    const char *user; /* whose job it is, where that is not the pool's user; NULL */

    /* What the cluster says. A listing that was begun after `settled` and does not have the job
     * means that the cluster does not have it. */
    uint64_t settled, seen;
    uint64_t cancel_heard; /* the listing begun last when it took a cancel; 0: it has not */
    enum slurm_state state;
    char nodes[400], reason[200];
    bool preempted, requeued, misplaced;
    int64_t over_ms; /* since when it is over, boot clock; 0 */

    bool stored;          /* what it needs is durable: it may be submitted */
    bool asking;          /* a question about it is under way */
    int64_t ask_again_ms; /* boot clock: not before */
    bool told;            /* its ranks were told to stop */
    int64_t failing_ms;   /* since when a rank has failed and others go on, boot clock; 0 */

    bool account_wanted, accounted; /* slurmdbd is asked, or has said what it can */
    uint32_t account_tries;
    enum slurm_state account_state; /* SLURM_UNKNOWN: it did not say */

    bool claimed, started, finishing;
    uint32_t hurried; /* how often a listing was brought forward for it */
    bool started_reported, ended_reported;
    int64_t running_ms; /* since when it was seen to have its nodes, wall clock; 0 */
    int64_t site_end_ms, site_end_reported; /* when the cluster ends it, wall clock; 0: never */
    enum engine_submission submission_reported;
    struct slurm_traces traces;
    uint32_t commands; /* that were asked for inside it */
    struct slurm_log *log;
    struct metrics_reader metrics;

    char node_address[64]; /* of a replica's node, as a number; "": not known yet */
    char serve_text[200];  /* why that is not known; "" */
    int64_t resolve_ms;    /* when it was last tried, boot clock */

    int64_t checkpoint_ms, checkpoint_look_ms;
    uint64_t checkpoint_bytes;
    int64_t usage_look_ms;
    struct attempt_usage usage; /* as it was said last */
};

/* What else is known of a node: where it is reached, in the controller's words; into how many
 * shards (gres/shard) each of its accelerators is divided, 0: none. */
struct slurm_place {
    const char *node, *address;
    uint32_t shards;
};

/* A command that was asked for inside a running attempt. */
struct slurm_command {
    uint64_t attempt, job, exec; /* exec: the caller's number */
    uint32_t number;             /* within the attempt, from 1 */
    int fds[3];                  /* the caller's, duplicated; -1: nothing passes there any more */
    int input;                   /* the file that its input is added to; -1: it is whole */
    uint64_t sent, seen[2];      /* bytes of input; of output, of errors */
};

/* A job whose attempt has ended before the cluster said so. */
struct slurm_left {
    uint64_t number;
    int64_t at_ms; /* boot clock */
};

enum { SLURM_LEFT_MAX = 1024 };

struct slurm {
    struct engine engine;
    struct event_base *base;
    engine_report_fn *report;
    void *context;
    struct arena *arena; /* of the site's options */
    struct slurm_site site;
    char *owner, *data, *pool;
    struct slurm_folder folder;
    VEC(struct slurm_user) users; /* that were asked for */
    struct worker *namer;         /* looks them up; made when one is asked for */
    struct rest *rest;
    struct trash *trash;
    struct stage *stage;        /* what its jobs read, on the storage that the nodes share */
    struct trash *shared_trash; /* on the storage that the nodes share */
    struct slurm_store *store;

    const struct dialect *dialect; /* NULL: not known yet */
    size_t dialect_tried;
    bool asking_dialect, asking_jobs, asking_nodes, asking_account;
    struct reply account_reply;
    int64_t account_ms, no_account_ms; /* boot clock: last asked; not before */
    uint64_t listing;                  /* the one that was begun last */
    struct reply reply, node_reply;
    int64_t listed_ms, nodes_ms; /* when they were last asked, boot clock */
    int64_t listing_took_ms;     /* how long the last listing that came was under way */
    int64_t listing_patience_ms; /* how long the next may be; 0: as any question */
    bool hurry;                  /* the next listing will say something new */
    unsigned failures;           /* in a row */

    struct idmap by_id, by_number;
    struct slurm_left left[SLURM_LEFT_MAX]; /* a ring: ended a moment ago, as their ranks say */
    size_t left_next;
    VEC(struct slurm_attempt *) attempts; /* by ascending id */
    size_t turn, waiting_turn;            /* whose files are looked at next */
    struct event *poll, *files, *now;

    struct arena *node_arena, *next_node_arena;
    uint64_t next_disk_bytes;
    VEC(struct engine_site_node) nodes;
    VEC(struct engine_site_node) next_nodes;
    VEC(struct slurm_place) places; /* by node */
    VEC(struct slurm_place) next_places;
    VEC(struct slurm_command) commands;
    struct worker *resolver; /* made when a node's address is a name */
    struct slurm_name *resolving;
    struct engine_site about;
    struct engine_fact facts[ENGINE_FACTS_MAX];
};

/* ---- slurm.c: the operations ---------------------------------------------------------------- */

extern const struct engine_operations slurm_operations;
/* The engine that was handed out. */
struct slurm *slurm_of_engine(const struct engine *engine);
/* Another turn, after what is under way on the loop. */
void slurm_soon(struct slurm *slurm);
/* A launch with its inputs where they are at the site, and the folder with the user whose job it
 * is. Both are valid as long as the arena and the launch. -1: as slurm_user_of. */
MUST_CHECK int slurm_at_site(struct slurm *slurm, struct arena *arena, const struct launch *launch,
    struct launch *ret_launch, struct slurm_folder *ret_folder, struct error *err);

/* ---- slurm_create.c: its life --------------------------------------------------------------- */

/* Frees it; what runs at the cluster runs on. */
void slurm_destroy(struct engine *engine);

enum { SLURM_TRACES_MS = 5000 }; /* what ranks left may show up a little after the cluster's word */

/* ---- slurm_ledger.c: what is on disk here ------------------------------------------------- */

/* Writes the attempt's launch and ledger: from now on it exists. */
MUST_CHECK int slurm_ledger_create(struct slurm_attempt *attempt, struct error *err);
/* Writes the ledger again. What cannot be written is logged: the caller does nothing then. */
MUST_CHECK int slurm_ledger_save(const struct slurm_attempt *attempt);
/* It is out of reach at once. */
MUST_CHECK int slurm_ledger_drop(const struct slurm_attempt *attempt, struct error *err);
/* Adds every attempt that is on disk. */
MUST_CHECK int slurm_ledger_load(struct slurm *slurm, struct error *err);

/* ---- slurm_attempt.c: the life of an attempt ----------------------------------------------- */

/* Adds one that is or will be in the ledger; takes a copy of the launch. */
struct slurm_attempt *slurm_attempt_create(struct slurm *slurm, const struct launch *launch);
/* Of one that is in no list any more. */
void slurm_attempt_free(struct slurm_attempt *attempt);
/* NULL: it is not known. */
struct slurm_attempt *slurm_attempt_find(const struct slurm *slurm, uint64_t id);
/* Takes it out of the engine and frees it. */
void slurm_attempt_remove(struct slurm_attempt *attempt);
/* A job of the cluster bears its mark. */
void slurm_attempt_seen(struct slurm_attempt *attempt, const struct slurm_job *job);
/* A listing was read to its end. */
void slurm_attempt_listed(struct slurm_attempt *attempt);
/* Its job at the cluster has this number. */
void slurm_attempt_number(struct slurm_attempt *attempt, uint64_t number);
/* Does what is due: submits, stops, kills, ends. */
void slurm_attempt_drive(struct slurm_attempt *attempt);
/* Whether it has processes at the cluster, or had them a moment ago. */
bool slurm_attempt_is_active(const struct slurm_attempt *attempt);
/* Says what is to be said of it. */
void slurm_attempt_report(struct slurm_attempt *attempt, struct report *what);

/* ---- slurm_submit.c: asking for its job ------------------------------------------------------ */

/* Sends a submission of one that is stored. */
void slurm_submit(struct slurm_attempt *attempt);
/* Whether everything that it reads is at the site; ends it when some of it can never be. */
bool slurm_submit_is_ready(struct slurm_attempt *attempt);
/* Asks the cluster to end its job, now and then; what became of it the next listing says. */
void slurm_submit_cancel(struct slurm_attempt *attempt);

/* ---- slurm_look.c: what its ranks leave ------------------------------------------------------ */

/* Looks at that, and passes it on. A callback may not forget what has not ended, so that it is
 * there afterwards. */
void slurm_look(struct slurm_attempt *attempt);
/* Passes on what there is left of one that ends. */
void slurm_look_last(struct slurm_attempt *attempt);

/* ---- slurm_finish.c: the end of an attempt --------------------------------------------------- */

/* Its job is over, or the cluster does not have it: finds out what it was and ends it, or waits for
 * what its ranks may have left: to be called again. A job that found another's claim is not the one
 * that ran: then the attempt goes on with that. */
void slurm_finish_job(struct slurm_attempt *attempt);
/* Ends one that never was at the cluster, unless somebody has claimed it. code: as in struct
 * attempt_end. */
void slurm_finish_unsubmitted(
    struct slurm_attempt *attempt, enum engine_end_reason reason, int code, const char *text);
/* Goes on with the end of one: its log has to be brought over before that is told. */
void slurm_finish_copy(struct slurm_attempt *attempt);

/* ---- slurm_watch.c: what the cluster says --------------------------------------------------- */

/* Asks what is due. */
void slurm_watch_ask(struct slurm *slurm);
/* As well, and drives every attempt. */
void slurm_watch_turn(struct slurm *slurm);
/* The site answered, or did not. */
void slurm_watch_answered(struct slurm *slurm);
void slurm_watch_failed(struct slurm *slurm, const char *text);
/* An attempt has ended whose job the cluster may list as running for a moment. */
void slurm_watch_left(struct slurm *slurm, uint64_t number);
/* Cancels a job that goes on though its attempt has ended. */
void slurm_watch_leftover(struct slurm *slurm, const struct slurm_job *job);
/* Cancels a job of the cluster that nobody wants. */
void slurm_watch_cancel(struct slurm *slurm, uint64_t number);
/* Says that what is known of the site has changed. */
void slurm_watch_report(struct slurm *slurm);
/* How long until the site is asked again for what it is asked for all the time. */
int64_t slurm_watch_pause_ms(const struct slurm *slurm);
/* Asks for /slurm/VERSION/what; on_piece NULL: the answer is kept. timeout_ms 0: as any question.
 */
void slurm_watch_get(struct slurm *slurm, const char *what, int64_t timeout_ms,
    rest_piece_fn *on_piece, rest_done_fn *done);
/* Whether an answer that was fed to `reply` is all that was asked for; else err says what it was.
 */
bool slurm_watch_is_whole(
    const struct rest_answer *answer, const struct reply *reply, struct error *err);

/* ---- slurm_nodes.c: its nodes --------------------------------------------------------------- */

/* Asks for them, when it is time. */
void slurm_nodes_ask(struct slurm *slurm);
/* How many shards an attempt that has a share of an accelerator asks for: on no node less than that
 * share. 0: no node that is known has any of its sort. */
uint32_t slurm_nodes_shards(const struct slurm *slurm, const struct launch *launch);

/* ---- slurm_account.c: what slurmdbd says ---------------------------------------------------- */

/* Whether it is to be waited for what slurmdbd says of an attempt whose job the controller does not
 * have. */
bool slurm_account_wait(struct slurm_attempt *attempt);
/* Asks for those of which it is waited. */
void slurm_account_turn(struct slurm *slurm);

/* ---- slurm_user.c: whose jobs they are ------------------------------------------------------ */

/* Whether the pool's options are such that jobs can be their users'. -1: ERR_INVALID. */
MUST_CHECK int slurm_user_check(const struct slurm_site *site, struct error *err);
/* The user of an attempt's team, where jobs are those of teams' users; else NULL. The user is valid
 * until the next call. -1: ERR_INVALID, there is none, or nobody may ask for it; ERR_BUSY, it is
 * being looked up, and the site is reported when that is done. */
MUST_CHECK int slurm_user_of(struct slurm *slurm, const struct launch *launch,
    const struct slurm_user **ret_user, struct error *err);
/* Whether it is known whose job an attempt's is; else its `reason` says why not. */
bool slurm_user_take(struct slurm_attempt *attempt);
/* Ends what looks users up. */
void slurm_user_finish(struct slurm *slurm);
/* The folder in which lies what jobs read: to be freed by the caller. Where jobs have users of
 * their own, nobody else learns its name. NULL: ERR_IO. */
MUST_CHECK char *slurm_user_inputs(struct slurm *slurm, struct error *err);

/* ---- slurm_store.c: what was accepted becomes durable --------------------------------------- */

#define SLURM_STORED "stored" /* the file that says so, beside the launch */

/* Nothing waits in it, and it has no thread until it needs one. Destroyed by the caller. */
struct slurm_store *slurm_store_create(struct slurm *slurm);
/* Finishes the pass that is under way, if any. NULL is fine. */
void slurm_store_destroy(struct slurm_store *store);
/* An attempt whose files are written: `stored` is set when they are durable. */
void slurm_store_add(struct slurm_store *store, uint64_t attempt);
/* Begins with what waits, unless it is at it already. */
void slurm_store_turn(struct slurm_store *store);

/* ---- slurm_exec.c: commands inside running attempts ------------------------------------------ */

/* The operation: see engine_exec. */
MUST_CHECK int slurm_exec(
    struct engine *engine, uint64_t attempt, const struct exec_request *request, struct error *err);
/* Of an attempt that this engine sees running for the first time: what a server before had asked
 * for has nobody left who waits for it. */
void slurm_exec_forsake(struct slurm_attempt *attempt);
/* Passes on what there is of input and output, and says who has ended. */
void slurm_exec_turn(struct slurm *slurm);
/* Closes all; nothing is said of them. */
void slurm_exec_finish(struct slurm *slurm);

/* ---- slurm_usage.c: what its ranks use ------------------------------------------------------ */

/* Passes on what they say, now and then. */
void slurm_usage_look(struct slurm_attempt *attempt);
/* What they had used in the end, where they say so. */
void slurm_usage_last(struct slurm_attempt *attempt);

/* ---- slurm_serve.c: where replicas are asked ------------------------------------------------ */

/* The port of an attempt, or one for a new attempt; 0: none is free. */
uint32_t slurm_serve_port(const struct slurm *slurm, uint64_t attempt);
/* Finds out, while it runs, where the replica is asked. Not for others. */
void slurm_serve_look(struct slurm_attempt *attempt);
/* Whether all is known that a replica needs to have started; of others always. */
bool slurm_serve_placed(const struct slurm_attempt *attempt);
/* Ends what slurm_serve_look has begun. */
void slurm_serve_finish(struct slurm *slurm);

/* ---- slurm_log.c: bringing the ranks' output over ------------------------------------------- */

/* Empties the log's folder; it is copied from the beginning. NULL: it cannot be made. */
struct slurm_log *slurm_log_open(struct slurm_attempt *attempt);
void slurm_log_close(struct slurm_log *log); /* NULL is fine */
/* Copies what is new, at most some hundred KiB. Whether there may be more. */
bool slurm_log_copy(struct slurm_log *log, const struct slurm_attempt *attempt);
/* Nothing comes any more: unfinished lines are lines. */
void slurm_log_finish(struct slurm_log *log);
