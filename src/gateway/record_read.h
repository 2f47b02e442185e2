/* Reading a recording, page by page. What is in the folder may be anything: it is bounded, checked
 * and skipped where it is not what a recorder writes. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RECORD_PAGE_BYTES = 4 << 20, /* read for a page; no line is longer */
    RECORD_CURSOR_BYTES = 128,
    RECORD_NAME_BYTES = 96, /* of a file */
    RECORD_FILES_MAX = 65536,
};

/* A file's name says when it began, who wrote it, and how long it is kept: so that it can be
 * removed by whoever looks, whatever became of its service. */
struct record_name {
    int64_t began_ms, keep_ms;
    char incarnation[17];
};
void record_name_write(const struct record_name *name, char out[RECORD_NAME_BYTES]);
/* False: it is none of a recorder's. */
bool record_name_read(const char *text, struct record_name *ret);

/* The folder of a service in `root`; false where its name cannot be one ("team/name" of letters,
 * digits, '.', '_', '-'). */
bool record_folder(const char *root, const char *service, char *out, size_t size);

struct record_page {
    const char *after; /* a cursor of the page before; NULL or "": from the beginning */
    size_t limit;      /* records at most */
    /* What came of it. */
    char next[RECORD_CURSOR_BYTES]; /* ""; or a cursor: there may be more */
    int64_t torn, damaged;          /* lines that were skipped */
};
/* json: length bytes, a JSON text as it was written. -1 ends the reading with err. */
typedef int record_visit(void *context, const char *json, size_t length, struct error *err);
/* In the order of the files' names and lines. A folder that is not there is an empty recording.
 * ERR_INVALID: no such cursor; ERR_IO. */
MUST_CHECK int record_page_read(const char *folder, struct record_page *page, record_visit *visit,
    void *context, struct error *err);
