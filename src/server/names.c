/* Names of things in the API: see names.h. */
#include "server/names.h"

#include "server/context.h"
#include "spec/spec.h"
#include "store/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

char *names_job_id(uint64_t id, char out[JOB_ID_TEXT])
{
    out[0] = 'j';
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
    const struct server *server;
    const char *team;
    uint64_t id;
    uint64_t team_id;
};

static int take_job(void *context, const void *row, struct error *err)
{
    struct search *search = context;
    const struct job_row *job = row;
    (void)err;
    if (search->id == 0 && strcmp(names_team(search->server, job->team), search->team) == 0) {
        search->id = job->id;
        search->team_id = job->team;
    }
    return 0;
}

/* The newest job of that name in the team. Names are not unique over teams, so a few are looked at;
 * the newest of a thousand namesakes is far enough back. */
static int find_by_name(
    const struct server *server, const char *team, const char *name, struct search *search)
{
    uint32_t symbol = reader_symbol_find(server->reader, name);
    uint32_t team_symbol = reader_symbol_find(server->reader, team);
    if (symbol == 0 || team_symbol == 0)
        return -1;
    struct row_condition condition = {"name", ROW_EQUAL, symbol};
    struct row_query query = {.kind = ROW_JOB,
        .conditions = &condition,
        .condition_count = 1,
        .descending = true,
        .limit = 1000};
    *search = (struct search){.server = server, .team = team};
    if (reader_rows(server->reader, &query, take_job, search, NULL) < 0 || search->id == 0)
        return -1;
    return 0;
}

bool names_array(const char *text)
{
    const char *colon = strchr(text, ':');
    return colon && !strchr(colon, '[');
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
        struct search search;
        char first[128];
        snprintf(first, sizeof first, "%.120s[0]", colon + 1);
        if (find_by_name(server, team, colon + 1, &search) == 0 ||
            (names_array(text) && find_by_name(server, team, first, &search) == 0)) {
            *ret_id = search.id;
            snprintf(ret_team, 128, "%s", team);
            return 0;
        }
    }
    return names_job_missing(text, err);
}

int names_job_missing(const char *text, struct error *err)
{
    return error_set(err, ERR_NOT_FOUND,
        "there is no job %.80s (a job is named by its id, or as team:name)", text);
}
