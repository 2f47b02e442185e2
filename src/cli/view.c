/* How things are shown: see view.h. The paths of status are those of docs/api.md. */
#include "cli/view.h"

#include "base/clock.h"
#include "base/quantity.h"
#include "cli/table.h"
#include "cli/text.h"
#include "wire/url.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const struct view_column pool_columns[] = {
    {"NAME", "metadata.name"},
    {"ENGINE", "spec.engine", .fallback = "local"},
    {"NODES", "status.nodes|spec.nodes", VIEW_COUNT, .right = true},
    {"SPOT", "spec.spot"},
    {"JURISDICTION", "spec.jurisdiction"},
    {"CURRENCY", "spec.prices.currency"},
    {"DESCRIPTION", "spec.description", .wide = true},
    {NULL},
};

static const struct view_column team_columns[] = {
    {"NAME", "metadata.name"},
    {"PARENT", "spec.parent"},
    {"WEIGHT", "spec.weight", .wide = true, .right = true},
    {"QUOTA", "spec.quota", VIEW_COUNT, .wide = true, .right = true},
    {"MEMBERS", "spec.members", VIEW_COUNT, .wide = true, .right = true},
    {"DESCRIPTION", "spec.description"},
    {NULL},
};

static const struct view_column class_columns[] = {
    {"NAME", "metadata.name"},
    {"PRIORITY", "spec.template.priority"},
    {"PREEMPTIBLE", "spec.template.preemptible"},
    {"DESCRIPTION", "spec.description"},
    {NULL},
};

static const struct view_column dataset_columns[] = {
    {"TEAM", "metadata.team"},
    {"NAME", "metadata.name"},
    {"JURISDICTION", "spec.jurisdiction"},
    {"CONSENT", "spec.consent"},
    {"OWNER", "spec.owner"},
    {"LABELS", "metadata.labels", VIEW_LIST, .wide = true},
    {"DESCRIPTION", "spec.description", .wide = true},
    {NULL},
};

static const struct view_column model_columns[] = {
    {"TEAM", "metadata.team"},
    {"NAME", "metadata.name"},
    {"RUNTIME", "spec.runtime"},
    {"GATES", "spec.gates", VIEW_COUNT, .right = true},
    {"OWNERS", "spec.owners", VIEW_LIST, .wide = true},
    {"LABELS", "metadata.labels", VIEW_LIST, .wide = true},
    {"DESCRIPTION", "spec.description"},
    {NULL},
};

static const struct view_column runtime_columns[] = {
    {"NAME", "metadata.name"},
    {"PROTOCOLS", "spec.protocols", VIEW_LIST},
    {"LISTEN", "spec.listen", .fallback = "socket"},
    {"COMMAND", "spec.command", VIEW_COMMAND, .wide = true},
    {"DESCRIPTION", "spec.description"},
    {NULL},
};

static const struct view_column hpa_columns[] = {
    {"NAMESPACE", "metadata.namespace", .fallback = "default"},
    {"NAME", "metadata.name"},
    {"SCALES", "spec.scaleTargetRef.name"},
    {"MIN", "spec.minReplicas", .right = true, .fallback = "1"},
    {"MAX", "spec.maxReplicas", .right = true},
    {NULL},
};

static const struct view_column service_columns[] = {
    {"TEAM", "metadata.team"},
    {"NAME", "metadata.name"},
    {"STATE", "status.state", VIEW_STATE},
    {"READY", "status.ready", .right = true},
    {"WANTED", "status.wanted|spec.replicas", .right = true, .fallback = "1"},
    {"MODEL", "spec.model"},
    {"VERSION", "status.version", .right = true},
    {"REVISION", "status.revision", .right = true},
    {"ROUTE", "spec.route|metadata.name"},
    {"RUNTIME", "status.runtime|spec.runtime", .wide = true},
    {"ACCESS", "spec.gateway.access", .wide = true, .fallback = "team"},
    {NULL},
};

static const struct view_column job_columns[] = {
    {"TEAM", "metadata.team"},
    {"NAME", "metadata.name"},
    {"STATE", "status.state", VIEW_STATE},
    {"REASON", "status.reason"},
    {"RANKS", "status.size", .right = true},
    {"ATTEMPTS", "status.attempts", .right = true},
    {"PREEMPTED", "status.preemptions", .right = true},
    {"AGE", "status.submitted", VIEW_AGE, .right = true},
    {"CHECKPOINT", "status.checkpoint", VIEW_AGE, .right = true},
    {"ID", "status.id", .wide = true},
    {"CLASS", "spec.class", .wide = true},
    {"PRIORITY", "status.priority|spec.priority", .wide = true, .right = true},
    {"LABELS", "metadata.labels", VIEW_LIST, .wide = true},
    {NULL},
};

