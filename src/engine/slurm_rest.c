/* Asking slurmrestd: see slurm_rest.h. Questions beyond the bound wait in the order they came,
 * but for those that go first. */
#include "engine/slurm_rest.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "wire/http_agent.h"
#include "wire/tls.h"
#include "wire/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_BYTES_MAX = 16384, TIMEOUT_LEAST_MS = 2000, TIMEOUT_MOST_MS = 30000, POLLS = 10 };

struct ask {
    struct rest *rest;
    struct rest_question question;
    char *method, *target, *body, *user;
    struct http_exchange *exchange;
    int status;
    struct strbuf answer;
    struct error broken; /* by on_piece, or too large */
};

struct rest {
    struct http_agent *agent;
    struct http_endpoint *endpoint;
    struct tls_client *tls; /* NULL: not over TLS */
    size_t most;
    int64_t timeout_ms;
    char *user, *token_file, *token, *token_folder;
    struct timespec token_time;
    VEC(struct ask *) waiting;
    VEC(struct ask *) under_way;
};

static void ask_free(struct ask *ask)
{
    strbuf_finish(&ask->answer);
    free(ask->method);
    free(ask->target);
    free(ask->body);
    free(ask->user);
    free(ask);
}

static int open_tls(struct rest *rest, const struct slurm_site *site, struct error *err)
{
    struct url_endpoint endpoint;
    if (url_endpoint_parse(site->endpoint, &endpoint, err) < 0 ||
        tls_client_create(site->ca_file, &rest->tls, err) < 0)
        return -1;
    const char *host = site->server_name ? site->server_name : endpoint.host;
    return http_endpoint_create_tls(
        rest->agent, site->endpoint, rest->tls, host, &rest->endpoint, err);
}

/* A token in clear text belongs to everybody on the way: only to this machine. */
static int open_clear(struct rest *rest, const struct slurm_site *site, struct error *err)
{
    struct url_endpoint endpoint;
    if (url_endpoint_parse(site->endpoint, &endpoint, err) < 0)
        return -1;
    if ((site->token_file || site->token_folder) && !url_endpoint_is_local(&endpoint))
        return error_set(err, ERR_INVALID,
            "a token is sent in clear text to this machine only: use https:// or unix:");
    return http_endpoint_create(rest->agent, site->endpoint, (uid_t)-1, &rest->endpoint, err);
}

static int open_endpoint(struct rest *rest, const struct slurm_site *site, struct error *err)
{
    return strncmp(site->endpoint, "https:", 6) == 0 ? open_tls(rest, site, err)
                                                     : open_clear(rest, site, err);
}

struct rest *rest_create(struct event_base *base, const struct slurm_site *site, struct error *err)
{
    struct rest *rest = mem_alloc(1, sizeof *rest);
    const struct http_agent_options options = {.idle_max = (size_t)site->requests};
    rest->agent = http_agent_create(base, &options);
    rest->most = (size_t)site->requests;
    rest->timeout_ms = site->poll_ms * POLLS;
    if (rest->timeout_ms < TIMEOUT_LEAST_MS)
        rest->timeout_ms = TIMEOUT_LEAST_MS;
    if (rest->timeout_ms > TIMEOUT_MOST_MS)
        rest->timeout_ms = TIMEOUT_MOST_MS;
    rest->user = site->user ? mem_strdup(site->user) : NULL;
    rest->token_file = site->token_file ? mem_strdup(site->token_file) : NULL;
    rest->token_folder = site->token_folder ? mem_strdup(site->token_folder) : NULL;
    if (open_endpoint(rest, site, err) == 0)
        return rest;
    error_prefix(err, "spec.slurm.endpoint");
    rest_destroy(rest);
    return NULL;
}

void rest_destroy(struct rest *rest)
{
    if (!rest)
        return;
    http_endpoint_release(rest->endpoint);
    http_agent_destroy(rest->agent);
    tls_client_destroy(rest->tls);
    for (size_t i = 0; i < rest->waiting.count; i++)
        ask_free(rest->waiting.items[i]);
    for (size_t i = 0; i < rest->under_way.count; i++)
        ask_free(rest->under_way.items[i]);
    vec_free(&rest->waiting);
    vec_free(&rest->under_way);
    free(rest->user);
    free(rest->token_file);
    free(rest->token);
    free(rest->token_folder);
    free(rest);
}

/* ---- the token ------------------------------------------------------------------------------- */

/* To be freed by the caller; NULL: it cannot be read. */
static char *read_token_of(const char *path)
{
    char *text;
    size_t size;
    if (file_read(path, TOKEN_BYTES_MAX, &text, &size, NULL) < 0)
        return NULL;
    while (size > 0 && isspace((unsigned char)text[size - 1]))
        text[--size] = '\0';
    /* `scontrol token` writes SLURM_JWT=... */
    if (strncmp(text, "SLURM_JWT=", 10) == 0)
        memmove(text, text + 10, size - 10 + 1);
    return text;
}

