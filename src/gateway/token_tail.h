/* Reads how many tokens an answer of the OpenAI API took, from its last bytes alone: the object
 * "usage" stands at the end of an answer, and in the last event that has one of a stream. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOKEN_TAIL_BYTES = 4096 };

/* The last TOKEN_TAIL_BYTES at least of what was added. Zeroed: nothing yet. */
struct token_tail {
    size_t length;
    char bytes[2 * TOKEN_TAIL_BYTES];
};

/* Takes the next bytes of the answer. */
void token_tail_add(struct token_tail *tail, const char *bytes, size_t length);
/* Whether the text ends with the event `data: [DONE]`, as streams of chat/completions and
 * completions do. */
bool token_stream_is_done(const char *text, size_t length);
/* Whether a usage object was found: the last that has a number of tokens. What it does not say is
 * 0, as are numbers beyond 2^53. Both APIs' names count: prompt_tokens and completion_tokens,
 * input_tokens and output_tokens. */
bool token_tail_find(const struct token_tail *tail, uint64_t *ret_input, uint64_t *ret_output);
