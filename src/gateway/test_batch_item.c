/* Tests of putting requests together and taking answers apart: a model that answers any batch,
 * asked for all at once and for each alone, has to give the same. It reads requests with a parser
 * of its own. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "gateway/batch_item.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUESTS_MAX = 12, BODY_MAX = 1 << 20, SEEDS = 400 };

/* ---- a model --------------------------------------------------------------------------------- */

struct model_input {
    const struct doc *tensor;
    const char *bytes; /* binary elements */
    int64_t size;
};

static int64_t rows_of_doc(const struct doc *tensor)
{
    int64_t rows;
    assert_true(doc_as_int(doc_get(tensor, "shape")->first, &rows));
    return rows;
}

static int64_t elements_of_doc(const struct doc *tensor)
{
    int64_t elements = 1;
    for (const struct doc *n = doc_get(tensor, "shape")->first; n; n = n->next) {
        int64_t size;
        assert_true(doc_as_int(n, &size));
        elements *= size;
    }
    return elements;
}

static void put_scalar(const struct doc *value, struct strbuf *out)
{
    if (value->type == DOC_STRING)
        strbuf_json(out, value->text);
    else if (value->type == DOC_BOOL)
        strbuf_puts(out, value->boolean ? "true" : "false");
    else
        strbuf_puts(out, value->text);
}

/* The scalars of a list, whatever its depth. */
static void flatten(const struct doc *value, const struct doc **flat, size_t *count)
{
    if (value->type != DOC_LIST) {
        flat[(*count)++] = value;
        return;
    }
    for (const struct doc *item = value->first; item; item = item->next)
        flatten(item, flat, count);
}

/* Each row's elements turned by one: what comes from another row would be seen. */
static void turn_json(const struct doc *tensor, bool nested, struct strbuf *out)
{
    int64_t rows = rows_of_doc(tensor), elements = elements_of_doc(tensor), width = elements / rows;
    SCOPED(mem_scope) const struct doc **flat = mem_alloc((size_t)elements, sizeof *flat);
    size_t count = 0;
    flatten(doc_get(tensor, "data"), flat, &count);
    assert_int_equal(count, elements);
    strbuf_puts(out, ",\"data\":[");
    for (int64_t i = 0; i < elements; i++) {
        strbuf_puts(out, i > 0 ? ", " : "");
        strbuf_puts(out, nested && i % width == 0 ? "[" : "");
        put_scalar(flat[i / width * width + (i + 1) % width], out);
        strbuf_puts(out, nested && i % width == width - 1 ? "]" : "");
    }
    strbuf_putc(out, ']');
}

static size_t element_size(const struct doc *tensor, const char *at)
{
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {{"INT8", 1}, {"FP32", 4}, {"INT64", 8}, {"BOOL", 1}};
    uint32_t length;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        if (!strcmp(sizes[i].name, doc_get_string(tensor, "datatype")))
            return sizes[i].bytes;
    }
    memcpy(&length, at, 4);
    return 4 + length;
}

static void turn_binary(const struct model_input *input, struct strbuf *out)
{
    int64_t rows = rows_of_doc(input->tensor);
    int64_t width = elements_of_doc(input->tensor) / rows;
    const char *at = input->bytes;
    for (int64_t row = 0; row < rows; row++) {
        const char *begin = at;
        size_t first = element_size(input->tensor, at);
        for (int64_t i = 0; i < width; i++)
            at += element_size(input->tensor, at);
        strbuf_append(out, begin + first, (size_t)(at - begin) - first);
        strbuf_append(out, begin, first);
    }
    assert_int_equal(at - input->bytes, input->size);
}

static void put_shape(const struct doc *tensor, bool nested, struct strbuf *out)
{
    int64_t rows = rows_of_doc(tensor), elements = elements_of_doc(tensor);
    strbuf_printf(out, ",\"shape\":[%lld", (long long)rows);
    if (nested || elements / rows > 1)
        strbuf_printf(out, ",%lld", (long long)(elements / rows));
    strbuf_putc(out, ']');
}

static bool asks_nested(const struct doc *request)
{
    const struct doc *parameters = doc_get(request, "parameters");
    return parameters && doc_get_bool(parameters, "nested", false);
}

