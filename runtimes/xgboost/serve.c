/* Serving a model: see serve.h. */
#include "serve.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "booster.h"
#include "encoding.h"
#include "infer.h"
#include "wire/http.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xgboost/c_api.h>

enum { DRAIN_MS = 10000 };

struct serving {
    struct booster *booster;
    const struct serve_options *options;
    struct event_base *base;
    struct http_server *http;
};

/* fields has room for one more. */
static void respond(struct http_request *request, int status, struct http_field *fields,
    size_t count, const struct strbuf *body)
{
    const char *encoding = encoding_wanted(http_request_header(request, "Accept-Encoding"));
    SCOPED(strbuf_finish) struct strbuf packed = {0};
    if (encoding) {
        encoding_do(encoding, strbuf_text(body), body->length, &packed);
        fields[count++] = (struct http_field){"Content-Encoding", encoding};
        body = &packed;
    }
    http_respond(request, status, fields, count, strbuf_text(body), body->length);
}

static void answer(struct http_request *request, int status, const struct strbuf *body)
{
    struct http_field fields[2] = {{"Content-Type", "application/json"}};
    respond(request, status, fields, 1, body);
}

static void refuse(struct http_request *request, int status, const char *text)
{
    struct strbuf body = {0};
    strbuf_puts(&body, "{\"error\":");
    strbuf_json(&body, text);
    strbuf_putc(&body, '}');
    answer(request, status, &body);
    strbuf_finish(&body);
}

static void answer_binary(struct http_request *request, const struct strbuf *body, size_t head)
{
    char length[24];
    snprintf(length, sizeof length, "%zu", head);
    struct http_field fields[3] = {
        {"Content-Type", "application/octet-stream"}, {"Inference-Header-Content-Length", length}};
    respond(request, 200, fields, 2, body);
}

static int infer(struct serving *serving, struct http_request *request, const char *bytes,
    size_t length, struct error *err)
{
    const char *head = http_request_header(request, "Inference-Header-Content-Length");
    char *end = NULL;
    long long head_length = head ? strtoll(head, &end, 10) : -1;
    if (head && (*end || end == head || head_length < 0))
        return error_set(err, ERR_INVALID, "Inference-Header-Content-Length is not a length");
    struct infer_request asked;
    if (infer_decode(bytes, length, head_length, booster_features(serving->booster), &asked, err) <
        0)
        return -1;
    const float *values;
    size_t width;
    int result = booster_predict(serving->booster, asked.values, asked.rows, &values, &width, err);
    if (result == 0) {
        struct strbuf out = {0};
        size_t json = infer_encode(
            &asked, serving->options->name, serving->options->version, values, width, &out);
        if (asked.binary)
            answer_binary(request, &out, json);
        else
            answer(request, 200, &out);
        strbuf_finish(&out);
    }
    infer_request_finish(&asked);
    return result;
}

/* The same for a body as it was sent. */
static int infer_packed(struct serving *serving, struct http_request *request, const char *bytes,
    size_t length, struct error *err)
{
    const char *encoding = http_request_header(request, "Content-Encoding");
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    if (!encoding || !strcmp(encoding, "identity"))
        return infer(serving, request, bytes, length, err);
    if (encoding_undo(encoding, bytes, length, INFER_BODY_MAX, &plain, err) < 0)
        return -1;
    return infer(serving, request, strbuf_text(&plain), plain.length, err);
}

static void on_body(struct http_request *request, const char *bytes, size_t length, void *ctx)
{
    struct error err;
    if (infer_packed(ctx, request, bytes, length, &err) < 0)
        /* The protocol knows 400 for whatever is wrong with a request. */
        refuse(request, err.code == ERR_INVALID ? 400 : error_http_status(err.code), err.text);
}

