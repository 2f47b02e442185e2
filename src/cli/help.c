/* Help on a terminal, from the tables of verbs. */
#include "cli/help.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { FOLD_COLUMN = 80, OPTION_INDENT = 2, HELP_INDENT = 30, VERB_WIDTH = 12 };

const struct exit_status exit_statuses[] = {
    {0, "it was done"},
    {1, "the system or the server failed; for run: the job ended without an exit status"},
    {2, "the arguments or manifests are wrong; nothing was done"},
    {3, "the server does not know who asks, or does not permit it"},
    {4, "there is no such thing"},
    {5, "the state of the thing forbids it now"},
    {6, "not now: no server answers, or it is busy or full; nothing was done"},
    {7, "the outcome is not known: it may or may not have been done"},
    {0, NULL},
};

const char *const environment_notes[] = {
    "MUSTER_ENDPOINT\tthe server, as --endpoint",
    "MUSTER_TOKEN\tthe bearer token itself; a token file given by option goes before it",
    "MUSTER_TOKEN_FILE\tas --token-file",
    "MUSTER_CA\tas --ca",
    "MUSTER_DATA\tthe data directory, as --data; its socket is asked when no endpoint is named",
    "MUSTER_TEAM\tthe team of jobs that are named without one; \"default\" without it",
    "NO_COLOR\tno colours, whatever the terminal can",
    "~/.config/muster/config.yaml\tendpoint, ca and tokenFile, for what is not said otherwise",
    NULL,
};

/* Folds text to lines that begin at column indent; the first one begins at `at`. */
static void fold(struct strbuf *out, const char *text, size_t indent, size_t at)
{
    size_t column = at;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + word > FOLD_COLUMN) {
            strbuf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            strbuf_putc(out, ' ');
            column++;
        }
        strbuf_append(out, text, word);
        column += word;
        text += word;
        if (text[0] == '\n' && text[1] == '\n') {
            strbuf_printf(out, "\n\n%*s", (int)indent, "");
            column = indent;
            text++;
        }
        text += *text != '\0';
    }
    strbuf_putc(out, '\n');
}

static void write_option(const struct option_spec *spec, struct strbuf *out)
{
    struct strbuf name = {0}, meaning = {0};
    if (spec->letter)
        strbuf_printf(&name, "-%c, --%s", spec->letter, spec->name);
    else
        strbuf_printf(&name, "    --%s", spec->name);
    if (spec->value)
        strbuf_printf(&name, " %s", spec->value);
    strbuf_puts(&meaning, spec->help);
    if (spec->choices)
        strbuf_printf(&meaning, " (%s)", spec->choices);
    if (spec->env)
        strbuf_printf(&meaning, " [%s]", spec->env);
    strbuf_printf(out, "%*s%s", OPTION_INDENT, "", name.text);
    size_t column = OPTION_INDENT + name.length;
    if (column + 2 > HELP_INDENT) {
        strbuf_putc(out, '\n');
        column = 0;
    }
    strbuf_printf(out, "%*s", (int)(HELP_INDENT - column), "");
    fold(out, meaning.text, HELP_INDENT, HELP_INDENT);
    strbuf_finish(&name);
    strbuf_finish(&meaning);
}

static void write_summary(const struct verb *verb, int width, struct strbuf *out)
{
    strbuf_printf(out, "  %-*s  ", width, verb->name);
    fold(out, verb->summary, (size_t)width + 4, (size_t)width + 4);
}

void help_write_overview(struct strbuf *out)
{
    strbuf_puts(out,
        "muster runs AI work on the machines you have: it queues, places, checkpoints,\n"
        "preempts and resumes it, and says what each result cost.\n\n"
        "usage: muster VERB [options]\n\nVerbs:\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden)
            write_summary(verbs[i], VERB_WIDTH, out);
    }
    strbuf_puts(out, "\nmuster VERB --help says more. To begin: muster up\n");
}

static void write_options(const struct verb *verb, struct strbuf *out)
{
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    strbuf_puts(out, "\nOptions:\n");
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++)
            write_option(spec, out);
    }
}

void help_write_verb(const struct verb *verb, const char *path, struct strbuf *out)
{
    assert(!verb->hidden);
    strbuf_printf(out, "usage: muster %s%s%s%s\n\n", path, verb->actions ? "" : " [options]",
        verb->operands[0] ? " " : "", verb->operands);
    struct strbuf text = {0};
    strbuf_printf(&text, "%s.%s%s", verb->summary, verb->description ? "\n\n" : "",
        verb->description ? verb->description : "");
    if (text.text[0] >= 'a' && text.text[0] <= 'z')
        text.text[0] = (char)(text.text[0] - 'a' + 'A');
    fold(out, text.text, 0, 0);
    strbuf_finish(&text);
    if (verb->actions) {
        strbuf_puts(out, "\nActions:\n");
        for (const struct verb *action = verb->actions; action->name; action++)
            write_summary(action, VERB_WIDTH, out);
        strbuf_printf(out, "\nmuster %s ACTION --help says more.\n", path);
        return;
    }
    write_options(verb, out);
    if (verb->examples) {
        strbuf_puts(out, "\nExamples:\n");
        for (const char *line = verb->examples; *line;) {
            size_t length = strcspn(line, "\n");
            strbuf_printf(out, "  %.*s\n", (int)length, line);
            line += length + (line[length] == '\n');
        }
    }
}