/* Where the elements of each input are. */
static size_t read_inputs(
    const struct doc *request, const char *binary, struct model_input inputs[OIP_TENSORS_MAX])
{
    size_t count = 0;
    for (const struct doc *t = doc_get(request, "inputs")->first; t; t = t->next) {
        const struct doc *parameters = doc_get(t, "parameters");
        int64_t size = parameters ? doc_get_int(parameters, "binary_data_size", -1) : -1;
        inputs[count++] = (struct model_input){t, size >= 0 ? binary : NULL, size};
        binary += size >= 0 ? size : 0;
    }
    return count;
}

static struct batch_body model_oip(const struct batch_body *body)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct batch_body answer = {.head_length = OIP_NO_HEAD};
    struct model_input inputs[OIP_TENSORS_MAX];
    struct strbuf *out = &answer.bytes, binary = {0};
    size_t head = body->head_length >= 0 ? (size_t)body->head_length : body->bytes.length;
    struct error err;
    const struct doc *request =
        doc_parse_json_bounded(arena, body->bytes.text, head, BODY_MAX, 1 << 20, &err);
    if (!request)
        fail_msg("%s: %s", err.text, body->bytes.text);
    size_t count = read_inputs(request, body->bytes.text + head, inputs);
    bool nested = asks_nested(request);
    strbuf_puts(out, "{\"model_name\": \"m\\u00e9\",\"model_version\":\"3\",\"outputs\" : [");
    for (size_t i = 0; i < count; i++) {
        strbuf_printf(out, "%s{\"name\":\"out-%zu\",\"datatype\":\"%s\"", i ? "," : "", i,
            doc_get_string(inputs[i].tensor, "datatype"));
        put_shape(inputs[i].tensor, nested, out);
        if (inputs[i].bytes) {
            turn_binary(&inputs[i], &binary);
            strbuf_printf(out, ",\"parameters\":{\"binary_data_size\":%lld,\"kind\":\"x\"}",
                (long long)inputs[i].size);
        } else {
            turn_json(inputs[i].tensor, nested, out);
        }
        strbuf_putc(out, '}');
    }
    strbuf_puts(out, "]");
    const char *id = doc_get_string(request, "id");
    if (id) {
        strbuf_puts(out, ",\"id\":");
        strbuf_json(out, id);
    }
    strbuf_puts(out, "} ");
    if (binary.length > 0) {
        answer.head_length = (int64_t)out->length;
        strbuf_append(out, binary.text, binary.length);
    }
    strbuf_finish(&binary);
    return answer;
}

/* ---- random requests ------------------------------------------------------------------------- */

struct plan_tensor {
    const char *datatype;
    bool binary, nested, late; /* late: the elements stand before the shape */
    int64_t width[2];
    size_t dimensions;
};

struct plan {
    struct plan_tensor tensors[4];
    size_t count;
    bool parameters, asked;
};

static void draw_plan(struct prng *prng, struct plan *plan)
{
    static const char *const datatypes[] = {"INT8", "FP32", "INT64", "BOOL", "BYTES"};
    plan->count = 1 + prng_below(prng, 4);
    plan->parameters = prng_below(prng, 2);
    plan->asked = prng_below(prng, 2);
    for (size_t i = 0; i < plan->count; i++) {
        struct plan_tensor *tensor = &plan->tensors[i];
        tensor->datatype = datatypes[prng_below(prng, ARRAY_LEN(datatypes))];
        tensor->binary = prng_below(prng, 2);
        tensor->dimensions = prng_below(prng, 3);
        tensor->nested = tensor->dimensions > 0 && prng_below(prng, 2);
        tensor->late = prng_below(prng, 4) == 0;
        for (size_t d = 0; d < 2; d++)
            tensor->width[d] = d < tensor->dimensions ? 1 + (int64_t)prng_below(prng, 4) : 1;
    }
}

static void space(struct prng *prng, struct strbuf *out)
{
    static const char *const spaces[] = {"", "", "", " ", "\n\t", " \r\n"};
    strbuf_puts(out, spaces[prng_below(prng, ARRAY_LEN(spaces))]);
}

