/* A gang in a pool: which attempts to take away so that all its ranks fit.
 *
 * Greedy over nodes: of all nodes the one whose offer (offer.c) costs least for each rank that
 * comes free is taken, and the offers of the nodes that this touched are made again; this is the
 * greedy rule for covering. A heap keeps the order; an offer that was made before others were taken
 * is made again when it comes to the top. Then whatever is not needed is put back, dearest first.
 *
 * An attempt on many nodes frees them all: whether it is charged to the first node that wants it or
 * shared among its nodes makes two different sets, and the caller compares them. The cost goes by
 * the placements in the pool and not by their square. */
#include "core/search.h"
#include "core/attempt.h"
#include "core/job.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

/* ---- the trial --------------------------------------------------------------------------- */

static void recount(struct search *search, struct live_node *node)
{
    if (node->search_mark != search->mark)
        return;
    int32_t cap = fit_ranks(search->core, search->job, node, search->size);
    search->total += cap - search->caps[node->search_at];
    search->caps[node->search_at] = cap;
}

static void move(struct search *search, struct live_attempt *attempt, bool away)
{
    attempt_set_away(attempt, away);
    for (struct live_placement *one = attempt->placements; one; one = one->next)
        recount(search, one->node);
}

void search_take(struct search *search, struct live_attempt *attempt)
{
    move(search, attempt, true);
    victim_choose(attempt, 1);
    attempt->search_at = search->chosen.count;
    attempt->search_loss = victim_cost(search->core, &search->rules, attempt);
    vec_push(&search->chosen, attempt);
}

static void put_back(struct search *search, struct live_attempt *attempt)
{
    struct live_attempt *last = search->chosen.items[--search->chosen.count];
    search->chosen.items[attempt->search_at] = last;
    last->search_at = attempt->search_at;
    move(search, attempt, false);
    victim_choose(attempt, -1);
}

void search_clear(struct search *search)
{
    while (search->chosen.count)
        put_back(search, search->chosen.items[search->chosen.count - 1]);
}

bool search_fits(const struct search *search)
{
    return search->total >= search->size;
}

static bool is_here_alone(const struct live_attempt *attempt, const struct live_node *node)
{
    const struct live_placement *one = attempt->placements;
    while (one && one->node == node)
        one = one->next;
    return !one;
}

/* Returns whether everybody there is stopping, and nowhere else. */
static bool collect_leaving(struct search *search, const struct live_node *node)
{
    bool all = true;
    for (size_t p = 0; p < node->placements.count; p++) {
        struct live_attempt *attempt = node->placements.items[p]->attempt;
        search->wide |= attempt->placements->node != node;
        all = all && attempt->row.stop_reason != END_NONE && is_here_alone(attempt, node);
        if (attempt->row.stop_reason == END_NONE || attempt->mark == search->mark)
            continue;
        attempt->mark = search->mark;
        vec_push(&search->leaving, attempt);
    }
    return all;
}

/* What those leave who are stopping is taken, and nobody else can be: nothing can come of the node.
 */
static void note_spent(struct search *search, size_t at)
{
    if (search->book && search->caps[at] == 0 && search->spent[at])
        gang_book_set_spent(search->book, search->first + at);
}

void search_open(struct search *search, struct core *core, struct live_job *job,
    const struct search_nodes *where)
{
    size_t count = where->count;
    *search = (struct search){.core = core,
        .job = job,
        .nodes = where->nodes,
        .node_count = count,
        .book = where->book,
        .first = where->first};
    search->size = job->row.size_min;
    search->mark = ++core->mark;
    search->caps = mem_alloc(count, sizeof *search->caps);
    search->spent = mem_alloc(count, sizeof *search->spent);
    victim_rules_init(&search->rules, core, job);
    journal_trial(core, 1);
    for (size_t i = 0; i < count; i++) {
        struct live_node *node = search->nodes[i];
        node->search_mark = search->mark;
        node->search_at = i;
        if (search->book && gang_book_spent(search->book, search->first + i))
            continue;
        recount(search, node);
        search->spent[i] = collect_leaving(search, node);
    }
    for (size_t i = 0; i < search->leaving.count; i++)
        move(search, search->leaving.items[i], true);
    for (size_t i = 0; i < count; i++)
        note_spent(search, i);
}

void search_close(struct search *search)
{
    search_clear(search);
    for (size_t i = search->leaving.count; i-- > 0;)
        move(search, search->leaving.items[i], false);
    journal_trial(search->core, -1);
    free(search->caps);
    free(search->spent);
    vec_free(&search->leaving);
    vec_free(&search->chosen);
}

bool search_possible(struct search *search)
{
    int64_t reach = 0;
    for (size_t i = 0; i < search->node_count && reach < search->size; i++) {
        if (search->book && gang_book_spent(search->book, search->first + i))
            continue;
        reach += offer_reach(search->core, &search->rules, search->nodes[i], search->size);
    }
    return reach >= search->size;
}

/* ---- greedy ------------------------------------------------------------------------------ */

struct entry {
    struct offer offer;
    size_t node;     /* of the search */
    size_t position; /* in the heap */
    size_t made_at;  /* attempts that were taken then */
};

struct greedy {
    struct search *search;
    bool shared;
    struct entry *entries;
    struct entry **heap;
    size_t count;
};

static bool before(const struct entry *a, const struct entry *b)
{
    int order = offer_compare(&a->offer, &b->offer);
    return order ? order < 0 : a->node < b->node;
}

