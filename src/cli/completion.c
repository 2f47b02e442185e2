/* Completion: one function a shell, in which the tables are spelled out as cases. Names of jobs
 * and nodes are asked of the server, which has to answer at once or is left alone. */
#include "cli/completion.h"

#include "cli/verb.h"
#include "cli/view.h"

#include <stdio.h>
#include <string.h>

static void append_option_names(struct strbuf *out, const struct verb *verb)
{
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++)
            strbuf_printf(out, "--%s ", spec->name);
    }
}

static void append_kinds(struct strbuf *out)
{
    for (const struct view *view = views; view->name; view++)
        strbuf_printf(out, "%s ", view->name);
}

/* What may stand where a word like FILE or JOB stands, as a command for bash. */
static void bash_words_for(struct strbuf *out, const char *word)
{
    if (!strncmp(word, "FILE", 4))
        strbuf_puts(out, "_muster_files");
    else if (!strncmp(word, "DIR", 3))
        strbuf_puts(out, "_muster_dirs");
    else if (!strncmp(word, "JOB", 3))
        strbuf_puts(out, "_muster_names jobs");
    else if (!strncmp(word, "NODE", 4))
        strbuf_puts(out, "_muster_names nodes");
    else if (!strncmp(word, "TEAM", 4))
        strbuf_puts(out, "_muster_names teams");
    else if (!strncmp(word, "POOL", 4))
        strbuf_puts(out, "_muster_names pools");
    else if (!strncmp(word, "CLASS", 5))
        strbuf_puts(out, "_muster_names classes");
    else if (!strncmp(word, "KIND", 4)) {
        strbuf_puts(out, "_muster_words \"");
        append_kinds(out);
        strbuf_putc(out, '"');
    } else
        strbuf_putc(out, ':');
}

static void bash_option_values(struct strbuf *out, const struct verb *verb)
{
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++) {
            if (spec->type == OPTION_FLAG)
                continue;
            strbuf_printf(out, "            --%s", spec->name);
            if (spec->letter)
                strbuf_printf(out, "|-%c", spec->letter);
            strbuf_puts(out, ") ");
            if (spec->choices) {
                strbuf_puts(out, "_muster_words \"");
                for (const char *s = spec->choices; *s; s++)
                    strbuf_putc(out, *s == '|' ? ' ' : *s);
                strbuf_putc(out, '"');
            } else {
                bash_words_for(out, spec->value);
            }
            strbuf_puts(out, "; return;;\n");
        }
    }
}

static void bash_case(struct strbuf *out, const struct verb *verb, const char *path)
{
    strbuf_printf(out, "    \"%s\")\n        case $previous in\n", path);
    bash_option_values(out, verb);
    strbuf_puts(out, "        esac\n        case $current in -*) _muster_words \"");
    append_option_names(out, verb);
    strbuf_puts(out, "\"; return;; esac\n        ");
    const char *operand = verb->operands + strspn(verb->operands, "[ ");
    /* get and delete: a name follows the kind. */
    if (!strncmp(operand, "KIND", 4))
        strbuf_puts(out, "if [ -n \"$kind\" ]; then _muster_names \"$kind\"; return; fi\n        ");
    bash_words_for(out, operand);
    strbuf_puts(out, ";;\n");
}

static void bash_actions(struct strbuf *out, const struct verb *verb)
{
    strbuf_printf(out, "    \"%s\") _muster_words \"", verb->name);
    for (const struct verb *action = verb->actions; action->name; action++)
        strbuf_printf(out, "%s ", action->name);
    strbuf_puts(out, "--help\";;\n");
    for (const struct verb *action = verb->actions; action->name; action++) {
        char path[64];
        snprintf(path, sizeof path, "%s %s", verb->name, action->name);
        bash_case(out, action, path);
    }
}

static const char bash_helpers[] =
    "_muster_words() { COMPREPLY=($(compgen -W \"$1\" -- \"$current\")); }\n"
    "_muster_files() { COMPREPLY=($(compgen -f -- \"$current\")); compopt -o filenames "
    "2>/dev/null; }\n"
    "_muster_dirs() { COMPREPLY=($(compgen -d -- \"$current\")); compopt -o filenames 2>/dev/null; "
    "}\n"
    "_muster_names() {\n"
    "    _muster_words \"$(timeout 2 \"${words[0]}\" get \"$1\" -o name 2>/dev/null)\"\n"
    "}\n";

static void bash_function(struct strbuf *out)
{
    strbuf_puts(out, "_muster() {\n"
                     "    local current=${COMP_WORDS[COMP_CWORD]}\n"
                     "    local previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                     "    local words=(\"${COMP_WORDS[@]}\") path=${COMP_WORDS[1]} kind= i\n"
                     "    COMPREPLY=()\n"
                     "    if [ \"$COMP_CWORD\" -le 1 ]; then\n"
                     "        _muster_words \"");
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden)
            strbuf_printf(out, "%s ", verbs[i]->name);
    }
    strbuf_puts(out, "\"\n        return\n    fi\n    case $path in\n    ");
    for (size_t i = 0, some = 0; verbs[i]; i++) {
        if (verbs[i]->actions)
            strbuf_printf(out, "%s%s", some++ ? "|" : "", verbs[i]->name);
    }
    strbuf_puts(out, ") if [ \"$COMP_CWORD\" -gt 2 ]; then path=\"$path ${COMP_WORDS[2]}\"; fi;;\n"
                     "    esac\n"
                     "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
                     "        case ${COMP_WORDS[i]} in ");
    for (const struct view *view = views; view->name; view++)
        strbuf_printf(out, "%s%s|%s", view == views ? "" : "|", view->name, view->singular);
    strbuf_puts(out, ") kind=${COMP_WORDS[i]};; esac\n    done\n    case $path in\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (verbs[i]->hidden)
            continue;
        if (verbs[i]->actions)
            bash_actions(out, verbs[i]);
        else
            bash_case(out, verbs[i], verbs[i]->name);
    }
    strbuf_puts(out, "    esac\n}\n");
}