static void draw_scalar(struct prng *prng, const char *datatype, struct strbuf *out)
{
    static const char *const texts[] = {
        "\"\"", "\"a]b,\"", "\"\\u00e9\\\"}\"", "\"\xc3\xa9\"", "\"[1\"", "\"\\\\\""};
    if (!strcmp(datatype, "BYTES"))
        strbuf_puts(out, texts[prng_below(prng, ARRAY_LEN(texts))]);
    else if (!strcmp(datatype, "BOOL"))
        strbuf_puts(out, prng_below(prng, 2) ? "true" : "false");
    else if (!strcmp(datatype, "FP32"))
        strbuf_printf(out, "%s%llu.%03llue-%llu", prng_below(prng, 2) ? "-" : "",
            (unsigned long long)prng_below(prng, 100), (unsigned long long)prng_below(prng, 1000),
            (unsigned long long)prng_below(prng, 9));
    else
        strbuf_printf(out, "%lld", (long long)prng_below(prng, 256) - 128);
}

static void draw_list(
    struct prng *prng, const struct plan_tensor *tensor, size_t level, struct strbuf *out)
{
    if (level == tensor->dimensions) {
        draw_scalar(prng, tensor->datatype, out);
        return;
    }
    int64_t count = tensor->width[level];
    strbuf_putc(out, '[');
    for (int64_t i = 0; i < count; i++) {
        strbuf_puts(out, i > 0 ? "," : "");
        space(prng, out);
        draw_list(prng, tensor, level + 1, out);
        space(prng, out);
    }
    strbuf_putc(out, ']');
}

static void draw_data(
    struct prng *prng, const struct plan_tensor *tensor, int64_t rows, struct strbuf *out)
{
    int64_t width = tensor->nested ? 1 : tensor->width[0] * tensor->width[1];
    strbuf_puts(out, ",\"data\":");
    space(prng, out);
    strbuf_putc(out, '[');
    for (int64_t i = 0; i < rows * width; i++) {
        strbuf_puts(out, i > 0 ? "," : "");
        space(prng, out);
        draw_list(prng, tensor, tensor->nested ? 0 : tensor->dimensions, out);
        space(prng, out);
    }
    strbuf_putc(out, ']');
}

static void draw_bytes(
    struct prng *prng, const struct plan_tensor *tensor, int64_t rows, struct strbuf *out)
{
    int64_t elements = rows * tensor->width[0] * tensor->width[1];
    for (int64_t i = 0; i < elements; i++) {
        size_t size = !strcmp(tensor->datatype, "FP32")    ? 4
                      : !strcmp(tensor->datatype, "INT64") ? 8
                                                           : 1;
        if (!strcmp(tensor->datatype, "BYTES")) {
            uint32_t length = (uint32_t)prng_below(prng, 300);
            strbuf_append(out, &length, 4);
            size = length;
        }
        for (size_t b = 0; b < size; b++)
            strbuf_putc(out, (char)prng_below(prng, 256));
    }
}

static void draw_tensor(struct prng *prng, const struct plan_tensor *tensor, size_t number,
    int64_t rows, struct strbuf *out, struct strbuf *binary)
{
    size_t before = binary->length;
    strbuf_printf(out, "{\"name\":\"in-%zu\"", number);
    if (!tensor->binary && tensor->late)
        draw_data(prng, tensor, rows, out);
    strbuf_printf(out, ",\"shape\":[%lld", (long long)rows);
    for (size_t d = 0; d < tensor->dimensions; d++)
        strbuf_printf(out, ", %lld", (long long)tensor->width[d]);
    strbuf_printf(out, "], \"datatype\" : \"%s\"", tensor->datatype);
    if (tensor->binary) {
        draw_bytes(prng, tensor, rows, binary);
        strbuf_printf(out, ",\"parameters\":{\"content\":\"np\",\"binary_data_size\": %zu}",
            binary->length - before);
    } else if (!tensor->late) {
        draw_data(prng, tensor, rows, out);
    }
    strbuf_putc(out, '}');
}

static void draw_oip(struct prng *prng, const struct plan *plan, int number, struct batch_body *ret)
{
    struct strbuf *out = &ret->bytes, binary = {0};
    int64_t rows = 1 + (int64_t)prng_below(prng, 5);
    ret->head_length = OIP_NO_HEAD;
    space(prng, out);
    strbuf_putc(out, '{');
    if (prng_below(prng, 2))
        strbuf_printf(out, "\"id\": \"r\\u00e9-%d\",", number);
    if (plan->parameters)
        strbuf_puts(out, "\"parameters\":{\"nested\":true,\"t\":[0.5]},");
    if (plan->asked)
        strbuf_puts(out, "\"outputs\":[{\"name\":\"out-0\"}],");
    strbuf_puts(out, "\"inputs\":[");
    for (size_t i = 0; i < plan->count; i++) {
        strbuf_puts(out, i > 0 ? "," : "");
        draw_tensor(prng, &plan->tensors[i], i, rows, out, &binary);
    }
    strbuf_puts(out, "] }");
    space(prng, out);
    if (binary.length > 0) {
        ret->head_length = (int64_t)out->length;
        strbuf_append(out, binary.text, binary.length);
    }
    strbuf_finish(&binary);
}

