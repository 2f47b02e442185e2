/* Scoring a dataset: see score.h. */
#include "score.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "booster.h"
#include "rows.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_ROWS = 65536, FILES_MAX = 100000 };

typedef VEC(char *) name_list;

static void names_free(name_list *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    vec_free(names);
}

static bool is_rows(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".csv") == 0 || strcmp(dot, ".npy") == 0);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The dataset's files in order of names, so that every shard numbers the blocks alike. */
static int list_files(const char *folder, name_list *names, struct error *err)
{
    DIR *open = opendir(folder);
    if (!open)
        return error_set_errno(err, "cannot read the folder %s", folder);
    for (struct dirent *entry = readdir(open); entry && names->count < FILES_MAX;
         entry = readdir(open)) {
        if (is_rows(entry->d_name))
            vec_push(names, mem_strdup(entry->d_name));
    }
    closedir(open);
    if (names->count == 0)
        return error_set(err, ERR_NOT_FOUND, "there is no .csv or .npy file in %s", folder);
    qsort(names->items, names->count, sizeof *names->items, compare_names);
    return 0;
}

struct scoring {
    struct booster *booster;
    const struct score_options *options;
    float *values; /* BLOCK_ROWS rows */
    struct strbuf text;
    int64_t block; /* number of the next one, over all files */
    int64_t rows;  /* scored so far */
};

static int write_block(struct scoring *scoring, const char *path, size_t rows, struct error *err)
{
    const float *values;
    size_t width;
    if (booster_predict(scoring->booster, scoring->values, rows, &values, &width, err) < 0)
        return -1;
    strbuf_clear(&scoring->text);
    for (size_t i = 0; i < rows * width; i++)
        strbuf_printf(
            &scoring->text, "%.9g%c", (double)values[i], (i + 1) % width == 0 ? '\n' : ',');
    scoring->rows += (int64_t)rows;
    return file_write(path, strbuf_text(&scoring->text), scoring->text.length, 0644, err);
}

/* One block of a file; *ret_rows 0 at the file's end. */
static int score_block(struct scoring *scoring, struct row_file *file, const char *path,
    size_t *ret_rows, struct error *err)
{
    bool mine = scoring->block % scoring->options->shards == scoring->options->shard;
    if (!mine || access(path, F_OK) == 0)
        return row_file_skip(file, BLOCK_ROWS, ret_rows, err);
    if (row_file_read(file, scoring->values, BLOCK_ROWS, ret_rows, err) < 0)
        return -1;
    return *ret_rows ? write_block(scoring, path, *ret_rows, err) : 0;
}

static void file_scope(struct row_file **file)
{
    row_file_close(*file);
}

static int score_file(struct scoring *scoring, const char *name, struct error *err)
{
    const struct score_options *options = scoring->options;
    char path[4096];
    SCOPED(file_scope) struct row_file *file = NULL;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", options->data, name) >= sizeof path)
        return error_set(err, ERR_INVALID, "the path of %s is too long", name);
    if (row_file_open(path, booster_features(scoring->booster), &file, err) < 0)
        return -1;
    size_t rows;
    int part = 0;
    do {
        if ((size_t)snprintf(path, sizeof path, "%s/%s.%06d.csv", options->output, name, part) >=
            sizeof path)
            return error_set(err, ERR_INVALID, "the path of %s is too long", name);
        if (score_block(scoring, file, path, &rows, err) < 0)
            return -1;
        scoring->block += rows > 0;
        part++;
    } while (rows > 0);
    return 0;
}

int score(struct booster *booster, const struct score_options *options, int64_t *ret_rows,
    struct error *err)
{
    name_list names = {0};
    struct scoring scoring = {.booster = booster, .options = options};
    int result = list_files(options->data, &names, err);
    if (result == 0)
        scoring.values = mem_alloc(BLOCK_ROWS * booster_features(booster), sizeof(float));
    for (size_t i = 0; result == 0 && i < names.count; i++)
        result = score_file(&scoring, names.items[i], err);
    free(scoring.values);
    strbuf_finish(&scoring.text);
    names_free(&names);
    if (result == 0)
        *ret_rows = scoring.rows;
    return result;
}
