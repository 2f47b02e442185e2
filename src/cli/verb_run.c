/* muster run: a job from the command line, as if it ran here. */
#include "base/memory.h"
#include "base/quantity.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "cli/workdir.h"
#include "spec/spec.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const struct option_spec options[] = {
    {"name", 'n', OPTION_TEXT, "NAME", "of the job; made from the command unless it is given"},
    JOB_TEAM_OPTION,
    {"class", 'c', OPTION_TEXT, "CLASS", "the class to take what is not said here from"},
    {"gang", 'g', OPTION_NUMBER, "RANKS", "how many ranks start together"},
    {"cpu", 0, OPTION_TEXT, "CPUS", "CPUs of each rank: 2, 0.5"},
    {"memory", 'm', OPTION_TEXT, "SIZE", "memory of each rank: 4Gi"},
    {"disk", 0, OPTION_TEXT, "SIZE", "disk space of each rank: 10Gi"},
    {"accelerator", 'a', OPTION_TEXT, "TYPE[:COUNT]",
        "accelerators of each rank: a100, a100:2, or a share of one: a100:0.5"},
    {"env", 'E', OPTION_LIST, "NAME=VALUE", "an environment variable; may be repeated"},
    {"label", 'l', OPTION_LIST, "KEY=VALUE", "a label; may be repeated"},
    {"workdir", 'w', OPTION_TEXT, "DIR", "pack this folder and start in a copy of it"},
    {"pool", 0, OPTION_TEXT, "POOL", "run in this pool only"},
    {"priority", 'p', OPTION_TEXT, "PRIORITY", "low, normal, high, urgent or a number"},
    {"time-limit", 0, OPTION_TEXT, "DURATION", "end it after so long"},
    {"retries", 0, OPTION_NUMBER, "COUNT", "try again so often after a failure"},
    {"detach", 'd', OPTION_FLAG, NULL, "only submit it, and print its name"},
    {"keep", 'k', OPTION_FLAG, NULL, "Ctrl-C leaves the job running instead of cancelling it"},
    {"rm", 0, OPTION_FLAG, NULL, "forget the job once it has ended"},
    {NULL},
};

/* Options that are one field of the spec each. Numbers and texts alike go as they were written:
 * the field tables say what is right. */
static const struct {
    const char *option;
    const char *map; /* within the spec; NULL: itself */
    const char *field;
} fields[] = {
    {"class", NULL, "class"},
    {"gang", "gang", "size"},
    {"cpu", "resources", "cpu"},
    {"memory", "resources", "memory"},
    {"disk", "resources", "disk"},
    {"pool", "placement", "pool"},
    {"priority", NULL, "priority"},
    {"time-limit", NULL, "timeLimit"},
    {"retries", "retries", "limit"},
};

static struct doc *submap(struct arena *arena, struct doc *map, const char *key)
{
    struct doc *found = (struct doc *)doc_get(map, key);
    return found ? found : doc_set(arena, map, key, doc_map(arena));
}

static struct doc *number_or_text(struct arena *arena, const char *text)
{
    return text[0] && strspn(text, "0123456789") == strlen(text) && strlen(text) < 16
               ? doc_number(arena, text)
               : doc_string(arena, text);
}

/* "a100:2" */
static void set_accelerator(struct arena *arena, struct doc *spec, const char *text)
{
    struct doc *resources = submap(arena, spec, "resources");
    struct doc *accelerator = submap(arena, resources, "accelerator");
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    doc_set_string(arena, accelerator, "type", arena_strndup(arena, text, length));
    if (colon)
        doc_set_string(arena, accelerator, "count", colon + 1);
}

static int set_pairs(
    struct cli *cli, struct doc *map, const char *option, const char *key, struct error *err)
{
    const char *text;
    for (size_t i = 0; (text = arguments_item(cli->args, option, i)); i++) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return error_set(
                err, ERR_INVALID, "--%s: expected NAME=VALUE, got \"%.60s\"", option, text);
        const char *name = arena_strndup(cli->arena, text, (size_t)(equals - text));
        doc_set_string(cli->arena, submap(cli->arena, map, key), name, equals + 1);
    }
    return 0;
}

/* "python3-train.py-4f2a": the program, and something that makes it unique. */
static const char *make_name(struct cli *cli, const char *program)
{
    const char *base = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    char name[48], key[API_KEY_TEXT];
    size_t length = 0;
    for (; *base && length < 40; base++) {
        char c = (char)tolower((unsigned char)*base);
        bool fine = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (length && c == '-');
        if (fine)
            name[length++] = c;
    }
    name[length] = '\0';
    api_make_key(key);
    return arena_printf(cli->arena, "%s%s%.6s", name, length ? "-" : "job-", key);
}

