/* Requests for embeddings of the OpenAI API, put together and taken apart. A request's own texts
 * are its rows: one, or as many as its "input" lists. */
#pragma once

#include "gateway/oip_json.h"

struct arena;
struct strbuf;

struct embed_request {
    bool tokens;             /* lists of numbers, else texts */
    struct oip_span members; /* the whole object, from which the others than "input" are taken */
    struct oip_span items;   /* what goes into the list: texts, or lists of tokens */
    int64_t rows;
    int64_t weight; /* tokens, or bytes of text: by it what the answer used is shared */
};

struct embed_answer {
    struct oip_span members;
    struct oip_span *items; /* by "index"; in the arena */
    int64_t rows;
    struct oip_span usage; /* no text: none */
    int64_t tokens;        /* of the prompt; the total is the same */
};

/* NULL when *ret is set, else what is wrong: a constant text. Its spans are parts of body. */
const char *embed_parse_request(const char *body, size_t length, struct embed_request *ret);
/* The same of an answer with so many rows. */
const char *embed_parse_answer(
    struct arena *arena, const char *body, size_t length, int64_t rows, struct embed_answer *ret);
/* Appends what requests must have in common: all members but "input", and what that lists. */
void embed_key(const struct embed_request *request, struct strbuf *out);
/* Appends the request that stands for all of them, which share their key. */
void embed_merge(const struct embed_request *const *requests, size_t count, struct strbuf *out);
/* Appends the answer to the request whose rows begin at `first`. before, all: the weight of the
 * requests before it and of the whole batch. What the parts used adds up to what the batch did; it
 * is exact where tokens were sent, and by the length of the texts where not. */
void embed_part(const struct embed_answer *answer, const struct embed_request *request,
    int64_t first, int64_t before, int64_t all, struct strbuf *out);
