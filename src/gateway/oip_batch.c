/* Merging and splitting: see oip_batch.h. */
#include "gateway/oip_batch.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>

static void put(struct strbuf *out, struct oip_span span)
{
    strbuf_append(out, span.text, span.length);
}

/* `,"name":value` of a member that is there. */
static void put_member(struct strbuf *out, const char *name, struct oip_span value)
{
    if (!value.text)
        return;
    strbuf_puts(out, name);
    put(out, value);
}

/* The members of a tensor's parameters but for the size, each with a comma after it. */
static void put_parameters(struct strbuf *out, struct oip_span parameters)
{
    struct oip_cursor cursor;
    struct oip_span name, span;
    enum oip_value value;
    bool first = true;
    if (!parameters.text)
        return;
    cursor = (struct oip_cursor){parameters.text, parameters.text + parameters.length};
    if (!oip_take(&cursor, '{'))
        return;
    while (
        oip_next_member(&cursor, &first, &name) == OIP_ITEM && oip_skip(&cursor, &span, &value)) {
        if (oip_span_is(name, "binary_data_size"))
            continue;
        strbuf_putc(out, '"');
        put(out, name);
        strbuf_puts(out, "\":");
        put(out, span);
        strbuf_putc(out, ',');
    }
}

/* ---- the key --------------------------------------------------------------------------------- */

/* No two parts run into each other: none of them holds the byte that ends each. */
static void end_part(struct strbuf *out)
{
    strbuf_putc(out, '\n');
    strbuf_putc(out, '\0');
}

static void put_tensor_key(const struct oip_tensor *tensor, struct strbuf *out)
{
    put(out, tensor->name);
    strbuf_putc(out, '"');
    strbuf_puts(out, tensor->datatype->name);
    strbuf_putc(out, tensor->binary ? 'b' : tensor->nested ? 'n' : 'f');
    for (size_t i = 1; i < tensor->dimensions; i++) {
        strbuf_putc(out, ',');
        strbuf_int(out, tensor->shape[i]);
    }
    put_parameters(out, tensor->parameters);
    end_part(out);
}

void oip_batch_key(const struct oip_message *request, struct strbuf *out)
{
    for (size_t i = 0; i < request->tensor_count; i++)
        put_tensor_key(&request->tensors[i], out);
    end_part(out);
    put_member(out, "p", request->parameters);
    end_part(out);
    put_member(out, "o", request->asked);
}

/* ---- writing tensors ------------------------------------------------------------------------- */

/* Up to and without what the elements are. */
static void put_tensor_head(struct strbuf *out, const struct oip_tensor *tensor, int64_t rows)
{
    strbuf_puts(out, "{\"name\":\"");
    put(out, tensor->name);
    strbuf_puts(out, "\",\"datatype\":\"");
    strbuf_puts(out, tensor->datatype->name);
    strbuf_puts(out, "\",\"shape\":[");
    strbuf_int(out, rows);
    for (size_t i = 1; i < tensor->dimensions; i++) {
        strbuf_putc(out, ',');
        strbuf_int(out, tensor->shape[i]);
    }
    strbuf_putc(out, ']');
}

static void put_binary_parameters(struct strbuf *out, const struct oip_tensor *tensor, size_t size)
{
    strbuf_puts(out, ",\"parameters\":{");
    put_parameters(out, tensor->parameters);
    strbuf_puts(out, "\"binary_data_size\":");
    strbuf_int(out, (int64_t)size);
    strbuf_puts(out, "}}");
}

static void put_json_parameters(struct strbuf *out, const struct oip_tensor *tensor)
{
    put_member(out, ",\"parameters\":", tensor->parameters);
    strbuf_puts(out, ",\"data\":[");
}

