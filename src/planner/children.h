/* Questions under way: each in a child, which has the copy as it was when it was forked. At most
 * CHILDREN_MAX at once, of them one that tries a change, so that who asks why never waits for who
 * asks what if; others wait in a bounded queue; answers are kept for some seconds. */
#pragma once

#include "planner/answer.h"

#include <poll.h>

enum { CHILDREN_MAX = 2, CHILDREN_QUEUE_MAX = 64, CHILD_WALL_MS = 60000, CHILD_CPU_S = 40 };

struct children;

/* An answer is there: JSON, or NULL when the child died or there was no room. */
typedef void children_answer_fn(void *context, uint64_t number, const char *text, size_t length);

/* None are under way. The context goes to each answer. */
struct children *children_create(children_answer_fn *answer, void *context);
/* Kills what runs. NULL is fine. */
void children_destroy(struct children *children);
/* The same, and goes on empty: nobody waits for the answers any more. */
void children_forget(struct children *children);
/* Takes a question: it is answered from the memory of answers, or begun, or queued; or answered
 * with NULL at once when the queue is full. now_ms: a clock that does not go back. */
void children_ask(struct children *children, uint64_t number, const char *text, size_t length,
    const struct answer_state *state, int64_t now_ms);
/* Sets the descriptors to wait for; returns how many (at most CHILDREN_MAX). */
int children_poll(const struct children *children, struct pollfd fds[CHILDREN_MAX]);
/* Reads what came, ends what is overdue, begins what waits. */
void children_run(struct children *children, const struct answer_state *state, int64_t now_ms);
/* Until the next thing is overdue; -1: nothing is. */
int64_t children_due_ms(const struct children *children, int64_t now_ms);

struct children_stats {
    int64_t asked, remembered, failed;
    int64_t fork_ns; /* the last one took */
};
/* Figures since the beginning. */
void children_stats(const struct children *children, struct children_stats *ret);
