/* A shape's row of remembered scores: how well one rank of it fits every node, kept up to date.
 * score.c says which shapes have one, and searches them. */
#pragma once

#include "core/score.h"

/* What a rank needs of what is free of a node. */
struct needs {
    struct node_free least;
    uint64_t key;  /* free_key(&least) */
    uint64_t sure; /* with a key from here on a node fits and matches: no need to look closer */
    bool exclusive;
};

/* Of up to SCORE_BLOCK numbers each: the least, or less, and where it is, exactly if that number
 * equals it. */
struct bounds {
    int64_t *least;
    uint8_t *at; /* counted from the first of them */
};

struct score_row {
    uint64_t version; /* of the topology that it is for, .. */
    uint64_t packing; /* ..and of the policy's tables */
    uint64_t at;      /* in the journal */
    uint64_t used;    /* core->scores.clock at the last search */
    uint32_t found;   /* the node that it found last */
    size_t bytes;
    struct needs needs;
    int64_t *scores;        /* by ordinal; of a node that the rank does not fit now, anything */
    uint64_t *matches;      /* a bit for each kind: whether its nodes match */
    int64_t *kinds;         /* of an idle node, by kind; none where kinds are not shared */
    struct bounds blocks;   /* by ordinal / SCORE_BLOCK: of scores */
    struct bounds segments; /* by segment: of blocks */
};

#define SCORE_NO_ROOM INT64_MAX     /* nothing is free of it; or it is idle: see its kind */
#define SCORE_NONE    SCORE_NO_ROOM /* from here on there is none */
#define SCORE_UNKNOWN INT64_MIN     /* of a kind that matches: to be computed */

/* How large a row is, as nodes are numbered now. */
size_t row_bytes(const struct scores *scores);
/* Brings the row of the job's shape up to date with the nodes and with the policy's tables. */
void row_update(struct core *core, const struct live_job *job);
/* Whether the row is about the nodes that there are, and the journal has what changed of them. */
bool row_current(const struct core *core, const struct score_row *row);
/* Whether the row's rank fits the node now, which matches. */
bool row_fits(const struct scores *scores, const struct live_shape *shape, uint32_t ordinal);
static inline bool row_matches(const struct score_row *row, uint32_t kind)
{
    return row->matches[kind / 64] >> kind % 64 & 1;
}
/* The score of one rank on the node, or SCORE_NO_ROOM. */
int64_t score_now(
    const struct core *core, const struct live_job *job, const struct live_node *node);
/* Sets the block's bound to the least of its scores, and takes those out that do not hold any more.
 */
void row_correct_block(const struct scores *scores, struct score_row *row, uint32_t block);
/* Sets the segment's bound to the least of its blocks'. */
void row_correct_segment(const struct scores *scores, struct score_row *row, uint32_t segment);
