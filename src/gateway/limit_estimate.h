/* What a request will cost in tokens, before anybody knows: its body's length by a ratio that is
 * learned from what replicas report, and what it asks for at most. Fixed point throughout. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a service's answers have taught; zeroed: nothing yet. Shared by workers; two that learn at
 * once may lose a lesson. */
struct limit_learned {
    atomic_uint_fast32_t input_per_byte; /* tokens for 65536 bytes of body */
    atomic_uint_fast32_t output_mean;    /* tokens of an answer, times 16 */
    atomic_uint_fast32_t mean_us;        /* of a request at its replica */
};

/* What a body of the OpenAI API says about how much is wanted. */
struct limit_wish {
    int64_t output_max; /* max_tokens and its other names; -1: not said */
    int64_t answers;    /* "n"; 1 when not said */
};
/* Reads the members of the outermost object, of several of one name the largest; what is no JSON,
 * or no number, counts as not said: refusing it is the replica's affair. No allocation, one pass.
 */
void limit_wish_read(const char *text, size_t length, struct limit_wish *ret);

/* Tokens that a body of so many bytes will have; a quarter of them until there was an answer. */
int64_t limit_input_estimate(const struct limit_learned *learned, int64_t body_bytes);
/* Tokens that all answers will have together, at most where the body says so, else as usual. */
int64_t limit_output_estimate(const struct limit_learned *learned, const struct limit_wish *wish);
/* An answer came. tokens 0: not reported. */
void limit_learn(
    struct limit_learned *learned, int64_t body_bytes, int64_t input_tokens, int64_t output_tokens);
/* A request was at its replica for so long. */
void limit_learn_time(struct limit_learned *learned, int64_t us);