static const struct view_column node_columns[] = {
    {"POOL", "pool"},
    {"NODE", "name"},
    {"STATE", "state", VIEW_STATE},
    {"CORDONED", "cordoned"},
    {"DRAINING", "draining", .wide = true},
    {"TYPE", "type"},
    {"ACCELERATOR", "accelerator"},
    {"HELD", "held", VIEW_RESOURCES},
    {"CAPACITY", "capacity", VIEW_RESOURCES},
    {"RANKS", "ranks", .right = true},
    {"LABELS", "labels", VIEW_LIST, .wide = true},
    {NULL},
};

static const struct view_column copy_columns[] = {
    {"VERSION", "version"},
    {"SITE", "site"},
    {"SIZE", "bytes", VIEW_BYTES, .right = true},
    {"SINCE", "since", VIEW_AGE, .right = true},
    {"USED", "used", VIEW_AGE, .right = true},
    {"EGRESS", "egress", .right = true},
    {"CURRENCY", "currency", .wide = true},
    {"TRANSFER", "transfer", .wide = true, .right = true},
    {NULL},
};

const struct view views[] = {
    {"jobs", "job", "j", "/v1/jobs", job_columns, .owned = true},
    {"pools", "pool", "p", "/v1/pools", pool_columns},
    {"teams", "team", "t", "/v1/teams", team_columns},
    {"classes", "class", "c", "/v1/classes", class_columns},
    {"nodes", "node", "n", "/v1/nodes", node_columns},
    {"datasets", "dataset", "d", "/v1/datasets", dataset_columns, .owned = true},
    {"models", "model", "m", "/v1/models", model_columns, .owned = true},
    {"runtimes", "runtime", "r", "/v1/runtimes", runtime_columns},
    {"services", "service", "s", "/v1/services", service_columns, .owned = true},
    {"horizontalpodautoscalers", "horizontalpodautoscaler", "hpa", "/v1/horizontalpodautoscalers",
        hpa_columns, .owned = true},
    {"copies", "copy", "co", "/v1/copies", copy_columns},
    {NULL},
};

const struct view *view_find(const char *text, struct error *err)
{
    const char *names[ARRAY_LEN(views)];
    size_t count = 0;
    for (const struct view *view = views; view->name; view++) {
        if (!strcasecmp(text, view->name) || !strcasecmp(text, view->singular) ||
            !strcasecmp(text, view->alias))
            return view;
        names[count++] = view->name;
    }
    const char *meant = verb_suggest(text, names, count);
    if (meant)
        error_set(err, ERR_INVALID, "there is no kind \"%.40s\"; did you mean %s?", text, meant);
    else
        error_set(err, ERR_INVALID,
            "there is no kind \"%.40s\"; there are jobs, pools, teams, classes, nodes, datasets, "
            "models, runtimes, services and horizontalpodautoscalers",
            text);
    return NULL;
}

static const struct doc *at_one(const struct doc *doc, const char *path, size_t length)
{
    while (doc && length > 0) {
        size_t name = 0;
        while (name < length && path[name] != '.')
            name++;
        if (doc->type != DOC_MAP)
            return NULL;
        const struct doc *item = doc->first;
        while (item && (strlen(item->key) != name || memcmp(item->key, path, name) != 0))
            item = item->next;
        doc = item;
        path += name + (name < length);
        length -= name + (name < length);
    }
    return doc && doc->type != DOC_NULL ? doc : NULL;
}

const struct doc *view_at(const struct doc *doc, const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "|");
        const struct doc *found = at_one(doc, path, length);
        if (found || !path[length])
            return found;
        path += length + 1;
    }
}

const char *view_text(const struct doc *doc, const char *path)
{
    const struct doc *value = view_at(doc, path);
    return value && (value->type == DOC_STRING || value->type == DOC_NUMBER) ? value->text : NULL;
}

static const char *scalar(const struct doc *value)
{
    switch (value->type) {
    case DOC_BOOL: return value->boolean ? "yes" : "no";
    case DOC_NUMBER:
    case DOC_STRING: return value->text;
    case DOC_NULL:
    case DOC_LIST:
    case DOC_MAP: break;
    }
    return NULL;
}

