/* Preemption: making a place for a job that does not fit.
 *
 * By default the set of attempts goes that loses least of those compared. For one rank these are
 * the offers of all nodes (offer.c); for a gang greedy covers in each pool (search.c) and, where
 * that is cheap or attempts are on several nodes, what following the order of losses gives. Of the
 * sets found the one that loses least is taken, of
 * equals the smaller, of those the first. The other policies are the orders that most schedulers
 * have; attempts are taken in that order until the job fits, then put back, the last first, where
 * they were not needed.
 *
 * What is lost is attempt_loss, less where a checkpoint is waited for (patience.c). Attempts that
 * are stopping already go for nothing. A search changes the accounts of nodes and teams, and puts
 * back every change before anything is decided.
 *
 * Offers of nodes are kept in a book for a pass: a job like one before it takes the best again,
 * after a second look at that node alone. Within a pass teams only gain and nothing ends, so an
 * offer gets better only on a node of somebody who was told to stop, and those are looked at again;
 * one that got worse is found out when its turn comes. */
#include "core/preempt.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/search.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/team.h"

#include <assert.h>

/* ---- policies ---------------------------------------------------------------------------- */

static int by_loss(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct live_attempt *left = a, *right = b;
    int order = compare_i64(left->search_loss, right->search_loss);
    return order ? order : -compare_u64(left->row.id, right->row.id);
}

static int by_youth(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct live_attempt *left = a, *right = b;
    int order = -compare_i64(left->row.admitted_ms, right->row.admitted_ms);
    return order ? order : -compare_u64(left->row.id, right->row.id);
}

static int by_priority(const void *a, const void *b, const void *context)
{
    const struct live_attempt *left = a, *right = b;
    int order = compare_i64(left->job->row.priority, right->job->row.priority);
    return order ? order : by_youth(a, b, context);
}

static const struct victim_policy policies[] = {
    {"least-loss", "the set that loses least work", NULL},
    {"youngest-first", "who got its place last", by_youth},
    {"lowest-priority-first", "the lowest priority, of these the youngest", by_priority},
};

const struct victim_policy *victim_policy_find(const char *name)
{
    if (!name || !*name)
        return &policies[0];
    for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    }
    return NULL;
}

const char *core_victims_name(size_t i)
{
    return i < ARRAY_LEN(policies) ? policies[i].name : NULL;
}

/* ---- what was decided -------------------------------------------------------------------- */

struct verdict {
    attempt_vec victims;
    int64_t loss;
    struct search_nodes where; /* the place will be */
    bool found;
};

static void verdict_set(struct verdict *verdict, const attempt_vec *victims, int64_t loss,
    const struct search_nodes *where)
{
    verdict->found = true;
    verdict->loss = loss;
    verdict->where = *where;
    vec_clear(&verdict->victims);
    for (size_t i = 0; i < victims->count; i++)
        vec_push(&verdict->victims, victims->items[i]);
}

/* The place as it will be when the victims, and those that are stopping, are gone. */
static bool plan_verdict(
    struct core *core, struct live_job *job, const struct verdict *verdict, struct plan *plan)
{
    struct search search;
    search_open(&search, core, job, &verdict->where);
    for (size_t i = 0; i < verdict->victims.count; i++)
        search_take(&search, verdict->victims.items[i]);
    bool made =
        plan_make_pool(core, job, search.nodes, search.node_count, search.size, search.size, plan);
    search_close(&search);
    struct amounts amounts;
    if (made)
        plan_amounts(plan, job, &amounts);
    return made && quota_allows(job->team, &amounts);
}

static bool verdict_follow(struct core *core, struct live_job *job, const struct verdict *verdict)
{
    struct plan plan = {0};
    const attempt_vec *victims = &verdict->victims;
    bool found = verdict->found && !preempt_put_off(core, job, victims->items, victims->count);
    bool decided = found && plan_verdict(core, job, verdict, &plan);
    if (decided) {
        for (size_t i = 0; i < victims->count; i++)
            attempt_stop(core, victims->items[i], END_PREEMPTED, job);
        claims_make(core, job, &plan);
    }
    plan_finish(&plan);
    return decided;
}

