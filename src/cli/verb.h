/* What a verb is: a table entry from which come its parsing, its help, its manual page, the
 * completion of shells and its chapter in docs/cli.md, and the function that does the work.
 *
 * Operands are written as people read them, and that text is what is checked: words in capitals,
 * [WORD] when it may be left out, WORD... when it may be repeated, and "-- COMMAND..." for what
 * follows a double dash. The words FILE, DIR, KIND, JOB and NODE tell the shells what to offer. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct arguments;
struct cli;

enum option_type {
    OPTION_FLAG, /* given or not */
    OPTION_TEXT,
    OPTION_LIST,     /* a text that may be given several times */
    OPTION_NUMBER,   /* an integer from 0 */
    OPTION_CHOICE,   /* one of the choices */
    OPTION_DURATION, /* "90s" */
    OPTION_MOMENT,   /* RFC 3339 */
};

struct option_spec {
    const char *name; /* without dashes; NULL ends a list of options */
    char letter;      /* 0: none */
    enum option_type type;
    const char *value;   /* what it is called in the help: "FILE"; NULL for a flag */
    const char *help;    /* a sentence without a full stop */
    const char *choices; /* OPTION_CHOICE: "table|json" */
    const char *env;     /* the variable it defaults to, or NULL */
};

/* Who else may be asked for while this verb is parsed. */
enum verb_scope {
    VERB_ALONE,  /* works without a server */
    VERB_REMOTE, /* asks a server: takes the connection's options */
};

/* 0, or -1 with err; cli->exit_status stands for a success that is to be told apart. */
typedef int verb_work(struct cli *cli, struct error *err);

struct verb {
    const char *name;        /* NULL ends a list of actions */
    const char *operands;    /* "" for none */
    const char *summary;     /* a phrase without a full stop */
    const char *description; /* paragraphs, an empty line between them; NULL: the summary says it */
    const char *examples;    /* one a line, or NULL */
    const struct option_spec *options; /* NULL: none */
    const struct verb *actions;        /* `muster node cordon`: then run is NULL; or NULL */
    enum verb_scope scope;
    bool hidden; /* parts of the program itself: not in the help; gets argv as it is */
    verb_work *run;
    int (*run_raw)(int argc, char **argv); /* hidden verbs: argv[0] is the verb */
};

/* All verbs, in the order of the help; NULL ends the list. */
extern const struct verb *const verbs[];
/* The options that every verb takes, and those of verbs that ask a server. */
extern const struct option_spec common_options[];
extern const struct option_spec remote_options[];

/* The verb called name, hidden ones included, or NULL. */
const struct verb *verb_find(const char *name);
/* The option lists that hold for verb, in order; returns how many of out are set (at most 3). */
int verb_option_lists(const struct verb *verb, const struct option_spec *out[3]);
/* How many operands verb takes: -1 in ret_most for any number. */
void verb_operand_count(const struct verb *verb, int *ret_least, int *ret_most);
/* Whether "-- COMMAND..." belongs to it. */
bool verb_takes_command(const struct verb *verb);
/* The name among count that was probably meant by text, or NULL. */
const char *verb_suggest(const char *text, const char *const *names, size_t count);
