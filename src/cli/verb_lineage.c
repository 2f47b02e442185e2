/* muster lineage: where a version comes from and what was made of it, as two trees. */
#include "base/memory.h"
#include "cli/api.h"
#include "cli/artifact.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "spec/spec.h"
#include "wire/url.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 32, LINES_MAX = 5000 };

static const struct option_spec options[] = {
    ARTIFACT_TEAM_OPTION,
    {"direction", 'd', OPTION_CHOICE, "WAY", "what it was made of, what was made of it, or both",
        "up|down|both"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "tree|json|yaml"},
    {NULL},
};

struct drawing {
    struct cli *cli;
    const struct doc *nodes, *edges;
    struct strbuf out;
    const char *path[DEPTH_MAX]; /* ids on the way here, so that a loop would end */
    size_t lines;
    bool up;
};

static const struct doc *find_node(const struct drawing *drawing, const char *id)
{
    for (const struct doc *node = drawing->nodes->first; node; node = node->next) {
        const char *own = doc_get_string(node, "id");
        if (own && strcmp(own, id) == 0)
            return node;
    }
    return NULL;
}

static void describe(struct drawing *drawing, const struct doc *node)
{
    static const char *const fields[] = {"name", "state", "stage", "createdAt", "uploadedFrom"};
    const char *kind = doc_get_string(node, "kind");
    bool job = kind && strcmp(kind, "job") == 0;
    if (kind && strcmp(kind, "hidden") == 0)
        strbuf_puts(&drawing->out, " (of a team that you may not see)");
    if (doc_get_bool(node, "deleted", false))
        strbuf_puts(&drawing->out, " (deleted)");
    for (size_t i = job ? 0 : 1; i < ARRAY_LEN(fields); i++) {
        const char *text = doc_get_string(node, fields[i]);
        if (!text)
            continue;
        strbuf_puts(&drawing->out, i == 4 ? "  from " : "  ");
        text_append_safe(&drawing->out, text);
    }
}

static void draw(struct drawing *drawing, const char *id, const char *what, int depth)
{
    const struct doc *node = find_node(drawing, id);
    if (drawing->lines++ >= LINES_MAX)
        return;
    strbuf_printf(&drawing->out, "%*s", depth * 2, "");
    text_append_safe(&drawing->out, id);
    if (what && *what) {
        strbuf_puts(&drawing->out, " [");
        text_append_safe(&drawing->out, what);
        strbuf_puts(&drawing->out, "]");
    }
    if (node)
        describe(drawing, node);
    strbuf_putc(&drawing->out, '\n');
    for (int i = 0; i < depth; i++) {
        if (strcmp(drawing->path[i], id) == 0)
            return;
    }
    drawing->path[depth] = id;
    for (const struct doc *edge = drawing->edges->first; depth + 1 < DEPTH_MAX && edge;
         edge = edge->next) {
        const char *from = doc_get_string(edge, "from"), *to = doc_get_string(edge, "to");
        if (from && to && strcmp(drawing->up ? to : from, id) == 0)
            draw(drawing, drawing->up ? from : to, doc_get_string(edge, "what"), depth + 1);
    }
}

static int draw_all(
    struct cli *cli, const struct doc *answer, const char *direction, struct error *err)
{
    struct drawing drawing = {
        .cli = cli, .nodes = doc_get(answer, "nodes"), .edges = doc_get(answer, "edges")};
    const char *root = doc_get_string(answer, "root");
    if (!drawing.nodes || !drawing.edges || !root)
        return error_set(err, ERR_INVALID, "the server's answer is no lineage");
    if (strcmp(direction, "down") != 0) {
        drawing.up = true;
        strbuf_puts(&drawing.out, "made of\n");
        draw(&drawing, root, NULL, 0);
    }
    if (strcmp(direction, "up") != 0) {
        drawing.up = false;
        strbuf_puts(&drawing.out, drawing.out.length ? "\nused for\n" : "used for\n");
        draw(&drawing, root, NULL, 0);
    }
    if (doc_get_bool(answer, "truncated", false))
        strbuf_puts(&drawing.out, "(there is more than is shown)\n");
    int rc = cli_puts(cli, strbuf_text(&drawing.out), err);
    strbuf_finish(&drawing.out);
    return rc;
}

/* "model/team/name:3", "dataset/name". */
static int take_operand(
    struct cli *cli, enum kind *ret_kind, struct reference *ret, struct error *err)
{
    const char *text = arguments_operand(cli->args, 0), *slash = strchr(text, '/');
    if (!slash)
        return error_set(err, ERR_INVALID,
            "expected model/NAME or dataset/NAME, with a version behind a colon: got \"%.80s\"",
            text);
    if (kind_find(arena_strndup(cli->arena, text, (size_t)(slash - text)), ret_kind, err) < 0)
        return -1;
    return artifact_reference(cli, slash + 1, ret, err);
}

static int run(struct cli *cli, struct error *err)
{
    enum kind kind;
    struct reference reference;
    struct strbuf target = {0};
    const struct doc *answer = NULL;
    const char *format = arguments_text(cli->args, "output");
    const char *direction = arguments_text(cli->args, "direction");
    struct api *api = cli_api(cli, err);
    if (!api || take_operand(cli, &kind, &reference, err) < 0)
        return -1;
    if (!direction)
        direction = "both";
    strbuf_printf(&target, "/v1/lineage/%s/", kind_singular(kind));
    url_encode_segment(&target, reference.team);
    strbuf_puts(&target, ":");
    url_encode_segment(&target, reference.name);
    strbuf_puts(&target, "/");
    url_encode_segment(&target, reference.which == REFERENCE_VERSION
                                    ? arena_printf(cli->arena, "%" PRId64, reference.version)
                                : reference.which == REFERENCE_STAGE ? reference.stage
                                                                     : "newest");
    url_add_query(&target, "direction", direction);
    int rc = api_get(api, cli->arena, target.text, &answer, err);
    strbuf_finish(&target);
    if (rc < 0)
        return -1;
    if (format && strcmp(format, "tree") != 0)
        return cli_write_doc(cli, answer, format, err);
    return draw_all(cli, answer, direction, err);
}

const struct verb verb_lineage = {
    .name = "lineage",
    .operands = "VERSION",
    .summary = "show where a version comes from and what was made of it",
    .description =
        "VERSION is model/[TEAM/]NAME or dataset/[TEAM/]NAME, with :NUMBER or @STAGE behind it, or "
        "nothing for the newest. What belongs to teams that you may not see is shown without its "
        "name.",
    .examples = "muster lineage model/vision/digits:3",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
