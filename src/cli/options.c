/* Arguments: one pass over argv against the verb's option tables.
 *
 * Values are checked when they are met, so that a wrong one is refused with its own text before
 * anything is done. Getters run after a successful parse and cannot fail. */
#include "cli/options.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "base/vec.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct given {
    const struct option_spec *spec;
    const char *text; /* NULL for a flag */
    int64_t number;   /* of those types that are numbers */
};

struct arguments {
    const struct verb *verb;
    char path[64];
    bool help;
    VEC(struct given) given;
    VEC(const char *) operands;
    char *const *command;
};

/* What is still to be read. */
struct reader {
    int argc;
    char **argv;
    int next;
};

static char *const no_command[] = {NULL};

void arguments_destroy(struct arguments *args)
{
    if (!args)
        return;
    vec_free(&args->given);
    vec_free(&args->operands);
    free(args);
}

static const struct option_spec *find_option(
    const struct verb *verb, const char *name, size_t length, char letter)
{
    const struct option_spec *lists[3];
    int count = verb_option_lists(verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++) {
            if (letter ? spec->letter == letter
                       : strlen(spec->name) == length && !memcmp(spec->name, name, length))
                return spec;
        }
    }
    return NULL;
}

static int unknown_option(const struct arguments *args, const char *name, struct error *err)
{
    VEC(const char *) names = {0};
    const struct option_spec *lists[3];
    int count = verb_option_lists(args->verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++)
            vec_push(&names, spec->name);
    }
    const char *meant = verb_suggest(name, names.items, names.count);
    vec_free(&names);
    if (meant)
        return error_set(err, ERR_INVALID, "%s has no option --%.40s; did you mean --%s?",
            args->path, name, meant);
    return error_set(err, ERR_INVALID, "%s has no option --%.40s; see muster %s --help", args->path,
        name, args->path);
}

static int check_number(const char *text, int64_t *ret_number, struct error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0)
        return error_set(err, ERR_INVALID, "expected a number from 0, got \"%.60s\"", text);
    *ret_number = value;
    return 0;
}

static int check_choice(const char *choices, const char *text, struct error *err)
{
    size_t length = strlen(text);
    for (const char *s = choices; s; s = strchr(s, '|') ? strchr(s, '|') + 1 : NULL) {
        if (length == strcspn(s, "|") && !memcmp(s, text, length))
            return 0;
    }
    return error_set(err, ERR_INVALID, "expected one of %s, got \"%.60s\"", choices, text);
}

static int check_value(struct given *given, struct error *err)
{
    switch (given->spec->type) {
    case OPTION_NUMBER: return check_number(given->text, &given->number, err);
    case OPTION_DURATION: return quantity_parse_duration(given->text, &given->number, err);
    case OPTION_MOMENT: return quantity_parse_time(given->text, &given->number, err);
    case OPTION_CHOICE: return check_choice(given->spec->choices, given->text, err);
    case OPTION_FLAG:
    case OPTION_TEXT:
    case OPTION_LIST: return 0;
    }
    assert(!"an option type without a check");
    return -1;
}

static int take(struct arguments *args, const struct option_spec *spec, const char *text,
    const char *whence, struct error *err)
{
    assert((spec->type == OPTION_FLAG) == (text == NULL));
    struct given given = {spec, text, 0};
    if (check_value(&given, err) < 0)
        return error_prefix(err, "%s", whence);
    if (!strcmp(spec->name, "help"))
        args->help = true;
    vec_push(&args->given, given);
    return 0;
}

