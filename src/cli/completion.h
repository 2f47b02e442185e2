/* Completion scripts for shells, from the tables of verbs. */
#pragma once

#include "base/strbuf.h"

void completion_write_bash(struct strbuf *out);
void completion_write_zsh(struct strbuf *out);
