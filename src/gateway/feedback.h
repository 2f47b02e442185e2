/* Scores that clients post for answers they got: which request of which key went to which replica
 * on trial is remembered for a while, and a score counts at that replica.
 *
 * Each worker remembers its own requests, the last of each of FEEDBACK_PLACES places by the id's
 * hash; a score is asked of all workers, since it may come over another connection than the request
 * did. A request takes one score, of the key that it was asked with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct feedback;
struct usage_counts;
struct worker_view;

enum { FEEDBACK_PLACES = 1 << 14, FEEDBACK_SCORES = 11 };

/* Knows nothing yet. */
struct feedback *feedback_create(void);
void feedback_destroy(struct feedback *feedback); /* NULL is fine */
/* A request was answered; counts: of its replica, valid as long as the worker. */
void feedback_note(struct feedback *feedback, const char *request_id, const char *key_id,
    struct usage_counts *counts);
/* Counts a score (tenths) if the request is known and has none yet. Returns whether. */
bool feedback_score(
    struct feedback *feedback, const char *request_id, const char *key_id, int32_t tenths);
/* The same at all workers, some time later. */
void feedback_tell(
    struct worker_view *view, const char *request_id, const char *key_id, int32_t tenths);
