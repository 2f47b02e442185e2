/* Requests of the Open Inference Protocol put together into one, and its answer taken apart again.
 * Elements are copied as they are, JSON as JSON and bytes as bytes. */
#pragma once

#include "gateway/oip_parse.h"

struct strbuf;

/* Appends what requests must have in common to be put together: names, datatypes, form and all
 * dimensions but the first of the inputs, parameters, and the outputs asked for. Equal texts: they
 * may be. */
void oip_batch_key(const struct oip_message *request, struct strbuf *out);
/* Appends the request that stands for all of them, which share their key. Its id is none. Returns
 * the length of its JSON, or OIP_NO_HEAD when it has no binary tensor. */
int64_t oip_batch_merge(
    const struct oip_message *const *requests, size_t count, struct strbuf *out);
/* Appends the answer to one of the requests: `rows` rows of the batch's answer from `first` on,
 * under the request's own id (no text: without). Returns as oip_batch_merge. */
int64_t oip_batch_part(const struct oip_message *answer, int64_t first, int64_t rows,
    struct oip_span id, struct strbuf *out);
