/* Answers of slurmrestd, which may be anybody's: cut up as they come, each item read as a job, as a
 * node and as what a submission gets. Fed whole and byte by byte the items are the same. */
#include "engine/slurm_dialect.h"
#include "engine/slurm_reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_item(
    void *context, const char *list, const char *json, size_t length, struct error *err)
{
    struct strbuf *seen = context;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_job job;
    struct slurm_node node;
    struct slurm_account account;
    char text[64];
    assert(length <= REPLY_ITEM_BYTES_MAX && strlen(list) <= REPLY_NAME_MAX);
    strbuf_append(seen, json, length);
    const struct doc *doc = reply_item(arena, list, json, length, err);
    if (!doc)
        return -1;
    if (dialect_read_job(doc, &job))
        assert(job.id > 0 && job.mark && job.nodes && job.started_ms >= 0);
    if (dialect_read_node(doc, &node))
        assert(node.name[0] && node.features && node.address[0]);
    if (dialect_read_account(doc, &account))
        assert(account.id > 0 && account.mark && account.name && account.cluster);
    dialect_read_submitted(doc, text, sizeof text);
    return 0;
}

static int feed(const uint8_t *data, size_t size, size_t step, struct strbuf *seen)
{
    struct reply reply;
    struct error err;
    int rc = 0;
    reply_begin(&reply, on_item, seen);
    for (size_t at = 0; rc == 0 && at < size; at += step)
        rc = reply_feed(&reply, (const char *)data + at, step < size - at ? step : size - at, &err);
    if (rc == 0)
        rc = reply_end(&reply, &err);
    reply_finish(&reply);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    SCOPED(strbuf_finish) struct strbuf whole = {0}, pieces = {0};
    int a = feed(data, size, size ? size : 1, &whole), b = feed(data, size, 1, &pieces);
    assert(a == b && whole.length == pieces.length);
    assert(whole.length == 0 || memcmp(whole.text, pieces.text, whole.length) == 0);
    return 0;
}
