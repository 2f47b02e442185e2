/* Parsing of the Open Inference Protocol: see oip_parse.h. One pass over the JSON, a list of
 * elements being read as its shape says where the shape came before it, and once more where not. */
#include "gateway/oip_parse.h"

#include "base/memory.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const struct oip_datatype datatypes[] = {
    {"BOOL", 1, OIP_BOOL},
    {"UINT8", 1, OIP_NUMBER},
    {"UINT16", 2, OIP_NUMBER},
    {"UINT32", 4, OIP_NUMBER},
    {"UINT64", 8, OIP_NUMBER},
    {"INT8", 1, OIP_NUMBER},
    {"INT16", 2, OIP_NUMBER},
    {"INT32", 4, OIP_NUMBER},
    {"INT64", 8, OIP_NUMBER},
    {"FP16", 2, OIP_NUMBER},
    {"BF16", 2, OIP_NUMBER},
    {"FP32", 4, OIP_NUMBER},
    {"FP64", 8, OIP_NUMBER},
    {"BYTES", 0, OIP_STRING},
};

enum { ELEMENTS_MAX = 1 << 28, BYTES_PREFIX = 4, LENGTH_DIGITS_MAX = 18 };

/* What is under way. */
struct reading {
    struct oip_cursor cursor;
    struct oip_message *message;
    struct arena *arena; /* NULL: no rows are wanted */
    int64_t binary_left; /* behind the JSON */
    const char *binary;
};

bool oip_head_length(const char *value, int64_t *ret)
{
    if (!value) {
        *ret = OIP_NO_HEAD;
        return true;
    }
    struct oip_cursor cursor = {value, value + strnlen(value, LENGTH_DIGITS_MAX + 1)};
    int64_t length;
    if (*value < '0' || *value > '9' || !oip_take_whole(&cursor, &length) ||
        cursor.at != cursor.end)
        return false;
    *ret = length;
    return true;
}

/* ---- the parts of a tensor ------------------------------------------------------------------- */

static const struct oip_datatype *datatype_named(struct oip_span name)
{
    for (size_t i = 0; i < ARRAY_LEN(datatypes); i++) {
        if (oip_span_is(name, datatypes[i].name))
            return &datatypes[i];
    }
    return NULL;
}

static bool read_text(struct oip_cursor *cursor, struct oip_span *ret)
{
    enum oip_value value;
    return oip_skip(cursor, ret, &value) && value == OIP_STRING;
}

static struct oip_span unquoted(struct oip_span span)
{
    return (struct oip_span){span.text + 1, span.length - 2};
}

static bool read_shape(struct oip_cursor *cursor, struct oip_tensor *tensor)
{
    bool first = true;
    enum oip_step step;
    if (!oip_take(cursor, '['))
        return false;
    tensor->elements = 1;
    while ((step = oip_next(cursor, &first)) == OIP_ITEM) {
        int64_t size;
        if (tensor->dimensions == OIP_DIMENSIONS_MAX || !oip_take_whole(cursor, &size) ||
            size < 1 || size > ELEMENTS_MAX / tensor->elements)
            return false;
        tensor->shape[tensor->dimensions++] = size;
        tensor->elements *= size;
    }
    return step == OIP_END && tensor->dimensions > 0 && tensor->shape[0] <= OIP_ROWS_MAX;
}

/* The size, if the parameters give one; -1 if not. */
static bool read_binary_size(struct oip_span parameters, int64_t *ret)
{
    struct oip_cursor cursor = {parameters.text, parameters.text + parameters.length};
    struct oip_span name, other;
    enum oip_value value;
    bool first = true;
    *ret = -1;
    if (!oip_take(&cursor, '{'))
        return false;
    while (oip_next_member(&cursor, &first, &name) == OIP_ITEM) {
        bool is_size = oip_span_is(name, "binary_data_size");
        if (is_size ? *ret >= 0 || !oip_take_whole(&cursor, ret)
                    : !oip_skip(&cursor, &other, &value))
            return false;
    }
    return true;
}

/* ---- elements as JSON ------------------------------------------------------------------------ */

static void keep_row(struct oip_tensor *tensor, int64_t row, const char *begin, const char *end)
{
    if (tensor->rows)
        tensor->rows[row] = (struct oip_span){begin, (size_t)(end - begin)};
}

