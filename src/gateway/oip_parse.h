/* Requests and answers of the Open Inference Protocol v2 as parts of their bodies, strictly: JSON,
 * with or without binary tensors behind it (little-endian; BYTES as elements with four bytes of
 * length before each).
 *
 * What is taken can be put together with others and taken apart again without touching an element:
 * each tensor has as many elements as its shape says, all have the same first dimension, and no
 * member is one that is not known here. Anything else is a fault with a constant text. */
#pragma once

#include "gateway/oip_json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

enum {
    OIP_TENSORS_MAX = 16,
    OIP_DIMENSIONS_MAX = 8,
    OIP_ROWS_MAX = 65536,
    OIP_NO_HEAD = -1, /* without Inference-Header-Content-Length: all of the body is JSON */
};

struct oip_datatype {
    const char *name;
    size_t bytes; /* of an element; 0: BYTES */
    enum oip_value value;
};

struct oip_tensor {
    struct oip_span name; /* without quotes, as it was written */
    const struct oip_datatype *datatype;
    size_t dimensions;
    int64_t shape[OIP_DIMENSIONS_MAX];
    int64_t elements;
    struct oip_span parameters; /* the map, as it was written */
    bool binary;
    bool nested;           /* JSON: a list for each row, not all elements in one list */
    struct oip_span data;  /* binary: its bytes; JSON: what stands between the outermost brackets */
    struct oip_span *rows; /* of an answer: each row's part of data; in the arena */
};

struct oip_message {
    struct oip_span id; /* with its quotes */
    struct oip_span parameters;
    struct oip_span asked;                     /* of a request: the list of "outputs" */
    struct oip_span model_name, model_version; /* of an answer, with their quotes */
    struct oip_tensor tensors[OIP_TENSORS_MAX];
    size_t tensor_count;
    int64_t rows; /* the first dimension of every tensor */
};

/* NULL when *ret is set, else what is wrong. Its spans are parts of body. head_length: of the JSON,
 * or OIP_NO_HEAD. */
const char *oip_parse_request(
    const char *body, size_t length, int64_t head_length, struct oip_message *ret);
/* The same of an answer, which has to have so many rows. */
const char *oip_parse_answer(struct arena *arena, const char *body, size_t length,
    int64_t head_length, int64_t rows, struct oip_message *ret);
/* The value of a header Inference-Header-Content-Length: at most 18 digits. NULL (no such header)
 * gives OIP_NO_HEAD; false: it is no length. */
bool oip_head_length(const char *value, int64_t *ret);
