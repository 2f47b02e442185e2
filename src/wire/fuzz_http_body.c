/* Fuzz target: the chunked coding, whole and cut into steps whose length the input chooses. Both
 * readings give the same content, and it is never longer than what came. */
#include "wire/http_body.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    char *content;
    size_t length;
    size_t used;
    enum http_parse_result result;
};

static void read_steps(struct reading *reading, const char *bytes, size_t length, size_t step)
{
    struct http_body body;
    size_t end = 0;
    http_body_init(&body, HTTP_BODY_CHUNKED, 0);
    *reading = (struct reading){.content = malloc(length + 1)};
    while (reading->result == HTTP_PARSE_MORE) {
        size_t used, piece;
        if (reading->used == end && end == length)
            break;
        if (reading->used == end)
            end = end + step < length ? end + step : length;
        reading->result =
            http_body_next(&body, bytes + reading->used, end - reading->used, &used, &piece);
        if (reading->result == HTTP_PARSE_FAULT)
            break;
        assert(piece <= used && used <= end - reading->used && (used > 0 || end == length));
        memcpy(reading->content + reading->length, bytes + reading->used + used - piece, piece);
        reading->length += piece;
        reading->used += used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole, steps;
    if (size < 1)
        return 0;
    read_steps(&whole, (const char *)data + 1, size - 1, size);
    read_steps(&steps, (const char *)data + 1, size - 1, data[0] % 32 + 1);
    assert(whole.result == steps.result);
    if (whole.result != HTTP_PARSE_FAULT) {
        assert(whole.length == steps.length && whole.used == steps.used);
        assert(memcmp(whole.content, steps.content, whole.length) == 0);
    }
    free(whole.content);
    free(steps.content);
    return 0;
}
