/* Fuzz target: Prometheus' text format. However the bytes are cut into pieces the figures are the
 * same, within their bounds, and a NUL or a long line changes nothing else. */
#include "wire/prom_text.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct prom_figures read_in_pieces(
    const struct prom_query *query, const char *bytes, size_t size, size_t piece)
{
    static struct prom_reader reader;
    prom_begin(&reader, query);
    for (size_t at = 0; at < size; at += piece)
        prom_feed(&reader, bytes + at, size - at < piece ? size - at : piece);
    return prom_end(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct prom_label labels[] = {{"a", "b"}, {"c", "\"d\\\n"}};
    const char *bytes = (const char *)data;
    for (size_t count = 0; count <= 2; count++) {
        struct prom_query query = {"up", labels, count, count == 1 ? 1700000000000 : 0};
        struct prom_figures whole = read_in_pieces(&query, bytes, size, size ? size : 1);
        assert(whole.count >= 0 && whole.count <= PROM_SAMPLES_MAX);
        assert(whole.sum_micro <= PROM_MICRO_MAX && whole.sum_micro >= -PROM_MICRO_MAX);
        assert(whole.count == 0 || (whole.most_micro <= PROM_MICRO_MAX));
        for (size_t piece = 1; piece <= 3; piece += 2) {
            struct prom_figures cut = read_in_pieces(&query, bytes, size, piece);
            assert(cut.count == whole.count && cut.sum_micro == whole.sum_micro);
        }
    }
    return 0;
}
