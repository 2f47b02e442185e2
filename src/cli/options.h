/* The arguments of one call, parsed by the tables of its verb.
 *
 * Options may stand anywhere before "--". `--name=value`, `--name value`, `-nvalue`, `-n value`
 * and joined flags (`-ft`) are understood; a mistyped name is answered with the nearest one. */
#pragma once

#include "cli/verb.h"

#include <stddef.h>
#include <stdint.h>

struct arguments;

/* Parses argv[0 .. argc), which begins after the program's name with the verb's. The result
 * borrows argv and is destroyed by the caller. NULL with ERR_INVALID: what is wrong, and what was
 * perhaps meant. */
MUST_CHECK struct arguments *arguments_parse(int argc, char **argv, struct error *err);
/* The same for a verb given as it is; argv begins after its name. */
MUST_CHECK struct arguments *arguments_parse_verb(
    const struct verb *verb, int argc, char **argv, struct error *err);
void arguments_destroy(struct arguments *args); /* NULL is fine */

/* The verb, or its action where it has some. Never NULL. */
const struct verb *arguments_verb(const struct arguments *args);
/* The words that led there: "node cordon". Never NULL. */
const char *arguments_path(const struct arguments *args);
/* --help was given (then nothing else was checked). */
bool arguments_help(const struct arguments *args);

/* Each asks for an option the verb's tables have; another name is a programmer's error. */
bool arguments_flag(const struct arguments *args, const char *name);
/* The last value given, else the environment's, else NULL. */
const char *arguments_text(const struct arguments *args, const char *name);
/* As above, for numbers, durations (milliseconds) and moments (milliseconds since the epoch). */
int64_t arguments_number(const struct arguments *args, const char *name, int64_t fallback);
/* Value i of an option that may be repeated, or NULL. */
const char *arguments_item(const struct arguments *args, const char *name, size_t i);

/* The operands before "--", in order. */
size_t arguments_operand_count(const struct arguments *args);
const char *arguments_operand(const struct arguments *args, size_t i); /* NULL beyond the last */
/* What followed "--", ended by NULL; an empty list when there was none. */
char *const *arguments_command(const struct arguments *args);

static inline void arguments_scope(struct arguments **args)
{
    arguments_destroy(*args);
}
