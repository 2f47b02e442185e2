/* Fuzz target of the parsers of amounts: the first byte picks one. What a parser takes, its writer
 * must write so that it reads back the same; what it refuses, it must leave untouched. */
#include "base/memory.h"
#include "base/quantity.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct {
    int (*parse)(const char *text, int64_t *ret, struct error *err);
    char *(*format)(int64_t value, char out[QUANTITY_TEXT]);
} kinds[] = {
    {quantity_parse_bytes, quantity_bytes},
    {quantity_parse_milli, quantity_milli},
    {quantity_parse_micro, quantity_micro},
    {quantity_parse_duration, quantity_duration},
    {quantity_parse_time, quantity_time},
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    size_t kind = bytes[0] % ARRAY_LEN(kinds);
    SCOPED(mem_scope) char *text = mem_alloc(size, 1);
    memcpy(text, bytes + 1, size - 1);
    struct error err;
    int64_t value = -1, again;
    if (kinds[kind].parse(text, &value, &err) < 0) {
        if (value != -1 || err.code != ERR_INVALID || strchr(err.text, '\n'))
            abort();
        return 0;
    }
    char out[QUANTITY_TEXT];
    if (value < 0 || kinds[kind].parse(kinds[kind].format(value, out), &again, &err) < 0 ||
        again != value)
        abort();
    return 0;
}
