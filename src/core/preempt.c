#include "core/core_state.h"

bool preempt_for(struct core *core, struct live_job *job)
{
    (void)core;
    (void)job;
    return false;
}
