/* See trial.h. */
#include "cli/trial.h"

#include "base/memory.h"
#include "cli/api.h"
#include "cli/cli.h"
#include "cli/job.h"
#include "cli/options.h"
#include "cli/view.h"

#include <sodium.h>
#include <string.h>

enum { BODY_BYTES_MAX = 4 << 20, ITEMS_MAX = 1 << 20 };

const char *trial_service(const struct cli *cli, const char *name)
{
    const char *slash = strchr(name, '/');
    if (slash)
        return arena_printf(cli->arena, "%.*s:%s", (int)(slash - name), name, slash + 1);
    return arena_printf(cli->arena, "%s:%s", job_team(cli), name);
}

static const char *service_target(const struct cli *cli, const char *service, const char *suffix)
{
    SCOPED(strbuf_finish) struct strbuf target = {0};
    strbuf_puts(&target, "/v1/services");
    view_append_name(&target, service);
    strbuf_puts(&target, suffix);
    return arena_strdup(cli->arena, strbuf_text(&target));
}

int trial_describe(struct cli *cli, struct api *api, const char *service, const struct doc **ret,
    struct error *err)
{
    return api_get(api, cli->arena, service_target(cli, service, ""), ret, err);
}

int trial_start(struct cli *cli, struct api *api, const char *service, const char *note,
    const char **ret, struct error *err)
{
    struct arena *arena = cli->arena;
    struct doc *request = doc_map(arena);
    const struct doc *opened = NULL;
    int64_t version = arguments_number(cli->args, "version", -1);
    const char *tests = service_target(cli, service, "/tests");
    if (version >= 0)
        doc_set_int(arena, request, "version", version);
    doc_set_string(arena, request, "replica", arguments_text(cli->args, "replica"));
    if (arguments_flag(cli->args, "unready"))
        doc_set_bool(arena, request, "unready", true);
    doc_set_string(arena, request, "note", note);
    if (api_call(api, arena, "POST", tests, request, NULL, &opened, err) < 0)
        return -1;
    const char *id = view_text(opened, "test");
    if (!id)
        return error_set(err, ERR_UNAVAILABLE, "the server did not say which test it opened");
    *ret = arena_printf(arena, "%s/%s", tests, id);
    return 0;
}

static bool is_text(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t step = utf8_length_within(bytes + i, length - i);
        if (step == 0 || bytes[i] == '\0')
            return false;
        i += step;
    }
    return true;
}

static void set_body(struct arena *arena, struct doc *request, const char *bytes, size_t length)
{
    if (is_text(bytes, length)) {
        doc_set_string(arena, request, "text", arena_strndup(arena, bytes, length));
        return;
    }
    size_t size = sodium_base64_ENCODED_LEN(length, sodium_base64_VARIANT_ORIGINAL);
    char *text = arena_alloc(arena, size, 1);
    sodium_bin2base64(
        text, size, (const unsigned char *)bytes, length, sodium_base64_VARIANT_ORIGINAL);
    doc_set_string(arena, request, "base64", text);
}

int trial_post(struct api *api, struct arena *arena, const char *target,
    const struct trial_body *body, const struct doc **ret, struct error *err)
{
    struct doc *request = doc_map(arena), *fields = doc_map(arena);
    SCOPED(strbuf_finish) struct strbuf text = {0};
    doc_set_string(arena, request, "method", "POST");
    doc_set_string(arena, request, "path", body->path);
    doc_set_string(arena, request, "timeout", body->timeout);
    doc_set_string(arena, fields, "Content-Type", body->type);
    doc_set_string(arena, fields, "Inference-Header-Content-Length", body->tensors);
    doc_set(arena, request, "fields", fields);
    set_body(arena, request, body->bytes, body->length);
    doc_write_json(request, 0, &text);
    if (text.length > BODY_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE,
            "the request has %zu bytes as JSON: a test takes at most %d", text.length,
            BODY_BYTES_MAX);
    /* The answer may take as long as the request may, which is 10 minutes at most. */
    return api_send(api, arena, "POST", target, "application/json", strbuf_text(&text), text.length,
        11 * 60 * 1000, false, ret, err);
}

const char *trial_guess_path(
    struct arena *arena, const char *route, const char *bytes, size_t length)
{
    static const struct {
        const char *member, *path;
    } shapes[] = {{"messages", "/v1/chat/completions"}, {"prompt", "/v1/completions"}};
    const struct doc *doc =
        doc_parse_json_bounded(arena, bytes, length, BODY_BYTES_MAX, ITEMS_MAX, NULL);
    if (doc && doc_get(doc, "inputs"))
        return arena_printf(arena, "/v2/models/%s/infer", route);
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        if (doc && doc_get(doc, shapes[i].member))
            return shapes[i].path;
    }
    return NULL;
}
