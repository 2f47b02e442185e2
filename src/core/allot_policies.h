/* What the table of allotment policies names: each decides a round, see allot.h. */
#pragma once

struct allot_round;

/* Tiresias (Gu et al., NSDI 2019), discretised 2D-LAS with two queues: allot_tiresias.c. */
void allot_tiresias(struct allot_round *round);
