/* Making a place by preemption: who may be stopped, whom to stop, and claims on what that leaves.
 */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/resource.h"
#include "core/table.h"

struct awaited;
struct book;
struct gang_book;
struct live_attempt;
struct live_job;
struct live_node;
struct plan;

struct live_claim {
    struct item item;
    struct claim_row row;
    struct live_job *job;
    struct live_node *node;
    struct live_claim *next;
};

/* ---- claim.c ----------------------------------------------------------------------------------
 */

/* Keeps the plan's place for a queued job, which leaves its lane. */
void claims_make(struct core *core, struct live_job *job, const struct plan *plan);
/* Gives back what is kept for the job; it competes again when it is queued. */
void claims_release(struct core *core, struct live_job *job);
/* Admits claimants whose place has become free, and drops claims that can not be met. */
void claims_settle(struct core *core);
/* Releases every claim on a node. */
void claims_drop_node(struct core *core, struct live_node *node);
/* The same, and what is promised of it. */
void claims_release_node(struct core *core, struct live_node *node);
void claim_link(struct core *core, struct live_claim *claim);
void claim_amounts(const struct live_claim *claim, struct amounts *ret);

/* ---- preempt.c --------------------------------------------------------------------------------
 */

/* What searches of one pass have found out about nodes, so that a job like one before it need not
 * look at all of them again. Zeroed at first; not kept longer than a pass. */
struct preempt_books {
    VEC(struct book *) list;
    struct gang_book *gangs; /* of the newest search for a gang, or NULL */
};
void preempt_books_finish(struct preempt_books *books);

/* Makes a place for a job that does not fit: stops attempts, which ones the core's policy says, and
 * claims what they leave. False: there is no such set. ret_cheap: it took no look at all nodes. */
bool preempt_for(
    struct core *core, struct live_job *job, struct preempt_books *books, bool *ret_cheap);
/* The same search, for people: whose checkpoint a job waits for that was put off and is queued.
 * Decides nothing, and leaves nothing behind that a decision could go by. */
void preempt_awaited(struct core *core, struct live_job *job, struct awaited *ret);

/* Which of the attempts that may be stopped are. */
struct victim_policy {
    const char *name;
    const char *summary; /* for people, one line */
    /* Of live_attempts: who goes first. NULL: whatever set loses least. */
    int (*order)(const void *a, const void *b, const void *context);
};
/* The policy of that name, or NULL. NULL and "": the default. */
const struct victim_policy *victim_policy_find(const char *name);

/* ---- victim.c ---------------------------------------------------------------------------------
 */

/* What may be stopped for a job, with what is chosen already counted in team->chosen. */
struct victim_rules {
    struct live_job *job;
    struct amounts ask;      /* of the smallest gang */
    struct amounts possible; /* the same, by every type that it could get */
    bool reclaims;           /* some branch of its team is entitled to that */
    int64_t protected_ms;    /* the first moment at which a minimum run time ends */
    int64_t patient_ms;      /* until when the job may wait for checkpoints; 0: it does not */
};
void victim_rules_init(struct victim_rules *rules, const struct core *core, struct live_job *job);
bool victim_allowed(
    struct core *core, struct victim_rules *rules, const struct live_attempt *attempt);
/* Whether none of those chosen could take its place back at once: asked when the set is whole. */
bool victim_stays_out(const struct victim_rules *rules, const struct live_attempt *attempt);
/* Counts the attempt as chosen (1) or not any more (-1). */
void victim_choose(const struct live_attempt *attempt, int sign);

/* ---- patience.c -------------------------------------------------------------------------------
 */

/* Until when the job may be put off for the sake of checkpoints; 0: it may not. */
int64_t patience_end_ms(const struct core *core, const struct victim_rules *rules);
/* What it costs that the attempt goes: attempt_loss, or less where its next checkpoint is better
 * waited for. */
int64_t victim_cost(
    const struct core *core, const struct victim_rules *rules, const struct live_attempt *attempt);
/* Whose checkpoint is waited for. */
struct awaited {
    const struct live_job *job; /* whose is due first, or NULL */
    int64_t due_ms;             /* MOMENT_NEVER: nobody's */
    int64_t until_ms;           /* the job waits for none that is due later */
    int64_t others;             /* jobs whose checkpoint is waited for as well */
};
void victims_awaited(const struct core *core, const struct victim_rules *rules,
    struct live_attempt *const *victims, size_t victim_count, struct awaited *ret);
/* Whether the checkpoint of one of the victims is waited for: then nobody is to be stopped yet, and
 * core->wake_ms is when to ask again at the latest. */
bool preempt_put_off(struct core *core, struct live_job *job, struct live_attempt *const *victims,
    size_t victim_count);