void completion_write_bash(struct strbuf *out)
{
    strbuf_puts(out, "# bash completion of muster: muster completion bash\n");
    strbuf_puts(out, bash_helpers);
    bash_function(out);
    strbuf_puts(out, "complete -F _muster muster\n");
}

/* ---- zsh ------------------------------------------------------------------------------- */

/* Inside single quotes of an _arguments specification. */
static void zsh_text(struct strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            strbuf_puts(out, "'\\''");
        else if (strchr("[]:\\", *text))
            strbuf_printf(out, "\\%c", *text);
        else
            strbuf_putc(out, *text);
    }
}

static void zsh_words_for(struct strbuf *out, const char *word, const char *choices)
{
    if (choices) {
        strbuf_putc(out, '(');
        for (const char *s = choices; *s; s++)
            strbuf_putc(out, *s == '|' ? ' ' : *s);
        strbuf_putc(out, ')');
    } else if (!strncmp(word, "FILE", 4)) {
        strbuf_puts(out, "_files");
    } else if (!strncmp(word, "DIR", 3)) {
        strbuf_puts(out, "_files -/");
    } else if (!strncmp(word, "JOB", 3)) {
        strbuf_puts(out, "{_muster_names jobs}");
    } else if (!strncmp(word, "NODE", 4)) {
        strbuf_puts(out, "{_muster_names nodes}");
    } else if (!strncmp(word, "KIND", 4)) {
        strbuf_putc(out, '(');
        append_kinds(out);
        strbuf_putc(out, ')');
    } else {
        strbuf_putc(out, ' ');
    }
}

static void zsh_option(struct strbuf *out, const struct option_spec *spec)
{
    bool repeated = spec->type == OPTION_LIST;
    strbuf_printf(out, "            '%s--%s%s[", repeated ? "*" : "", spec->name,
        spec->type == OPTION_FLAG ? "" : "=");
    zsh_text(out, spec->help);
    strbuf_putc(out, ']');
    if (spec->type != OPTION_FLAG) {
        strbuf_putc(out, ':');
        zsh_text(out, spec->value);
        strbuf_putc(out, ':');
        zsh_words_for(out, spec->value, spec->choices);
    }
    strbuf_puts(out, "' \\\n");
}

static void zsh_case(struct strbuf *out, const struct verb *verb, const char *path)
{
    strbuf_printf(out, "    (\"%s\")\n        _arguments \\\n", path);
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++)
            zsh_option(out, spec);
    }
    strbuf_puts(out, "            '*:operand:");
    zsh_words_for(out, verb->operands + strspn(verb->operands, "[ "), NULL);
    strbuf_puts(out, "';;\n");
}

static void zsh_describe(struct strbuf *out, const struct verb *verb)
{
    strbuf_puts(out, "            '");
    zsh_text(out, verb->name);
    strbuf_putc(out, ':');
    zsh_text(out, verb->summary);
    strbuf_puts(out, "'\n");
}

static void zsh_actions(struct strbuf *out, const struct verb *verb)
{
    strbuf_printf(out, "    (\"%s\")\n        actions=(\n", verb->name);
    for (const struct verb *action = verb->actions; action->name; action++)
        zsh_describe(out, action);
    strbuf_puts(out, "        )\n        _describe action actions;;\n");
    for (const struct verb *action = verb->actions; action->name; action++) {
        char path[64];
        snprintf(path, sizeof path, "%s %s", verb->name, action->name);
        zsh_case(out, action, path);
    }
}

void completion_write_zsh(struct strbuf *out)
{
    strbuf_puts(out, "#compdef muster\n"
                     "# zsh completion of muster: muster completion zsh\n"
                     "_muster_names() {\n"
                     "    local -a names\n"
                     "    names=(${(f)\"$(timeout 2 muster get $1 -o name 2>/dev/null)\"})\n"
                     "    compadd -a names\n"
                     "}\n"
                     "_muster() {\n"
                     "    local -a verbs actions\n"
                     "    local verb_path=${words[2]}\n"
                     "    if (( CURRENT == 2 )); then\n"
                     "        verbs=(\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden)
            zsh_describe(out, verbs[i]);
    }
    strbuf_puts(out, "        )\n        _describe verb verbs\n        return\n    fi\n"
                     "    case $verb_path in\n    (");
    for (size_t i = 0, some = 0; verbs[i]; i++) {
        if (verbs[i]->actions)
            strbuf_printf(out, "%s%s", some++ ? "|" : "", verbs[i]->name);
    }
    strbuf_puts(out, ") if (( CURRENT > 3 )); then verb_path=\"$verb_path ${words[3]}\"; fi;;\n"
                     "    esac\n"
                     "    (( CURRENT-- )); shift words\n"
                     "    case $verb_path in\n");
    for (size_t i = 0; verbs[i]; i++) {
        if (verbs[i]->hidden)
            continue;
        if (verbs[i]->actions)
            zsh_actions(out, verbs[i]);
        else
            zsh_case(out, verbs[i], verbs[i]->name);
    }
    strbuf_puts(out, "    esac\n}\n_muster \"$@\"\n");
}
