/* Whose turn it is within a scheduling pass: lanes and teams in heaps. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct core;
struct lane;
struct live_team;

enum {
    RANK_NONE = 0,
    RANK_ENTITLED = 16, /* added to the band of its priority */
};

/* The lane's rank now, of its cursor; RANK_NONE: it has no turn in this pass any more. */
int32_t lane_rank(const struct core *core, const struct lane *lane);
/* A pass begins: every lane has its turns before it, and its cursor at its first job. Those that
 * are out have none, those that are stuck only if they are to: see outlook.c. */
void turns_begin(struct core *core, bool stuck_too);
/* The lane whose turn it is, or NULL: nobody's. Its team's pass_rank was right when the team had
 * its last turn; it may be lower by now, see turn_done. */
struct lane *turn_next(const struct core *core);
/* Brings the order up to date after a turn of the team's: it gained something, or its lane's cursor
 * moved on, or was blocked, or its rank was found to be lower. */
void turn_done(struct core *core, struct live_team *team);
/* Takes the lane out of the order: it is about to go. */
void turn_leave(struct lane *lane);
