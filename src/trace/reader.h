/* What readers of one job a line have in common: a table of columns and a function of a line. */
#pragma once

#include "trace/line.h"
#include "trace/trace.h"

enum { READER_PRIORITY = 500 }; /* where a trace says none: normal */

struct trace_reader {
    char separator;
    bool bare;   /* no header: the columns are the fields from the left */
    bool strict; /* columns that are not listed are refused */
    bool sorted; /* the lines are in order of time: they are read as they are needed */
    const struct line_column *columns;
    /* Fills the job, which is as reader_job gives it; texts may be the line's. 0 or -1 with err. */
    int (*row)(const struct lines *lines, struct trace_job *job, struct error *err);
};

/* A source of the file's jobs in order of submission; NULL with err. Without `sorted` all jobs are
 * read at once, and those of the same moment stay in the order of their lines. */
struct trace_source *reader_open(
    const struct trace_reader *reader, const char *path, struct error *err);
/* The same as the file lists them. */
struct trace_list *reader_list(
    const struct trace_reader *reader, const char *path, struct error *err);

/* A text of at most TRACE_TEXT_MAX bytes; `need`: not empty. */
MUST_CHECK int reader_text(
    const struct lines *lines, size_t column, bool need, const char **ret, struct error *err);
/* Ranks asked for, from 1, each with a whole accelerator: sets ranks, ranks_min and ranks_max. */
MUST_CHECK int reader_gang(
    const struct lines *lines, size_t column, struct trace_job *job, struct error *err);
