/* Promotions on the command line: see promotion.h. */
#include "cli/promotion.h"

#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "spec/reference.h"

#include <inttypes.h>
#include <string.h>

const struct view_column promotion_columns[] = {
    {"ID", "id"},
    {"TEAM", "team"},
    {"MODEL", "model"},
    {"VERSION", "version", .right = true},
    {"STAGE", "stage"},
    {"STATE", "state", VIEW_STATE},
    {"ASKED BY", "askedBy"},
    {"AGE", "askedAt", VIEW_AGE, .right = true},
    {"APPROVALS", "approvals", VIEW_COUNT, .right = true},
    {"DECIDED BY", "decidedBy"},
    {"EVALUATION", "evaluationJob", .wide = true},
    {"DATASET", "dataset", .wide = true},
    {"NOTE", "note", .wide = true},
    {NULL},
};

int promotion_say(struct cli *cli, const struct doc *promotion, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf out = {0};
    const char *state = view_text(promotion, "state");
    const char *job = view_text(promotion, "evaluationJob");
    const struct doc *reasons = doc_get(promotion, "reasons");
    const char *version = view_text(promotion, "version");
    const char *line = arena_printf(cli->arena, "promotion %s of %s/%s:%s to %s is %s",
        view_text(promotion, "id"), view_text(promotion, "team"), view_text(promotion, "model"),
        version ? version : "?", view_text(promotion, "stage"), state ? state : "?");
    bool evaluating = state && strcmp(state, "evaluating") == 0;
    view_append_line(cli, &out, "",
        evaluating && job ? arena_printf(cli->arena, "%s by the job %s", line, job) : line, NULL);
    for (const struct doc *one = reasons ? reasons->first : NULL; one; one = one->next)
        view_append_line(cli, &out, "  - ", one->text ? one->text : "", NULL);
    if (state && strcmp(state, "refused") == 0)
        cli->exit_status = 1;
    return cli_puts(cli, strbuf_text(&out), err);
}

/* Who refuses or withdraws a promotion got what they asked for. */
int promotion_post_each(struct cli *cli, const char *action, struct error *err)
{
    struct api *api = cli_api(cli, err);
    if (!api)
        return -1;
    struct doc *request = doc_map(cli->arena);
    doc_set_string(cli->arena, request, "note", arguments_text(cli->args, "note"));
    for (size_t i = 0; i < arguments_operand_count(cli->args); i++) {
        SCOPED(strbuf_finish) struct strbuf target = {0};
        const struct doc *promotion = NULL;
        strbuf_puts(&target, "/v1/promotions");
        view_append_name(&target, arguments_operand(cli->args, i));
        strbuf_printf(&target, "/%s", action);
        if (api_call(api, cli->arena, "POST", target.text, request, NULL, &promotion, err) < 0 ||
            promotion_say(cli, promotion, err) < 0)
            return -1;
    }
    if (strcmp(action, "approve") != 0)
        cli->exit_status = 0;
    return 0;
}

const char *promotion_target(const struct cli *cli, const char *version, struct error *err)
{
    struct reference reference;
    if (reference_parse(version, &reference, err) < 0)
        return NULL;
    const char *which = reference.which == REFERENCE_NEWEST  ? "newest"
                        : reference.which == REFERENCE_STAGE ? reference.stage
                                                             : NULL;
    if (!which)
        which = arena_printf(cli->arena, "%" PRId64, reference.version);
    return arena_printf(cli->arena, "/v1/models/%s:%s/versions/%s",
        reference.team[0] ? reference.team : job_team(cli), reference.name, which);
}
