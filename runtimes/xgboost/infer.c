/* Requests and answers of the Open Inference Protocol v2: see infer.h. Where the protocol's prose
 * and its schema disagree, Triton's behaviour counts, because that is what clients are written for.
 */
#include "infer.h"

#include "base/memory.h"

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "binary tensors are little-endian");

static void json_scope(json_t **value)
{
    json_decref(*value);
}

/* The bytes behind the JSON, of which inputs take their share in order. */
struct binary {
    const char *bytes;
    size_t left;
};

/* [rows, features]; a single row may leave the first out. */
static int read_shape(const json_t *tensor, size_t features, size_t *ret_rows, struct error *err)
{
    const json_t *shape = json_object_get(tensor, "shape");
    size_t dimensions = json_array_size(shape);
    json_int_t rows = 1;
    if (dimensions == 2)
        rows = json_integer_value(json_array_get(shape, 0));
    const json_t *last = dimensions ? json_array_get(shape, dimensions - 1) : NULL;
    if (dimensions < 1 || dimensions > 2 || !json_is_integer(last) ||
        (size_t)json_integer_value(last) != features || rows < 1)
        return error_set(err, ERR_INVALID,
            "input \"" INFER_INPUT "\": the model wants the shape [rows, %zu]", features);
    if ((size_t)rows > INFER_BODY_MAX / sizeof(float) / features)
        return error_set(err, ERR_TOO_LARGE,
            "input \"" INFER_INPUT "\": more than %zu rows; ask in several requests",
            INFER_BODY_MAX / sizeof(float) / features);
    *ret_rows = (size_t)rows;
    return 0;
}

/* Numbers of a list, which may be nested as the shape is (one level). null is a missing value. */
static int read_numbers(
    const json_t *list, int depth, float *out, size_t room, size_t *filled, struct error *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_is_array(item) && depth == 0) {
            if (read_numbers(item, depth + 1, out, room, filled, err) < 0)
                return -1;
            continue;
        }
        if (!json_is_number(item) && !json_is_null(item))
            return error_set(
                err, ERR_INVALID, "input \"" INFER_INPUT "\": data has to be a list of numbers");
        if (*filled == room)
            return error_set(err, ERR_INVALID,
                "input \"" INFER_INPUT "\": data has more than the %zu elements of its shape",
                room);
        out[(*filled)++] = json_is_null(item) ? NAN : (float)json_number_value(item);
    }
    return 0;
}

static int read_binary(const json_t *size, struct binary *binary, bool wide, float *out,
    size_t count, struct error *err)
{
    size_t bytes = count * (wide ? sizeof(double) : sizeof(float));
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        (size_t)json_integer_value(size) != bytes || binary->left < bytes)
        return error_set(err, ERR_INVALID,
            "input \"" INFER_INPUT
            "\": binary_data_size has to be %zu, and that many bytes have to follow the JSON",
            bytes);
    if (!wide)
        memcpy(out, binary->bytes, bytes);
    for (size_t i = 0; wide && i < count; i++) {
        double value;
        memcpy(&value, binary->bytes + i * sizeof value, sizeof value);
        out[i] = (float)value;
    }
    binary->bytes += bytes;
    binary->left -= bytes;
    return 0;
}

static int read_input(const json_t *tensor, size_t features, struct binary *binary,
    struct infer_request *request, struct error *err)
{
    const char *name = json_string_value(json_object_get(tensor, "name"));
    const char *type = json_string_value(json_object_get(tensor, "datatype"));
    if (!name || strcmp(name, INFER_INPUT) != 0)
        return error_set(err, ERR_INVALID, "the model wants one input, \"" INFER_INPUT "\"");
    bool wide = type && strcmp(type, "FP64") == 0;
    if (!type || (!wide && strcmp(type, "FP32") != 0))
        return error_set(
            err, ERR_INVALID, "input \"" INFER_INPUT "\": datatype has to be FP32 or FP64");
    if (read_shape(tensor, features, &request->rows, err) < 0)
        return -1;
    size_t count = request->rows * features;
    const json_t *size = json_object_get(json_object_get(tensor, "parameters"), "binary_data_size");
    const json_t *data = json_object_get(tensor, "data");
    /* What is allocated follows what was sent, not what the shape claims. */
    if (!size && (!json_is_array(data) || json_array_size(data) == 0))
        return error_set(
            err, ERR_INVALID, "input \"" INFER_INPUT "\": data has to be a list of numbers");
    if (size && binary->left < count * (wide ? sizeof(double) : sizeof(float)))
        return read_binary(size, binary, wide, NULL, count, err);
    if (!size && json_array_size(data) != count && json_array_size(data) != request->rows)
        return error_set(err, ERR_INVALID,
            "input \"" INFER_INPUT "\": data has %zu elements, its shape %zu",
            json_array_size(data), count);
    request->values = mem_alloc(count, sizeof(float));
    if (size)
        return read_binary(size, binary, wide, request->values, count, err);
    size_t filled = 0;
    if (read_numbers(data, 0, request->values, count, &filled, err) < 0)
        return -1;
    if (filled != count)
        return error_set(err, ERR_INVALID,
            "input \"" INFER_INPUT "\": data has %zu elements, its shape %zu", filled, count);
    return 0;
}

