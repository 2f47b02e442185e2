/* Rows of numbers from files: see rows.h. */
#include "rows.h"

#include "base/memory.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NPY_HEADER_MAX = 4096 };

struct row_file {
    FILE *file;
    char *path;
    size_t features;
    bool npy;
    bool wide;       /* .npy of float64 */
    uint64_t left;   /* .npy: rows */
    char *line;      /* .csv: getline's */
    size_t capacity; /* of it */
    uint64_t number; /* of the line, from 1 */
};

static int read_exactly(struct row_file *file, void *out, size_t size, struct error *err)
{
    if (fread(out, 1, size, file->file) == size)
        return 0;
    return ferror(file->file) ? error_set_errno(err, "cannot read %s", file->path)
                              : error_set(err, ERR_INVALID, "%s ends too early", file->path);
}

/* The value of a key of the header, a Python dictionary as text; NULL without it. */
static const char *npy_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (!at)
        return NULL;
    at += strlen(key);
    return at + strspn(at, ": ");
}

static int read_npy_header(struct row_file *file, struct error *err)
{
    unsigned char start[12];
    char header[NPY_HEADER_MAX + 1];
    if (read_exactly(file, start, 10, err) < 0)
        return -1;
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] == 2) {
        if (read_exactly(file, start + 10, 2, err) < 0)
            return -1;
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (memcmp(start, "\x93NUMPY", 6) != 0 || start[6] < 1 || start[6] > 2 ||
        length > NPY_HEADER_MAX)
        return error_set(err, ERR_INVALID, "%s is not a .npy file of format 1 or 2", file->path);
    if (read_exactly(file, header, length, err) < 0)
        return -1;
    header[length] = '\0';
    const char *type = npy_value(header, "'descr'");
    const char *order = npy_value(header, "'fortran_order'");
    const char *shape = npy_value(header, "'shape'");
    unsigned long long rows = 0, columns = 0;
    bool wide = type && strncmp(type, "'<f8'", 5) == 0;
    if (!type || (!wide && strncmp(type, "'<f4'", 5) != 0) || !order ||
        strncmp(order, "False", 5) != 0)
        return error_set(err, ERR_INVALID,
            "%s: the array has to be of little-endian float32 or float64, in C order", file->path);
    if (!shape || sscanf(shape, "(%19llu, %19llu)", &rows, &columns) != 2 ||
        columns != file->features)
        return error_set(
            err, ERR_INVALID, "%s: the shape has to be (rows, %zu)", file->path, file->features);
    file->wide = wide;
    file->left = rows;
    return 0;
}

int row_file_open(const char *path, size_t features, struct row_file **ret, struct error *err)
{
    struct row_file *file = mem_alloc(1, sizeof *file);
    size_t length = strlen(path);
    file->path = mem_strdup(path);
    file->features = features;
    file->npy = length > 4 && strcmp(path + length - 4, ".npy") == 0;
    file->file = fopen(path, "re");
    int result = file->file ? 0 : error_set_errno(err, "cannot open %s", path);
    if (result == 0 && file->npy)
        result = read_npy_header(file, err);
    if (result < 0) {
        row_file_close(file);
        return -1;
    }
    *ret = file;
    return 0;
}

static int read_npy(
    struct row_file *file, float *values, size_t most, size_t *ret_rows, struct error *err)
{
    size_t rows = file->left < most ? (size_t)file->left : most;
    for (size_t i = 0; i < rows * file->features; i++) {
        double wide;
        if (file->wide) {
            if (read_exactly(file, &wide, sizeof wide, err) < 0)
                return -1;
            values[i] = (float)wide;
        }
    }
    if (!file->wide && read_exactly(file, values, rows * file->features * sizeof *values, err) < 0)
        return -1;
    file->left -= rows;
    *ret_rows = rows;
    return 0;
}

/* The numbers of a line. false: it is not so many numbers. */
static bool read_cells(const char *line, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *end;
        line += strspn(line, " \t");
        values[i] = strtof(line, &end);
        if (end == line)
            values[i] = NAN; /* an empty cell, or no number: what follows tells */
        line = end + strspn(end, " \t\r\n");
        if (*line != (i + 1 < count ? ',' : '\0'))
            return false;
        line++;
    }
    return true;
}

static int read_csv(
    struct row_file *file, float *values, size_t most, size_t *ret_rows, struct error *err)
{
    size_t rows = 0;
    while (rows < most) {
        /* A line's length is bounded by the sandbox's memory. */
        ssize_t length = getline(&file->line, &file->capacity, file->file);
        if (length < 0 && ferror(file->file))
            return error_set_errno(err, "cannot read %s", file->path);
        if (length < 0)
            break;
        file->number++;
        if (memchr(file->line, '\0', (size_t)length))
            return error_set(err, ERR_INVALID, "%s:%llu has a NUL", file->path,
                (unsigned long long)file->number);
        if (read_cells(file->line, values + rows * file->features, file->features))
            rows++;
        else if (file->number != 1)
            return error_set(err, ERR_INVALID, "%s:%llu is not %zu numbers with commas", file->path,
                (unsigned long long)file->number, file->features);
    }
    *ret_rows = rows;
    return 0;
}

int row_file_read(
    struct row_file *file, float *values, size_t most, size_t *ret_rows, struct error *err)
{
    return file->npy ? read_npy(file, values, most, ret_rows, err)
                     : read_csv(file, values, most, ret_rows, err);
}

/* Lines have to be looked for, but need not be understood; the first may be names. */
static int skip_csv(struct row_file *file, size_t rows, size_t *ret_skipped, struct error *err)
{
    SCOPED(mem_scope) float *row = mem_alloc(file->features, sizeof *row);
    size_t skipped = 0;
    while (skipped < rows && file->number < 2) {
        size_t one;
        if (read_csv(file, row, 1, &one, err) < 0)
            return -1;
        if (one == 0)
            break;
        skipped++;
    }
    while (skipped < rows && getline(&file->line, &file->capacity, file->file) >= 0) {
        file->number++;
        skipped++;
    }
    *ret_skipped = skipped;
    return ferror(file->file) ? error_set_errno(err, "cannot read %s", file->path) : 0;
}

int row_file_skip(struct row_file *file, size_t rows, size_t *ret_skipped, struct error *err)
{
    if (!file->npy)
        return skip_csv(file, rows, ret_skipped, err);
    size_t skipped = file->left < rows ? (size_t)file->left : rows;
    size_t width = file->features * (file->wide ? sizeof(double) : sizeof(float));
    if (fseeko(file->file, (off_t)(skipped * width), SEEK_CUR) != 0)
        return error_set_errno(err, "cannot read %s", file->path);
    file->left -= skipped;
    *ret_skipped = skipped;
    return 0;
}

void row_file_close(struct row_file *file)
{
    if (!file)
        return;
    if (file->file)
        fclose(file->file);
    free(file->line);
    free(file->path);
    free(file);
}
