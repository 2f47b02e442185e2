/* How the batch of a training job changes from epoch to epoch, by the rules of the simulation that
 * Shockwave was published with. Private to the model "shockwave". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Of a model: its name begins with the text. */
struct batch_model {
    const char *name;
    int64_t samples;   /* of its data set: an epoch */
    int64_t batch_max; /* 0: its batch never changes */
};

struct batch_job {
    const struct batch_model *model;
    int64_t batch; /* of all ranks together, at the start */
    int32_t ranks;
    int32_t epochs;
};

/* By the model's name, or NULL. */
const struct batch_model *batch_model_find(const char *name, int64_t length);
/* The batch in an epoch, with the mode "accordion", "gns" or any other, with which it stays.
 * planned: by the schedule that finish-time fairness is measured against; else as jobs really run,
 * where accordion has no first part without changes, and gns looks one epoch ahead. */
int64_t batch_in_epoch(const struct batch_job *job, const char *mode, int32_t epoch, bool planned);
