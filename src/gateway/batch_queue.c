/* The queues of the worker that has a service's batches: who waits, and what goes when.
 *
 * Invariants: a member is in one group or in one call or is its home's; `waiting` and `rows` of a
 * group, and `waiting` of its service, are those of the members in it; the number shown to other
 * workers is the service's. While members wait something will make us look again: the end of a call
 * of ours, a message, or the timer. */
#include "gateway/batch_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/balance.h"
#include "gateway/relay_batch.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    CALL_REQUESTS_MAX = 1024,
    LOOK_AGAIN_MS = 20, /* at the latest: a replica that others keep busy tells nobody */
    FORGOTTEN_S = 60,   /* a group that was not used for so long makes room for another */
};

static const int64_t SECOND_NS = 1000000000, MS_NS = 1000000;

/* ---- the timer ------------------------------------------------------------------------------- */

/* The loop's own timers count milliseconds, which is longer than most waits here. */
static void set_timer(struct batcher *batcher)
{
    int64_t first = 0;
    struct batch_service *service;
    TAILQ_FOREACH(service, &batcher->services, link)
    {
        if (service->look_ns && (!first || service->look_ns < first))
            first = service->look_ns;
    }
    /* One that is set earlier is left: it finds nothing to do, which is cheaper. */
    if (!first || (batcher->timer_ns && batcher->timer_ns <= first))
        return;
    batcher->timer_ns = first;
    struct itimerspec at = {.it_value = {first / SECOND_NS, first % SECOND_NS}};
    timerfd_settime(batcher->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct batcher *batcher = context;
    struct batch_service *service;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored, (void)what;
    int64_t now = clock_held_ns();
    batcher->timer_ns = 0;
    TAILQ_FOREACH(service, &batcher->services, link)
    {
        if (service->look_ns && service->look_ns <= now)
            batch_pump(service);
    }
    set_timer(batcher);
}

/* ---- services -------------------------------------------------------------------------------- */

static void show(const struct batch_service *service)
{
    atomic_store_explicit(
        &service->terms->state->batch.waiting, (uint64_t)service->waiting, memory_order_relaxed);
}

/* Options may have changed: groups go by those of now. */
static void take_terms(struct batch_service *service, struct service_terms *terms)
{
    int number = service->batcher->view->number;
    const struct service_batching *options = &terms->options.batching;
    struct batch_group *group;
    if (service->terms == terms)
        return;
    terms_hold(terms, number);
    if (service->terms)
        terms_drop(service->terms, number);
    service->terms = terms;
    TAILQ_FOREACH(group, &service->groups, link)
    {
        group->pace.limits = (struct batch_limits){.rows_max = options->max,
            .goal_ns = options->latency_goal_ms * MS_NS,
            .delay_max_ns = options->delay_max_ms * MS_NS};
    }
}

static struct batch_service *service_named(struct batcher *batcher, const char *name)
{
    struct batch_service *service;
    TAILQ_FOREACH(service, &batcher->services, link)
    {
        if (!strcmp(service->terms->service, name))
            return service;
    }
    return NULL;
}

/* The table's terms and not the member's: only those are sure to be there. */
static struct batch_service *service_of(struct batcher *batcher, const struct batch_member *member)
{
    const struct table_service *found =
        route_table_service(batcher->view->table, member->terms->route);
    if (!found || found->terms->state != member->terms->state)
        return NULL;
    struct batch_service *service = found->terms->state->batch.service;
    if (!service) {
        service = mem_alloc(1, sizeof *service);
        service->batcher = batcher;
        found->terms->state->batch.service = service;
        TAILQ_INIT(&service->groups);
        TAILQ_INSERT_TAIL(&batcher->services, service, link);
    }
    take_terms(service, found->terms);
    return service;
}

static void group_free(struct batch_service *service, struct batch_group *group)
{
    assert(TAILQ_EMPTY(&group->members) && group->calls == 0);
    TAILQ_REMOVE(&service->groups, group, link);
    service->group_count--;
    strbuf_finish(&group->key);
    free(group);
}

static void service_free(struct batch_service *service)
{
    assert(service->calls == 0 && service->waiting == 0);
    while (!TAILQ_EMPTY(&service->groups))
        group_free(service, TAILQ_FIRST(&service->groups));
    TAILQ_REMOVE(&service->batcher->services, service, link);
    service->terms->state->batch.service = NULL;
    terms_drop(service->terms, service->batcher->view->number);
    free(service);
}

/* ---- groups ---------------------------------------------------------------------------------- */

static struct batch_group *group_create(
    struct batch_service *service, const struct batch_member *member)
{
    const struct service_batching *options = &service->terms->options.batching;
    struct batch_group *group = mem_alloc(1, sizeof *group);
    strbuf_append(&group->key, member->key.text, member->key.length);
    group->version = member->version;
    group->pace.limits = (struct batch_limits){.rows_max = options->max,
        .goal_ns = options->latency_goal_ms * MS_NS,
        .delay_max_ns = options->delay_max_ms * MS_NS};
    TAILQ_INIT(&group->members);
    TAILQ_INSERT_TAIL(&service->groups, group, link);
    service->group_count++;
    return group;
}

/* The one that was not used for longest goes, if nothing is under way there. */
static bool make_room(struct batch_service *service, int64_t now_ns)
{
    struct batch_group *group, *oldest = NULL;
    if (service->group_count < BATCH_GROUPS_MAX)
        return true;
    TAILQ_FOREACH(group, &service->groups, link)
    {
        if (group->waiting == 0 && group->calls == 0 &&
            (!oldest || group->used_ns < oldest->used_ns))
            oldest = group;
    }
    if (!oldest || now_ns - oldest->used_ns < FORGOTTEN_S * SECOND_NS / BATCH_GROUPS_MAX)
        return false;
    group_free(service, oldest);
    return true;
}

/* NULL: there are too many kinds of requests. */
static struct batch_group *group_of(
    struct batch_service *service, const struct batch_member *member, int64_t now_ns)
{
    struct batch_group *group;
    TAILQ_FOREACH(group, &service->groups, link)
    {
        if (group->version == member->version && group->key.length == member->key.length &&
            !memcmp(group->key.text, member->key.text, member->key.length))
            return group;
    }
    return make_room(service, now_ns) ? group_create(service, member) : NULL;
}

static void enqueue(
    struct batch_service *service, struct batch_group *group, struct batch_member *member)
{
    struct batch_member *after = TAILQ_LAST(&group->members, batch_members);
    while (after && after->priority < member->priority)
        after = TAILQ_PREV(after, batch_members, link);
    if (after)
        TAILQ_INSERT_AFTER(&group->members, after, member, link);
    else
        TAILQ_INSERT_HEAD(&group->members, member, link);
    member->group = group;
    group->waiting++;
    group->rows += member->item.rows;
    service->waiting++;
}

static void dequeue(struct batch_service *service, struct batch_member *member)
{
    struct batch_group *group = member->group;
    TAILQ_REMOVE(&group->members, member, link);
    group->waiting--;
    group->rows -= member->item.rows;
    service->waiting--;
    member->group = NULL;
}

static struct batch_member *oldest_of(const struct batch_group *group)
{
    struct batch_member *member, *oldest = TAILQ_FIRST(&group->members);
    /* Of one priority all the same: the first came first. */
    if (oldest->priority == TAILQ_LAST(&group->members, batch_members)->priority)
        return oldest;
    TAILQ_FOREACH(member, &group->members, link)
    {
        if (member->came_ns < oldest->came_ns)
            oldest = member;
    }
    return oldest;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void all_alone(struct batch_service *service, struct batch_group *group)
{
    while (!TAILQ_EMPTY(&group->members)) {
        struct batch_member *member = TAILQ_FIRST(&group->members);
        dequeue(service, member);
        member->verdict = BATCH_ALONE;
        batch_member_return(service->batcher, member);
    }
}

static size_t take_members(struct batch_service *service, struct batch_group *group,
    struct batch_member **members, int64_t rows_max, int64_t now_ns)
{
    size_t count = 0, bytes = 0;
    int64_t rows = 0, goal_ns = group->pace.limits.goal_ns;
    /* Who has waited too long goes first whatever came meanwhile. */
    struct batch_member *next = oldest_of(group);
    if (now_ns - next->came_ns < (goal_ns ? goal_ns : SECOND_NS))
        next = TAILQ_FIRST(&group->members);
    while (next && count < CALL_REQUESTS_MAX &&
           (count == 0 || (rows + next->item.rows <= rows_max &&
                              bytes + next->length <= BATCH_CALL_BYTES_MAX))) {
        rows += next->item.rows;
        bytes += next->length;
        dequeue(service, next);
        members[count++] = next;
        next = TAILQ_FIRST(&group->members);
    }
    return count;
}

static void send_group(struct batch_service *service, struct batch_group *group,
    const struct table_replica *replica, int64_t now_ns)
{
    struct batch_member *members[CALL_REQUESTS_MAX];
    struct batch_waiting waiting = {group->waiting, group->rows, oldest_of(group)->came_ns};
    int64_t rows_max = batch_pace_rows(&group->pace, &waiting, now_ns);
    size_t count = take_members(service, group, members, rows_max, now_ns);
    uint64_t wait_us = 0, rows = 0;
    for (size_t i = 0; i < count; i++) {
        wait_us += (uint64_t)(now_ns - members[i]->came_ns) / 1000;
        rows += (uint64_t)members[i]->item.rows;
    }
    group->used_ns = now_ns;
    if (batch_call_begin(service, group, replica, members, count))
        batch_figures_add(&service->terms->state->batch, count, rows, wait_us);
}

static const struct table_replica *pick(struct batch_service *service, int64_t version, int64_t now)
{
    const struct table_service *found =
        route_table_service(service->batcher->view->table, service->terms->route);
    struct balance_tried tried = {.count = 0};
    struct balance_query query = {.version = version, .tried = &tried, .now_ms = now / MS_NS};
    return found ? balance_pick(found, &query, &service->batcher->view->turn) : NULL;
}

static bool is_busy(const struct table_replica *replica, const struct batch_pace *pace)
{
    return atomic_load_explicit(&replica->state->batches, memory_order_relaxed) >=
           batch_pace_depth(pace);
}

struct choice {
    struct batch_group *group;
    const struct table_replica *replica;
};

/* Whether the group goes before the other. */
static bool goes_before(const struct batch_group *group, const struct batch_group *other)
{
    const struct batch_member *a = TAILQ_FIRST(&group->members);
    const struct batch_member *b = TAILQ_FIRST(&other->members);
    return a->priority != b->priority ? a->priority > b->priority : a->came_ns < b->came_ns;
}

/* Looks at one group. Without a replica its members are sent away: they wait as others do. */
static void consider(
    struct batch_service *service, struct batch_group *group, int64_t now, struct choice *best)
{
    const struct table_replica *replica = pick(service, group->version, now);
    if (!replica) {
        all_alone(service, group);
        return;
    }
    if (is_busy(replica, &group->pace))
        return;
    struct batch_waiting waiting = {group->waiting, group->rows, oldest_of(group)->came_ns};
    int64_t look = batch_pace_wait(&group->pace, &waiting, now);
    if (look == 0 && (!best->group || goes_before(group, best->group)))
        *best = (struct choice){group, replica};
    if (look && look < service->look_ns)
        service->look_ns = look;
}

static struct choice choose(struct batch_service *service, int64_t now)
{
    struct choice best = {NULL, NULL};
    struct batch_group *group;
    service->look_ns = now + LOOK_AGAIN_MS * MS_NS;
    TAILQ_FOREACH(group, &service->groups, link)
    {
        if (group->waiting > 0)
            consider(service, group, now, &best);
    }
    return best;
}

void batch_pump(struct batch_service *service)
{
    int64_t now = clock_held_ns();
    while (service->waiting > 0 && !service->batcher->closing) {
        struct choice choice = choose(service, now);
        if (!choice.group)
            break;
        send_group(service, choice.group, choice.replica, now);
    }
    if (service->waiting == 0)
        service->look_ns = 0;
    show(service);
    set_timer(service->batcher);
}

/* ---- what comes from homes ------------------------------------------------------------------- */

void batch_join(struct batcher *batcher, struct batch_member *member)
{
    struct batch_service *service = service_of(batcher, member);
    int64_t now = clock_held_ns();
    struct batch_group *group = NULL;
    if (service && service->waiting < BATCH_WAITING_MAX && !batcher->closing)
        group = group_of(service, member, now);
    if (!group) {
        member->verdict = BATCH_ALONE;
        batch_member_return(batcher, member);
        return;
    }
    member->came_ns = now;
    batch_pace_arrived(&group->pace, now);
    enqueue(service, group, member);
    batch_pump(service);
}

void batch_leave(struct batcher *batcher, struct batch_member *member)
{
    struct batch_group *group = member->group;
    member->left = true;
    if (!group) {
        batch_call_left(batcher, member);
        return;
    }
    struct batch_service *service = member->terms->state->batch.service;
    assert(service && service->batcher == batcher);
    dequeue(service, member);
    member->verdict = BATCH_ALONE;
    batch_member_return(batcher, member);
    show(service);
}

void batch_look(struct batcher *batcher, const char *name)
{
    struct batch_service *service = service_named(batcher, name);
    if (service)
        batch_pump(service);
}

/* ---- a worker's batches ---------------------------------------------------------------------- */

int batcher_create(struct gateway_worker *worker, struct batcher **ret, struct error *err)
{
    struct batcher *batcher = mem_alloc(1, sizeof *batcher);
    batcher->worker = worker;
    batcher->view = gateway_worker_view(worker);
    TAILQ_INIT(&batcher->services);
    TAILQ_INIT(&batcher->calls);
    batcher->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (batcher->timer_fd < 0) {
        free(batcher);
        return error_set_errno(err, "cannot make a timer");
    }
    batcher->timer =
        event_new(batcher->view->base, batcher->timer_fd, EV_READ | EV_PERSIST, on_timer, batcher);
    assert(batcher->timer);
    event_add(batcher->timer, NULL);
    *ret = batcher;
    return 0;
}

void batcher_table_changed(struct batcher *batcher)
{
    struct batch_service *service, *next;
    for (service = TAILQ_FIRST(&batcher->services); service; service = next) {
        next = TAILQ_NEXT(service, link);
        const struct table_service *found =
            route_table_service(batcher->view->table, service->terms->route);
        bool same = found && found->terms->state == service->terms->state;
        if (same)
            take_terms(service, found->terms);
        else if (service->waiting == 0 && service->calls == 0) {
            service_free(service);
            continue;
        }
        batch_pump(service);
    }
}

void batcher_destroy(struct batcher *batcher)
{
    struct batch_group *group;
    if (!batcher)
        return;
    batcher->closing = true;
    batch_calls_destroy(batcher);
    while (!TAILQ_EMPTY(&batcher->services)) {
        struct batch_service *service = TAILQ_FIRST(&batcher->services);
        TAILQ_FOREACH(group, &service->groups, link)
        {
            all_alone(service, group);
        }
        service_free(service);
    }
    event_free(batcher->timer);
    close(batcher->timer_fd);
    free(batcher);
}
