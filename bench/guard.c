/* What a guard costs a body: the least time of many, and an event of a stream.
 * Usage: ninja -C build bench/bench_guard && build/bench/bench_guard */
#include "base/clock.h"
#include "gateway/guard_body.h"
#include "gateway/guard_stream.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 400, EVENTS = 200 };

static const char words[] =
    "The quick brown fox jumps over the lazy dog, says the report of 12 May on page 31. ";

static void make_body(struct strbuf *out, size_t bytes)
{
    strbuf_clear(out);
    strbuf_puts(out, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    while (out->length < bytes)
        strbuf_puts(out, words);
    strbuf_puts(out, "\"}]}");
}

static double body_us(const struct guard_rules *rules, const struct strbuf *text)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        struct guard_body body = {0};
        int64_t began = clock_monotonic_ns();
        if (guard_body_check(&body, rules, NULL, text->text, text->length) != GUARD_SAME)
            abort();
        int64_t took = clock_monotonic_ns() - began;
        least = took < least ? took : least;
        guard_body_finish(&body);
    }
    return (double)least / 1000;
}

static double event_us(const struct guard_rules *rules)
{
    static const char event[] = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":"
                                "[{\"index\":0,\"delta\":{\"content\":\" words\"},"
                                "\"finish_reason\":null}]}\n\n";
    int64_t least = INT64_MAX;
    for (int i = 0; i < ROUNDS; i++) {
        struct guard_stream stream = {.rules = rules};
        int64_t began = clock_monotonic_ns();
        for (int k = 0; k < EVENTS; k++) {
            if (!guard_stream_piece(&stream, event, sizeof event - 1))
                abort();
        }
        int64_t took = clock_monotonic_ns() - began;
        least = took < least ? took : least;
        guard_stream_finish(&stream);
    }
    return (double)least / 1000 / EVENTS;
}

int main(void)
{
    struct guard_library *library;
    struct guard_rules rules = {0};
    struct service_guard guard = {.requests = {GUARD_REDACT, GUARD_REDACT, GUARD_BLOCK}};
    struct strbuf text = {0};
    struct error err;
    int64_t began = clock_monotonic_ns();
    if (guard_library_load(&library, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("loading and compiling: %.1f ms\n", (double)(clock_monotonic_ns() - began) / 1e6);
    guard_rules_set(&rules, &guard, false);
    rules.patterns = library;
    rules.scratch = guard_scratch_create(library);
    for (size_t bytes = 1 << 10; bytes <= 1 << 20; bytes *= 4) {
        make_body(&text, bytes);
        printf("%5zu KiB: %8.1f us\n", bytes >> 10, body_us(&rules, &text));
    }
    printf("an event of a stream: %.2f us\n", event_us(&rules));
    strbuf_finish(&text);
    guard_scratch_free(rules.scratch);
    guard_library_free(library);
    return 0;
}