static int take_long(
    struct arguments *args, struct reader *reader, const char *word, struct error *err)
{
    const char *name = word + 2;
    size_t length = strcspn(name, "=");
    const char *text = name[length] ? name + length + 1 : NULL;
    const struct option_spec *spec = find_option(args->verb, name, length, 0);
    char whence[64];
    snprintf(whence, sizeof whence, "--%.*s", (int)(length < 40 ? length : 40), name);
    if (!spec)
        return unknown_option(args, whence + 2, err);
    if (spec->type == OPTION_FLAG && text)
        return error_set(err, ERR_INVALID, "%s takes no value", whence);
    if (spec->type != OPTION_FLAG && !text) {
        if (reader->next >= reader->argc)
            return error_set(err, ERR_INVALID, "%s needs a value: %s", whence, spec->value);
        text = reader->argv[reader->next++];
    }
    return take(args, spec, text, whence, err);
}

static int take_letters(
    struct arguments *args, struct reader *reader, const char *word, struct error *err)
{
    for (const char *s = word + 1; *s; s++) {
        const struct option_spec *spec = find_option(args->verb, NULL, 0, *s);
        char whence[3] = {'-', *s, '\0'};
        if (!spec && verb_takes_command(args->verb))
            return error_set(err, ERR_INVALID, "%s has no option -%.1s; put -- before the command",
                args->path, s);
        if (!spec)
            return error_set(err, ERR_INVALID, "%s has no option -%.1s; see muster %s --help",
                args->path, s, args->path);
        if (spec->type == OPTION_FLAG) {
            if (take(args, spec, NULL, whence, err) < 0)
                return -1;
            continue;
        }
        const char *text = s[1] ? s + 1 : NULL;
        if (!text && reader->next >= reader->argc)
            return error_set(err, ERR_INVALID, "%s needs a value: %s", whence, spec->value);
        return take(args, spec, text ? text : reader->argv[reader->next++], whence, err);
    }
    return 0;
}

