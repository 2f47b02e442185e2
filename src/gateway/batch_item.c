/* A request in a batch: see batch_item.h. */
#include "gateway/batch_item.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>

void batch_body_finish(struct batch_body *body)
{
    strbuf_finish(&body->bytes);
}

const char *batch_item_parse(enum batch_form form, const char *body, size_t length,
    int64_t head_length, struct batch_item *ret)
{
    const char *fault;
    ret->form = form;
    if (form == BATCH_OIP) {
        fault = oip_parse_request(body, length, head_length, &ret->oip);
        ret->rows = fault ? 0 : ret->oip.rows;
        return fault;
    }
    fault = embed_parse_request(body, length, &ret->embed);
    ret->rows = fault ? 0 : ret->embed.rows;
    return fault;
}

void batch_item_key(const struct batch_item *item, struct strbuf *out)
{
    if (item->form == BATCH_OIP)
        oip_batch_key(&item->oip, out);
    else
        embed_key(&item->embed, out);
}

void batch_merge(const struct batch_item *const *items, size_t count, struct batch_body *ret)
{
    SCOPED(mem_scope) const void **parsed = mem_alloc(count, sizeof *parsed);
    assert(count > 0);
    ret->head_length = OIP_NO_HEAD;
    for (size_t i = 0; i < count; i++)
        parsed[i] = items[i]->form == BATCH_OIP ? (const void *)&items[i]->oip : &items[i]->embed;
    if (items[0]->form == BATCH_OIP)
        ret->head_length =
            oip_batch_merge((const struct oip_message *const *)parsed, count, &ret->bytes);
    else
        embed_merge((const struct embed_request *const *)parsed, count, &ret->bytes);
}

static int64_t rows_of(const struct batch_item *const *items, size_t count)
{
    int64_t rows = 0;
    for (size_t i = 0; i < count; i++)
        rows += items[i]->rows;
    return rows;
}

static const char *split_oip(struct arena *arena, const struct batch_item *const *items,
    size_t count, const char *answer, size_t length, int64_t head_length, struct batch_body *parts)
{
    struct oip_message *message = arena_alloc(arena, 1, sizeof *message);
    const char *fault =
        oip_parse_answer(arena, answer, length, head_length, rows_of(items, count), message);
    if (fault)
        return fault;
    int64_t first = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i].head_length =
            oip_batch_part(message, first, items[i]->rows, items[i]->oip.id, &parts[i].bytes);
        first += items[i]->rows;
    }
    return NULL;
}

static const char *split_embeddings(struct arena *arena, const struct batch_item *const *items,
    size_t count, const char *answer, size_t length, struct batch_body *parts)
{
    struct embed_answer parsed;
    int64_t first = 0, before = 0, all = 0;
    const char *fault = embed_parse_answer(arena, answer, length, rows_of(items, count), &parsed);
    if (fault)
        return fault;
    for (size_t i = 0; i < count; i++)
        all += items[i]->embed.weight;
    for (size_t i = 0; i < count; i++) {
        embed_part(&parsed, &items[i]->embed, first, before, all, &parts[i].bytes);
        parts[i].head_length = OIP_NO_HEAD;
        first += items[i]->rows;
        before += items[i]->embed.weight;
    }
    return NULL;
}

const char *batch_split(const struct batch_item *const *items, size_t count, const char *answer,
    size_t length, int64_t head_length, struct batch_body *parts)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    assert(count > 0);
    if (items[0]->form == BATCH_OIP)
        return split_oip(arena, items, count, answer, length, head_length, parts);
    return split_embeddings(arena, items, count, answer, length, parts);
}
