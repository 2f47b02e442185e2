/* Fuzz target: a request or an answer of either protocol. What is taken can be merged with itself,
 * and the merged request is one again, with the same key and as many rows more. The first byte says
 * which, the second where the JSON ends. */
#include "base/memory.h"
#include "gateway/batch_item.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(enum batch_form form, const char *body, size_t length, int64_t head)
{
    struct batch_item items[2];
    const struct batch_item *twice[] = {&items[0], &items[0]};
    struct strbuf key = {0}, merged_key = {0};
    struct batch_body merged = {0};
    if (batch_item_parse(form, body, length, head, &items[0]))
        return;
    batch_merge(twice, 2, &merged);
    const char *fault = batch_item_parse(
        form, merged.bytes.text, merged.bytes.length, merged.head_length, &items[1]);
    /* Only a bound may be in the way. */
    assert(!fault || items[0].rows > OIP_ROWS_MAX / 2 || length > 1 << 20);
    if (!fault) {
        assert(items[1].rows == 2 * items[0].rows);
        batch_item_key(&items[0], &key);
        batch_item_key(&items[1], &merged_key);
        assert(key.length == merged_key.length && !memcmp(key.text, merged_key.text, key.length));
    }
    batch_body_finish(&merged);
    strbuf_finish(&key);
    strbuf_finish(&merged_key);
}

/* Asked with three rows, by two clients. */
static void check_answer(enum batch_form form, const char *body, size_t length, int64_t head)
{
    static const char *const requests[][2] = {
        {"{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BOOL\",\"shape\":[1],\"data\":[true]}]}",
            "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BOOL\",\"shape\":[2],\"data\":[true,"
            "false]}]}"},
        {"{\"input\":\"a\"}", "{\"input\":[\"b\",\"c\"]}"},
    };
    struct batch_item items[2];
    const struct batch_item *order[] = {&items[0], &items[1]};
    struct batch_body parts[2] = {0};
    for (size_t i = 0; i < 2; i++) {
        const char *text = requests[form][i];
        const char *fault = batch_item_parse(form, text, strlen(text), OIP_NO_HEAD, &items[i]);
        assert(!fault);
    }
    const char *fault = batch_split(order, 2, body, length, head, parts);
    for (size_t i = 0; i < 2; i++) {
        assert(!fault == (parts[i].bytes.length > 0));
        batch_body_finish(&parts[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum batch_form form = data[0] & 1 ? BATCH_EMBEDDINGS : BATCH_OIP;
    size_t length = size - 2;
    char *body = malloc(length + 1); /* exactly as large, so that reading past its end is seen */
    memcpy(body, data + 2, length);
    int64_t head = data[1] == '-' ? OIP_NO_HEAD : (int64_t)length - (data[1] - '0');
    body = realloc(body, length ? length : 1);
    if (data[0] & 2)
        check_answer(form, body, length, head < 0 ? OIP_NO_HEAD : head);
    else
        check_request(form, body, length, head < 0 ? OIP_NO_HEAD : head);
    free(body);
    return 0;
}
