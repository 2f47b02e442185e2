/* References to datasets, models and their versions, as manifests, URLs and the command line write
 * them: [TEAM/]NAME, then nothing (the newest version), :VERSION, or @STAGE (models only). */
#pragma once

#include "base/error.h"

#include <stdint.h>

enum reference_which { REFERENCE_NEWEST, REFERENCE_VERSION, REFERENCE_STAGE };

struct reference {
    char team[64]; /* "" when none is said: that of who asks */
    char name[64];
    enum reference_which which;
    int64_t version; /* REFERENCE_VERSION: from 1 */
    char stage[16];  /* REFERENCE_STAGE: "production", .. */
};

enum { REFERENCE_TEXT = 160, REFERENCE_VERSION_DIGITS = 8 };

/* ERR_INVALID says what of the text is wrong. */
MUST_CHECK int reference_parse(const char *text, struct reference *ret, struct error *err);
/* The shortest text that parses to the reference, in out. */
void reference_format(const struct reference *reference, char out[REFERENCE_TEXT]);
