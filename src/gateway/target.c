/* Paths to what they ask for: see target.h. Paths come decoded and checked by the server: no empty,
 * "." or ".." segments. A name that is too long or a version that is no number is no path of ours.
 */
#include "gateway/target.h"

#include "base/memory.h"
#include "gateway/balance.h"

#include <string.h>

/* '*' stands for a route, '#' for a version; each is one segment. */
static const struct row {
    const char *method, *pattern;
    enum protocol protocol;
    enum ask ask;
    const char *verb;
} rows[] = {
    /* Most requests are these: what comes first is found first. */
    {"POST", "/v2/models/*/infer", PROTOCOL_OIP, ASK_FORWARD_PATH, "/infer"},
    {"POST", "/v1/chat/completions", PROTOCOL_OPENAI, ASK_FORWARD_BODY, "/v1/chat/completions"},
    {"GET", "/v2", PROTOCOL_OIP, ASK_SERVER, ""},
    {"GET", "/v2/health/live", PROTOCOL_OIP, ASK_LIVE, ""},
    {"GET", "/v2/health/ready", PROTOCOL_OIP, ASK_READY, ""},
    {"POST", "/v2/repository/index", PROTOCOL_OIP, ASK_INDEX, ""},
    {"GET", "/v2/models/*", PROTOCOL_OIP, ASK_FORWARD_PATH, ""},
    {"GET", "/v2/models/*/versions/#", PROTOCOL_OIP, ASK_FORWARD_PATH, ""},
    {"GET", "/v2/models/*/ready", PROTOCOL_OIP, ASK_MODEL_READY, ""},
    {"GET", "/v2/models/*/versions/#/ready", PROTOCOL_OIP, ASK_MODEL_READY, ""},
    {"POST", "/v2/models/*/versions/#/infer", PROTOCOL_OIP, ASK_FORWARD_PATH, "/infer"},
    {"GET", "/v2/models/*/config", PROTOCOL_OIP, ASK_FORWARD_PATH, "/config"},
    {"GET", "/v2/models/*/versions/#/config", PROTOCOL_OIP, ASK_FORWARD_PATH, "/config"},
    {"GET", "/v2/models/*/stats", PROTOCOL_OIP, ASK_FORWARD_PATH, "/stats"},
    {"GET", "/v2/models/*/versions/#/stats", PROTOCOL_OIP, ASK_FORWARD_PATH, "/stats"},
    {"POST", "/v2/repository/models/*/load", PROTOCOL_OIP, ASK_LOAD, ""},
    {"POST", "/v2/repository/models/*/unload", PROTOCOL_OIP, ASK_LOAD, ""},
    {"GET", "/v1/models", PROTOCOL_OPENAI, ASK_MODEL_LIST, ""},
    {"GET", "/v1/models/*", PROTOCOL_OPENAI, ASK_MODEL_ENTRY, ""},
    {"POST", "/v1/completions", PROTOCOL_OPENAI, ASK_FORWARD_BODY, "/v1/completions"},
    {"POST", "/v1/embeddings", PROTOCOL_OPENAI, ASK_FORWARD_BODY, "/v1/embeddings"},
    {"POST", "/v1/feedback", PROTOCOL_OPENAI, ASK_FEEDBACK, ""},
    {"POST", "/v1/responses", PROTOCOL_OPENAI, ASK_FORWARD_BODY, "/v1/responses"},
};

static bool read_version(const char *text, size_t length, int64_t *ret)
{
    int64_t version = 0;
    if (length == 0 || length > 18)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        version = version * 10 + (text[i] - '0');
    }
    *ret = version;
    return true;
}

static bool read_route(const char *text, size_t length, char route[TARGET_ROUTE_BYTES])
{
    if (length == 0 || length >= TARGET_ROUTE_BYTES)
        return false;
    memcpy(route, text, length);
    route[length] = '\0';
    return true;
}

static bool matches(const struct row *row, const char *path, struct target *ret)
{
    const char *pattern = row->pattern;
    ret->route[0] = '\0';
    ret->version = BALANCE_ANY_VERSION;
    for (; *pattern && *path; pattern++) {
        if (*pattern != '*' && *pattern != '#') {
            if (*pattern != *path++)
                return false;
            continue;
        }
        size_t length = (size_t)(strchrnul(path, '/') - path);
        if (*pattern == '*' ? !read_route(path, length, ret->route)
                            : !read_version(path, length, &ret->version))
            return false;
        path += length;
    }
    return !*pattern && !*path;
}

static bool is_get(const struct row *row)
{
    return row->method[0] == 'G';
}

/* HEAD is GET without the body. */
static bool takes(const struct row *row, const char *method)
{
    return !strcmp(method, row->method) || (is_get(row) && !strcmp(method, "HEAD"));
}

int target_find(const char *method, const char *path, struct target *ret, const char **ret_allow)
{
    int status = 404;
    struct target found;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!matches(&rows[i], path, &found))
            continue;
        if (!takes(&rows[i], method)) {
            *ret_allow = is_get(&rows[i]) ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
            status = strcmp(method, "OPTIONS") != 0 ? 405 : 204;
            continue;
        }
        found.ask = rows[i].ask;
        found.protocol = rows[i].protocol;
        found.has_body = !is_get(&rows[i]);
        found.verb = rows[i].verb;
        *ret = found;
        return 200;
    }
    return status;
}

enum protocol target_protocol(const char *path)
{
    if (!strncmp(path, "/v2", 3) && (!path[3] || path[3] == '/'))
        return PROTOCOL_OIP;
    return !strncmp(path, "/v1/", 4) ? PROTOCOL_OPENAI : PROTOCOL_NONE;
}