/* ---- the same alone and together ------------------------------------------------------------- */

static bool docs_equal(const struct doc *a, const struct doc *b)
{
    if (a->type != b->type || a->count != b->count)
        return false;
    if (a->type == DOC_BOOL)
        return a->boolean == b->boolean;
    if (a->type == DOC_NUMBER || a->type == DOC_STRING)
        return a->length == b->length && !memcmp(a->text, b->text, a->length);
    const struct doc *other = b->first;
    for (const struct doc *item = a->first; item; item = item->next) {
        const struct doc *same = a->type == DOC_MAP ? doc_get(b, item->key) : other;
        if (!same || !docs_equal(item, same))
            return false;
        other = other->next;
    }
    return true;
}

static void assert_bodies_equal(const struct batch_body *a, const struct batch_body *b)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    size_t head_a = a->head_length >= 0 ? (size_t)a->head_length : a->bytes.length;
    size_t head_b = b->head_length >= 0 ? (size_t)b->head_length : b->bytes.length;
    struct error err;
    const struct doc *doc_a =
        doc_parse_json_bounded(arena, a->bytes.text, head_a, BODY_MAX, 1 << 20, &err);
    const struct doc *doc_b =
        doc_parse_json_bounded(arena, b->bytes.text, head_b, BODY_MAX, 1 << 20, &err);
    if (!doc_a || !doc_b || !docs_equal(doc_a, doc_b))
        fail_msg("%s: %s\n%s", doc_a && doc_b ? "differ" : err.text, a->bytes.text, b->bytes.text);
    assert_int_equal(a->bytes.length - head_a, b->bytes.length - head_b);
    assert_memory_equal(a->bytes.text + head_a, b->bytes.text + head_b, a->bytes.length - head_a);
}

typedef struct batch_body model_fn(const struct batch_body *body);

static void assert_same(
    struct batch_body *bodies, size_t count, enum batch_form form, model_fn *model)
{
    SCOPED(mem_scope) struct batch_item *items = mem_alloc(count, sizeof *items);
    const struct batch_item *order[REQUESTS_MAX];
    struct strbuf key = {0}, other = {0};
    struct batch_body merged = {0}, parts[REQUESTS_MAX] = {0};
    for (size_t i = 0; i < count; i++) {
        const char *fault = batch_item_parse(
            form, bodies[i].bytes.text, bodies[i].bytes.length, bodies[i].head_length, &items[i]);
        if (fault)
            fail_msg("%s: %s", fault, bodies[i].bytes.text);
        order[i] = &items[i];
        strbuf_clear(&other);
        batch_item_key(&items[i], i ? &other : &key);
        if (i > 0)
            assert_memory_equal(key.text, other.text, key.length);
    }
    batch_merge(order, count, &merged);
    struct batch_body answer = model(&merged);
    const char *fault = batch_split(
        order, count, answer.bytes.text, answer.bytes.length, answer.head_length, parts);
    if (fault)
        fail_msg("%s: %s", fault, answer.bytes.text);
    for (size_t i = 0; i < count; i++) {
        struct batch_body alone = model(&bodies[i]);
        assert_bodies_equal(&alone, &parts[i]);
        batch_body_finish(&alone);
        batch_body_finish(&parts[i]);
    }
    batch_body_finish(&answer);
    batch_body_finish(&merged);
    strbuf_finish(&key);
    strbuf_finish(&other);
}

static void test_tensors_together_are_as_alone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct prng prng = {seed};
        struct plan plan;
        struct batch_body bodies[REQUESTS_MAX] = {0};
        size_t count = 1 + prng_below(&prng, REQUESTS_MAX);
        draw_plan(&prng, &plan);
        for (size_t i = 0; i < count; i++)
            draw_oip(&prng, &plan, (int)i, &bodies[i]);
        assert_same(bodies, count, BATCH_OIP, model_oip);
        for (size_t i = 0; i < count; i++)
            batch_body_finish(&bodies[i]);
    }
}

