/* Promotions as they are stored, and the waiting for evaluations: see promotions.h. What is decided
 * about them stands in promote.c. */
#include "server/promotions.h"

#include "base/log.h"
#include "base/map.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "server/context.h"
#include "server/names.h"
#include "server/promotions_internal.h"
#include "server/ticker.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_KEY = 192, PAGE_OPEN = 500, RETRY_MS = 1000, PROMOTION_BYTES_MAX = 4 * DOC_BYTES_MAX };

static const char collection[] = "promotion";
static const char open_collection[] = "promotion-open";

/* ---- reading ------------------------------------------------------------------------------- */

bool promotion_is_open(const struct doc *promotion)
{
    const char *state = doc_get_string(promotion, "state");
    return state && (strcmp(state, "evaluating") == 0 || strcmp(state, "waiting") == 0);
}

const struct doc *promotions_get(
    struct server *server, struct arena *arena, const char *id, struct error *err)
{
    SCOPED(mem_scope) char *json = NULL;
    struct error why;
    if (reader_document(server->reader, collection, id, &json, NULL, &why) == 0)
        return doc_parse_json(arena, json, strlen(json), PROMOTION_BYTES_MAX, err);
    if (why.code == ERR_NOT_FOUND)
        error_set(err, ERR_NOT_FOUND, "there is no promotion %.40s", id);
    else
        error_set(err, why.code, "%s", why.text);
    return NULL;
}

static char *open_key(
    const char *team, const char *model, int64_t version, const char *stage, char out[OPEN_KEY])
{
    snprintf(out, OPEN_KEY, "%s/%s/%08" PRId64 "/%s", team, model, version, stage);
    return out;
}

typedef VEC(char *) text_vec;

struct open_walk {
    text_vec ids;
    size_t seen;
    char last[OPEN_KEY];
};

static int take_open(void *context, const struct document *document, struct error *err)
{
    struct open_walk *walk = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json(arena, document->json, strlen(document->json), DOC_BYTES_MAX, err);
    const char *id = doc ? doc_get_string(doc, "id") : NULL;
    walk->seen++;
    snprintf(walk->last, sizeof walk->last, "%s", document->key);
    if (id)
        vec_push(&walk->ids, mem_strdup(id));
    return doc ? 0 : -1;
}

static void walk_finish(struct open_walk *walk)
{
    for (size_t i = 0; i < walk->ids.count; i++)
        free(walk->ids.items[i]);
    vec_free(&walk->ids);
}

/* The ids of the open ones whose keys begin with prefix, however many. */
static int find_open(
    struct server *server, const char *prefix, struct open_walk *walk, struct error *err)
{
    do {
        char after[OPEN_KEY];
        memcpy(after, walk->last, sizeof after);
        walk->seen = 0;
        if (reader_documents_prefix(server->reader, open_collection, prefix,
                after[0] ? after : NULL, PAGE_OPEN, take_open, walk, err) < 0)
            return -1;
    } while (walk->seen == PAGE_OPEN);
    return 0;
}

int promotions_open_of(struct server *server, struct arena *arena, const char *team,
    const char *model, struct doc **ret, struct error *err)
{
    char prefix[OPEN_KEY];
    SCOPED(walk_finish) struct open_walk walk = {0};
    snprintf(prefix, sizeof prefix, "%s/%s/", team, model);
    *ret = doc_list(arena);
    if (find_open(server, prefix, &walk, err) < 0)
        return -1;
    for (size_t i = 0; i < walk.ids.count; i++) {
        const struct doc *one = promotions_get(server, arena, walk.ids.items[i], err);
        if (!one)
            return -1;
        doc_append(*ret, doc_copy(arena, one));
    }
    return 0;
}

/* ---- within a tick -------------------------------------------------------------------------- */

static const char *promotion_note(struct tick *tick, const char *id)
{
    return arena_printf(tick_arena(tick), "promotion/%s", id);
}

struct doc *promotion_load(struct tick *tick, const char *id, struct error *err)
{
    const struct doc *now = tick_noted(tick, promotion_note(tick, id));
    if (!now)
        now = promotions_get(tick_server(tick), tick_arena(tick), id, err);
    return now ? doc_copy(tick_arena(tick), now) : NULL;
}

