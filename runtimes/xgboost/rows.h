/* Rows of numbers from files: CSV (a first line of names is passed over; an empty cell is a missing
 * value) and NumPy's .npy (format 1 and 2, little-endian float32 or float64, two dimensions, C
 * order). Files are hostile: what is not so is refused with its line or field. */
#pragma once

#include "base/error.h"

#include <stddef.h>

struct row_file;

/* Opens a file for rows of `features` values. ERR_INVALID, ERR_IO. */
MUST_CHECK int row_file_open(
    const char *path, size_t features, struct row_file **ret, struct error *err);
/* The next rows, at most `most`, into values; *ret_rows 0 at the end. ERR_INVALID, ERR_IO. */
MUST_CHECK int row_file_read(
    struct row_file *file, float *values, size_t most, size_t *ret_rows, struct error *err);
/* Passes over so many rows as cheaply as the format allows. */
MUST_CHECK int row_file_skip(
    struct row_file *file, size_t rows, size_t *ret_skipped, struct error *err);
void row_file_close(struct row_file *file); /* NULL is fine */
