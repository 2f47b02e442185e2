/* What a verb works with: its arguments, where it writes, and the server it asks.
 *
 * One of these lives for one call of the program. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "cli/options.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api;

struct cli {
    const struct arguments *args;
    struct arena *arena;   /* as long as the call */
    bool terminal;         /* standard output is one: colours, progress and refreshing make sense */
    bool colour;           /* a terminal, and neither NO_COLOR nor TERM=dumb */
    int exit_status;       /* of a success: 0, or what a job ended with */
    struct api *api;       /* made by cli_api at first use */
    struct strbuf problem; /* what the server had to say besides the error, a line each */
};

/* Sets everything up for one call; args are borrowed. */
void cli_init(struct cli *cli, const struct arguments *args);
/* Frees what the call made, the connection included. */
void cli_finish(struct cli *cli);

/* The server that the options, the environment and the configuration name; connects when it is
 * asked first. NULL with err when they are wrong. */
MUST_CHECK struct api *cli_api(struct cli *cli, struct error *err);
/* One more connection to the same server, for another thread: the caller's to destroy. NULL as
 * above. */
MUST_CHECK struct api *cli_api_another(struct cli *cli, struct error *err);

/* Writes text to standard output as it is. A closed pipe ends the program quietly, anything else
 * that fails is ERR_IO. */
MUST_CHECK int cli_write(struct cli *cli, const void *bytes, size_t length, struct error *err);
MUST_CHECK int cli_puts(struct cli *cli, const char *text, struct error *err);
/* For documents a program reads: `format` is "json" or "yaml". */
MUST_CHECK int cli_write_doc(
    struct cli *cli, const struct doc *doc, const char *format, struct error *err);
/* The sentence on standard error when it is a terminal or not; neutralised, "muster: " before it.
 */
void cli_note(struct cli *cli, const char *format, ...) PRINTF_LIKE(2, 3);
/* From here on Ctrl-C and SIGTERM set a flag instead of ending the program; the second one ends it
 * all the same. When fd is not negative it is shut down too, so that a read from it ends. */
void cli_catch_interrupts(int fd);
/* Whether one came since. */
bool cli_interrupted(void);
/* Waits so long, or until a signal comes. */
void cli_pause(int64_t ms);
