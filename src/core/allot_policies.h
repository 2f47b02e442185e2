/* What the table of allotment policies names: each decides a round, see allot.h. */
#pragma once

struct allot_round;

/* Tiresias (Gu et al., NSDI 2019), discretised 2D-LAS with two queues: allot_tiresias.c. */
void allot_tiresias(struct allot_round *round);
/* Devices to whom they bring nearest to their end; the second does not look at the work that jobs
 * say is left: allot_elastic.c. */
void allot_elastic(struct allot_round *round);
void allot_elastic_attained(struct allot_round *round);
/* Finish-time fairness with makespan and completion times: allot_fairness.c. */
void allot_fairness(struct allot_round *round);
/* Deadlines, promised and kept: allot_deadline.c. */
void allot_deadline(struct allot_round *round);
/* ElasticFlow (Gu et al., ASPLOS 2023): allot_deadline.c. */
void allot_elasticflow(struct allot_round *round);
/* Earliest deadline first, with all the ranks a job can use: allot_baseline.c. */
void allot_edf(struct allot_round *round);
/* Max-min fairness over accelerators' time, as Gavel has it (Narayanan et al., OSDI 2020) where
 * there is one type of them: allot_baseline.c. */
void allot_max_min(struct allot_round *round);
/* Gandiva-fair's equal shares of time (Chaudhary et al., EuroSys 2020): allot_baseline.c. */
void allot_gandiva_fair(struct allot_round *round);
