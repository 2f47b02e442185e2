/* Remembered scores: the order of nodes, the journal of what changed of them, which are idle, and
 * which shapes have rows of scores. */
#pragma once

#include "base/vec.h"
#include "core/resource.h"
#include "core/slab.h"

#include <stdbool.h>
#include <stdint.h>

struct core;
struct live_job;
struct live_node;
struct live_shape;
struct shape_row;

/* Nodes that are alike but for what is held of them, and for their names. */
struct node_kind {
    const struct live_node *like; /* one of them */
    int64_t staying;              /* how many do not leave their pool */
    uint32_t same_hash;           /* 1 + the next kind, 0: none */
    VEC(uint32_t) idle;           /* a heap of the idle nodes' ordinals; see node_order.c */
};

/* Of a node, 1 + a change in the journal; 0: none. */
struct node_noted {
    uint64_t last;
};

/* What is free of a node for one rank of whoever may share it, as numbers that what is needed is
 * compared with. All are FREE_NONE where nobody new may come, of an idle node and of none. */
struct node_free {
    struct bundle all;
    int64_t devices; /* whole ones times FREE_DEVICE, and the largest share in thousandths */
};
enum { FREE_DEVICE = 1024 };
#define FREE_ANY  (-((int64_t)1 << 62)) /* what is needed of what is not asked for */
#define FREE_NONE (FREE_ANY - 1)

/* As much of it as decides most comparisons: each of the four numbers in 15 bits, none of which is
 * less where the number is not. FREE_GUARDS are the bits between them. */
uint64_t free_key(const struct node_free *free);
#define FREE_GUARDS ((uint64_t)0x8000800080008000)
#define FREE_MOST   ((uint64_t)0x7fff7fff7fff7fff) /* the most that the numbers may be */
/* The key that is enough only where as much is free: there is nothing between the two that is not
 * looked at closer. What is needed is above 0, or FREE_ANY. KEY_NEVER where even nodes that nobody
 * may come to have such a key. */
uint64_t free_key_sure(const struct node_free *least);
#define KEY_NEVER FREE_MOST
/* False where less is free than is needed; true may be wrong. */
static inline bool key_enough(uint64_t free, uint64_t least)
{
    return ((least + FREE_MOST - free) & FREE_GUARDS) == 0;
}

/* Of each number the larger. */
static inline uint64_t key_most(uint64_t a, uint64_t b)
{
    uint64_t guards = ((a | FREE_GUARDS) - b) & FREE_GUARDS, a_more = guards - (guards >> 15);
    return (a & a_more) | (b & ~a_more);
}

/* Up to 32 blocks of 32 nodes, of one pool. */
struct score_segment {
    uint32_t block, block_end;       /* its first, and behind its last */
    uint32_t pool, pool_end;         /* the pool's first segment, and the one behind its last */
    uint32_t kinds_begin, kinds_end; /* of the pool's nodes */
};

enum {
    NODE_NONE = UINT32_MAX,
    SCORE_BLOCK = 32,      /* nodes under a bound */
    JOURNAL_MAX = 1 << 16, /* changes kept; a power of two */
    JOURNAL_SOME = 64,     /* looked at together */
    TOPS_SOME = 64,        /* the same of blocks: their number is a multiple of it */
    KINDS_SHARED_MAX = 64,
};

/* What is known of a node. */
enum {
    IDLE_NOW = 1,
    IDLE_QUEUED = 2, /* it is in its kind's heap */
};

/* Nodes of which something changed, by change, each where it changed last: a ring, change i at i %
 * its size. */
struct journal {
    uint32_t *ring;
    uint64_t *keys;      /* beside it, free_key of what is free of the node, since nodes_follow.. */
    uint64_t *last;      /* a bit for each entry of the ring: its node did not change later */
    uint64_t begin, end; /* the changes that are there */
    bool open;           /* the nodes have numbers */
    int trials;          /* changes that will be taken back are not noted */
};

struct scores {
    /* By ordinal. */
    VEC(struct live_node *) nodes; /* NULL: no node has the number */
    VEC(struct node_noted) noted;
    VEC(uint32_t) kind_of;
    VEC(uint8_t) idle;          /* what node_order.c knows of it */
    VEC(struct node_free) free; /* the same: of those that are not idle */
    VEC(uint64_t) keys;         /* free_key of that */
    VEC(uint64_t) tops;         /* by block: no key in it has a larger number; see tops_correct */
    uint64_t tops_at;           /* the change at which those were corrected */
    VEC(uint8_t) known;   /* 1: the placement policy knows the node as it is; it sets it itself */
    bool followed;        /* that is as it was.. */
    uint64_t followed_at; /* ..at this change of the journal */

