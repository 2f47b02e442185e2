/* What the tables of verbs become for people: help, manual pages, docs/cli.md. */
#pragma once

#include "base/strbuf.h"
#include "cli/verb.h"

/* The list of verbs. */
void help_write_overview(struct strbuf *out);
/* A verb or an action; path is "node cordon". Lines are folded at 80 columns. */
void help_write_verb(const struct verb *verb, const char *path, struct strbuf *out);

/* The manual page muster(1). */
void manual_write_overview(struct strbuf *out);
/* muster-VERB(1), actions included. */
void manual_write_verb(const struct verb *verb, struct strbuf *out);
/* docs/cli.md: all of it. */
void manual_write_markdown(struct strbuf *out);

/* One of the exit statuses that the program promises. */
struct exit_status {
    int status;
    const char *meaning;
};
extern const struct exit_status exit_statuses[]; /* a NULL meaning ends it */
/* What the environment and files may say, as paragraphs "NAME\tmeaning"; NULL ends it. */
extern const char *const environment_notes[];