/* So many elements in one list, whose '[' was taken. */
static bool read_flat(struct oip_cursor *cursor, enum oip_value value, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if ((i > 0 && !oip_take(cursor, ',')) || !oip_skip_scalar(cursor, value))
            return false;
    }
    return true;
}

/* One value of the dimensions from `dimension` on. */
static bool read_nested(
    struct oip_cursor *cursor, const struct oip_tensor *tensor, size_t dimension)
{
    enum oip_value value = tensor->datatype->value;
    if (dimension == tensor->dimensions)
        return oip_skip_scalar(cursor, value);
    if (!oip_take(cursor, '['))
        return false;
    if (dimension + 1 == tensor->dimensions)
        return read_flat(cursor, value, tensor->shape[dimension]) && oip_take(cursor, ']');
    for (int64_t i = 0; i < tensor->shape[dimension]; i++) {
        if ((i > 0 && !oip_take(cursor, ',')) || !read_nested(cursor, tensor, dimension + 1))
            return false;
    }
    return oip_take(cursor, ']');
}

static bool read_row(struct oip_cursor *cursor, struct oip_tensor *tensor)
{
    if (tensor->nested)
        return read_nested(cursor, tensor, 1);
    return read_flat(cursor, tensor->datatype->value, tensor->elements / tensor->shape[0]);
}

/* tensor->data is the list with its brackets, of which nothing was checked but that it is JSON, or
 * not even that. Leaves what is between the brackets. */
static bool read_elements(struct oip_cursor *cursor, struct oip_tensor *tensor)
{
    if (!oip_take(cursor, '['))
        return false;
    oip_pass_space(cursor);
    tensor->nested = cursor->at < cursor->end && *cursor->at == '[';
    const char *begin = cursor->at;
    for (int64_t row = 0; row < tensor->shape[0]; row++) {
        if (row > 0 && !oip_take(cursor, ','))
            return false;
        oip_pass_space(cursor);
        const char *row_begin = cursor->at;
        if (!read_row(cursor, tensor))
            return false;
        keep_row(tensor, row, row_begin, cursor->at);
    }
    tensor->data = (struct oip_span){begin, (size_t)(cursor->at - begin)};
    return oip_take(cursor, ']');
}

/* ---- elements as bytes ----------------------------------------------------------------------- */

static uint32_t read_u32(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The bytes of the next `count` elements of BYTES, which are passed. */
static bool pass_bytes(const char **at, const char *end, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (end - *at < BYTES_PREFIX || end - *at - BYTES_PREFIX < (ptrdiff_t)read_u32(*at))
            return false;
        *at += BYTES_PREFIX + read_u32(*at);
    }
    return true;
}

static bool cut_binary(struct oip_tensor *tensor)
{
    const char *at = tensor->data.text, *end = at + tensor->data.length;
    int64_t row_elements = tensor->elements / tensor->shape[0];
    size_t width = tensor->datatype->bytes;
    if (width > 0 && (int64_t)tensor->data.length != tensor->elements * (int64_t)width)
        return false;
    if (width > 0 && !tensor->rows)
        return true;
    for (int64_t row = 0; row < tensor->shape[0]; row++) {
        const char *begin = at;
        if (width > 0)
            at += row_elements * (int64_t)width;
        else if (!pass_bytes(&at, end, row_elements))
            return false;
        keep_row(tensor, row, begin, at);
    }
    return at == end;
}

/* Binary tensors stand in the order of the tensors; data is the next of them. */
static bool take_binary(struct reading *reading, struct oip_tensor *tensor, int64_t size)
{
    if (tensor->data.text || size > reading->binary_left)
        return false;
    tensor->binary = true;
    tensor->data = (struct oip_span){reading->binary, (size_t)size};
    reading->binary += size;
    reading->binary_left -= size;
    return cut_binary(tensor);
}

/* ---- tensors --------------------------------------------------------------------------------- */

