/* Sending folders: see artifact.h.
 *
 * Three passes: the folder is cut, which gives the tree and where each chunk stands; the server
 * says which chunks it lacks; those are read again, packed and sent, several at once. Nothing is
 * remembered between two pushes: the server knows what it has. */
#include "cli/artifact.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/vec.h"
#include "cli/api.h"
#include "cli/artifact_send.h"
#include "cli/job.h"
#include "cli/view.h"
#include "registry/registry.h"
#include "spec/spec.h"
#include "wire/url.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ASK_AT_ONCE = 5000,
    BUSY_TRIES = 120,
    BUSY_PAUSE_MS = 500,
    TREE_TRIES = 3,
    TREE_IO_MS = 6 * 3600 * 1000, /* the server reads all of it before it answers */
};

struct push {
    struct cli *cli;
    struct api *api;
    const struct artifact_push *what;
    int folder;
    struct strmap known; /* digests */
    VEC(struct chunk_place) places;
    const char *path; /* the last one seen, in the arena */
    VEC(size_t) missing;
    char *tree;
    size_t tree_size;
    struct artifact_facts facts;
    int64_t sent_bytes, to_send;
};

int artifact_reference(
    const struct cli *cli, const char *text, struct reference *ret, struct error *err)
{
    struct reference reference;
    if (reference_parse(text, &reference, err) < 0)
        return -1;
    if (!reference.team[0])
        snprintf(reference.team, sizeof reference.team, "%s", job_team(cli));
    *ret = reference;
    return 0;
}

void artifact_append_target(
    struct strbuf *target, enum kind kind, const struct reference *reference)
{
    strbuf_printf(target, "/v1/%s/", kind_plural(kind));
    url_encode_segment(target, reference->team);
    strbuf_puts(target, ":");
    url_encode_segment(target, reference->name);
}

void artifact_append_version(
    struct strbuf *target, enum kind kind, const struct reference *reference, const char *suffix)
{
    artifact_append_target(target, kind, reference);
    strbuf_puts(target, "/versions/");
    if (reference->which == REFERENCE_VERSION)
        strbuf_printf(target, "%" PRId64, reference->version);
    else
        url_encode_segment(
            target, reference->which == REFERENCE_STAGE ? reference->stage : "newest");
    strbuf_puts(target, suffix);
}

/* ---- cutting --------------------------------------------------------------------------------- */

