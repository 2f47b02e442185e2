/* Live jobs by team and name: lists of those whose keys' hashes end alike, about one in each,
 * linked through the jobs themselves. A map from keys to jobs would take twice the memory, and
 * there is one of these for each live job. Which job of a list is in front decides nothing: keys
 * differ. */
#include "core/job.h"
#include "core/state.h"

/* Multiplicative, by the golden ratio: names' symbols follow each other, teams differ far above. */
static struct live_job **list_of(const struct job_index *index, uint64_t key)
{
    uint64_t hash = (key ^ key >> 32) * 0x9e3779b97f4a7c15;
    return &index->lists[hash >> 32 & (index->capacity - 1)];
}

static void put(const struct job_index *index, struct live_job *job)
{
    struct live_job **list = list_of(index, name_key(job->team, job->row.name));
    job->name_next = *list;
    *list = job;
}

static void index_grow(struct job_index *index)
{
    enum { LISTS_MIN = 64 };
    struct job_index old = *index;
    index->capacity = old.capacity ? old.capacity * 2 : LISTS_MIN;
    index->lists = mem_alloc(index->capacity, sizeof *index->lists);
    for (size_t i = 0; i < old.capacity; i++) {
        for (struct live_job *job = old.lists[i], *next; job; job = next) {
            next = job->name_next;
            put(index, job);
        }
    }
    free(old.lists);
}

struct live_job *job_named(const struct core *core, const struct live_team *team, uint32_t name)
{
    const struct job_index *index = &core->jobs_by_name;
    struct live_job *job = index->count ? *list_of(index, name_key(team, name)) : NULL;
    while (job && (job->team != team || job->row.name != name))
        job = job->name_next;
    return job;
}

void job_name_put(struct core *core, struct live_job *job)
{
    struct job_index *index = &core->jobs_by_name;
    assert(!job_named(core, job->team, job->row.name));
    if (index->count++ == index->capacity)
        index_grow(index);
    put(index, job);
}

void job_name_remove(struct core *core, struct live_job *job)
{
    struct job_index *index = &core->jobs_by_name;
    LIST_REMOVE(*list_of(index, name_key(job->team, job->row.name)), job, name_next);
    index->count--;
}
