/* Uids of teams: see uids.h. */
#include "server/uids.h"

#include "base/vec.h"
#include "server/ticker.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Above what systemd, containers and directories give out, below the signed 32-bit limit. */
enum { UID_FIRST = 1700000000, UID_LEAST_WANTED = 1000 };

static const char collection[] = "uid";

struct uid_entry {
    char *team;
    int64_t uid;
};

struct uids {
    VEC(struct uid_entry) list;
};

struct uids *uids_create(void)
{
    return mem_alloc(1, sizeof(struct uids));
}

static void uids_clear(struct uids *uids)
{
    for (size_t i = 0; i < uids->list.count; i++)
        free(uids->list.items[i].team);
    vec_clear(&uids->list);
}

void uids_destroy(struct uids *uids)
{
    if (!uids)
        return;
    uids_clear(uids);
    vec_free(&uids->list);
    free(uids);
}

static int load_uid(void *context, const struct document *document, struct error *err)
{
    struct uids *uids = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json(arena, document->json, strlen(document->json), DOC_BYTES_MAX, err);
    int64_t uid = doc_get_int(doc, "uid", -1);
    if (uid < 0)
        return error_set(
            err, ERR_CORRUPT, "the stored uid of the team %s is missing", document->key);
    struct uid_entry entry = {mem_strdup(document->key), uid};
    vec_push(&uids->list, entry);
    return 0;
}

int uids_load(struct uids *uids, struct store_reader *reader, struct error *err)
{
    uids_clear(uids);
    return reader_documents(reader, collection, NULL, NULL, 100000, load_uid, uids, err);
}

static struct uid_entry *find_entry(const struct uids *uids, const char *team)
{
    for (size_t i = 0; i < uids->list.count; i++) {
        if (strcmp(uids->list.items[i].team, team) == 0)
            return &uids->list.items[i];
    }
    return NULL;
}

static bool is_taken(const struct uids *uids, int64_t uid)
{
    for (size_t i = 0; i < uids->list.count; i++) {
        if (uids->list.items[i].uid == uid)
            return true;
    }
    return false;
}

/* The lowest that nobody ever had: entries stay when their team goes. It does not follow the
 * highest one asked for, behind which -1 is near: "no change" to the calls that drop privileges. */
static int64_t next_uid(const struct uids *uids)
{
    int64_t next = UID_FIRST;
    while (is_taken(uids, next))
        next++;
    return next;
}

int uids_check(const struct uids *uids, const char *team, int64_t wanted, struct error *err)
{
    if (wanted < 0)
        return 0;
    if (wanted < UID_LEAST_WANTED)
        return error_set(err, ERR_INVALID,
            "spec.uid: expected a number from %d up (smaller ones belong to the system), got "
            "%" PRId64,
            UID_LEAST_WANTED, wanted);
    for (size_t i = 0; i < uids->list.count; i++) {
        const struct uid_entry *entry = &uids->list.items[i];
        if (entry->uid == wanted && strcmp(entry->team, team) != 0)
            return error_set(err, ERR_CONFLICT, "spec.uid: %" PRId64 " belongs to the team %s",
                wanted, entry->team);
    }
    return 0;
}

void uids_assign(struct uids *uids, struct tick *tick, const char *team, int64_t wanted)
{
    struct uid_entry *entry = find_entry(uids, team);
    int64_t uid = wanted >= 0 ? wanted : entry ? entry->uid : next_uid(uids);
    if (entry && entry->uid == uid)
        return;
    if (entry) {
        entry->uid = uid;
    } else {
        struct uid_entry fresh = {mem_strdup(team), uid};
        vec_push(&uids->list, fresh);
    }
    char json[48];
    snprintf(json, sizeof json, "{\"uid\":%" PRId64 "}", uid);
    store_txn_put_document(tick_txn(tick), collection, team, team, json, tick_now(tick));
}

uid_t uids_get(const struct uids *uids, const char *team)
{
    const struct uid_entry *entry = find_entry(uids, team);
    return entry ? (uid_t)entry->uid : 0;
}
