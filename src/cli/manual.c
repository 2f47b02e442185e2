/* Manual pages (roff, man macros) and docs/cli.md, from the tables of verbs. Nothing in them
 * depends on the day or the machine, so that a committed copy can be compared. */
#include "cli/help.h"

#include "base/version.h"

#include <stdio.h>
#include <string.h>

/* ---- roff ------------------------------------------------------------------------------ */

/* Dashes and backslashes are escaped; a dot or quote at the start of a line would be a request. */
static void roff_text(struct strbuf *out, const char *text)
{
    bool start = out->length == 0 || out->text[out->length - 1] == '\n';
    for (; *text; text++) {
        if (text[0] == '\n' && text[1] == '\n') {
            strbuf_puts(out, "\n.PP\n");
            text++;
            start = true;
            continue;
        }
        if (start && (*text == '.' || *text == '\''))
            strbuf_puts(out, "\\&");
        if (*text == '\\')
            strbuf_puts(out, "\\e");
        else if (*text == '-')
            strbuf_puts(out, "\\-");
        else
            strbuf_putc(out, *text);
        start = *text == '\n';
    }
}

static void roff_head(struct strbuf *out, const char *name, const char *summary)
{
    strbuf_puts(out, ".TH ");
    for (const char *s = name; *s; s++)
        strbuf_putc(out, *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s);
    strbuf_puts(out, " 1 \"\" \"muster " MUSTER_VERSION "\" \"muster\"\n.SH NAME\n");
    roff_text(out, name);
    strbuf_puts(out, " \\- ");
    roff_text(out, summary);
    strbuf_putc(out, '\n');
}

static void roff_options(struct strbuf *out, const struct option_spec *spec)
{
    for (; spec->name; spec++) {
        strbuf_puts(out, ".TP\n.B ");
        if (spec->letter)
            strbuf_printf(out, "\\-%c\\fR, \\fB", spec->letter);
        strbuf_puts(out, "\\-\\-");
        roff_text(out, spec->name);
        if (spec->value)
            strbuf_printf(out, " \\fI%s\\fR", spec->value);
        strbuf_putc(out, '\n');
        roff_text(out, spec->help);
        if (spec->choices)
            strbuf_printf(out, " (%s)", spec->choices);
        if (spec->env)
            strbuf_printf(out, "; from the environment: \\fB%s\\fR", spec->env);
        strbuf_puts(out, ".\n");
    }
}

static void roff_examples(struct strbuf *out, const char *examples)
{
    strbuf_puts(out, ".nf\n");
    roff_text(out, examples);
    strbuf_puts(out, "\n.fi\n");
}

static void roff_usage(struct strbuf *out, const struct verb *verb, const char *path)
{
    strbuf_printf(out, ".B muster %s\n", path);
    roff_text(out, verb->operands[0] ? "[options] " : "[options]");
    roff_text(out, verb->operands);
    strbuf_puts(out, "\n");
}

static void roff_actions(struct strbuf *out, const struct verb *verb)
{
    for (const struct verb *action = verb->actions; action->name; action++) {
        char path[64];
        snprintf(path, sizeof path, "%s %s", verb->name, action->name);
        strbuf_puts(out, ".SS ");
        roff_text(out, action->name);
        strbuf_putc(out, '\n');
        roff_usage(out, action, path);
        strbuf_puts(out, ".PP\n");
        roff_text(out, action->summary);
        strbuf_puts(out, ".\n");
        if (action->description)
            roff_text(out, action->description);
        strbuf_puts(out, "\n");
        if (action->options)
            roff_options(out, action->options);
        if (action->examples)
            roff_examples(out, action->examples);
    }
}

static void roff_exit_statuses(struct strbuf *out)
{
    strbuf_puts(out, ".SH EXIT STATUS\n");
    for (const struct exit_status *one = exit_statuses; one->meaning; one++)
        strbuf_printf(out, ".TP\n%d\n%s.\n", one->status, one->meaning);
}

void manual_write_verb(const struct verb *verb, struct strbuf *out)
{
    char name[64];
    snprintf(name, sizeof name, "muster-%s", verb->name);
    roff_head(out, name, verb->summary);
    strbuf_puts(out, ".SH SYNOPSIS\n");
    roff_usage(out, verb, verb->name);
    strbuf_puts(out, ".SH DESCRIPTION\n");
    roff_text(out, verb->description ? verb->description : verb->summary);
    strbuf_puts(out, "\n");
    if (verb->actions) {
        strbuf_puts(out, ".SH ACTIONS\n");
        roff_actions(out, verb);
    }
    strbuf_puts(out, ".SH OPTIONS\n");
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    for (int i = 0; i < count; i++)
        roff_options(out, lists[i]);
    if (verb->examples) {
        strbuf_puts(out, ".SH EXAMPLES\n");
        roff_examples(out, verb->examples);
    }
    strbuf_puts(out, ".SH SEE ALSO\n.BR muster (1)\n");
}