    VEC(struct node_kind) kinds;
    VEC(uint32_t) idle_first; /* by kind: the first idle node, or NODE_NONE */
    uint64_t kinds_idle;      /* a bit for each kind that has an idle node */
    VEC(struct score_segment) segments;
    VEC(uint32_t) segment_of;        /* by block */
    uint64_t version;                /* of the topology that the numbers are of */
    VEC(struct live_shape *) shapes; /* that have rows */
    struct slab rows;                /* side by side, in huge pages where they are large */
    size_t row_bytes;                /* of each; 0: there is none */
    size_t bytes;                    /* of all rows */
    size_t room_bytes;               /* of what gang_room.c remembers */
    uint64_t clock;                  /* counts searches */
    bool promised; /* a node of which something is promised has changed, or any node may have */
    struct journal journal;
};

/* ---- node_order.c -----------------------------------------------------------------------------
 */

/* Numbers the nodes and finds their kinds, if they changed since. */
void nodes_number(struct core *core);
/* Something that is held, claimed or promised of the node changed. */
void journal_note(struct live_node *node);
/* Up to JOURNAL_SOME changes, side by side in the ring. */
struct journal_word {
    size_t base;   /* of the first, in the ring */
    uint64_t last; /* a bit for each: it is among those asked for, and its node's last */
};
/* Some changes from change *at on, which moves behind them: there are none left when it is the end.
 */
static inline struct journal_word journal_word(const struct journal *journal, uint64_t *at)
{
    uint64_t first = *at % JOURNAL_SOME, begin = *at - first, left = journal->end - begin;
    uint64_t count = left < JOURNAL_SOME ? left : JOURNAL_SOME;
    struct journal_word word = {.base = begin % JOURNAL_MAX};
    word.last = journal->last[word.base / JOURNAL_SOME] & ~(uint64_t)0 << first &
                ~(uint64_t)0 >> (JOURNAL_SOME - count);
    *at = begin + count;
    return word;
}
/* The nodes of those, by ordinal; how many. */
static inline size_t journal_some(
    const struct journal *journal, uint64_t *at, uint32_t ret[static JOURNAL_SOME])
{
    struct journal_word word = journal_word(journal, at);
    size_t count = 0;
    for (; word.last; word.last &= word.last - 1)
        ret[count++] = journal->ring[word.base + (size_t)__builtin_ctzll(word.last)];
    return count;
}
/* Nodes came, went or changed: all is stale until they are numbered again. */
void journal_close(struct scores *scores);
/* From 1 to -1 nodes change on trial, and nobody searches. */
void journal_trial(struct core *core, int sign);
/* Whether there are so few kinds that nodes count as idle. */
static inline bool kinds_shared(const struct scores *scores)
{
    return scores->kinds.count <= KINDS_SHARED_MAX;
}
/* A bit for each kind whose nodes the shape matches: kinds are shared, nodes have numbers. */
uint64_t kinds_matching(const struct core *core, struct live_shape *shape);
/* What is free of the node, idle or not. */
struct node_free node_free_of(const struct live_node *node);
/* Brings up to date which nodes are idle, and what is free of the others. */
void nodes_follow(struct scores *scores);
/* Makes the blocks' tops the least again, if much changed since: they only grow with what follows.
 */
void tops_correct(struct scores *scores);
/* Whether the node takes work and nothing is held, claimed or promised of it. */
static inline bool idle_is(const struct scores *scores, uint32_t ordinal)
{
    return scores->idle.items[ordinal] & IDLE_NOW;
}
bool nodes_check(const struct core *core); /* for core_check */
/* Frees the lists; the rows were forgotten before. */
void scores_free(struct scores *scores);

/* ---- score.c ----------------------------------------------------------------------------------
 */

/* Whether one rank of the job may be placed by remembered scores; makes room for them. */
bool score_usable(struct core *core, const struct live_job *job);
/* The node that one rank of the job goes to, or NULL: as plan_make would find it by looking at all.
 * score_usable was asked since anything else was. */
struct live_node *score_best(struct core *core, const struct live_job *job);
void score_forget(struct core *core, struct live_shape *shape);
/* Forgets all rows, and frees their memory. */
void scores_forget(struct core *core);
bool score_check(const struct core *core, const struct live_shape *shape); /* for core_check */

/* ---- gang_room.c ------------------------------------------------------------------------------
 */

/* How many ranks the node has room for, by what is held and claimed of it alone. */
int32_t room_ranks(const struct shape_row *ask, const struct live_node *node);
/* Whether some pool has room for so many ranks of the shape, affinity, maintenance and promises
 * apart: false means that there is no plan. Remembered, so that it costs little where little has
 * changed; true also when there is no memory left to know it. */
bool gang_room_for(struct core *core, struct live_shape *shape, int64_t ranks);
/* Beside the ranks that a node has room for: who may use it goes by more than that. */
enum { ROOM_BOUND = 1 << 30 };
/* By ordinal, how many ranks of the shape each node has room for, with ROOM_BOUND, or a negative
 * number where it never fits; NULL where that is not known as things stand. */
const int32_t *gang_room_now(const struct core *core, const struct live_shape *shape);
void gang_room_forget(struct core *core, struct live_shape *shape);
bool gang_room_check(const struct core *core, const struct live_shape *shape); /* core_check */