/* Which form the answer shall have, and whether it asks for an output that is not there. */
static int read_wishes(const json_t *root, struct infer_request *request, struct error *err)
{
    const json_t *all = json_object_get(json_object_get(root, "parameters"), "binary_data_output");
    request->binary = json_is_true(all);
    const char *id = json_string_value(json_object_get(root, "id"));
    if (id && strlen(id) < sizeof request->id)
        memcpy(request->id, id, strlen(id) + 1);
    size_t i;
    json_t *output;
    json_array_foreach(json_object_get(root, "outputs"), i, output)
    {
        const char *name = json_string_value(json_object_get(output, "name"));
        if (!name || strcmp(name, INFER_OUTPUT) != 0)
            return error_set(err, ERR_INVALID, "the model has one output, \"" INFER_OUTPUT "\"");
        if (i > 0)
            return error_set(err, ERR_INVALID, "output \"" INFER_OUTPUT "\" is asked for twice");
        const json_t *binary =
            json_object_get(json_object_get(output, "parameters"), "binary_data");
        if (json_is_boolean(binary))
            request->binary = json_is_true(binary);
    }
    return 0;
}

int infer_decode(const char *body, size_t length, long long head_length, size_t features,
    struct infer_request *ret, struct error *err)
{
    if (head_length > (long long)length)
        return error_set(
            err, ERR_INVALID, "Inference-Header-Content-Length is beyond the end of the body");
    size_t head = head_length < 0 ? length : (size_t)head_length;
    if (head > INFER_JSON_MAX)
        return error_set(err, ERR_TOO_LARGE,
            "more than %d bytes of JSON: send the tensor as binary data", INFER_JSON_MAX);
    json_error_t problem;
    SCOPED(json_scope)
    json_t *root = json_loadb(body, head, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(root))
        return error_set(err, ERR_INVALID, "the body is not a JSON object: %.100s",
            root ? "it is another value" : problem.text);
    const json_t *inputs = json_object_get(root, "inputs");
    if (json_array_size(inputs) != 1)
        return error_set(err, ERR_INVALID, "the model wants one input, \"" INFER_INPUT "\"");
    struct infer_request request = {0};
    struct binary binary = {.bytes = body + head, .left = length - head};
    if (read_wishes(root, &request, err) < 0 ||
        read_input(json_array_get(inputs, 0), features, &binary, &request, err) < 0) {
        infer_request_finish(&request);
        return -1;
    }
    *ret = request;
    return 0;
}

void infer_request_finish(struct infer_request *request)
{
    free(request->values);
    request->values = NULL;
}

/* A number as JSON; what JSON has no name for is null. Nine digits give every float back. */
static void put_number(struct strbuf *out, float value)
{
    if (isfinite(value))
        strbuf_printf(out, "%.9g", (double)value);
    else
        strbuf_puts(out, "null");
}

size_t infer_encode(const struct infer_request *request, const char *model, const char *version,
    const float *values, size_t width, struct strbuf *out)
{
    size_t before = out->length;
    size_t count = request->rows * width;
    strbuf_puts(out, "{\"model_name\":");
    strbuf_json(out, model);
    strbuf_puts(out, ",\"model_version\":");
    strbuf_json(out, version);
    if (request->id[0]) {
        strbuf_puts(out, ",\"id\":");
        strbuf_json(out, request->id);
    }
    strbuf_puts(out, ",\"outputs\":[{\"name\":\"" INFER_OUTPUT "\",\"datatype\":\"FP32\",");
    strbuf_printf(out, "\"shape\":[%zu,%zu],", request->rows, width);
    if (request->binary) {
        strbuf_printf(out, "\"parameters\":{\"binary_data_size\":%zu}}]}", count * sizeof(float));
        size_t head = out->length - before;
        strbuf_append(out, values, count * sizeof(float));
        return head;
    }
    strbuf_puts(out, "\"data\":[");
    for (size_t i = 0; i < count; i++) {
        if (i)
            strbuf_putc(out, ',');
        put_number(out, values[i]);
    }
    strbuf_puts(out, "]}]}");
    return out->length - before;
}

void infer_describe(const char *model, const char *version, size_t features, struct strbuf *out)
{
    strbuf_puts(out, "{\"name\":");
    strbuf_json(out, model);
    strbuf_puts(out, ",\"versions\":[");
    strbuf_json(out, version);
    strbuf_printf(out,
        "],\"platform\":\"xgboost\",\"inputs\":[{\"name\":\"" INFER_INPUT
        "\",\"datatype\":\"FP32\",\"shape\":[-1,%zu]}],\"outputs\":[{\"name\":\"" INFER_OUTPUT
        "\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}]}",
        features);
}
