/* Names of things in the API, and the rows behind them. */
#pragma once

#include "base/error.h"
#include "core/rows.h"

struct server;
struct store_reader;

enum { JOB_ID_TEXT = 16 };
/* A job's id as text: j and 13 characters of Crockford's base 32, in the order of the numbers. */
char *names_job_id(uint64_t id, char out[JOB_ID_TEXT]);
/* The same with another letter in place of the j: ids of things that are numbered by themselves. */
char *names_id(char letter, uint64_t id, char out[JOB_ID_TEXT]);
/* The number, or 0 when the text is no job id. */
uint64_t names_parse_job_id(const char *text);

enum { DOCUMENT_KEY_TEXT = 64 };
/* The key of a document that belongs to a job: its id in decimal, as the store's retention expects,
 * and with under != NULL a slash and that. */
char *names_document_key(uint64_t job, const char *under, char out[DOCUMENT_KEY_TEXT]);

/* The job that is meant by an id, or by team:name (the newest of that name, live or ended).
 * ret_team (128 bytes) gets its team. ERR_NOT_FOUND. */
MUST_CHECK int names_find_job(const struct server *server, const char *text, uint64_t *ret_id,
    char *ret_team, struct error *err);
/* The array that is meant by team:name: the id of its first element, which stands for all of it.
 * ret_team as above. ERR_NOT_FOUND. */
MUST_CHECK int names_find_array(const struct server *server, const char *text, uint64_t *ret_id,
    char *ret_team, struct error *err);
/* Says that there is no such job: ERR_NOT_FOUND, -1. A job that the caller may not see is spoken of
 * in the same words. */
int names_job_missing(const char *text, struct error *err);
/* The team's name by its row id; "" when it is not known. Valid until the reader is closed. */
const char *names_team(const struct server *server, uint64_t team);