void manual_write_overview(struct strbuf *out)
{
    roff_head(out, "muster", "run AI work on the machines you have");
    strbuf_puts(out, ".SH SYNOPSIS\n.B muster\n.I VERB\n[options]\n.SH DESCRIPTION\n");
    roff_text(out, "One program that runs the whole life of AI work: it queues, places, "
                   "checkpoints, preempts and resumes training, and says what each result cost.\n");
    strbuf_puts(out, ".SH VERBS\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (verbs[i]->hidden)
            continue;
        strbuf_printf(out, ".TP\n.BR muster\\-%s (1)\n", verbs[i]->name);
        roff_text(out, verbs[i]->summary);
        strbuf_puts(out, ".\n");
    }
    strbuf_puts(out, ".SH ENVIRONMENT AND FILES\n");
    for (size_t i = 0; environment_notes[i]; i++) {
        const char *tab = strchr(environment_notes[i], '\t');
        strbuf_printf(
            out, ".TP\n.B %.*s\n", (int)(tab - environment_notes[i]), environment_notes[i]);
        roff_text(out, tab + 1);
        strbuf_puts(out, ".\n");
    }
    roff_exit_statuses(out);
}

/* ---- Markdown -------------------------------------------------------------------------- */

/* A cell of a table: a bar would end it. */
static void markdown_cell(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            strbuf_putc(out, '\\');
        strbuf_putc(out, *text);
    }
}

static void markdown_options(struct strbuf *out, const struct option_spec *spec)
{
    if (!spec)
        return;
    strbuf_puts(out, "\n| option | what it does |\n|---|---|\n");
    for (; spec->name; spec++) {
        strbuf_puts(out, "| `");
        if (spec->letter)
            strbuf_printf(out, "-%c, ", spec->letter);
        strbuf_printf(out, "--%s%s%s` | ", spec->name, spec->value ? " " : "",
            spec->value ? spec->value : "");
        markdown_cell(out, spec->help);
        if (spec->choices) {
            strbuf_puts(out, ": `");
            markdown_cell(out, spec->choices);
            strbuf_putc(out, '`');
        }
        if (spec->env)
            strbuf_printf(out, " (`%s`)", spec->env);
        strbuf_puts(out, " |\n");
    }
}

static void markdown_verb(
    struct strbuf *out, const struct verb *verb, const char *path, const char *heading)
{
    strbuf_printf(out, "\n%s muster %s\n\n", heading, path);
    if (!verb->actions)
        strbuf_printf(out, "`muster %s [options]%s%s`: %s.\n", path, verb->operands[0] ? " " : "",
            verb->operands, verb->summary);
    else
        strbuf_printf(out, "`muster %s ACTION`: %s.\n", path, verb->summary);
    if (verb->description)
        strbuf_printf(out, "\n%s\n", verb->description);
    markdown_options(out, verb->options);
    if (verb->examples)
        strbuf_printf(out, "\n```sh\n%s\n```\n", verb->examples);
    for (const struct verb *action = verb->actions; action && action->name; action++) {
        char below[64];
        snprintf(below, sizeof below, "%s %s", path, action->name);
        markdown_verb(out, action, below, "###");
    }
}

static void markdown_environment(struct strbuf *out)
{
    strbuf_puts(out, "\n## Environment and files\n\n| name | what it says |\n|---|---|\n");
    for (size_t i = 0; environment_notes[i]; i++) {
        const char *tab = strchr(environment_notes[i], '\t');
        strbuf_printf(out, "| `%.*s` | %s |\n", (int)(tab - environment_notes[i]),
            environment_notes[i], tab + 1);
    }
}

void manual_write_markdown(struct strbuf *out)
{
    strbuf_puts(out,
        "# The command line\n\n"
        "This page is made by `muster help --markdown` from the same tables as `--help`, the "
        "manual pages and the completion of shells.\n\n"
        "Tables are for people; `-o json` and `-o yaml` are for programs and do not change with "
        "the terminal. Errors go to standard error, as `muster: ...`, with what to do next.\n\n"
        "## Options of every verb that asks a server\n");
    markdown_options(out, remote_options);
    markdown_environment(out);
    strbuf_puts(out, "\n## Exit status\n\n| status | meaning |\n|---|---|\n");
    for (const struct exit_status *one = exit_statuses; one->meaning; one++)
        strbuf_printf(out, "| %d | %s |\n", one->status, one->meaning);
    strbuf_puts(out, "\n`run` and `exec` end with the exit status of the job or the command, or "
                     "128 and the number of the signal that killed it.\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden)
            markdown_verb(out, verbs[i], verbs[i]->name, "##");
    }
}
