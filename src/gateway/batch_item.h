/* One request of a batch, whichever protocol it is of: parsed, merged with others, and its part cut
 * out of the answer to all. The one place that knows both. */
#pragma once

#include "base/strbuf.h"
#include "gateway/batch_embed.h"
#include "gateway/oip_batch.h"

enum batch_form { BATCH_OIP, BATCH_EMBEDDINGS };

struct batch_item {
    enum batch_form form;
    int64_t rows; /* its own batch: what it counts for */
    union {
        struct oip_message oip;
        struct embed_request embed;
    };
};

/* A body to send: the length of its JSON as Inference-Header-Content-Length says it. */
struct batch_body {
    struct strbuf bytes;
    int64_t head_length; /* OIP_NO_HEAD: without that header */
};

/* Frees the bytes. */
void batch_body_finish(struct batch_body *body);

/* NULL when *ret is set, else why the request cannot be in a batch: a constant text. *ret has parts
 * of body, which has to stay where it is. */
const char *batch_item_parse(enum batch_form form, const char *body, size_t length,
    int64_t head_length, struct batch_item *ret);
/* Appends what items must have in common to be in one batch. */
void batch_item_key(const struct batch_item *item, struct strbuf *out);
/* The request that stands for all of them, which share their key. */
void batch_merge(const struct batch_item *const *items, size_t count, struct batch_body *ret);
/* Takes the answer to batch_merge's request apart: parts[i] answers items[i]. NULL, or why it
 * cannot be (a constant text), and then parts is untouched. */
const char *batch_split(const struct batch_item *const *items, size_t count, const char *answer,
    size_t length, int64_t head_length, struct batch_body *parts);