static int take_chunk(void *context, const char *path, int64_t offset, const void *raw, size_t size,
    const char *digest, struct error *err)
{
    struct push *push = context;
    struct chunk_place place = {.offset = offset, .size = size};
    (void)raw, (void)err;
    if (strmap_get(&push->known, digest))
        return 0;
    strmap_put(&push->known, digest, push);
    if (!push->path || strcmp(push->path, path) != 0)
        push->path = arena_strdup(push->cli->arena, path);
    place.path = push->path;
    memcpy(place.digest, digest, sizeof place.digest);
    vec_push(&push->places, place);
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static const char *chunk_target(struct push *push, const char *path)
{
    struct strbuf target = {0};
    strbuf_puts(&target, path);
    url_add_query(&target, "team", push->what->to.team);
    const char *copy = arena_strdup(push->cli->arena, target.text);
    strbuf_finish(&target);
    return copy;
}

/* The places from first on, at most ASK_AT_ONCE: those that the server lacks go to missing. */
static int ask_some(struct push *push, size_t first, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct strmap lacking = {0};
    struct doc *list = doc_list(arena);
    const struct doc *answer = NULL;
    size_t end =
        first + ASK_AT_ONCE < push->places.count ? first + ASK_AT_ONCE : push->places.count;
    for (size_t i = first; i < end; i++)
        doc_append(list, doc_string(arena, push->places.items[i].digest));
    if (api_call(push->api, arena, "POST", chunk_target(push, "/v1/artifacts/missing"), list, "ask",
            &answer, err) < 0)
        return -1;
    const struct doc *missing = doc_get(answer, "missing");
    for (const struct doc *item = missing ? missing->first : NULL; item; item = item->next)
        strmap_put(&lacking, item->text, push);
    for (size_t i = first; i < end; i++) {
        if (!strmap_get(&lacking, push->places.items[i].digest))
            continue;
        vec_push(&push->missing, i);
        push->to_send += (int64_t)push->places.items[i].size;
    }
    strmap_finish(&lacking);
    return 0;
}

static int ask(struct push *push, struct error *err)
{
    vec_clear(&push->missing);
    push->to_send = 0;
    for (size_t first = 0; first < push->places.count; first += ASK_AT_ONCE) {
        if (ask_some(push, first, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int send_missing(struct push *push, struct error *err)
{
    struct artifact_send send = {.cli = push->cli,
        .team = push->what->to.team,
        .folder = push->folder,
        .places = push->places.items,
        .missing = push->missing.items,
        .count = push->missing.count,
        .raw_bytes = push->to_send};
    if (send.count == 0)
        return 0;
    int rc = artifact_send_chunks(&send, &push->sent_bytes, err);
    push->api = push->cli->api; /* it may be another one after a failure */
    return rc;
}

static int end_upload(struct push *push, const struct doc **ret_answer, struct error *err)
{
    const struct artifact_push *what = push->what;
    struct strbuf target = {0};
    artifact_append_target(&target, what->kind, &what->to);
    strbuf_puts(&target, "/versions");
    if (what->from)
        url_add_query(&target, "from", what->from);
    if (what->parent)
        url_add_query(&target, "parent", what->parent);
    if (what->relation)
        url_add_query(&target, "relation", what->relation);
    int rc = -1;
    for (int i = 0; rc < 0 && i < BUSY_TRIES; i++) {
        rc = api_send(push->api, push->cli->arena, "POST", target.text, "text/plain", push->tree,
            push->tree_size, TREE_IO_MS, !what->parent, ret_answer, err);
        if (rc < 0 && err->code != ERR_BUSY)
            break;
        if (rc < 0)
            cli_pause(BUSY_PAUSE_MS);
    }
    strbuf_finish(&target);
    return rc;
}

/* Chunks that were there when it was asked may be collected before the tree names them: then it is
 * asked again. */
static int push_all(struct push *push, const struct doc **ret_answer, struct error *err)
{
    for (int i = 0; i < TREE_TRIES; i++) {
        if (ask(push, err) < 0 || send_missing(push, err) < 0)
            return -1;
        if (end_upload(push, ret_answer, err) == 0)
            return 0;
        if (err->code != ERR_NOT_FOUND)
            return -1;
    }
    return -1;
}

int artifact_push_folder(struct cli *cli, const struct artifact_push *what, const char *folder,
    const struct doc **ret_answer, struct error *err)
{
    char sent[QUANTITY_TEXT], all[QUANTITY_TEXT];
    struct push push = {.cli = cli, .api = cli_api(cli, err), .what = what, .folder = -1};
    if (!push.api)
        return -1;
    push.folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (push.folder < 0)
        return error_set_errno(err, "cannot open the folder %s", folder);
    int rc = registry_cut_folder(
        push.folder, 0, take_chunk, &push, &push.tree, &push.tree_size, &push.facts, err);
    if (rc < 0)
        error_prefix(err, "%s", folder);
    if (rc == 0)
        rc = push_all(&push, ret_answer, err);
    if (rc == 0)
        cli_note(cli, "%s of %s in %zu of %zu chunks had to be sent",
            quantity_human_bytes(push.sent_bytes, sent),
            quantity_human_bytes(push.facts.bytes, all), push.missing.count, push.places.count);
    close(push.folder);
    free(push.tree);
    strmap_finish(&push.known);
    vec_free(&push.places);
    vec_free(&push.missing);
    return rc;
}