/* ---- embeddings ------------------------------------------------------------------------------ */

/* An embedding is what was sent; of lists of tokens their number. Items come last first. */
static struct batch_body model_embed(const struct batch_body *body)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct batch_body answer = {.head_length = OIP_NO_HEAD};
    const struct doc *items[256];
    struct error err;
    const struct doc *request = doc_parse_json_bounded(
        arena, body->bytes.text, body->bytes.length, BODY_MAX, 1 << 20, &err);
    assert_non_null(request);
    const struct doc *input = doc_get(request, "input");
    bool one = input->type == DOC_STRING || input->first->type == DOC_NUMBER;
    size_t count = 0, tokens = 0;
    for (const struct doc *item = one ? input : input->first; item;
         item = one ? NULL : item->next) {
        tokens += item->type == DOC_LIST ? item->count : 0;
        items[count++] = item;
    }
    struct strbuf *out = &answer.bytes;
    strbuf_puts(out, "{\"object\":\"list\",\"model\":");
    strbuf_json(out, doc_get_string(request, "model"));
    strbuf_puts(out, ",\"data\":[");
    for (size_t i = count; i-- > 0;) {
        strbuf_printf(out, "{\"index\":%zu,\"object\":\"embedding\",\"embedding\":[", i);
        if (items[i]->type == DOC_STRING)
            strbuf_json(out, items[i]->text);
        else
            strbuf_printf(out, "%zu", items[i]->count);
        strbuf_puts(out, i > 0 ? "]}," : "]}");
    }
    strbuf_printf(out, "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu,\"other\":null}}",
        tokens, tokens);
    return answer;
}

static void draw_tokens(struct prng *prng, struct strbuf *out)
{
    size_t count = 1 + prng_below(prng, 9);
    strbuf_putc(out, '[');
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%d", i ? " ," : "", (int)prng_below(prng, 1000));
    strbuf_putc(out, ']');
}

static void draw_embed(struct prng *prng, bool tokens, struct batch_body *ret)
{
    struct strbuf *out = &ret->bytes;
    size_t count = prng_below(prng, 4);
    ret->head_length = OIP_NO_HEAD;
    strbuf_puts(out, "{ \"input\": ");
    strbuf_puts(out, count ? "[" : "");
    for (size_t i = 0; i < (count ? count : 1); i++) {
        strbuf_puts(out, i ? ", " : "");
        if (tokens)
            draw_tokens(prng, out);
        else
            draw_scalar(prng, "BYTES", out);
    }
    strbuf_puts(out, count ? "]" : "");
    strbuf_puts(out, ",\"model\":\"embed\", \"dimensions\":8}");
}

/* The model sends items last first, a part sends them in order: compared as sets of members. */
static struct batch_body model_embed_sorted(const struct batch_body *body)
{
    struct batch_body answer = model_embed(body), sorted = {0};
    struct batch_item item;
    assert_null(batch_item_parse(
        BATCH_EMBEDDINGS, body->bytes.text, body->bytes.length, OIP_NO_HEAD, &item));
    const struct batch_item *one = &item;
    assert_null(batch_split(&one, 1, answer.bytes.text, answer.bytes.length, OIP_NO_HEAD, &sorted));
    batch_body_finish(&answer);
    return sorted;
}

static void test_embeddings_together_are_as_alone(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct prng prng = {seed};
        struct batch_body bodies[REQUESTS_MAX] = {0};
        size_t count = 1 + prng_below(&prng, REQUESTS_MAX);
        bool tokens = seed % 2;
        for (size_t i = 0; i < count; i++)
            draw_embed(&prng, tokens, &bodies[i]);
        assert_same(bodies, count, BATCH_EMBEDDINGS, model_embed_sorted);
        for (size_t i = 0; i < count; i++)
            batch_body_finish(&bodies[i]);
    }
}