static const char *format_moment(
    struct arena *arena, const char *text, enum view_format format, int64_t now_ms)
{
    int64_t at_ms;
    if (!text || quantity_parse_time(text, &at_ms, NULL) < 0)
        return text;
    char out[QUANTITY_TEXT];
    if (format == VIEW_AGE)
        return arena_strdup(arena, quantity_human_duration((now_ms - at_ms) / 1000 * 1000, out));
    time_t seconds = (time_t)(at_ms / 1000);
    struct tm tm;
    if (!localtime_r(&seconds, &tm))
        return text;
    strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &tm);
    return arena_strdup(arena, out);
}

static const char *format_list(struct arena *arena, const struct doc *value, const char *between)
{
    if (value->type != DOC_LIST && value->type != DOC_MAP)
        return scalar(value);
    struct strbuf text = {0};
    for (const struct doc *item = value->first; item; item = item->next) {
        const char *name =
            item->type == DOC_MAP ? view_text(item, "name|key|node|job|user") : scalar(item);
        strbuf_printf(&text, "%s%s%s%s", text.length ? between : "",
            value->type == DOC_MAP ? item->key : "", value->type == DOC_MAP ? "=" : "",
            name ? name : "");
    }
    const char *copy = text.length ? arena_strdup(arena, text.text) : NULL;
    strbuf_finish(&text);
    return copy;
}

/* Quoted where a shell would need it, and cut where it becomes a program. */
static const char *format_command(struct arena *arena, const struct doc *value)
{
    enum { COMMAND_SHOWN_MAX = 200 };
    struct strbuf text = {0};
    for (const struct doc *item = value->type == DOC_LIST ? value->first : NULL; item;
         item = item->next) {
        const char *word = scalar(item);
        word = word ? word : "";
        const char *quote = !*word || strpbrk(word, " \t\n\"$&;|<>*?()'") ? "'" : "";
        strbuf_printf(&text, "%s%s%s%s", text.length ? " " : "", quote, word, quote);
    }
    bool cut = text.length > COMMAND_SHOWN_MAX;
    const char *copy = arena_printf(arena, "%.*s%s", cut ? COMMAND_SHOWN_MAX : (int)text.length,
        strbuf_text(&text), cut ? " .." : "");
    strbuf_finish(&text);
    return copy;
}

/* "cpu": "4" and "memory": "16Gi" need no more than their names; accelerators go by type. */
static const char *format_resources(struct arena *arena, const struct doc *value)
{
    if (value->type != DOC_MAP)
        return scalar(value);
    struct strbuf text = {0};
    for (const struct doc *item = value->first; item; item = item->next) {
        const char *amount = scalar(item);
        int64_t bytes;
        char human[QUANTITY_TEXT];
        bool size = !strcmp(item->key, "memory") || !strcmp(item->key, "disk");
        if (item->type == DOC_MAP) {
            const char *count = view_text(item, "count"), *type = view_text(item, "type");
            strbuf_printf(&text, "%s%s %s", text.length ? ", " : "", count ? count : "1",
                type ? type : item->key);
            continue;
        }
        if (!amount || !strcmp(amount, "0"))
            continue;
        if (size && quantity_parse_bytes(amount, &bytes, NULL) == 0)
            amount = quantity_human_bytes(bytes, human);
        strbuf_printf(&text, "%s%s %s", text.length ? ", " : "", amount, item->key);
    }
    const char *copy = text.length ? arena_strdup(arena, text.text) : NULL;
    strbuf_finish(&text);
    return copy;
}

static const char *format_amount(
    struct arena *arena, const struct doc *value, enum view_format format)
{
    int64_t number;
    char out[QUANTITY_TEXT];
    if (value->type != DOC_NUMBER || !doc_as_int(value, &number))
        return scalar(value);
    if (format == VIEW_BYTES)
        return arena_strdup(arena, quantity_human_bytes(number, out));
    if (format == VIEW_SECONDS && number <= INT64_MAX / 1000)
        number *= 1000;
    return arena_strdup(arena, quantity_human_duration(number, out));
}

const char *view_value(
    struct arena *arena, const struct doc *value, enum view_format format, int64_t now_ms)
{
    if (!value)
        return NULL;
    switch (format) {
    case VIEW_TEXT:
    case VIEW_STATE: return scalar(value);
    case VIEW_AGE:
    case VIEW_TIME: return format_moment(arena, scalar(value), format, now_ms);
    case VIEW_SECONDS:
    case VIEW_MILLISECONDS:
    case VIEW_BYTES: return format_amount(arena, value, format);
    case VIEW_LIST: return format_list(arena, value, ",");
    case VIEW_SENTENCES: return format_list(arena, value, " ");
    case VIEW_COMMAND: return format_command(arena, value);
    case VIEW_RESOURCES: return format_resources(arena, value);
    case VIEW_COUNT:
        return value->type == DOC_LIST || value->type == DOC_MAP
                   ? arena_printf(arena, "%zu", value->count)
                   : scalar(value);
    }
    assert(!"a format without a reading");
    return NULL;
}