/* The environment speaks where the command line did not. */
static int take_environment(struct arguments *args, struct error *err)
{
    const struct option_spec *lists[3];
    int count = verb_option_lists(args->verb, lists);
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++) {
            const char *text = spec->env ? getenv(spec->env) : NULL;
            if (!text || !*text || arguments_text(args, spec->name))
                continue;
            if (take(args, spec, text, spec->env, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int check_operands(const struct arguments *args, struct error *err)
{
    int least, most;
    verb_operand_count(args->verb, &least, &most);
    size_t count = args->operands.count;
    bool takes_command = verb_takes_command(args->verb);
    if ((int)count < least || (takes_command && !args->command[0]))
        return error_set(err, ERR_INVALID, "something is missing: muster %s %s", args->path,
            args->verb->operands);
    if (!takes_command && args->command[0])
        return error_set(err, ERR_INVALID, "%s takes nothing after --", args->path);
    if (most >= 0 && (int)count > most)
        return error_set(err, ERR_INVALID, "%s: \"%.60s\" is one operand too many: muster %s %s%s",
            args->path, args->operands.items[most], args->path, args->verb->operands,
            takes_command ? "; put -- before the command" : "");
    return 0;
}

static int read_words(struct arguments *args, struct reader *reader, struct error *err)
{
    while (reader->next < reader->argc) {
        const char *word = reader->argv[reader->next++];
        int failed = 0;
        if (!strcmp(word, "--")) {
            args->command = reader->argv + reader->next;
            break;
        }
        if (word[0] == '-' && word[1] == '-')
            failed = take_long(args, reader, word, err);
        else if (word[0] == '-' && word[1])
            failed = take_letters(args, reader, word, err);
        else
            vec_push(&args->operands, word);
        if (failed)
            return -1;
    }
    return 0;
}

/* `node cordon`: the first word picks the action. */
static int pick_action(struct arguments *args, struct reader *reader, struct error *err)
{
    if (!args->verb->actions)
        return 0;
    VEC(const char *) names = {0};
    char all[200] = "";
    const char *word = reader->next < reader->argc ? reader->argv[reader->next] : "";
    for (const struct verb *action = args->verb->actions; action->name; action++) {
        if (!strcmp(action->name, word)) {
            vec_free(&names);
            args->verb = action;
            reader->next++;
            size_t used = strlen(args->path);
            snprintf(args->path + used, sizeof args->path - used, " %s", action->name);
            return 0;
        }
        vec_push(&names, action->name);
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", action->name);
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        vec_free(&names);
        args->help = true;
        return 0;
    }
    const char *meant = verb_suggest(word, names.items, names.count);
    vec_free(&names);
    if (meant)
        return error_set(err, ERR_INVALID, "%s has no action \"%.40s\"; did you mean %s?",
            args->path, word, meant);
    return error_set(err, ERR_INVALID, "%s needs one of these actions: %s", args->path, all);
}

struct arguments *arguments_parse_verb(
    const struct verb *verb, int argc, char **argv, struct error *err)
{
    assert(verb && !verb->run_raw);
    struct arguments *made = mem_alloc(1, sizeof *made);
    SCOPED(arguments_scope) struct arguments *args = made;
    struct reader reader = {argc, argv, 0};
    args->verb = verb;
    args->command = no_command;
    snprintf(args->path, sizeof args->path, "%s", verb->name);
    if (pick_action(args, &reader, err) < 0)
        return NULL;
    if (args->help) {
        args = NULL;
        return made;
    }
    if (read_words(args, &reader, err) < 0)
        return NULL;
    if (!args->help && (take_environment(args, err) < 0 || check_operands(args, err) < 0))
        return NULL;
    args = NULL;
    return made;
}

struct arguments *arguments_parse(int argc, char **argv, struct error *err)
{
    assert(argc > 0);
    const struct verb *verb = verb_find(argv[0]);
    if (verb)
        return arguments_parse_verb(verb, argc - 1, argv + 1, err);
    VEC(const char *) names = {0};
    for (size_t i = 0; verbs[i]; i++) {
        if (!verbs[i]->hidden)
            vec_push(&names, verbs[i]->name);
    }
    const char *meant = verb_suggest(argv[0], names.items, names.count);
    vec_free(&names);
    if (meant)
        error_set(err, ERR_INVALID, "there is no verb \"%.40s\"; did you mean %s?", argv[0], meant);
    else
        error_set(err, ERR_INVALID, "there is no verb \"%.40s\"; see muster help", argv[0]);
    return NULL;
}

const struct verb *arguments_verb(const struct arguments *args)
{
    return args->verb;
}

const char *arguments_path(const struct arguments *args)
{
    return args->path;
}

bool arguments_help(const struct arguments *args)
{
    return args->help;
}

/* The last one given of an option that has to be in the tables. */
static const struct given *last_given(const struct arguments *args, const char *name)
{
    const struct option_spec *spec = find_option(args->verb, name, strlen(name), 0);
    assert(spec);
    for (size_t i = args->given.count; i > 0; i--) {
        if (args->given.items[i - 1].spec == spec)
            return &args->given.items[i - 1];
    }
    return NULL;
}

bool arguments_flag(const struct arguments *args, const char *name)
{
    return last_given(args, name) != NULL;
}

const char *arguments_text(const struct arguments *args, const char *name)
{
    const struct given *given = last_given(args, name);
    return given ? given->text : NULL;
}

int64_t arguments_number(const struct arguments *args, const char *name, int64_t fallback)
{
    const struct given *given = last_given(args, name);
    return given ? given->number : fallback;
}

const char *arguments_item(const struct arguments *args, const char *name, size_t i)
{
    if (!last_given(args, name))
        return NULL;
    for (size_t k = 0; k < args->given.count; k++) {
        const struct given *given = &args->given.items[k];
        if (!strcmp(given->spec->name, name) && i-- == 0)
            return given->text;
    }
    return NULL;
}

size_t arguments_operand_count(const struct arguments *args)
{
    return args->operands.count;
}

const char *arguments_operand(const struct arguments *args, size_t i)
{
    return i < args->operands.count ? args->operands.items[i] : NULL;
}

char *const *arguments_command(const struct arguments *args)
{
    return args->command;
}
