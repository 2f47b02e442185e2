/* A model of XGBoost in memory, behind its C API: loading, what it takes, predicting.
 *
 * Files of models come from outside, and XGBoost trusts them more than we do: some mutated files
 * crash its loader. So a file is first loaded in a child of this process, and only one that the
 * child survived is loaded here. What it does later is the sandbox's affair. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct booster;

/* Loads the model of a folder: model.ubj, model.json or model.model, the first that is there.
 * ERR_NOT_FOUND: none of them; ERR_INVALID: not a model of XGBoost's; ERR_IO. threads: for
 * predictions. */
MUST_CHECK int booster_open(
    const char *folder, int threads, struct booster **ret, struct error *err);
void booster_close(struct booster *booster); /* NULL is fine */
/* How many values a row has. */
size_t booster_features(const struct booster *booster);

/* Predicts `rows` rows of booster_features values each; NaN is a missing value. *ret_values has
 * rows * *ret_width values, row by row, and lives until the next call. ERR_INVALID says what
 * XGBoost did not like. */
MUST_CHECK int booster_predict(struct booster *booster, const float *values, size_t rows,
    const float **ret_values, size_t *ret_width, struct error *err);
