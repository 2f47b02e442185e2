/* A preemption search: which attempts to take away so that a job fits, tried on the accounts of
 * nodes and teams, all of which are put back before anything is decided. */
#pragma once

#include "base/vec.h"
#include "core/preempt.h"
#include "core/sort.h"

typedef VEC(struct live_attempt *) attempt_vec;

/* ---- offer.c: one node ------------------------------------------------------------------------
 */

/* What it takes to make room on a node. */
struct offer {
    int64_t loss;  /* of the attempts that go; with `shared`, the node's part of it */
    int32_t gain;  /* ranks that come free; 0: nothing can be done */
    int32_t count; /* attempts that go */
};

/* The attempts that lose least among those compared, so that one more rank than now fits the node.
 * Attempts that are stopping already go for nothing. With `shared` an attempt that is on several
 * nodes counts for its part on this one. The attempts are left in `taken` (may be NULL). */
struct offer offer_make(struct core *core, struct victim_rules *rules, struct live_node *node,
    int32_t size, bool shared, attempt_vec *taken);
/* How many ranks, at most `size`, fit the node when everything that may go is gone. */
int32_t offer_reach(
    struct core *core, struct victim_rules *rules, struct live_node *node, int32_t size);
/* Negative when a is the better one: less loss for each rank, then fewer attempts; 0: equal. */
int offer_compare(const struct offer *a, const struct offer *b);

/* ---- gang_book.c: offers kept between searches ------------------------------------------------
 */

struct gang_book;
/* The book for a search for the job: `before`, if nothing but what it was told happened since it
 * was made for such a job, else a new one, empty; NULL when its offers can not be kept. `before`
 * (may be NULL) is gone unless it is what is returned. */
struct gang_book *gang_book_for(
    struct core *core, const struct live_job *job, struct gang_book *before);
/* After a search has stopped these attempts and made its claims. */
void gang_book_follow(struct gang_book *book, const struct core *core, const attempt_vec *victims);
/* The offer of the shape's candidate `at`, with nothing taken away yet; false: it is not there. */
bool gang_book_read(const struct gang_book *book, size_t at, bool shared, struct offer *ret);
void gang_book_write(struct gang_book *book, size_t at, bool shared, const struct offer *offer);
/* That nothing can come of the candidate, whoever goes: its room is claimed already. */
bool gang_book_spent(const struct gang_book *book, size_t at);
void gang_book_set_spent(struct gang_book *book, size_t at);
void gang_book_destroy(struct gang_book *book); /* NULL is fine */

/* ---- search.c: a gang in a pool ---------------------------------------------------------------
 */

/* Nodes of one pool that match, from candidate `first` of the shape on. */
struct search_nodes {
    struct live_node *const *nodes;
    size_t count, first;
    struct gang_book *book; /* or NULL */
};

struct search {
    struct core *core;
    struct live_job *job;
    struct victim_rules rules;
    struct live_node *const *nodes; /* of one pool, that match */
    size_t node_count;
    int32_t *caps; /* ranks that fit each of them now */
    int64_t total;
    int32_t size;           /* ranks wanted */
    uint64_t mark;          /* that its nodes bear */
    bool wide;              /* some attempt in the pool is on several nodes */
    struct gang_book *book; /* of offers that were made before, or NULL.. */
    size_t first;           /* ..and the page of its first node */
    bool *spent;            /* of each node: whoever is there is stopping */
    attempt_vec leaving;    /* stopping already */
    attempt_vec chosen;     /* away on trial */
};

/* Begins a search for the job in these nodes; those that are stopping already are away. Nothing
 * else may change nodes or teams until search_close, which puts everything back. */
void search_open(struct search *search, struct core *core, struct live_job *job,
    const struct search_nodes *where);
/* Puts back everything. */
void search_close(struct search *search);
/* Whether all ranks fit, with what is away. */
bool search_fits(const struct search *search);
/* Takes one more away. */
void search_take(struct search *search, struct live_attempt *attempt);
/* Puts back everything that was taken. */
void search_clear(struct search *search);
/* Whether the gang could fit if everything that may go went. */
bool search_possible(struct search *search);
/* Takes attempts away, node by node, until the gang fits or nothing more can be done. */
void search_greedy(struct search *search, bool shared);
/* Takes them in that order. */
void search_follow(struct search *search, struct live_attempt *const *order, size_t count);
/* Puts back, the last in that order first, whatever is not needed. */
void search_prune(struct search *search, order_fn *order);
/* Whether nobody of those taken could take the place back at once. */
bool search_holds(const struct search *search);
int64_t search_loss(const struct search *search);
