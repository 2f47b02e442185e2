/* Fuzz target: two answers, a bar between them. Comparing goes both ways alike, and what is the
 * same agrees. */
#include "gateway/answer_compare.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *bar = memchr(text, '|', size);
    size_t first = bar ? (size_t)(bar - text) : size, rest = bar ? size - first - 1 : 0;
    const char *other = bar ? bar + 1 : "";
    bool found = answers_agree(text, first, other, rest, 1000);
    assert(found == answers_agree(other, rest, text, first, 1000));
    assert(answers_agree(text, first, text, first, 0));
    return 0;
}