/* True for a member that may be there once and is here for the first time. */
static bool read_tensor_member(
    struct reading *reading, struct oip_tensor *tensor, struct oip_span name)
{
    struct oip_cursor *cursor = &reading->cursor;
    struct oip_span span;
    enum oip_value value;
    if (oip_span_is(name, "name") && !tensor->name.text) {
        bool good = read_text(cursor, &span);
        tensor->name = good ? unquoted(span) : tensor->name;
        return good;
    }
    if (oip_span_is(name, "datatype") && !tensor->datatype) {
        bool good = read_text(cursor, &span);
        tensor->datatype = good ? datatype_named(unquoted(span)) : NULL;
        return tensor->datatype != NULL;
    }
    if (oip_span_is(name, "shape") && tensor->dimensions == 0)
        return read_shape(cursor, tensor);
    if (oip_span_is(name, "parameters") && !tensor->parameters.text)
        return oip_skip(cursor, &tensor->parameters, &value) && value == OIP_MAP;
    if (!oip_span_is(name, "data") || tensor->data.text)
        return false;
    return oip_skip(cursor, &tensor->data, &value) && value == OIP_LIST;
}

/* The usual order has the elements last: then they are read once. */
static bool read_data_member(
    struct reading *reading, struct oip_tensor *tensor, struct oip_span name, bool *read)
{
    if (!oip_span_is(name, "data") || tensor->data.text || !tensor->datatype ||
        tensor->dimensions == 0)
        return read_tensor_member(reading, tensor, name);
    if (reading->arena)
        tensor->rows = arena_alloc(reading->arena, (size_t)tensor->shape[0], sizeof *tensor->rows);
    *read = true;
    return read_elements(&reading->cursor, tensor);
}

static const char *complete_tensor(struct reading *reading, struct oip_tensor *tensor, bool read)
{
    int64_t size = -1;
    if (!tensor->name.text || !tensor->datatype || tensor->dimensions == 0)
        return "a tensor without name, datatype or shape";
    if (tensor->parameters.text && !read_binary_size(tensor->parameters, &size))
        return "parameters of a tensor that cannot be read";
    if (read)
        return size < 0 ? NULL : "a tensor with both data and binary data";
    if (reading->arena)
        tensor->rows = arena_alloc(reading->arena, (size_t)tensor->shape[0], sizeof *tensor->rows);
    if (size >= 0)
        return take_binary(reading, tensor, size) ? NULL : "binary data that is not as its shape";
    if (!tensor->data.text)
        return "a tensor without data";
    struct oip_cursor list = {tensor->data.text, tensor->data.text + tensor->data.length};
    return read_elements(&list, tensor) ? NULL : "data is not as its shape";
}

static const char *read_tensor(struct reading *reading, struct oip_tensor *tensor)
{
    struct oip_span name;
    bool first = true, read = false;
    enum oip_step step;
    if (!oip_take(&reading->cursor, '{'))
        return "a tensor that is no object";
    while ((step = oip_next_member(&reading->cursor, &first, &name)) == OIP_ITEM) {
        if (!read_data_member(reading, tensor, name, &read))
            return "a member of a tensor that is unknown or wrong";
    }
    return step == OIP_END ? complete_tensor(reading, tensor, read) : "a tensor that is no JSON";
}

static const char *read_tensors(struct reading *reading)
{
    struct oip_message *message = reading->message;
    bool first = true;
    enum oip_step step;
    if (message->tensor_count > 0 || !oip_take(&reading->cursor, '['))
        return "tensors that are no list";
    while ((step = oip_next(&reading->cursor, &first)) == OIP_ITEM) {
        if (message->tensor_count == OIP_TENSORS_MAX)
            return "too many tensors";
        const char *fault = read_tensor(reading, &message->tensors[message->tensor_count]);
        if (fault)
            return fault;
        message->tensor_count++;
    }
    return step == OIP_END && message->tensor_count > 0 ? NULL : "no tensors";
}

/* ---- messages -------------------------------------------------------------------------------- */

/* A sequence has a state at one replica: its requests are in an order of their own. */
static bool is_of_sequence(struct oip_span parameters)
{
    struct oip_cursor cursor = {parameters.text, parameters.text + parameters.length};
    struct oip_span name, other;
    enum oip_value value;
    bool first = true;
    if (!oip_take(&cursor, '{'))
        return false;
    while (oip_next_member(&cursor, &first, &name) == OIP_ITEM) {
        if (name.length >= 9 && !memcmp(name.text, "sequence_", 9))
            return true;
        if (!oip_skip(&cursor, &other, &value))
            return true;
    }
    return false;
}