/* What follows "/v2/models/NAME[/versions/V]" in the path; NULL when it is another model's. */
static const char *model_rest(const struct serving *serving, const char *path)
{
    size_t name = strlen(serving->options->name);
    size_t version = strlen(serving->options->version);
    static const char models[] = "/v2/models/", versions[] = "/versions/";
    if (strncmp(path, models, sizeof models - 1) != 0)
        return NULL;
    path += sizeof models - 1;
    if (strncmp(path, serving->options->name, name) != 0 || (path[name] && path[name] != '/'))
        return NULL;
    path += name;
    if (strncmp(path, versions, sizeof versions - 1) != 0)
        return path;
    path += sizeof versions - 1;
    if (strncmp(path, serving->options->version, version) != 0 ||
        (path[version] && path[version] != '/'))
        return NULL;
    return path + version;
}

static void describe(struct serving *serving, struct http_request *request)
{
    struct strbuf body = {0};
    infer_describe(serving->options->name, serving->options->version,
        booster_features(serving->booster), &body);
    answer(request, 200, &body);
    strbuf_finish(&body);
}

static void answer_text(struct http_request *request, const char *text)
{
    struct strbuf body = {0};
    strbuf_puts(&body, text);
    answer(request, 200, &body);
    strbuf_finish(&body);
}

static void handle_get(struct serving *serving, struct http_request *request, const char *path)
{
    static const struct {
        const char *path;
        const char *answer;
    } fixed[] = {
        {"/v2/health/live", "{\"live\":true}"},
        {"/v2/health/ready", "{\"ready\":true}"},
        {"/v2", "{\"name\":\"muster-xgboost\",\"version\":\"" MUSTER_VERSION
                "\",\"extensions\":[\"binary_tensor_data\"]}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (strcmp(path, fixed[i].path) == 0) {
            answer_text(request, fixed[i].answer);
            return;
        }
    }
    const char *rest = model_rest(serving, path);
    if (rest && !*rest)
        describe(serving, request);
    else if (rest && strcmp(rest, "/ready") == 0)
        answer_text(request, "{\"ready\":true}");
    else
        refuse(request, 404, "there is nothing here: this replica has one model");
}

static void handle(struct http_request *request, void *ctx)
{
    struct serving *serving = ctx;
    const char *method = http_request_method(request);
    const char *path = http_request_path(request);
    const char *rest = model_rest(serving, path);
    if (strcmp(method, "GET") == 0)
        handle_get(serving, request, path);
    else if (strcmp(method, "POST") != 0)
        refuse(request, 405, "only GET and POST");
    else if (rest && strcmp(rest, "/infer") == 0)
        http_request_collect(request, INFER_BODY_MAX, on_body, serving);
    else
        refuse(request, 404, "there is nothing here: this replica has one model");
}

static void on_drained(void *ctx)
{
    event_base_loopbreak(((struct serving *)ctx)->base);
}

static void on_stop(evutil_socket_t number, short what, void *ctx)
{
    struct serving *serving = ctx;
    (void)number;
    (void)what;
    http_server_drain(serving->http, DRAIN_MS, on_drained, serving);
}

static int listen_on(struct serving *serving, struct error *err)
{
    const struct serve_options *options = serving->options;
    if (options->socket)
        return http_server_listen_unix(serving->http, options->socket, 0660, err);
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", options->port);
    return http_server_listen_tcp(serving->http, address, NULL, NULL, err);
}

int serve(struct booster *booster, const struct serve_options *options, struct error *err)
{
    struct serving serving = {.booster = booster, .options = options, .base = event_base_new()};
    const struct http_server_options http = {.handler = handle,
        .ctx = &serving,
        .connections_max = 1024,
        .connections_per_peer_max = 1024,
        .body_bytes_max = INFER_BODY_MAX};
    serving.http = http_server_create(serving.base, &http);
    struct event *term = evsignal_new(serving.base, SIGTERM, on_stop, &serving);
    struct event *interrupt = evsignal_new(serving.base, SIGINT, on_stop, &serving);
    int result = listen_on(&serving, err);
    if (result == 0) {
        evsignal_add(term, NULL);
        evsignal_add(interrupt, NULL);
        printf("xgboost: %s version %s is served\n", options->name, options->version);
        fflush(stdout);
        event_base_dispatch(serving.base);
    }
    http_server_destroy(serving.http);
    event_free(term);
    event_free(interrupt);
    event_base_free(serving.base);
    return result;
}