static void test_the_tokens_of_texts_add_up(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"input\":\"a\"}", "{\"input\":\"abcdefgh\"}", "{\"input\":[\"x\",\"yyyy\"]}"};
    struct batch_item items[3];
    const struct batch_item *order[3];
    struct batch_body parts[3] = {0};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err;
    static const char answer[] = "{\"data\":[{\"index\":0,\"e\":1},{\"index\":1},{\"index\":2},"
                                 "{\"index\":3}],\"usage\":{\"prompt_tokens\":17,"
                                 "\"total_tokens\":17}}";
    int64_t sum = 0, before = 0;
    for (size_t i = 0; i < 3; i++) {
        assert_null(
            batch_item_parse(BATCH_EMBEDDINGS, texts[i], strlen(texts[i]), OIP_NO_HEAD, &items[i]));
        order[i] = &items[i];
    }
    assert_null(batch_split(order, 3, answer, sizeof answer - 1, OIP_NO_HEAD, parts));
    for (size_t i = 0; i < 3; i++) {
        const struct doc *part =
            doc_parse_json(arena, parts[i].bytes.text, parts[i].bytes.length, BODY_MAX, &err);
        int64_t tokens = doc_get_int(doc_get(part, "usage"), "prompt_tokens", -1);
        assert_int_equal(tokens, doc_get_int(doc_get(part, "usage"), "total_tokens", -2));
        assert_true(i == 2 || tokens > before);
        before = tokens;
        sum += tokens;
        batch_body_finish(&parts[i]);
    }
    assert_int_equal(sum, 17);
}

/* ---- what cannot be ---------------------------------------------------------------------------
 */

#define X(rest) "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\"," rest
static void test_what_is_no_batchable_request_is_a_fault(void **state)
{
    (void)state;
    static const char *const cases[] = {"", "{", "[]", "{}", "{\"inputs\":[]}", "null",
        X("\"shape\":[1]}]}"), X("\"shape\":[2],\"data\":[1]}]}"),
        X("\"shape\":[1],\"data\":[1,2]}]}"), X("\"shape\":[0],\"data\":[]}]}"),
        X("\"shape\":[],\"data\":[1]}]}"), X("\"shape\":[-1],\"data\":[1]}]}"),
        X("\"shape\":[1],\"data\":[\"1\"]}]}"), X("\"shape\":[1],\"data\":[01]}]}"),
        X("\"shape\":[1],\"data\":[NaN]}]}"), X("\"shape\":[1],\"data\":[1,]}]}"),
        X("\"shape\":[1],\"data\":[1]}],}"), X("\"shape\":[1],\"data\":[1]}]} x"),
        X("\"shape\":[2,2],\"data\":[[1,2],[3]]}]}"),
        X("\"shape\":[2,2],\"data\":[[1,2,3],[4]]}]}"),
        X("\"shape\":[2,2],\"data\":[[1,2],3,4]}]}"), X("\"shape\":[1.0],\"data\":[1]}]}"),
        X("\"shape\":[1],\"shape\":[1],\"data\":[1]}]}"),
        X("\"shape\":[99999999999],\"data\":[1]}]}"), X("\"shape\":[70000,1],\"data\":[1]}]}"),
        X("\"shape\":[9,99999999,99999999],\"data\":[1]}]}"),
        X("\"shape\":[1],\"data\":[1],\"other\":1}]}"),
        X("\"shape\":[1],\"data\":[1]}],\"other\":1}"), X("\"shape\":[1],\"data\":[1]}],\"id\":7}"),
        X("\"shape\":[1],\"data\":[1]}],\"parameters\":{\"sequence_id\":7}}"),
        X("\"shape\":[1],\"data\":[1]},{\"name\":\"y\",\"datatype\":\"BOOL\",\"shape\":[2],"
          "\"data\":[true,false]}]}"),
        X("\"shape\":[1],\"parameters\":{\"binary_data_size\":4}}]}"),
        "{\"inputs\":[{\"na\\u006de\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"\\ud800\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"\xff\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP8\",\"shape\":[1],\"data\":[1]}]}"};
    struct batch_item item;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!batch_item_parse(BATCH_OIP, cases[i], strlen(cases[i]), OIP_NO_HEAD, &item))
            fail_msg("taken: %s", cases[i]);
    }
    static const char good[] = X("\"shape\":[1],\"data\":[1]}]}");
    assert_null(batch_item_parse(BATCH_OIP, good, sizeof good - 1, OIP_NO_HEAD, &item));
    assert_non_null(batch_item_parse(BATCH_OIP, good, sizeof good - 1, 0, &item));
    assert_non_null(batch_item_parse(BATCH_OIP, good, sizeof good - 1, 10, &item));
    assert_non_null(batch_item_parse(BATCH_OIP, good, sizeof good - 1, 1000, &item));
    static const char *const embeds[] = {"{}", "{\"input\":[]}", "{\"input\":7}",
        "{\"input\":[\"a\",1]}", "{\"input\":[[1],\"a\"]}", "{\"input\":[[]]}",
        "{\"input\":[[\"a\"]]}", "{\"input\":\"a\",\"input\":\"b\"}", "{\"input\":\"a\"}}"};
    for (size_t i = 0; i < ARRAY_LEN(embeds); i++) {
        if (!batch_item_parse(BATCH_EMBEDDINGS, embeds[i], strlen(embeds[i]), OIP_NO_HEAD, &item))
            fail_msg("taken: %s", embeds[i]);
    }
}

