/* Measured speeds in the form of Gavel's files: type of accelerator -> "('MODEL (batch size B)',
 * RANKS)" -> "null" -> steps a second alone. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct throughputs;

/* Reads one type's speeds from a JSON file, compressed with gzip or not. NULL with ERR_NOT_FOUND,
 * ERR_IO, ERR_TOO_LARGE or ERR_INVALID. */
struct throughputs *throughputs_read(const char *path, const char *type, struct error *err);
void throughputs_destroy(struct throughputs *throughputs); /* NULL is fine */
/* Steps a second, or 0 where it was not measured. */
double throughputs_find(
    const struct throughputs *throughputs, const char *model, int64_t batch, int64_t ranks);
/* The same from a text. */
struct throughputs *throughputs_parse(
    const char *text, size_t length, const char *type, struct error *err);
