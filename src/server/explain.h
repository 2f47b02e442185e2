/* The planner's facts (planner/explain.h, whatif.h) as the API shows them: ids, moments and amounts
 * as text, names only of teams that the asker may see; and the same in sentences. */
#pragma once

#include "core/rows.h"
#include "wire/doc.h"

struct identity;
struct server;
struct strbuf;

/* What GET /v1/jobs/{job}/explain answers. facts: NULL for a job that has ended; without: why there
 * is no forecast, NULL when there is one. */
struct doc *explain_show(struct server *server, const struct identity *identity,
    struct arena *arena, const struct job_row *job, const struct doc *facts, const char *without);
/* What POST /v1/whatif answers. */
struct doc *explain_show_whatif(struct arena *arena, const struct doc *facts);

/* The sentences about such an answer without them: a list of texts, the first the shortest account
 * of all. */
struct doc *explain_words(struct arena *arena, const struct doc *shown);
/* explain_pools.c: sets "pools", the list of the planner's facts as people read it, or NULL; and a
 * sentence about what such an answer has of them. */
void explain_show_pools(
    struct arena *arena, struct doc *to, const struct doc *pools, int64_t now_ms);
void explain_say_pools(const struct doc *shown, struct strbuf *out);
/* Where what it reads lies, and was brought: the same. */
void explain_show_reads(struct arena *arena, struct doc *to, const struct doc *reads);
void explain_say_reads(const struct doc *shown, struct strbuf *out);
