/* How the things of the API are shown: for each kind a table of columns, each a path into the
 * document, and how its value reads. To show another field is to add a line. */
#pragma once

#include "base/memory.h"
#include "cli/cli.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdint.h>

enum view_format {
    VIEW_TEXT,    /* text and numbers as they are */
    VIEW_STATE,   /* in its colour */
    VIEW_AGE,     /* a moment as the time since: "3m12s" */
    VIEW_TIME,    /* a moment in local time */
    VIEW_SECONDS, /* a length of time */
    VIEW_MILLISECONDS,
    VIEW_BYTES,
    VIEW_LIST,      /* "a,b" of a list, "k=v,k=v" of a map */
    VIEW_SENTENCES, /* "A. B." of a list */
    VIEW_COMMAND,   /* a list as a shell would have it */
    VIEW_COUNT,     /* the number of items */
    VIEW_RESOURCES, /* "4 cpu, 16 GiB, 2 a100" of a map of resources */
};

struct view_column {
    const char *title; /* NULL ends the columns */
    const char *path;  /* "status.state"; with '|' between them, the first that is there */
    enum view_format format;
    bool wide;            /* only with -o wide */
    bool right;           /* a number */
    const char *fallback; /* what stands where the document says nothing; NULL: "-" */
};

struct view {
    const char *name;     /* "jobs": as in the path of the API */
    const char *singular; /* "job" */
    const char *alias;    /* a short name, or NULL */
    const char *target;   /* "/v1/jobs" */
    const struct view_column *columns;
    bool owned; /* belongs to a team: named team/name, in paths of the API team:name */
};

extern const struct view views[]; /* a NULL name ends the list */

/* The view that text names (plural, singular or alias, in any case); NULL with ERR_INVALID. */
MUST_CHECK const struct view *view_find(const char *text, struct error *err);
/* The value at a path of names with dots between them, or NULL. doc may be NULL. */
const struct doc *view_at(const struct doc *doc, const char *path);
/* As above for texts and numbers, else NULL. */
const char *view_text(const struct doc *doc, const char *path);
/* A value as it reads, in the arena; NULL for none. now_ms: for ages. */
const char *view_value(
    struct arena *arena, const struct doc *value, enum view_format format, int64_t now_ms);
/* Appends a table of items (a DOC_LIST). */
void view_write_table(const struct cli *cli, const struct view_column *columns,
    const struct doc *items, bool wide, struct strbuf *out);
/* The same as CSV, values as programs want them. */
void view_write_csv(const struct view_column *columns, const struct doc *items, struct strbuf *out);
/* The name by which an item of a view is asked for: "team/name", "pool/node", "name". */
const char *view_item_name(struct arena *arena, const struct view *view, const struct doc *item);
/* "/v1/jobs/team%2Fname" is never sent: names of jobs and nodes are two segments. Appends "/" and
 * the name's segments, percent-encoded. */
void view_append_name(struct strbuf *target, const char *name);
/* Appends prefix and one line of neutralised text, in a colour where cli has colours (or NULL). */
void view_append_line(const struct cli *cli, struct strbuf *out, const char *prefix,
    const char *text, const char *colour);
/* Writes items in a format ("table" or NULL, "wide", "json", "yaml", "csv") to standard output. */
MUST_CHECK int view_write_items(struct cli *cli, const struct view_column *columns,
    const struct doc *items, const char *format, struct error *err);
/* The colour ("32") that a state is shown in, or NULL. */
const char *view_state_colour(const char *state);
