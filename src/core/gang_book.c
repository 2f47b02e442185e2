/* Offers of nodes to gangs that are the same, kept from one search of a pass to the next: each
 * search would begin by making the offers of all nodes, although the one before it has touched a
 * few.
 *
 * Invariant: of each node that has a page, the offer that would be made now is not better than what
 * stands there. So a greedy that makes what comes to its top again, and goes on if it became worse,
 * takes what it would have taken with all offers made anew.
 *
 * Offers change with the nodes, and with what teams hold against their guarantees. So they are kept
 * only while nothing but searches of such gangs happened, the nodes that one touched get their
 * offers made again, and gangs are left out that could take from their own team, by priority, or
 * whose team has others above it with a guarantee that their claims use up: for these a claim may
 * make somebody else's attempt free to go. What remains is a team that takes back what others
 * borrowed; there a claim only makes offers worse. */
#include "core/attempt.h"
#include "core/job.h"
#include "core/pool.h"
#include "core/search.h"
#include "core/shape.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

struct page {
    struct offer offers[2]; /* to searches that share and that do not */
    bool known[2];
    bool spent;
};

struct gang_book {
    const struct live_shape *shape;
    const struct live_team *team;
    int64_t time_limit_ms;
    int32_t priority;
    int32_t size;
    uint64_t at;      /* in the journal.. */
    uint64_t stirred; /* ..and what else changes: nothing has happened since */
    size_t count;
    struct page *pages; /* by candidate of the shape */
    struct idmap by_node;
};

void gang_book_destroy(struct gang_book *book)
{
    if (!book)
        return;
    idmap_finish(&book->by_node);
    free(book->pages);
    free(book);
}

static bool guaranteed_above(const struct live_team *team)
{
    for (team = team->parent; team; team = team->parent) {
        if (team->guaranteed)
            return true;
    }
    return false;
}

static bool may_be_kept(const struct core *core, const struct live_job *job)
{
    return !core->foresight_off && core->apart_shapes == 0 && !job->shape->near && !job_spot(job) &&
           !job->links->promises && core->scores.journal.open && core->yielding.count > 0 &&
           core->yielding.items[0].priority >= job->row.priority && !guaranteed_above(job->team);
}

static bool is_for(
    const struct gang_book *book, const struct core *core, const struct live_job *job)
{
    return book && book->shape == job->shape && book->team == job->team &&
           book->time_limit_ms == job->row.time_limit_ms && book->priority == job->row.priority &&
           book->size == job->row.size_min && book->stirred == core->stir_version &&
           book->at == core->scores.journal.end;
}

struct gang_book *gang_book_for(
    struct core *core, const struct live_job *job, struct gang_book *before)
{
    if (may_be_kept(core, job) && is_for(before, core, job))
        return before;
    gang_book_destroy(before);
    if (!may_be_kept(core, job))
        return NULL;
    struct gang_book *book = mem_alloc(1, sizeof *book);
    book->shape = job->shape;
    book->team = job->team;
    book->time_limit_ms = job->row.time_limit_ms;
    book->priority = job->row.priority;
    book->size = job->row.size_min;
    book->at = core->scores.journal.end;
    book->stirred = core->stir_version;
    book->count = job->shape->candidates.count;
    book->pages = mem_alloc(book->count + 1, sizeof *book->pages);
    for (size_t i = 0; i < book->count; i++)
        idmap_put(&book->by_node, job->shape->candidates.items[i]->row.id, &book->pages[i]);
    return book;
}

static void page_forget(struct gang_book *book, const struct live_node *node)
{
    struct page *page = node ? idmap_get(&book->by_node, node->row.id) : NULL;
    if (page)
        page->known[0] = page->known[1] = page->spent = false;
}

void gang_book_follow(struct gang_book *book, const struct core *core, const attempt_vec *victims)
{
    const struct journal *journal = &core->scores.journal;
    for (size_t i = 0; i < victims->count; i++) {
        const struct live_placement *one = victims->items[i]->placements;
        for (; one; one = one->next)
            page_forget(book, one->node);
    }
    /* More has changed than is remembered: it stays behind, and is not for the next search. */
    if (book->at < journal->begin)
        return;
    uint32_t changed[JOURNAL_SOME];
    for (uint64_t at = book->at; at < journal->end;) {
        size_t count = journal_some(journal, &at, changed);
        for (size_t i = 0; i < count; i++)
            page_forget(book, core->scores.nodes.items[changed[i]]);
    }
    book->at = journal->end;
    book->stirred = core->stir_version;
}

bool gang_book_read(const struct gang_book *book, size_t at, bool shared, struct offer *ret)
{
    assert(at < book->count);
    if (book->pages[at].known[shared])
        *ret = book->pages[at].offers[shared];
    return book->pages[at].known[shared];
}

void gang_book_write(struct gang_book *book, size_t at, bool shared, const struct offer *offer)
{
    assert(at < book->count);
    book->pages[at].offers[shared] = *offer;
    book->pages[at].known[shared] = true;
}

bool gang_book_spent(const struct gang_book *book, size_t at)
{
    assert(at < book->count);
    return book->pages[at].spent;
}

void gang_book_set_spent(struct gang_book *book, size_t at)
{
    assert(at < book->count);
    book->pages[at].spent = true;
}