const char *view_state_colour(const char *state)
{
    static const struct {
        const char *state;
        const char *colour;
    } colours[] = {{"running", "32"}, {"up", "32"}, {"succeeded", "32"}, {"ready", "32"},
        {"queued", "33"}, {"starting", "36"}, {"stopping", "36"}, {"waiting", "33"}, {"held", "33"},
        {"draining", "33"}, {"cordoned", "33"}, {"failed", "31"}, {"lost", "31"},
        {"cancelled", "90"}};
    for (size_t i = 0; state && i < ARRAY_LEN(colours); i++) {
        if (!strcmp(colours[i].state, state))
            return colours[i].colour;
    }
    return NULL;
}

void view_write_table(const struct cli *cli, const struct view_column *columns,
    const struct doc *items, bool wide, struct strbuf *out)
{
    SCOPED(table_scope) struct table *table = table_create();
    int64_t now_ms = clock_wall_ms();
    for (const struct view_column *column = columns; column->title; column++) {
        if (wide || !column->wide)
            table_add_column(table, column->title, column->right);
    }
    for (const struct doc *item = items->first; item; item = item->next) {
        for (const struct view_column *column = columns; column->title; column++) {
            if (column->wide && !wide)
                continue;
            const char *text =
                view_value(cli->arena, view_at(item, column->path), column->format, now_ms);
            text = text ? text : column->fallback;
            bool state = column->format == VIEW_STATE;
            table_add_cell_coloured(
                table, text, state && cli->colour ? view_state_colour(text) : NULL);
        }
    }
    table_write(table, out);
}

void view_write_csv(const struct view_column *columns, const struct doc *items, struct strbuf *out)
{
    SCOPED(table_scope) struct table *table = table_create();
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (const struct view_column *column = columns; column->title; column++)
        table_add_column(
            table, arena_strndup(arena, column->path, strcspn(column->path, "|")), false);
    for (const struct doc *item = items->first; item; item = item->next) {
        for (const struct view_column *column = columns; column->title; column++) {
            const struct doc *value = view_at(item, column->path);
            table_add_cell(table,
                value
                    ? view_value(arena, value,
                          value->type == DOC_LIST || value->type == DOC_MAP ? VIEW_LIST : VIEW_TEXT,
                          0)
                    : NULL);
        }
    }
    table_write_csv(table, out);
}

const char *view_item_name(struct arena *arena, const struct view *view, const struct doc *item)
{
    const char *name = view_text(item, "metadata.name|name");
    const char *team = view_text(item, "metadata.team|team");
    const char *pool = view_text(item, "pool");
    if (view->owned && team && name)
        return arena_printf(arena, "%s/%s", team, name);
    if (!strcmp(view->name, "nodes") && pool && name)
        return arena_printf(arena, "%s/%s", pool, name);
    return name ? name : "?";
}

void view_append_name(struct strbuf *target, const char *name)
{
    while (*name) {
        size_t length = strcspn(name, "/");
        SCOPED(mem_scope) char *segment = mem_alloc(length + 1, 1);
        memcpy(segment, name, length);
        strbuf_putc(target, '/');
        url_encode_segment(target, segment);
        name += length;
        name += *name == '/';
    }
}

void view_append_line(const struct cli *cli, struct strbuf *out, const char *prefix,
    const char *text, const char *colour)
{
    strbuf_puts(out, prefix);
    if (colour && cli->colour)
        strbuf_printf(out, "\033[%sm", colour);
    text_append_safe(out, text);
    if (colour && cli->colour)
        strbuf_puts(out, "\033[0m");
    strbuf_putc(out, '\n');
}

int view_write_items(struct cli *cli, const struct view_column *columns, const struct doc *items,
    const char *format, struct error *err)
{
    if (format && (!strcmp(format, "json") || !strcmp(format, "yaml"))) {
        struct doc *list = doc_map(cli->arena);
        doc_set(cli->arena, list, "items", doc_copy(cli->arena, items));
        return cli_write_doc(cli, list, format, err);
    }
    struct strbuf out = {0};
    if (format && !strcmp(format, "csv"))
        view_write_csv(columns, items, &out);
    else
        view_write_table(cli, columns, items, format && !strcmp(format, "wide"), &out);
    int failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}
