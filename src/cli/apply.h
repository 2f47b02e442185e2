/* What apply and plan share: the same request, done or only thought through. */
#pragma once

#include "cli/cli.h"

#define APPLY_FILE_OPTION                                                                          \
    {                                                                                              \
        "file", 'f', OPTION_LIST, "FILE",                                                          \
            "a manifest, a folder of them, or - for standard input; may be repeated"               \
    }

/* Loads what -f names, sends it, and shows what became of it. With dry_run nothing is changed. */
MUST_CHECK int apply_files(struct cli *cli, bool dry_run, struct error *err);
/* The values of -f; -1 when there is none. *ret is in the arena. */
MUST_CHECK int apply_file_list(
    struct cli *cli, const char *const **ret, size_t *ret_count, struct error *err);
