/* Applying manifests: all of them in one request, so that the server takes all or none. */
#include "cli/apply.h"

#include "base/vec.h"
#include "cli/api.h"
#include "cli/load.h"
#include "cli/view.h"
#include "cli/workdir.h"
#include "spec/spec.h"

#include <string.h>

int apply_file_list(struct cli *cli, const char *const **ret, size_t *ret_count, struct error *err)
{
    size_t count = 0;
    while (arguments_item(cli->args, "file", count))
        count++;
    if (count == 0)
        return error_set(
            err, ERR_INVALID, "say which manifests: muster %s -f FILE", arguments_path(cli->args));
    const char **files = arena_alloc(cli->arena, count, sizeof *files);
    for (size_t i = 0; i < count; i++)
        files[i] = arguments_item(cli->args, "file", i);
    *ret = files;
    *ret_count = count;
    return 0;
}

/* Packs the work directories, and uploads them when they are to be used. */
static int pack_workdirs(struct cli *cli, struct loaded_list *list, bool dry_run, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct loaded *loaded = &list->items[i];
        for (struct loaded_workdir *one = loaded->workdirs; one; one = one->next) {
            const char *digest;
            if (workdir_pack(cli, one->folder, !dry_run, &digest, err) < 0)
                return error_prefix(err, "%s:%d: %s", loaded->file,
                    doc_get(one->owner, "workdir")->line, one->path);
            doc_set_string(cli->arena, one->owner, "workdir", digest);
        }
    }
    return 0;
}

static struct doc *make_request(struct arena *arena, const struct loaded_list *list, bool dry_run)
{
    struct doc *request = doc_map(arena);
    struct doc *objects = doc_list(arena);
    for (size_t i = 0; i < list->count; i++)
        doc_append(objects, doc_copy(arena, list->items[i].doc));
    doc_set(arena, request, "objects", objects);
    doc_set_bool(arena, request, "dryRun", dry_run);
    return request;
}

static void append_value(struct strbuf *out, const struct doc *value)
{
    if (!value)
        strbuf_puts(out, "nothing");
    else if (value->type == DOC_STRING)
        strbuf_puts(out, value->text);
    else
        doc_write_json(value, 0, out);
}

/* "  ~ spec.gang.size: 2 -> 4", in the colours of a difference. */
static void append_change(const struct cli *cli, struct strbuf *out, const struct doc *change)
{
    const struct doc *before = view_at(change, "old"), *after = view_at(change, "new");
    const char *path = doc_get_string(change, "path");
    struct strbuf line = {0};
    strbuf_printf(&line, "%c %s: ", !before ? '+' : !after ? '-' : '~', path ? path : "");
    append_value(&line, before ? before : after);
    if (before && after) {
        strbuf_puts(&line, " -> ");
        append_value(&line, after);
    }
    const char *colour = !before ? "32" : !after ? "31" : "33";
    view_append_line(cli, out, "  ", strbuf_text(&line), colour);
    strbuf_finish(&line);
}

static void append_result(const struct cli *cli, struct strbuf *out, const struct doc *result)
{
    const char *kind = doc_get_string(result, "kind");
    const char *team = doc_get_string(result, "team");
    const char *name = doc_get_string(result, "name");
    const char *action = doc_get_string(result, "action");
    struct strbuf line = {0};
    strbuf_printf(&line, "%s %s%s%s %s", kind ? kind : "?", team ? team : "", team ? "/" : "",
        name ? name : "?", action ? action : "?");
    view_append_line(cli, out, "", strbuf_text(&line), NULL);
    strbuf_finish(&line);
    const struct doc *unused = doc_get(result, "unused"), *changes = doc_get(result, "changes");
    for (const struct doc *path = unused ? unused->first : NULL; path; path = path->next)
        view_append_line(cli, out,
            "  warning: ", arena_printf(cli->arena, "%s has no effect here", path->text), "33");
    for (const struct doc *change = changes ? changes->first : NULL; change; change = change->next)
        append_change(cli, out, change);
}

static int show_answer(struct cli *cli, const struct doc *answer, bool dry_run, struct error *err)
{
    const char *format = arguments_text(cli->args, "output");
    if (format && strcmp(format, "table") != 0)
        return cli_write_doc(cli, answer, format, err);
    struct strbuf out = {0};
    size_t changed = 0;
    const struct doc *results = doc_get(answer, "results");
    for (const struct doc *item = results ? results->first : NULL; item; item = item->next) {
        const char *action = doc_get_string(item, "action");
        changed += action && strcmp(action, "unchanged") != 0;
        append_result(cli, &out, item);
    }
    if (dry_run)
        strbuf_printf(&out, "%zu of %zu would change; nothing was changed\n", changed,
            results ? results->count : 0);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static int send_list(struct cli *cli, struct loaded_list *list, bool dry_run, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api || pack_workdirs(cli, list, dry_run, err) < 0)
        return -1;
    const struct doc *answer = NULL;
    char key[API_KEY_TEXT];
    api_make_key(key);
    const struct doc *request = make_request(cli->arena, list, dry_run);
    if (api_call(api, cli->arena, "POST", "/v1/apply", request, key, &answer, err) < 0) {
        load_locate_problem(list, api_problem(api), &cli->problem);
        load_locate_error(list, err);
        if (cli->problem.length > 0)
            error_set(err, err->code, "the server refused it: nothing was changed");
        return -1;
    }
    return show_answer(cli, answer, dry_run, err);
}

int apply_files(struct cli *cli, bool dry_run, struct error *err)
{
    const char *const *files;
    size_t count;
    if (apply_file_list(cli, &files, &count, err) < 0)
        return -1;
    struct loaded_list list = {0};
    if (load_paths(cli->arena, files, count, &list, &cli->problem, err) < 0)
        return -1;
    int failed = send_list(cli, &list, dry_run, err);
    load_finish(&list);
    return failed;
}
