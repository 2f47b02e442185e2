/* A counter of one limit: how much was admitted in a sliding window, or how much is under way. Any
 * number of threads use it at once, without a lock; time comes in as a parameter.
 *
 * A window is cut into 15 slots; a counter keeps 16, in two cache lines, of which one is written.
 * What was taken counts until its whole slot has left the window, so that over no stretch of the
 * window's length, wherever it begins, more than the limit is admitted. The price: an amount comes
 * back up to a 15th of the window late.
 *
 * Why not the usual ways. A token bucket (GCRA) is one word, but admits up to twice its size in a
 * window. So do two fixed windows of the clock; weighing the two estimates a sliding window, and is
 * wrong both ways by up to what the one before had in one burst.
 *
 * To take is to add first and to look then: of several that would go above the limit together, the
 * one that added last sees all of the others. So what is admitted never goes above the limit;
 * where amounts meet right at it, both may be refused. */
#pragma once

#include "spec/kinds.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LIMIT_SLOTS = 16 };
/* More than this is in no slot, and no limit. */
#define LIMIT_AMOUNT_MAX (((int64_t)1 << 40) - 1)

/* Each slot: the number of its stretch of time in the upper 24 bits, the amount in the lower 40.
 * Zeroed: nothing was taken. */
struct limit_cell {
    _Alignas(64) atomic_uint_fast64_t slots[LIMIT_SLOTS];
};

/* What was taken, and when: needed to give it back. */
struct limit_mark {
    int64_t amount;
    uint32_t stretch;
};

/* The length of a slot of the window, which is not LIMIT_NOW. */
int64_t limit_slot_ms(enum limit_window window);
/* What counts at that moment. now_ms: wall clock, 0 or more. */
int64_t limit_cell_used(const struct limit_cell *cell, enum limit_window window, int64_t now_ms);
/* Takes the amount, unless more than `most` would then count. amount: 0 to LIMIT_AMOUNT_MAX. */
bool limit_cell_take(struct limit_cell *cell, enum limit_window window, int64_t most,
    int64_t amount, int64_t now_ms, struct limit_mark *ret_mark);
/* Takes it whatever counts then: it has been used already. */
void limit_cell_add(struct limit_cell *cell, enum limit_window window, int64_t amount,
    int64_t now_ms, struct limit_mark *ret_mark);
/* Gives back part of what was taken, or all; what has left the window meanwhile is gone. */
void limit_cell_give(struct limit_cell *cell, enum limit_window window,
    const struct limit_mark *mark, int64_t amount);
/* Milliseconds until the amount can be taken, if nobody takes anything meanwhile: 0 is now, -1
 * never (it is above the limit) or, for LIMIT_NOW, not known. */
int64_t limit_cell_wait_ms(const struct limit_cell *cell, enum limit_window window, int64_t most,
    int64_t amount, int64_t now_ms);
/* Milliseconds until nothing counts, if nothing more is taken. 0 for LIMIT_NOW. */
int64_t limit_cell_reset_ms(
    const struct limit_cell *cell, enum limit_window window, int64_t now_ms);