/* ---- one rank ---------------------------------------------------------------------------- */

enum { BOOKS_MAX = 16 };

struct page {
    struct offer offer;
    struct live_node *node;
    size_t order;    /* of candidates */
    size_t position; /* in the heap */
};

/* Offers to jobs that are the same to a search. */
struct book {
    const struct live_shape *shape;
    const struct live_team *team;
    int64_t time_limit_ms;
    int64_t patient_ms;
    int32_t priority;
    int32_t spot; /* enum spot_place */
    struct page *pages;
    struct page **heap;
    size_t count;
    struct idmap by_node;
};

static bool page_before(const struct page *a, const struct page *b)
{
    if ((a->offer.gain > 0) != (b->offer.gain > 0))
        return a->offer.gain > 0;
    if (a->offer.loss != b->offer.loss)
        return a->offer.loss < b->offer.loss;
    if (a->offer.count != b->offer.count)
        return a->offer.count < b->offer.count;
    return a->order < b->order;
}

static void heap_set(struct book *book, size_t position, struct page *page)
{
    book->heap[position] = page;
    page->position = position;
}

static void heap_settle(struct book *book, struct page *page, size_t count)
{
    size_t at = page->position;
    for (; at > 0 && page_before(page, book->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_set(book, at, book->heap[(at - 1) / 2]);
    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        child += child + 1 < count && page_before(book->heap[child + 1], book->heap[child]);
        if (!page_before(book->heap[child], page))
            break;
        heap_set(book, at, book->heap[child]);
    }
    heap_set(book, at, page);
}

static void book_destroy(struct book *book)
{
    free(book->pages);
    free(book->heap);
    idmap_finish(&book->by_node);
    free(book);
}

void preempt_books_finish(struct preempt_books *books)
{
    for (size_t i = 0; i < books->list.count; i++)
        book_destroy(books->list.items[i]);
    vec_free(&books->list);
    gang_book_destroy(books->gangs);
    books->gangs = NULL;
}

/* Whether what holds for one job of the shape holds for all. */
static bool book_lasts(const struct core *core, const struct live_job *job)
{
    return core->apart_shapes == 0 && !job->shape->near;
}

static struct book *book_find(
    const struct preempt_books *books, const struct live_job *job, const struct victim_rules *rules)
{
    for (size_t i = 0; i < books->list.count; i++) {
        struct book *book = books->list.items[i];
        if (book->shape == job->shape && book->team == job->team &&
            book->time_limit_ms == job->row.time_limit_ms && book->priority == job->row.priority &&
            book->patient_ms == rules->patient_ms && book->spot == job_spot(job))
            return book;
    }
    return NULL;
}

static struct book *book_make(struct core *core, struct live_job *job, struct victim_rules *rules)
{
    struct live_shape *shape = job->shape;
    struct book *book = mem_alloc(1, sizeof *book);
    book->shape = shape;
    book->team = job->team;
    book->time_limit_ms = job->row.time_limit_ms;
    book->priority = job->row.priority;
    book->patient_ms = rules->patient_ms;
    book->spot = job_spot(job);
    book->count = shape->candidates.count;
    book->pages = mem_alloc(book->count + 1, sizeof *book->pages);
    book->heap = mem_alloc(book->count + 1, sizeof *book->heap);
    for (size_t i = 0; i < book->count; i++) {
        struct page *page = &book->pages[i];
        page->node = shape->candidates.items[i];
        page->order = i;
        page->offer = offer_make(core, rules, page->node, 1, false, NULL);
        idmap_put(&book->by_node, page->node->row.id, page);
        page->position = i;
        heap_settle(book, page, i + 1);
    }
    return book;
}

/* The page with the best offer, whose attempts go to `victims`, or NULL. */
static struct page *book_best(
    struct core *core, struct book *book, struct victim_rules *rules, attempt_vec *victims)
{
    while (book->count && book->heap[0]->offer.gain > 0) {
        struct page *page = book->heap[0];
        struct offer was = page->offer;
        page->offer = offer_make(core, rules, page->node, 1, false, victims);
        heap_settle(book, page, book->count);
        bool worse =
            page->offer.gain <= 0 || page->offer.loss > was.loss || page->offer.count > was.count;
        if (!worse)
            return page;
    }
    return NULL;
}

/* Others may now have the place of those that were told to stop for nothing. */
static void book_renew(struct core *core, struct book *book, struct victim_rules *rules,
    const struct live_attempt *stopped)
{
    for (const struct live_placement *one = stopped->placements; one; one = one->next) {
        struct page *page = idmap_get(&book->by_node, one->node->row.id);
        if (!page)
            continue;
        page->offer = offer_make(core, rules, page->node, 1, false, NULL);
        heap_settle(book, page, book->count);
    }
}

static struct book *book_add(struct core *core, struct live_job *job, struct preempt_books *books,
    struct victim_rules *rules)
{
    struct book *book = book_make(core, job, rules);
    if (books->list.count == BOOKS_MAX) {
        book_destroy(books->list.items[0]);
        vec_remove(&books->list, 0);
    }
    vec_push(&books->list, book);
    return book;
}

static void search_book(
    struct core *core, struct book *book, struct victim_rules *rules, struct verdict *verdict)
{
    struct page *page = book_best(core, book, rules, &verdict->victims);
    core->wake_ms = least(core->wake_ms, rules->protected_ms);
    verdict->found = page != NULL;
    verdict->where = (struct search_nodes){.nodes = page ? &page->node : NULL, .count = 1};
}

static bool preempt_one(
    struct core *core, struct live_job *job, struct preempt_books *books, bool *ret_cheap)
{
    struct victim_rules rules;
    victim_rules_init(&rules, core, job);
    struct book *book = book_lasts(core, job) ? book_find(books, job, &rules) : NULL;
    *ret_cheap = book != NULL;
    if (!book)
        book = book_add(core, job, books, &rules);
    struct verdict verdict = {0};
    search_book(core, book, &rules, &verdict);
    bool decided = verdict_follow(core, job, &verdict);
    for (size_t i = 0; decided && i < verdict.victims.count; i++)
        book_renew(core, book, &rules, verdict.victims.items[i]);
    vec_free(&verdict.victims);
    return decided;
}

/* ---- gangs, and policies that follow an order -------------------------------------------- */

static void judge(struct search *search, struct verdict *verdict)
{
    const struct search_nodes where = {
        search->nodes, search->node_count, search->first, search->book};
    if (!search_fits(search) || !search_holds(search))
        return;
    int64_t loss = search_loss(search);
    bool better = !verdict->found || loss < verdict->loss ||
                  (loss == verdict->loss && search->chosen.count < verdict->victims.count);
    if (better)
        verdict_set(verdict, &search->chosen, loss, &where);
}

/* Everything in the pool that may go, in that order. */
static void victims_sorted(struct search *search, order_fn *order, attempt_vec *ret)
{
    struct core *core = search->core;
    uint64_t mark = ++core->mark;
    for (size_t i = 0; i < search->node_count; i++) {
        const struct live_node *node = search->nodes[i];
        for (size_t p = 0; p < node->placements.count; p++) {
            struct live_attempt *attempt = node->placements.items[p]->attempt;
            if (attempt->mark == mark || attempt->away)
                continue;
            attempt->mark = mark;
            attempt->search_loss = victim_cost(core, &search->rules, attempt);
            if (victim_allowed(core, &search->rules, attempt))
                vec_push(ret, attempt);
        }
    }
    sort_pointers((void **)ret->items, ret->count, order, NULL);
}

static void try_order(struct search *search, order_fn *order, struct verdict *verdict)
{
    attempt_vec victims = {0};
    victims_sorted(search, order, &victims);
    search_follow(search, victims.items, victims.count);
    if (search_fits(search))
        search_prune(search, order);
    judge(search, verdict);
    search_clear(search);
    vec_free(&victims);
}

static void try_greedy(struct search *search, bool shared, struct verdict *verdict)
{
    search_greedy(search, shared);
    if (search_fits(search))
        search_prune(search, by_loss);
    judge(search, verdict);
    search_clear(search);
}

enum { FEW_NODES = 64 };

static void search_pool(struct core *core, struct live_job *job, const struct search_nodes *where,
    struct verdict *verdict)
{
    struct search search;
    size_t count = where->count;
    order_fn *order = core->victim_policy->order;
    search_open(&search, core, job, where);
    if (search_fits(&search)) {
        judge(&search, verdict);
    } else if (order) {
        /* Pools are not compared: the first in which it can be done. */
        if (!verdict->found)
            try_order(&search, order, verdict);
    } else if (search_possible(&search)) {
        try_greedy(&search, false, verdict);
        if (search.wide)
            try_greedy(&search, true, verdict);
        if (search.wide || count <= FEW_NODES)
            try_order(&search, by_loss, verdict);
    }
    core->wake_ms = least(core->wake_ms, search.rules.protected_ms);
    search_close(&search);
}

/* The book that the search went by, if any, is in `books`. */
static void search_pools(
    struct core *core, struct live_job *job, struct preempt_books *books, struct verdict *verdict)
{
    nodes_number(core);
    struct gang_book *book = books->gangs = gang_book_for(core, job, books->gangs);
    struct live_node *const *nodes = job->shape->candidates.items;
    size_t count = job->shape->candidates.count;
    for (size_t begin = 0, end; begin < count; begin = end) {
        end = plan_pool_end(core, job->shape, nodes, begin, count);
        struct search_nodes where = {nodes + begin, end - begin, begin, book};
        search_pool(core, job, &where, verdict);
    }
}

static bool preempt_pools(struct core *core, struct live_job *job, struct preempt_books *books)
{
    struct verdict verdict = {0};
    search_pools(core, job, books, &verdict);
    bool decided = verdict_follow(core, job, &verdict);
    if (decided && books->gangs)
        gang_book_follow(books->gangs, core, &verdict.victims);
    vec_free(&verdict.victims);
    return decided;
}

static bool looks_in_pools(const struct core *core, const struct live_job *job)
{
    return job->row.size_min > 1 || core->victim_policy->order;
}

bool preempt_for(
    struct core *core, struct live_job *job, struct preempt_books *books, bool *ret_cheap)
{
    assert(!job->attempt && !job->links->claims && !core->claiming);
    shape_candidates(core, job->shape);
    core->claiming = true;
    *ret_cheap = false;
    bool decided = looks_in_pools(core, job) ? preempt_pools(core, job, books)
                                             : preempt_one(core, job, books, ret_cheap);
    core->claiming = false;
    return decided;
}

void preempt_awaited(struct core *core, struct live_job *job, struct awaited *ret)
{
    struct victim_rules rules;
    *ret = (struct awaited){.due_ms = MOMENT_NEVER};
    victim_rules_init(&rules, core, job);
    if (!job->row.put_off_s || rules.patient_ms <= core->now_ms)
        return;
    assert(!job->attempt && !job->links->claims && !core->claiming);
    struct preempt_books books = {0};
    struct verdict verdict = {0};
    int64_t wake_ms = core->wake_ms;
    shape_candidates(core, job->shape);
    core->claiming = true;
    if (looks_in_pools(core, job))
        search_pools(core, job, &books, &verdict);
    else
        search_book(core, book_add(core, job, &books, &rules), &rules, &verdict);
    core->claiming = false;
    core->wake_ms = wake_ms;
    if (verdict.found)
        victims_awaited(core, &rules, verdict.victims.items, verdict.victims.count, ret);
    vec_free(&verdict.victims);
    preempt_books_finish(&books);
}
