/* Inference requests and answers of the Open Inference Protocol v2 for a model that takes one
 * matrix of numbers and gives one: JSON, and the extension for binary tensors. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    INFER_JSON_MAX = 16 << 20, /* of a request's JSON: what is larger has to come as binary */
    INFER_BODY_MAX = 64 << 20,
    INFER_ID_MAX = 256,
};

/* The names of the one input and the one output. */
#define INFER_INPUT  "input"
#define INFER_OUTPUT "predict"

struct infer_request {
    float *values; /* rows * features, owned */
    size_t rows;
    bool binary; /* the answer's tensor is wanted as bytes */
    char id[INFER_ID_MAX];
};

/* Reads a request; head_length is what Inference-Header-Content-Length says, or -1. features: how
 * many values a row has. ERR_INVALID or ERR_TOO_LARGE says what is wrong with which input. */
MUST_CHECK int infer_decode(const char *body, size_t length, long long head_length, size_t features,
    struct infer_request *ret, struct error *err);
void infer_request_finish(struct infer_request *request);
/* Appends the answer's JSON; with request->binary the tensor's bytes follow it, rows * width
 * little-endian floats. Returns the length of the JSON. */
size_t infer_encode(const struct infer_request *request, const char *model, const char *version,
    const float *values, size_t width, struct strbuf *out);
/* Appends the model's metadata. */
void infer_describe(const char *model, const char *version, size_t features, struct strbuf *out);