struct member {
    const char *name;
    size_t offset;
    enum oip_value value;
};

/* "inputs" of a request and "outputs" of an answer, which are the tensors, are not among these. */
static const struct member request_members[] = {
    {"id", offsetof(struct oip_message, id), OIP_STRING},
    {"parameters", offsetof(struct oip_message, parameters), OIP_MAP},
    {"outputs", offsetof(struct oip_message, asked), OIP_LIST},
};
static const struct member answer_members[] = {
    {"id", offsetof(struct oip_message, id), OIP_STRING},
    {"parameters", offsetof(struct oip_message, parameters), OIP_MAP},
    {"model_name", offsetof(struct oip_message, model_name), OIP_STRING},
    {"model_version", offsetof(struct oip_message, model_version), OIP_STRING},
};

static bool read_member(
    struct reading *reading, const struct member *members, size_t count, struct oip_span name)
{
    for (size_t i = 0; i < count; i++) {
        struct oip_span *place =
            (struct oip_span *)(void *)((char *)reading->message + members[i].offset);
        enum oip_value value;
        if (oip_span_is(name, members[i].name))
            return !place->text && oip_skip(&reading->cursor, place, &value) &&
                   value == members[i].value;
    }
    return false;
}

static const char *read_members(
    struct reading *reading, const struct member *members, size_t count, const char *tensors)
{
    struct oip_span name;
    bool first = true;
    enum oip_step step;
    if (!oip_take(&reading->cursor, '{'))
        return "no JSON object";
    while ((step = oip_next_member(&reading->cursor, &first, &name)) == OIP_ITEM) {
        const char *fault = NULL;
        if (oip_span_is(name, tensors))
            fault = read_tensors(reading);
        else if (!read_member(reading, members, count, name))
            fault = "a member that is unknown or wrong";
        if (fault)
            return fault;
    }
    return step == OIP_END && oip_at_end(&reading->cursor) ? NULL : "no JSON object";
}

static const char *check_rows(struct oip_message *message)
{
    if (message->tensor_count == 0)
        return "no tensors";
    message->rows = message->tensors[0].shape[0];
    for (size_t i = 1; i < message->tensor_count; i++) {
        if (message->tensors[i].shape[0] != message->rows)
            return "tensors of different first dimensions";
    }
    return NULL;
}

static bool begin(struct reading *reading, const char *body, size_t length, int64_t head_length)
{
    if (head_length != OIP_NO_HEAD && (head_length <= 0 || (uint64_t)head_length > length))
        return false;
    size_t head = head_length == OIP_NO_HEAD ? length : (size_t)head_length;
    reading->cursor = (struct oip_cursor){body, body + head};
    reading->binary = body + head;
    reading->binary_left = (int64_t)(length - head);
    memset(reading->message, 0, sizeof *reading->message);
    return true;
}

const char *oip_parse_request(
    const char *body, size_t length, int64_t head_length, struct oip_message *ret)
{
    struct reading reading = {.message = ret};
    if (!begin(&reading, body, length, head_length))
        return "the length of the JSON is not one within the body";
    const char *fault =
        read_members(&reading, request_members, ARRAY_LEN(request_members), "inputs");
    if (!fault && reading.binary_left > 0)
        fault = "bytes that no tensor has";
    if (!fault && ret->parameters.text && is_of_sequence(ret->parameters))
        fault = "a request of a sequence";
    return fault ? fault : check_rows(ret);
}

const char *oip_parse_answer(struct arena *arena, const char *body, size_t length,
    int64_t head_length, int64_t rows, struct oip_message *ret)
{
    struct reading reading = {.message = ret, .arena = arena};
    assert(rows > 0);
    if (!begin(&reading, body, length, head_length))
        return "the length of the JSON is not one within the body";
    const char *fault =
        read_members(&reading, answer_members, ARRAY_LEN(answer_members), "outputs");
    if (!fault && reading.binary_left > 0)
        fault = "bytes that no tensor has";
    if (!fault)
        fault = check_rows(ret);
    return fault || ret->rows == rows ? fault : "another number of rows than was asked for";
}
