/* What can be fed to a core, as data: a step's inputs can be printed, and given to two cores. */
#pragma once

#include "base/prng.h"
#include "base/strbuf.h"
#include "core/core.h"

enum input_kind {
    INPUT_POOL_PUT,
    INPUT_POOL_DELETE,
    INPUT_TEAM_PUT,
    INPUT_TEAM_DELETE,
    INPUT_JOB_SUBMIT,
    INPUT_JOB_CANCEL,
    INPUT_JOB_HOLD,
    INPUT_JOB_RELEASE,
    INPUT_JOB_PROGRESS,
    INPUT_FORECAST,
    INPUT_FORECAST_EXPECT,
    INPUT_NODE_WISH,
    INPUT_NODE_RESERVE,
    INPUT_SERVICE_PUT,
    INPUT_SERVICE_DELETE,
    INPUT_SERVICE_SCALE,
    INPUT_ROLLOUT,
    INPUT_REPLICA_SUBMIT,
    INPUT_REPLICA_REFUSED,
    INPUT_ATTEMPT_REPORT,
    INPUT_NODE_REPORT,
    INPUT_REPLICA_REPORT,
    INPUT_EVIDENCE,
};

struct sim_input {
    enum input_kind kind;
    struct pool pool; /* POOL_PUT */
    struct team team; /* TEAM_PUT */
    struct job job;   /* JOB_SUBMIT, REPLICA_SUBMIT */
    const char *name; /* POOL_DELETE, TEAM_DELETE, SERVICE_PUT */
    uint64_t id; /* JOB_CANCEL, _HOLD, _RELEASE, _PROGRESS, SERVICE_DELETE, ROLLOUT (the service),
                    REPLICA_REPORT and EVIDENCE (the job) */
    char pool_name[64]; /* NODE_* */
    char node_name[64];
    enum node_wish wish;           /* NODE_WISH */
    int64_t begin_ms, end_ms;      /* NODE_RESERVE */
    struct core_report report;     /* ATTEMPT_REPORT */
    bool up;                       /* NODE_REPORT */
    struct core_progress progress; /* JOB_PROGRESS, of the job id */
    struct core_forecast forecast; /* FORECAST */
    int64_t wait_ms;               /* FORECAST_EXPECT */
    struct core_service service;   /* SERVICE_PUT */
    int32_t replicas;              /* SERVICE_SCALE, of the service id */
    enum rollout_command rollout;  /* ROLLOUT */
    struct core_wanted wanted;     /* REPLICA_SUBMIT, _REFUSED */
    uint64_t attempt;              /* REPLICA_REPORT */
    enum replica_report found;
    struct core_evidence evidence; /* EVIDENCE */
};

struct sim_answer {
    int result;   /* of a command: 0 or -1 */
    bool changed; /* of a report */
    uint64_t id;  /* JOB_SUBMIT, REPLICA_SUBMIT, SERVICE_PUT */
    struct error error;
};

static inline bool sim_input_is_report(const struct sim_input *input)
{
    return input->kind >= INPUT_ATTEMPT_REPORT;
}

/* Gives the input to the core. */
void sim_input_apply(
    struct core *core, const struct sim_input *input, struct sim_answer *ret_answer);
/* One line without its end. */
void sim_input_print(
    const struct sim_input *input, const struct sim_answer *answer, struct strbuf *out);

/* True in `thousandths` of 1000 cases. */
static inline bool sim_chance(struct prng *prng, int64_t thousandths)
{
    return (int64_t)prng_below(prng, 1000) < thousandths;
}

/* A number from low to high, both included. */
static inline int64_t sim_between(struct prng *prng, int64_t low, int64_t high)
{
    return high <= low ? low : low + (int64_t)prng_below(prng, (uint64_t)(high - low) + 1);
}