static void heap_set(struct greedy *greedy, size_t position, struct entry *entry)
{
    greedy->heap[position] = entry;
    entry->position = position;
}

static void heap_settle(struct greedy *greedy, struct entry *entry)
{
    size_t at = entry->position;
    for (; at > 0 && before(entry, greedy->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_set(greedy, at, greedy->heap[(at - 1) / 2]);
    for (size_t child; (child = at * 2 + 1) < greedy->count; at = child) {
        child += child + 1 < greedy->count && before(greedy->heap[child + 1], greedy->heap[child]);
        if (!before(greedy->heap[child], entry))
            break;
        heap_set(greedy, at, greedy->heap[child]);
    }
    heap_set(greedy, at, entry);
}

static void entry_set(struct greedy *greedy, struct entry *entry, struct offer offer)
{
    const struct search *search = greedy->search;
    entry->offer = offer;
    /* More ranks than are wanted are worth nothing. */
    entry->offer.gain = (int32_t)least(offer.gain, search->size - search->total);
}

static void entry_make(struct greedy *greedy, struct entry *entry, attempt_vec *taken)
{
    struct search *search = greedy->search;
    struct offer offer = offer_make(search->core, &search->rules, search->nodes[entry->node],
        search->size, greedy->shared, taken);
    if (search->book && !search->chosen.count)
        gang_book_write(search->book, search->first + entry->node, greedy->shared, &offer);
    entry_set(greedy, entry, offer);
    entry->made_at = search->chosen.count;
}

/* Nothing is taken yet: what a search before it found is as good as new, or better than it is. */
static void entry_recall(struct greedy *greedy, struct entry *entry)
{
    const struct search *search = greedy->search;
    struct offer offer;
    bool known = search->book &&
                 gang_book_read(search->book, search->first + entry->node, greedy->shared, &offer);
    if (!known) {
        entry_make(greedy, entry, NULL);
        return;
    }
    entry_set(greedy, entry, offer);
    entry->made_at = SIZE_MAX;
}

static void greedy_open(struct greedy *greedy)
{
    struct search *search = greedy->search;
    greedy->entries = mem_alloc(search->node_count, sizeof *greedy->entries);
    greedy->heap = mem_alloc(search->node_count, sizeof *greedy->heap);
    for (size_t i = 0; i < search->node_count; i++) {
        struct entry *entry = &greedy->entries[i];
        entry->node = i;
        entry_recall(greedy, entry);
        entry->position = greedy->count;
        greedy->heap[greedy->count++] = entry;
        heap_settle(greedy, entry);
    }
}

/* Takes them away, and makes the offers of all nodes that they were on again: these have become
 * better, which the heap would not notice by itself. */
static void greedy_take(struct greedy *greedy, const attempt_vec *taken)
{
    struct search *search = greedy->search;
    for (size_t i = 0; i < taken->count; i++)
        search_take(search, taken->items[i]);
    if (search_fits(search))
        return;
    for (size_t i = 0; i < taken->count; i++) {
        for (struct live_placement *one = taken->items[i]->placements; one; one = one->next) {
            if (one->node->search_mark != search->mark)
                continue;
            struct entry *entry = &greedy->entries[one->node->search_at];
            entry_make(greedy, entry, NULL);
            heap_settle(greedy, entry);
        }
    }
}

void search_greedy(struct search *search, bool shared)
{
    struct greedy greedy = {.search = search, .shared = shared};
    attempt_vec taken = {0};
    greedy_open(&greedy);
    while (!search_fits(search)) {
        struct entry *top = greedy.heap[0];
        if (top->offer.gain <= 0)
            break;
        struct offer was = top->offer;
        bool stale = top->made_at != search->chosen.count;
        entry_make(&greedy, top, &taken);
        if (stale && offer_compare(&top->offer, &was) > 0) {
            heap_settle(&greedy, top);
            continue;
        }
        assert(taken.count > 0);
        greedy_take(&greedy, &taken);
    }
    vec_free(&taken);
    free(greedy.entries);
    free(greedy.heap);
}

/* ---- orders ------------------------------------------------------------------------------ */

void search_follow(struct search *search, struct live_attempt *const *order, size_t count)
{
    for (size_t i = 0; i < count && !search_fits(search); i++) {
        if (!order[i]->away && victim_allowed(search->core, &search->rules, order[i]))
            search_take(search, order[i]);
    }
}

void search_prune(struct search *search, order_fn *order)
{
    size_t count = search->chosen.count;
    SCOPED(mem_scope)
    struct live_attempt **sorted = mem_alloc(count + 1, sizeof(struct live_attempt *));
    for (size_t i = 0; i < count; i++)
        sorted[i] = search->chosen.items[i];
    sort_pointers((void **)sorted, count, order, search->core);
    for (size_t i = count; i-- > 0;) {
        put_back(search, sorted[i]);
        if (!search_fits(search))
            search_take(search, sorted[i]);
    }
}

bool search_holds(const struct search *search)
{
    for (size_t i = 0; i < search->chosen.count; i++) {
        if (!victim_stays_out(&search->rules, search->chosen.items[i]))
            return false;
    }
    return true;
}

int64_t search_loss(const struct search *search)
{
    int64_t loss = 0;
    for (size_t i = 0; i < search->chosen.count; i++)
        loss += search->chosen.items[i]->search_loss;
    return loss;
}
