/* Scoring a dataset: every row of its .csv and .npy files through the model. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct booster;

struct score_options {
    const char *data;   /* a folder of files */
    const char *output; /* a folder; a file is made for each block of rows */
    int64_t shard;      /* the blocks whose number is this modulo */
    int64_t shards;     /* so many */
};

/* Does the blocks that are this shard's and are not there yet: a run that was stopped goes on where
 * it was. A block's file is put in place when it is complete. ERR_NOT_FOUND: there is no file;
 * ERR_INVALID names the file and line that are wrong; ERR_IO, ERR_FULL. */
MUST_CHECK int score(struct booster *booster, const struct score_options *options,
    int64_t *ret_rows, struct error *err);