static void test_what_differs_has_another_key(void **state)
{
    (void)state;
    static const char *const cases[] = {
        X("\"shape\":[1],\"data\":[1]}]}"),
        X("\"shape\":[1,1],\"data\":[1]}]}"),
        X("\"shape\":[1,1],\"data\":[[1]]}]}"),
        X("\"shape\":[1,2],\"data\":[1,2]}]}"),
        X("\"shape\":[1],\"data\":[1]}],\"parameters\":{}}"),
        X("\"shape\":[1],\"data\":[1]}],\"parameters\":{\"binary_data_output\":true}}"),
        X("\"shape\":[1],\"data\":[1]}],\"outputs\":[{\"name\":\"y\"}]}"),
        X("\"shape\":[1],\"data\":[1]}],\"outputs\":[{\"name\":\"y\",\"parameters\":"
          "{\"binary_data\":true}}]}"),
        X("\"shape\":[1],\"parameters\":{\"content\":\"a\"},\"data\":[1]}]}"),
        "{\"inputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP64\",\"shape\":[1],\"data\":[1]}]}",
    };
    struct strbuf keys[ARRAY_LEN(cases)] = {0};
    struct batch_item item;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_null(batch_item_parse(BATCH_OIP, cases[i], strlen(cases[i]), OIP_NO_HEAD, &item));
        batch_item_key(&item, &keys[i]);
        for (size_t k = 0; k < i; k++)
            assert_false(keys[k].length == keys[i].length &&
                         !memcmp(keys[k].text, keys[i].text, keys[i].length));
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        strbuf_finish(&keys[i]);
}

static void test_an_answer_that_does_not_fit_is_a_fault(void **state)
{
    (void)state;
    static const char request[] = X("\"shape\":[2],\"data\":[1,2]}]}");
    static const char *const cases[] = {"", "{}", "{\"error\":\"no\"}",
        "{\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[3],\"data\":[1,2,3]}]}",
        "{\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1,2]},"
        "{\"name\":\"z\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}",
        "{\"outputs\":[{\"name\":\"y\",\"datatype\":\"FP32\",\"shape\":[2],\"data\":[1,2]}],"
        "\"unknown\":1}"};
    struct batch_item item;
    const struct batch_item *one = &item;
    struct batch_body part = {0};
    assert_null(batch_item_parse(BATCH_OIP, request, sizeof request - 1, OIP_NO_HEAD, &item));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (!batch_split(&one, 1, cases[i], strlen(cases[i]), OIP_NO_HEAD, &part))
            fail_msg("taken: %s", cases[i]);
        assert_int_equal(part.bytes.length, 0);
    }
}

static void test_lengths_of_heads(void **state)
{
    (void)state;
    int64_t length;
    assert_true(oip_head_length(NULL, &length) && length == OIP_NO_HEAD);
    assert_true(oip_head_length("0", &length) && length == 0);
    assert_true(oip_head_length("123", &length) && length == 123);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "01", "1.0", "x",
        "1234567890123456789", "99999999999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(oip_head_length(bad[i], &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors_together_are_as_alone),
        cmocka_unit_test(test_embeddings_together_are_as_alone),
        cmocka_unit_test(test_the_tokens_of_texts_add_up),
        cmocka_unit_test(test_what_is_no_batchable_request_is_a_fault),
        cmocka_unit_test(test_what_differs_has_another_key),
        cmocka_unit_test(test_an_answer_that_does_not_fit_is_a_fault),
        cmocka_unit_test(test_lengths_of_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