/* Whoever renews it replaces the file. One that cannot be read leaves the last. */
static void read_token(struct rest *rest)
{
    struct stat status;
    char *text;
    if (!rest->token_file || stat(rest->token_file, &status) < 0 ||
        (rest->token && memcmp(&status.st_mtim, &rest->token_time, sizeof status.st_mtim) == 0) ||
        !(text = read_token_of(rest->token_file)))
        return;
    free(rest->token);
    rest->token = text;
    rest->token_time = status.st_mtim;
}

/* Names of users are names of files: those that are none have no token. */
static char *path_of_user(const struct rest *rest, const char *user)
{
    struct strbuf path = {0};
    if (!rest->token_folder || !user || !*user || *user == '.' || strchr(user, '/'))
        return NULL;
    strbuf_printf(&path, "%s/%s", rest->token_folder, user);
    return strbuf_steal(&path);
}

bool rest_may_ask(const struct rest *rest, const char *user, char *text, size_t size)
{
    SCOPED(mem_scope) char *path = path_of_user(rest, user);
    if (!user || rest->token_file || (path && access(path, R_OK) == 0))
        return true;
    snprintf(text, size, "there is no token by which %.40s could ask: %.100s is not there", user,
        path ? path : "tokenFolder");
    return false;
}

/* ---- an exchange ----------------------------------------------------------------------------- */

static void begin_waiting(struct rest *rest);

static void finish(struct ask *ask, const struct rest_answer *answer)
{
    struct rest *rest = ask->rest;
    for (size_t i = 0; i < rest->under_way.count; i++) {
        if (rest->under_way.items[i] == ask) {
            vec_remove(&rest->under_way, i);
            break;
        }
    }
    ask->question.on_done(ask->question.context, answer);
    ask_free(ask);
    begin_waiting(rest);
}

static void on_head(struct http_exchange *exchange, const struct http_answer *answer, void *context)
{
    struct ask *ask = context;
    (void)exchange;
    ask->status = answer->status;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct ask *ask = context;
    (void)exchange;
    if (ask->broken.code)
        return;
    if (ask->question.on_piece && ask->status == 200) {
        if (ask->question.on_piece(ask->question.context, bytes, length, &ask->broken) < 0)
            return;
    } else if (ask->answer.length + length > REST_BODY_MAX) {
        error_set(&ask->broken, ERR_TOO_LARGE, "the answer is larger than %d bytes", REST_BODY_MAX);
    } else {
        strbuf_append(&ask->answer, bytes, length);
    }
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct ask *ask = context;
    (void)exchange;
    struct rest_answer answer = {.outcome = ask->broken.code ? REST_UNSURE : REST_ANSWERED,
        .status = ask->status,
        .body = strbuf_text(&ask->answer),
        .length = ask->answer.length,
        .text = ask->broken.text};
    finish(ask, &answer);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    (void)exchange, (void)answered;
    bool unsent = failure == HTTP_FAILED_CONNECT || failure == HTTP_FAILED_REQUEST;
    struct rest_answer answer = {
        .outcome = unsent ? REST_UNSENT : REST_UNSURE, .body = "", .text = text};
    finish(context, &answer);
}

static void begin(struct rest *rest, struct ask *ask)
{
    static const struct http_exchange_callbacks callbacks = {
        .on_head = on_head, .on_piece = on_piece, .on_end = on_end, .on_fail = on_fail};
    struct http_field fields[4] = {{"Accept", "application/json"}};
    const char *user = ask->user ? ask->user : rest->user;
    SCOPED(mem_scope) char *path = path_of_user(rest, user);
    SCOPED(mem_scope) char *own = path ? read_token_of(path) : NULL;
    size_t count = 1;
    read_token(rest);
    const char *token = own ? own : rest->token;
    if (ask->body)
        fields[count++] = (struct http_field){"Content-Type", "application/json"};
    if (user && token)
        fields[count++] = (struct http_field){"X-SLURM-USER-NAME", user};
    if (token)
        fields[count++] = (struct http_field){"X-SLURM-USER-TOKEN", token};
    const struct http_exchange_request request = {.method = ask->method,
        .target = ask->target,
        .fields = fields,
        .field_count = count,
        .body = ask->body,
        .length = (int64_t)ask->question.length,
        .timeout_ms = ask->question.timeout_ms > rest->timeout_ms ? ask->question.timeout_ms
                                                                  : rest->timeout_ms};
    vec_push(&rest->under_way, ask);
    ask->exchange = http_exchange_begin(rest->endpoint, &request, &callbacks, ask);
}

static void begin_waiting(struct rest *rest)
{
    while (rest->waiting.count > 0 && rest->under_way.count < rest->most) {
        struct ask *ask = rest->waiting.items[0];
        vec_remove(&rest->waiting, 0);
        begin(rest, ask);
    }
}

void rest_ask(struct rest *rest, const struct rest_question *question)
{
    struct ask *ask = mem_alloc(1, sizeof *ask);
    ask->rest = rest;
    ask->question = *question;
    ask->method = mem_strdup(question->method);
    ask->target = mem_strdup(question->target);
    ask->user = question->user ? mem_strdup(question->user) : NULL;
    if (question->body) {
        ask->body = mem_alloc(question->length + 1, 1);
        memcpy(ask->body, question->body, question->length);
    }
    vec_insert(&rest->waiting, question->first ? 0 : rest->waiting.count, ask);
    begin_waiting(rest);
}
