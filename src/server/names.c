/* Names of things in the API: see names.h. */
#include "server/names.h"

#include "base/hash.h"
#include "core/core.h"
#include "server/context.h"
#include "spec/spec.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of the newest jobs of one team and one hash, how many are looked at: other names with that hash
 * are not to be had on purpose. */
enum { SAME_HASH_MOST = 4 };

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

char *names_job_id(uint64_t id, char out[JOB_ID_TEXT])
{
    return names_id('j', id, out);
}

char *names_id(char letter, uint64_t id, char out[JOB_ID_TEXT])
{
    out[0] = letter;
    for (int i = 13; i >= 1; i--) {
        out[i] = digits[id & 31];
        id >>= 5;
    }
    out[14] = '\0';
    return out;
}

char *names_document_key(uint64_t job, const char *under, char out[DOCUMENT_KEY_TEXT])
{
    snprintf(out, DOCUMENT_KEY_TEXT, "%" PRIu64 "%s%s", job, under ? "/" : "", under ? under : "");
    return out;
}

uint64_t names_parse_job_id(const char *text)
{
    if (text[0] != 'j' || strlen(text) != 14)
        return 0;
    uint64_t id = 0;
    for (size_t i = 1; i < 14; i++) {
        const char *digit = strchr(digits, text[i]);
        if (!digit || (i == 1 && digit - digits > 15))
            return 0;
        id = id << 5 | (uint64_t)(digit - digits);
    }
    return id;
}

const char *names_team(const struct server *server, uint64_t team)
{
    struct team_row row;
    if (team == 0 || reader_row(server->reader, ROW_TEAM, team, &row, NULL) < 0)
        return "";
    return reader_symbol(server->reader, row.name);
}

struct search {
    struct store_reader *reader;
    const char *name;
    uint64_t id;
};

/* A hash may be shared: the name itself decides. */
static int take_job(void *context, const void *row, struct error *err)
{
    struct search *search = context;
    const struct job_row *job = row;
    (void)err;
    if (!search->id && strcmp(reader_symbol(search->reader, job->name), search->name) == 0)
        search->id = job->id;
    return 0;
}

/* The newest job of that name in the team, or 0. */
static uint64_t find_by_name(const struct server *server, const char *team, const char *name)
{
    uint64_t team_id = core_team_find(server->core, team);
    struct search search = {server->reader, name, 0};
    if (team_id == 0)
        return 0;
    struct row_condition conditions[] = {
        {"name_hash", ROW_EQUAL, hash_text(name)}, {"team", ROW_EQUAL, (int64_t)team_id}};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = conditions,
        .condition_count = ARRAY_LEN(conditions),
        .descending = true,
        .limit = SAME_HASH_MOST};
    return reader_rows(server->reader, &query, take_job, &search, NULL) < 0 ? 0 : search.id;
}

int names_find_job(const struct server *server, const char *text, uint64_t *ret_id, char *ret_team,
    struct error *err)
{
    uint64_t id = names_parse_job_id(text);
    struct job_row row;
    if (id && reader_row(server->reader, ROW_JOB, id, &row, NULL) == 0) {
        *ret_id = id;
        snprintf(ret_team, 128, "%s", names_team(server, row.team));
        return 0;
    }
    const char *colon = strchr(text, ':');
    if (colon && (size_t)(colon - text) < 128) {
        char team[128];
        snprintf(team, sizeof team, "%.*s", (int)(colon - text), text);
        uint64_t found = find_by_name(server, team, colon + 1);
        if (found) {
            *ret_id = found;
            snprintf(ret_team, 128, "%s", team);
            return 0;
        }
    }
    return names_job_missing(text, err);
}

int names_find_array(const struct server *server, const char *text, uint64_t *ret_id,
    char *ret_team, struct error *err)
{
    char first[300];
    struct job_row row;
    if (strchr(text, ':') && (size_t)snprintf(first, sizeof first, "%s[0]", text) < sizeof first &&
        names_find_job(server, first, ret_id, ret_team, NULL) == 0 &&
        reader_row(server->reader, ROW_JOB, *ret_id, &row, NULL) == 0 && row.array == *ret_id)
        return 0;
    return names_job_missing(text, err);
}

int names_job_missing(const char *text, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND,
        "there is no job %.80s (a job is named by its id, or as team:name)", text);
}