/* The length of the JSON that began at `begin`, OIP_NO_HEAD when nothing comes behind it. */
static int64_t head_of(const struct strbuf *out, size_t begin, const struct oip_message *message)
{
    for (size_t i = 0; i < message->tensor_count; i++) {
        if (message->tensors[i].binary)
            return (int64_t)(out->length - begin);
    }
    return OIP_NO_HEAD;
}

/* ---- merging --------------------------------------------------------------------------------- */

static void put_merged_tensor(const struct oip_message *const *requests, size_t count, size_t index,
    int64_t rows, struct strbuf *out)
{
    const struct oip_tensor *tensor = &requests[0]->tensors[index];
    size_t size = 0;
    put_tensor_head(out, tensor, rows);
    if (tensor->binary) {
        for (size_t i = 0; i < count; i++)
            size += requests[i]->tensors[index].data.length;
        put_binary_parameters(out, tensor, size);
        return;
    }
    put_json_parameters(out, tensor);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            strbuf_putc(out, ',');
        put(out, requests[i]->tensors[index].data);
    }
    strbuf_puts(out, "]}");
}

int64_t oip_batch_merge(const struct oip_message *const *requests, size_t count, struct strbuf *out)
{
    const struct oip_message *model = requests[0];
    size_t begin = out->length;
    int64_t rows = 0;
    assert(count > 0);
    for (size_t i = 0; i < count; i++)
        rows += requests[i]->rows;
    strbuf_puts(out, "{\"inputs\":[");
    for (size_t i = 0; i < model->tensor_count; i++) {
        if (i > 0)
            strbuf_putc(out, ',');
        put_merged_tensor(requests, count, i, rows, out);
    }
    strbuf_putc(out, ']');
    put_member(out, ",\"outputs\":", model->asked);
    put_member(out, ",\"parameters\":", model->parameters);
    strbuf_putc(out, '}');
    int64_t head = head_of(out, begin, model);
    for (size_t tensor = 0; tensor < model->tensor_count; tensor++) {
        for (size_t i = 0; model->tensors[tensor].binary && i < count; i++)
            put(out, requests[i]->tensors[tensor].data);
    }
    return head;
}

/* ---- splitting ------------------------------------------------------------------------------- */

static struct oip_span rows_of(const struct oip_tensor *tensor, int64_t first, int64_t rows)
{
    const struct oip_span *last = &tensor->rows[first + rows - 1];
    const char *begin = tensor->rows[first].text;
    return (struct oip_span){begin, (size_t)(last->text + last->length - begin)};
}

static void put_part_tensor(
    const struct oip_tensor *tensor, int64_t first, int64_t rows, struct strbuf *out)
{
    struct oip_span data = rows_of(tensor, first, rows);
    put_tensor_head(out, tensor, rows);
    if (tensor->binary) {
        put_binary_parameters(out, tensor, data.length);
        return;
    }
    put_json_parameters(out, tensor);
    put(out, data);
    strbuf_puts(out, "]}");
}

int64_t oip_batch_part(const struct oip_message *answer, int64_t first, int64_t rows,
    struct oip_span id, struct strbuf *out)
{
    size_t begin = out->length;
    assert(rows > 0 && first >= 0 && first + rows <= answer->rows);
    strbuf_puts(out, "{\"outputs\":[");
    for (size_t i = 0; i < answer->tensor_count; i++) {
        if (i > 0)
            strbuf_putc(out, ',');
        put_part_tensor(&answer->tensors[i], first, rows, out);
    }
    strbuf_putc(out, ']');
    put_member(out, ",\"model_name\":", answer->model_name);
    put_member(out, ",\"model_version\":", answer->model_version);
    put_member(out, ",\"id\":", id);
    put_member(out, ",\"parameters\":", answer->parameters);
    strbuf_putc(out, '}');
    int64_t head = head_of(out, begin, answer);
    for (size_t i = 0; i < answer->tensor_count; i++) {
        if (answer->tensors[i].binary)
            put(out, rows_of(&answer->tensors[i], first, rows));
    }
    return head;
}
