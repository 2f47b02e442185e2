/* Teams: the quota tree and fair share. */
#pragma once

#include "base/vec.h"
#include "core/core.h"
#include "core/resource.h"
#include "core/table.h"

struct lane;
struct live_job;
struct live_shape;

/* A heap of teams of one parent. */
struct rivals {
    struct live_team **items;
    size_t count;
    size_t capacity;
};

struct live_quota {
    struct item item;
    struct quota_row row;
    struct live_quota *next;
};

struct live_team {
    struct item item;
    struct team_row row;
    struct live_team *parent;
    VEC(struct live_team *) children; /* ids ascending */
    struct live_quota *quotas;
    VEC(struct lane *) lanes;
    int64_t jobs;                    /* live ones, its own */
    int64_t services;                /* its own */
    int64_t held[RESOURCE_MAX];      /* by attempts and claims, with its children's */
    int64_t firm[RESOURCE_MAX];      /* of it, what can not be taken back by preemption */
    int64_t guarantee[RESOURCE_MAX]; /* its quota, or else the sum of its children's */
    int64_t limit[RESOURCE_MAX];     /* INT64_MAX: none */
    uint32_t guaranteed, limited;    /* bit i: there is one of resource i */
    int64_t share;                   /* dominant, of held, .. */
    uint64_t share_version;          /* ..at that version of the capacity; 0: not known */
    int64_t chosen[RESOURCE_MAX];    /* of held, what a preemption search would take; else 0 */
    size_t waiting;                  /* 1 + its place among the teams that have lanes, or 0 */
    /* Valid within a scheduling pass only, see turn.c. */
    uint64_t pass; /* that it takes part in */
    struct rivals rivals;
    size_t pass_position; /* among its rivals */
    size_t lanes_ready;   /* so many lanes are a heap, the others behind them have no turn */
    int64_t pass_key;
    int32_t pass_own_rank;
    int32_t pass_rank;
};

/* ---- quota.c ----------------------------------------------------------------------------------
 */

/* Derives guarantees and limits of the team and those above from quota rows. */
void quota_derive(struct core *core, struct live_team *team);
/* Counts amounts as held (sign 1) or given back (-1) by the team and those above it. */
void quota_hold(
    struct core *core, struct live_team *team, const struct amounts *amounts, bool firm, int sign);
/* How many ranks, at most `ranks`, the limits leave to a job. */
int32_t quota_ranks(const struct core *core, const struct live_job *job, int32_t ranks);
/* Whether everything but a place allows the job to start; how many ranks the limits leave to it
 * goes to *ret_ranks. */
bool quota_permits(const struct core *core, const struct live_job *job, int32_t *ret_ranks);
/* The team whose limit is below amounts even if nobody else held anything, and the resource; NULL:
 * none. */
const struct live_team *quota_never(
    const struct live_team *team, const struct amounts *amounts, int *ret_resource);
/* Whether there is none. */
bool quota_possible(const struct live_team *team, const struct amounts *amounts);
/* Whether amounts of a plan pass every limit. */
bool quota_allows(const struct live_team *team, const struct amounts *amounts);
/* Whether the team stays within what it is guaranteed with amounts more. */
bool quota_entitled(const struct live_team *team, const struct amounts *amounts);
/* Whether that team is guaranteed what ranks of the shape could hold, on top of what it has. */
bool quota_entitled_one(
    const struct live_team *team, const struct live_shape *shape, int64_t ranks);
/* The same for the team or any above it. */
static inline bool quota_entitled_shape(
    const struct live_team *team, const struct live_shape *shape, int64_t ranks)
{
    for (; team; team = team->parent) {
        if (team->guaranteed && quota_entitled_one(team, shape, ranks))
            return true;
    }
    return false;
}
/* The same for the team or any above it. */
bool quota_entitled_path(const struct live_team *team, const struct amounts *amounts);
/* Whether what can not be taken back leaves everybody's guarantees possible. */
bool quota_firm_allows(
    const struct core *core, const struct live_team *team, const struct amounts *amounts);
/* The team, `team` or one above it, that would have more of a resource than that allows, or NULL.
 */
const struct live_team *quota_firm_over(const struct core *core, const struct live_team *team,
    const struct amounts *amounts, int *ret_resource);
/* The team whose limit leaves no room for amounts more, and the resource; NULL: none. */
const struct live_team *quota_limit_over(
    const struct live_team *team, const struct amounts *amounts, int *ret_resource);
/* The child of `above` (NULL: the root) on the path from team, or NULL when above is team. */
struct live_team *team_below(struct live_team *team, const struct live_team *above);
struct live_team *team_common(struct live_team *a, struct live_team *b); /* NULL: the root */

/* ---- fairshare.c ------------------------------------------------------------------------------
 */

enum { SHARE_ONE = 1000000000 }; /* fixed point of shares: the whole cluster */

/* The largest share of any resource that the amounts are of all there is. */
int64_t dominant_share(const struct core *core, const int64_t *amounts);
/* The team's decayed usage now. */
int64_t usage_now(const struct core *core, const struct live_team *team);
/* Keeps the share of what the team holds, after that changed. */
void share_settle(const struct core *core, struct live_team *team);
/* Writes usage down before what is held, or the capacity, changes. */
void usage_settle(struct core *core, struct live_team *team);
void usage_settle_all(struct core *core);
/* What teams are ordered by: less is served first. */
int64_t fair_key(const struct core *core, const struct live_team *team);

/* ---- team.c -----------------------------------------------------------------------------------
 */

/* Puts the team among the children of its parent, or the roots. */
void team_link(struct core *core, struct live_team *team);
/* Frees the team with its lists. */
void team_free(struct live_team *team);
