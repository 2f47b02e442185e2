/* Completion scripts for shells, from the tables of verbs. */
#pragma once

#include "base/strbuf.h"

/* Appends a script to be sourced by bash. */
void completion_write_bash(struct strbuf *out);
/* Appends a script to be put into a folder of fpath, as _muster. */
void completion_write_zsh(struct strbuf *out);
