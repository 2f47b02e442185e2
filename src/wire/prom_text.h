/* Reads figures out of Prometheus' text exposition (version 0.0.4, and what OpenMetrics has in
 * common with it) as it comes in pieces: the samples of one series that have the labels asked for.
 * Memory is bounded whatever comes; a line that is too long or is none counts as not there. Values
 * are millionths, cut to PROM_MICRO_MAX; what is no number (NaN, Inf) counts as not there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROM_LINE_MAX = 16384, PROM_SAMPLES_MAX = 1000000, PROM_STALE_MS = 5 * 60 * 1000 };
#define PROM_MICRO_MAX ((int64_t)1000000000 * 1000000)

struct prom_label {
    const char *key, *value;
};

/* Which samples; the texts are the caller's, for as long as the reader. */
struct prom_query {
    const char *series;
    const struct prom_label *labels;
    size_t label_count;
    int64_t now_ms; /* samples with a time of their own that is older than PROM_STALE_MS are not
                     * there; 0: their times are not looked at */
};

struct prom_figures {
    int64_t sum_micro, most_micro;
    int32_t count; /* of samples; 0: there was none */
};

struct prom_reader {
    struct prom_query query;
    struct prom_figures figures;
    size_t length;
    bool too_long; /* the line is left out */
    char line[PROM_LINE_MAX];
};

/* Begins a document. */
void prom_begin(struct prom_reader *reader, const struct prom_query *query);
/* A piece of it. */
void prom_feed(struct prom_reader *reader, const char *bytes, size_t length);
/* Its end: what was found. */
struct prom_figures prom_end(struct prom_reader *reader);
/* A number such as 1.5e3 as millionths; false: it is none. */
bool prom_number(const char *text, size_t length, int64_t *ret_micro);
