/* Arrays: jobs submitted together, of which at most `parallel` are active at once. The array itself
 * has no row: its id is the first element's, its name that of its elements without the index, which
 * it keeps as a symbol. It lives as long as one of them. */
#include "core/core.h"
#include "core/job.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/team.h"

#include <assert.h>
#include <stdio.h>

struct live_array *array_find(const struct core *core, const struct live_team *team, uint32_t name)
{
    return name ? idmap_get(&core->arrays_by_name, name_key(team, name)) : NULL;
}

/* The element's name without "[<index>]". */
static uint32_t array_name(struct core *core, const struct live_job *job)
{
    char text[256];
    snprintf(text, sizeof text, "%s", core_symbol(core, job->row.name));
    char *bracket = strrchr(text, '[');
    if (!bracket)
        return 0;
    *bracket = '\0';
    return symbol_find(core, text);
}

bool array_join(struct core *core, struct live_job *job)
{
    struct live_array *array = idmap_get(&core->arrays, job->row.array);
    if (!array) {
        uint32_t name = array_name(core, job);
        if (!name)
            return false;
        array = mem_alloc(1, sizeof *array);
        array->id = job->row.array;
        array->team = job->team;
        array->parallel = job->row.array_parallel;
        array->name = name;
        symbol_hold(core, name);
        idmap_put(&core->arrays, array->id, array);
        idmap_put(&core->arrays_by_name, name_key(array->team, array->name), array);
    }
    array->live++;
    job->array = array;
    return true;
}

void array_leave(struct core *core, struct live_job *job)
{
    struct live_array *array = job->array;
    if (!array)
        return;
    job->array = NULL;
    assert(array->live > 0);
    if (--array->live)
        return;
    idmap_remove(&core->arrays, array->id);
    idmap_remove(&core->arrays_by_name, name_key(array->team, array->name));
    symbol_release(core, array->name, false);
    free(array);
}

void array_count(struct live_job *job, int sign)
{
    if (!job->array)
        return;
    job->array->active += sign;
    assert(job->array->active >= 0);
}