int promotion_find_open(struct tick *tick, const char *team, const char *model, int64_t version,
    const char *stage, const char **ret_id, struct error *err)
{
    char key[OPEN_KEY];
    SCOPED(mem_scope) char *json = NULL;
    struct arena *arena = tick_arena(tick);
    struct error why;
    open_key(team, model, version, stage, key);
    const char *noted = tick_noted(tick, arena_printf(arena, "promotion-open/%s", key));
    *ret_id = noted && *noted ? noted : NULL;
    if (noted)
        return 0;
    if (reader_document(tick_server(tick)->reader, open_collection, key, &json, NULL, &why) < 0)
        return why.code == ERR_NOT_FOUND ? 0 : error_set(err, why.code, "%s", why.text);
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, err);
    if (!doc)
        return -1;
    *ret_id = doc_get_string(doc, "id");
    return 0;
}

/* Keeps the list of open ones, also for later commands of the same tick: "" is none. */
static void keep_open(struct tick *tick, const struct doc *promotion)
{
    char key[OPEN_KEY];
    struct arena *arena = tick_arena(tick);
    const char *id = doc_get_string(promotion, "id");
    bool open = promotion_is_open(promotion);
    open_key(doc_get_string(promotion, "team"), doc_get_string(promotion, "model"),
        doc_get_int(promotion, "version", 0), doc_get_string(promotion, "stage"), key);
    if (open)
        store_txn_put_document(tick_txn(tick), open_collection, key,
            doc_get_string(promotion, "team"), arena_printf(arena, "{\"id\":\"%s\"}", id),
            tick_now(tick));
    else
        store_txn_delete_document(tick_txn(tick), open_collection, key);
    tick_note(
        tick, arena_printf(arena, "promotion-open/%s", key), arena_strdup(arena, open ? id : ""));
}

static void audit(struct tick *tick, const struct doc *promotion, const char *action)
{
    static const char *const told[] = {"model", "version", "stage", "state", "askedBy",
        "evaluationJob", "dataset", "reasons", "approvals", "decidedBy", "decisionNote"};
    struct arena *arena = tick_arena(tick);
    struct doc *detail = doc_map(arena);
    SCOPED(strbuf_finish) struct strbuf json = {0};
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        const struct doc *value = doc_get(promotion, told[i]);
        if (value)
            doc_set(arena, detail, told[i], doc_copy(arena, value));
    }
    doc_write_json(detail, 0, &json);
    tick_audit(tick, action, "promotion", doc_get_string(promotion, "id"),
        doc_get_string(promotion, "team"), strbuf_text(&json));
}

void promotion_store(struct tick *tick, const struct doc *promotion, const char *action)
{
    SCOPED(strbuf_finish) struct strbuf json = {0};
    const char *id = doc_get_string(promotion, "id");
    struct doc *copy = doc_copy(tick_arena(tick), promotion);
    doc_write_json(promotion, 0, &json);
    store_txn_put_document(tick_txn(tick), collection, id, doc_get_string(promotion, "team"),
        strbuf_text(&json), tick_now(tick));
    tick_note(tick, promotion_note(tick, id), copy);
    keep_open(tick, promotion);
    audit(tick, promotion, action);
}

/* ---- waiting for evaluations ----------------------------------------------------------------- */

/* An evaluation under way. Only a hint of where to look: what is so stands in the store, from which
 * the list is made at every start. */
struct waiting {
    struct promotions *promotions;
    uint64_t job;
    char id[JOB_ID_TEXT];
    bool due;   /* its job has ended, or may have */
    bool asked; /* a command is on its way */
    bool waits; /* what the command found: it goes on */
    bool told;  /* the log has why it cannot be decided now */
};

struct promotions {
    struct server *server;
    struct event *timer;
    struct idmap by_job;
    VEC(struct waiting *) list;
};

static void look_in(struct promotions *promotions, int64_t ms)
{
    struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_add(promotions->timer, &delay);
}

