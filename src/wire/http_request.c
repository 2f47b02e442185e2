/* What was asked, and asking for its body: see http.h. The head is copied into the request's
 * arena once, and its strings are terminated in place: each is followed by a byte of syntax. */
#include "wire/http_internal.h"

#include "wire/url.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

static const struct http_fault fault_path = {400,
    "the path has an empty or dotted segment, an encoded slash, a control character, a malformed "
    "escape or is not UTF-8"};
static const struct http_fault fault_query = {
    400, "the query has a malformed escape, a NUL or is not UTF-8"};
static const struct http_fault fault_parameters = {400, "the query has too many parameters"};

static char *terminated(char *head, struct http_slice slice)
{
    head[slice.offset + slice.length] = '\0';
    return head + slice.offset;
}

/* Backwards: the first of a name is noted last. */
static void firsts_init(struct http_request *request)
{
    assert(request->field_count <= UCHAR_MAX);
    memset(request->first, 0, sizeof request->first);
    for (size_t i = request->field_count; i > 0; i--)
        request->first[request->fields[i - 1].known] = (unsigned char)i;
}

static void fields_init(struct http_request *request, const struct http_head *head, char *copy)
{
    struct arena *arena = request_conn(request)->arena;
    request->field_count = head->field_count;
    request->fields = arena_alloc(arena, head->field_count + 1, sizeof *request->fields);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field_slice *slice = &head->fields[i];
        request->fields[i] =
            (struct http_field){terminated(copy, slice->name), terminated(copy, slice->value), true,
                slice->known, slice->name.length, slice->value.length};
    }
    firsts_init(request);
}

static const struct http_fault *path_init(
    struct http_request *request, const struct http_head *head, const char *bytes)
{
    struct arena *arena = request_conn(request)->arena;
    size_t length;
    /* "http://host" without a path asks for the root. */
    if (head->target_is_asterisk || head->path.length == 0) {
        request->path = head->target_is_asterisk ? "*" : "/";
        return NULL;
    }
    char *path = arena_alloc(arena, head->path.length + 1, 1);
    if (url_decode_path(bytes + head->path.offset, head->path.length, path, &length, NULL) < 0)
        return &fault_path;
    request->path = path;
    return NULL;
}

static const struct http_fault *parameter_init(
    struct http_request *request, const char *text, size_t length)
{
    struct arena *arena = request_conn(request)->arena;
    const char *equals = memchr(text, '=', length);
    size_t name_length = equals ? (size_t)(equals - text) : length;
    size_t value_length = equals ? length - name_length - 1 : 0;
    char *name = arena_alloc(arena, name_length + 1, 1);
    char *value = arena_alloc(arena, value_length + 1, 1);
    size_t ignored;
    if (url_decode_query(text, name_length, name, &ignored, NULL) < 0 ||
        (equals && url_decode_query(equals + 1, value_length, value, &ignored, NULL) < 0))
        return &fault_query;
    request->parameters[request->parameter_count++] = (struct http_field){name, value};
    return NULL;
}

static const struct http_fault *query_init(
    struct http_request *request, const char *query, size_t length)
{
    if (length == 0)
        return NULL;
    request->parameters = arena_alloc(
        request_conn(request)->arena, QUERY_PARAMETERS_MAX, sizeof *request->parameters);
    const char *end = query + length;
    while (query < end) {
        const char *mark = memchr(query, '&', (size_t)(end - query));
        size_t piece = (size_t)((mark ? mark : end) - query);
        if (piece > 0 && request->parameter_count == QUERY_PARAMETERS_MAX)
            return &fault_parameters;
        const struct http_fault *fault = piece > 0 ? parameter_init(request, query, piece) : NULL;
        if (fault)
            return fault;
        query += piece + 1;
    }
    return NULL;
}

const struct http_fault *request_init(struct http_request *request, const char *bytes)
{
    struct http_conn *conn = request_conn(request);
    const struct http_head *head = &conn->parser.head;
    assert(!request->open);
    *request = (struct http_request){.collected = {0}};
    char *copy = arena_strndup(conn->arena, bytes, head->bytes);
    request->method = terminated(copy, head->method);
    request->target = terminated(copy, head->target);
    request->is_head = strcmp(request->method, "HEAD") == 0;
    request->close_after = !head->keep_alive;
    fields_init(request, head, copy);
    const struct http_fault *fault = path_init(request, head, bytes);
    return fault ? fault : query_init(request, bytes + head->query.offset, head->query.length);
}

