/* A page of a list whose items are rows of the core: which the query's limit and after say. */
#pragma once

#include "core/rows.h"
#include "server/call.h"

/* What is shown of a row, in the call's arena; NULL where the caller may not see it. */
typedef struct doc *row_page_fn(struct call *call, const void *row);

/* Answers with the page of the live rows of a kind, by id; or with what is wrong. */
void row_page_answer(struct call *call, enum row_kind kind, row_page_fn *item);