static void forget(struct waiting *waiting)
{
    struct promotions *promotions = waiting->promotions;
    for (size_t i = 0; i < promotions->list.count; i++) {
        if (promotions->list.items[i] == waiting) {
            vec_remove(&promotions->list, i);
            break;
        }
    }
    idmap_remove(&promotions->by_job, waiting->job);
    free(waiting);
}

void promotions_expect(struct promotions *promotions, uint64_t job, const char *id)
{
    struct waiting *waiting = idmap_get(&promotions->by_job, job);
    if (!waiting) {
        waiting = mem_alloc(1, sizeof *waiting);
        waiting->promotions = promotions;
        waiting->job = job;
        idmap_put(&promotions->by_job, job, waiting);
        vec_push(&promotions->list, waiting);
    }
    /* A tick that was taken back leaves one behind whose job's number may come again. */
    snprintf(waiting->id, sizeof waiting->id, "%s", id);
}

static int run_settle(struct tick *tick, void *context, struct error *err)
{
    struct waiting *waiting = context;
    waiting->waits = false;
    return promotion_settle(tick, waiting->id, &waiting->waits, err);
}

static void settled(void *context, const struct error *err)
{
    struct waiting *waiting = context;
    waiting->asked = false;
    if (err && err->code != ERR_NOT_FOUND) {
        if (!waiting->told)
            log_warn("the promotion %s cannot be decided now: %s", waiting->id, err->text);
        waiting->told = true;
        waiting->due = true;
        look_in(waiting->promotions, RETRY_MS);
    } else if (err || !waiting->waits) {
        forget(waiting);
    } else if (waiting->due) {
        look_in(waiting->promotions, 0);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct promotions *promotions = context;
    struct error err;
    (void)fd, (void)what;
    for (size_t i = 0; i < promotions->list.count; i++) {
        struct waiting *waiting = promotions->list.items[i];
        if (!waiting->due || waiting->asked)
            continue;
        if (ticker_submit(
                promotions->server->ticker, "muster", run_settle, settled, waiting, &err) < 0) {
            look_in(promotions, RETRY_MS);
            return;
        }
        waiting->due = false;
        waiting->asked = true;
    }
}

void promotions_job_ended(struct promotions *promotions, const struct job_row *row)
{
    struct waiting *waiting = promotions ? idmap_get(&promotions->by_job, row->id) : NULL;
    if (!waiting)
        return;
    waiting->due = true;
    look_in(promotions, 0);
}

/* Whether their jobs have ended is asked in a tick, once for each. */
static int load(struct promotions *promotions, struct error *err)
{
    SCOPED(walk_finish) struct open_walk walk = {0};
    if (find_open(promotions->server, "", &walk, err) < 0)
        return -1;
    for (size_t i = 0; i < walk.ids.count; i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        const struct doc *one = promotions_get(promotions->server, arena, walk.ids.items[i], err);
        if (!one)
            return -1;
        const char *state = doc_get_string(one, "state");
        const char *job = doc_get_string(one, "evaluationJob");
        uint64_t id = job ? names_parse_job_id(job) : 0;
        if (!id || !state || strcmp(state, "evaluating") != 0)
            continue;
        promotions_expect(promotions, id, walk.ids.items[i]);
        ((struct waiting *)idmap_get(&promotions->by_job, id))->due = true;
    }
    if (promotions->list.count > 0)
        look_in(promotions, 0);
    return 0;
}

struct promotions *promotions_create(struct server *server, struct error *err)
{
    struct promotions *promotions = mem_alloc(1, sizeof *promotions);
    promotions->server = server;
    promotions->timer = event_new(server->base, -1, 0, on_timer, promotions);
    assert(promotions->timer);
    if (load(promotions, err) == 0)
        return promotions;
    promotions_destroy(promotions);
    return NULL;
}

void promotions_destroy(struct promotions *promotions)
{
    if (!promotions)
        return;
    for (size_t i = 0; i < promotions->list.count; i++)
        free(promotions->list.items[i]);
    vec_free(&promotions->list);
    idmap_finish(&promotions->by_job);
    event_free(promotions->timer);
    free(promotions);
}