static void field_hide(struct http_request *request, enum http_name name)
{
    size_t kept = 0;
    for (size_t i = 0; i < request->field_count; i++) {
        if (request->fields[i].known != name)
            request->fields[kept++] = request->fields[i];
    }
    request->field_count = kept;
    firsts_init(request);
}

bool request_unpack(struct http_request *request)
{
    struct http_server *server = request_conn(request)->server;
    const char *coding = http_request_known(request, HTTP_NAME_CONTENT_ENCODING);
    if (!coding)
        return true;
    request->unpack =
        http_unpack_create(coding, &server->unpack_bytes, server->options.unpack_bytes_max);
    if (!request->unpack && !http_unpack_is_identity(coding))
        return false;
    field_hide(request, HTTP_NAME_CONTENT_ENCODING);
    return true;
}

void request_finish(struct http_request *request)
{
    http_unpack_destroy(request->unpack);
    request->unpack = NULL;
    strbuf_finish(&request->collected);
    request->open = false;
}

/* ------- what was asked ------- */

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->path;
}

const char *http_request_target(const struct http_request *request)
{
    return request->target;
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    for (size_t i = 0; i < request->parameter_count; i++) {
        if (strcmp(request->parameters[i].name, name) == 0)
            return request->parameters[i].value;
    }
    return NULL;
}

bool http_request_query_at(
    const struct http_request *request, size_t i, struct http_field *ret_parameter)
{
    if (i >= request->parameter_count)
        return false;
    *ret_parameter = request->parameters[i];
    return true;
}

const char *http_request_known(const struct http_request *request, enum http_name name)
{
    assert(name != HTTP_NAME_OTHER);
    size_t at = request->first[name];
    return at > 0 ? request->fields[at - 1].value : NULL;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    enum http_name known = http_name_find(name, strlen(name));
    if (known != HTTP_NAME_OTHER)
        return http_request_known(request, known);
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        if (field->known == HTTP_NAME_OTHER && strcasecmp(field->name, name) == 0)
            return field->value;
    }
    return NULL;
}

bool http_request_header_at(
    const struct http_request *request, size_t i, struct http_field *ret_field)
{
    if (i >= request->field_count)
        return false;
    *ret_field = request->fields[i];
    return true;
}

const struct http_peer *http_request_peer(const struct http_request *request)
{
    return &request_conn((struct http_request *)request)->peer;
}

struct arena *http_request_arena(struct http_request *request)
{
    assert(request->open);
    return request_conn(request)->arena;
}

int64_t http_request_body_length(const struct http_request *request)
{
    const struct http_head *head = &request_conn((struct http_request *)request)->parser.head;
    if (head->framing == HTTP_BODY_NONE)
        return 0;
    return head->framing == HTTP_BODY_LENGTH && !request->unpack ? (int64_t)head->content_length
                                                                 : -1;
}

void http_request_set_data(struct http_request *request, void *data)
{
    assert(request->open);
    request->data = data;
}

void *http_request_data(const struct http_request *request)
{
    return request->data;
}

/* ------- the body ------- */

static void body_ask(struct http_request *request, enum body_mode mode, size_t limit, void *ctx)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer != ANSWER_COMPLETE);
    assert(request->body_mode == BODY_UNASKED);
    request->body_mode = mode;
    request->body_limit = limit ? limit : conn->server->options.body_bytes_max;
    request->body_ctx = ctx;
    conn_attend(conn);
}

void http_request_collect(
    struct http_request *request, size_t limit, http_on_body *on_body, void *ctx)
{
    assert(on_body && limit < SIZE_MAX / 4);
    body_ask(request, BODY_COLLECT, limit, ctx);
    request->on_body = on_body;
}

void http_request_read(
    struct http_request *request, size_t limit, http_on_piece *on_piece, void *ctx)
{
    assert(on_piece);
    body_ask(request, BODY_PIECES, limit, ctx);
    request->on_piece = on_piece;
}

void http_request_pause(struct http_request *request)
{
    /* Who pauses means to come back, and has to hear that there is nothing to come back to. */
    assert(request->open && request->on_cancel);
    request->body_paused = true;
}

void http_request_resume(struct http_request *request)
{
    assert(request->open);
    request->body_paused = false;
    conn_attend(request_conn(request));
}

void http_request_on_cancel(struct http_request *request, http_on_notice *on_cancel, void *ctx)
{
    struct http_conn *conn = request_conn(request);
    assert(request->open && request->answer != ANSWER_COMPLETE);
    request->on_cancel = on_cancel;
    request->cancel_ctx = ctx;
    (void)conn;
}
