/* Dependencies. A job can only depend on one that exists already, so there are no cycles. A
 * dependency's row is retired when what it waited for has ended. */
#include "core/job.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

void dependency_link(struct core *core, struct live_dependency *dependency, struct live_job *job,
    struct live_job *on)
{
    assert(job && on && job != on);
    dependency->job = job;
    dependency->on = on;
    dependency->next_of_job = job->links->depends;
    job_link(core, job)->depends = dependency;
    dependency->next_of_on = on->links->dependents;
    job_link(core, on)->dependents = dependency;
}

void dependency_drop(struct core *core, struct live_dependency *dependency)
{
    LIST_REMOVE(job_link(core, dependency->job)->depends, dependency, next_of_job);
    LIST_REMOVE(job_link(core, dependency->on)->dependents, dependency, next_of_on);
    change_retire(core, &dependency->item);
}