static int fill_spec(struct cli *cli, struct doc *spec, struct error *err)
{
    struct arena *arena = cli->arena;
    char *const *command = arguments_command(cli->args);
    struct doc *list = doc_set(arena, spec, "command", doc_list(arena));
    for (size_t i = 0; command[i]; i++)
        doc_append(list, doc_string(arena, command[i]));
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *text = arguments_text(cli->args, fields[i].option);
        if (!text)
            continue;
        struct doc *map = fields[i].map ? submap(arena, spec, fields[i].map) : spec;
        doc_set(arena, map, fields[i].field, number_or_text(arena, text));
    }
    if (arguments_text(cli->args, "accelerator"))
        set_accelerator(arena, spec, arguments_text(cli->args, "accelerator"));
    return set_pairs(cli, spec, "env", "env", err);
}

/* The manifest, checked here as one from a file would be. */
static struct doc *make_manifest(struct cli *cli, struct error *err)
{
    struct arena *arena = cli->arena;
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "apiVersion", "muster/v1");
    doc_set_string(arena, doc, "kind", "Job");
    struct doc *metadata = doc_set(arena, doc, "metadata", doc_map(arena));
    const char *name = arguments_text(cli->args, "name");
    doc_set_string(
        arena, metadata, "name", name ? name : make_name(cli, arguments_command(cli->args)[0]));
    doc_set_string(arena, metadata, "team", job_team(cli));
    if (set_pairs(cli, metadata, "label", "labels", err) < 0 ||
        fill_spec(cli, doc_set(arena, doc, "spec", doc_map(arena)), err) < 0)
        return NULL;
    struct field_errors errors = {0};
    struct manifest manifest;
    if (manifest_decode(arena, doc, NULL, &manifest, &errors) < 0) {
        field_errors_summary(&errors, err);
        return NULL;
    }
    return doc;
}

static int submit(struct cli *cli, struct api *api, struct doc *doc, struct error *err)
{
    const char *workdir = arguments_text(cli->args, "workdir");
    const char *digest = NULL;
    if (workdir) {
        if (workdir_pack(cli, workdir, true, &digest, err) < 0)
            return error_prefix(err, "--workdir");
        doc_set_string(cli->arena, (struct doc *)doc_get(doc, "spec"), "workdir", digest);
    }
    char key[API_KEY_TEXT];
    api_make_key(key);
    return api_call(api, cli->arena, "POST", "/v1/jobs", doc, key, NULL, err);
}

static int finish(
    struct cli *cli, struct api *api, const char *name, const struct doc *job, struct error *err)
{
    struct strbuf target = {0};
    int failed = 0;
    if (!job_ended(job) && !arguments_flag(cli->args, "keep")) {
        cli_note(cli, "cancelling %s", name);
        job_append_target(cli, &target, name, "/cancel");
        failed = api_call(api, cli->arena, "POST", target.text, NULL, NULL, NULL, err);
        cli->exit_status = 130;
    } else if (!job_ended(job)) {
        cli_note(cli, "%s goes on; see muster logs -f %s", name, name);
        cli->exit_status = 130;
    } else {
        cli->exit_status = job_exit_status(job);
        if (arguments_flag(cli->args, "rm")) {
            job_append_target(cli, &target, name, "");
            failed = api_call(api, cli->arena, "DELETE", target.text, NULL, NULL, NULL, err);
        }
    }
    strbuf_finish(&target);
    return failed;
}

static int run(struct cli *cli, struct error *err)
{
    struct api *api = cli_api(cli, err);
    struct doc *doc = api ? make_manifest(cli, err) : NULL;
    if (!doc || submit(cli, api, doc, err) < 0)
        return -1;
    const char *name = arena_printf(
        cli->arena, "%s/%s", view_text(doc, "metadata.team"), view_text(doc, "metadata.name"));
    if (arguments_flag(cli->args, "detach"))
        return cli_puts(cli, arena_printf(cli->arena, "%s\n", name), err);
    cli_note(cli, "job %s", name);
    const struct doc *job = NULL;
    if (job_follow(cli, name, &job, err) < 0)
        return -1;
    return finish(cli, api, name, job, err);
}

const struct verb verb_run = {
    .name = "run",
    .operands = "-- COMMAND...",
    .summary = "run a command as a job, and follow it to its end",
    .description =
        "Makes a job of the command, shows its log, and ends as the job ends: with its exit "
        "status, 128 and the number of the signal that killed it, 127 when the command could not "
        "be "
        "started, or 1 when it ended otherwise. "
        "Ctrl-C cancels the job unless --keep says to leave it; a second Ctrl-C does not wait.\n\n"
        "The job is an ordinary one: it shows in muster get jobs, is priced, and can be preempted; "
        "its log is then followed on in the next attempt.",
    .examples = "muster run --team vision --gang 2 --accelerator a100 --workdir . -- "
                "python3 train.py\n"
                "muster run -d --name nightly --env EPOCHS=20 -- ./train.sh",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
