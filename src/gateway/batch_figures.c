/* Figures of batches as documents: see batch_figures.h. */
#include "gateway/batch_figures.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/terms.h"

#include <inttypes.h>
#include <stddef.h>

/* One table says what each is called in both. */
static const struct row {
    const char *name, *metric, *type, *help;
    size_t offset;
} rows[] = {
    {"waiting", "muster_gateway_batch_waiting", "gauge", "Requests that wait for a batch",
        offsetof(struct batch_figures, waiting)},
    {"calls", "muster_gateway_batch_calls_total", "counter", "Batches that were sent",
        offsetof(struct batch_figures, calls)},
    {"requests", "muster_gateway_batch_requests_total", "counter", "Requests in batches",
        offsetof(struct batch_figures, requests)},
    {"rows", "muster_gateway_batch_rows_total", "counter", "First dimensions of those requests",
        offsetof(struct batch_figures, rows)},
    {"waitUs", "muster_gateway_batch_wait_us_total", "counter",
        "Microseconds that requests waited for their batch to be sent",
        offsetof(struct batch_figures, wait_us)},
    {"again", "muster_gateway_batch_again_total", "counter",
        "Requests that were sent alone after their batch had failed",
        offsetof(struct batch_figures, again)},
    {"alone", "muster_gateway_batch_alone_total", "counter",
        "Requests that could not be in a batch", offsetof(struct batch_figures, alone)},
    {"callNs", "muster_gateway_batch_call_ns", "gauge",
        "Nanoseconds that a call takes whatever its rows, as learned",
        offsetof(struct batch_figures, call_ns)},
    {"rowNs", "muster_gateway_batch_row_ns", "gauge",
        "Nanoseconds that each row of a call takes, as learned",
        offsetof(struct batch_figures, row_ns)},
    {"depth", "muster_gateway_batch_depth", "gauge", "Batches at once at each replica",
        offsetof(struct batch_figures, depth)},
};

static uint64_t value_of(const struct batch_figures *figures, const struct row *row)
{
    const void *place = (const char *)figures + row->offset;
    return atomic_load_explicit((const atomic_uint_fast64_t *)place, memory_order_relaxed);
}

static void add(atomic_uint_fast64_t *figure, uint64_t amount)
{
    atomic_fetch_add_explicit(figure, amount, memory_order_relaxed);
}

void batch_figures_add(
    struct batch_figures *figures, uint64_t requests, uint64_t row_count, uint64_t wait_us)
{
    size_t size = 0;
    while (size < BATCH_SIZES - 1 && requests > (uint64_t)1 << size)
        size++;
    add(&figures->calls, 1);
    add(&figures->requests, requests);
    add(&figures->rows, row_count);
    add(&figures->wait_us, wait_us);
    add(&figures->sizes[size], 1);
}

static uint64_t size_of(const struct batch_figures *figures, size_t i)
{
    return atomic_load_explicit(&figures->sizes[i], memory_order_relaxed);
}

static bool has_batching(const struct service_terms *terms)
{
    return terms->tables > 0 && terms->options.batching.max > 1;
}

/* The next terms whose figures are shown: each service is, once. */
static const struct service_terms *shown(
    const struct service_terms *first, const struct service_terms *terms)
{
    for (; terms; terms = terms->next) {
        const struct service_terms *before = first;
        while (before != terms && !(before->state == terms->state && has_batching(before)))
            before = before->next;
        if (before == terms && has_batching(terms))
            return terms;
    }
    return NULL;
}

#define SHOWN_EACH(terms, first)                                                                   \
    for (const struct service_terms *terms = shown(first, first); terms;                           \
         terms = shown(first, terms->next))

static void write_item(const struct service_terms *terms, struct strbuf *out)
{
    const struct batch_figures *figures = &terms->state->batch;
    strbuf_puts(out, "{\"service\":");
    strbuf_json(out, terms->service);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        strbuf_printf(out, ",\"%s\":%" PRIu64, rows[i].name, value_of(figures, &rows[i]));
    strbuf_puts(out, ",\"sizes\":[");
    for (size_t i = 0; i < BATCH_SIZES; i++)
        strbuf_printf(out, "%s%" PRIu64, i ? "," : "", size_of(figures, i));
    strbuf_puts(out, "]}");
}

void batch_figures_write(const struct service_terms *first, struct strbuf *out)
{
    bool begun = false;
    SHOWN_EACH(terms, first)
    {
        strbuf_puts(out, begun ? "," : "");
        write_item(terms, out);
        begun = true;
    }
}

static void put_label(struct strbuf *out, const struct service_terms *terms)
{
    strbuf_puts(out, "{service=");
    strbuf_json(out, terms->service);
}

static void write_sizes(const struct service_terms *terms, struct strbuf *out)
{
    static const char name[] = "muster_gateway_batch_size";
    const struct batch_figures *figures = &terms->state->batch;
    uint64_t below = 0;
    for (size_t i = 0; i < BATCH_SIZES; i++) {
        below += size_of(figures, i);
        strbuf_printf(out, "%s_bucket", name);
        put_label(out, terms);
        if (i < BATCH_SIZES - 1)
            strbuf_printf(out, ",le=\"%d\"} %" PRIu64 "\n", 1 << i, below);
        else
            strbuf_printf(out, ",le=\"+Inf\"} %" PRIu64 "\n", below);
    }
    strbuf_printf(out, "%s_sum", name);
    put_label(out, terms);
    strbuf_printf(out, "} %" PRIu64 "\n%s_count", value_of(figures, &rows[2]), name);
    put_label(out, terms);
    strbuf_printf(out, "} %" PRIu64 "\n", below);
}

void batch_figures_write_metrics(const struct service_terms *first, struct strbuf *out)
{
    if (!shown(first, first))
        return;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        strbuf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n", rows[i].metric, rows[i].help,
            rows[i].metric, rows[i].type);
        SHOWN_EACH(terms, first)
        {
            strbuf_puts(out, rows[i].metric);
            put_label(out, terms);
            strbuf_printf(out, "} %" PRIu64 "\n", value_of(&terms->state->batch, &rows[i]));
        }
    }
    strbuf_puts(out, "# HELP muster_gateway_batch_size Requests of a batch.\n"
                     "# TYPE muster_gateway_batch_size histogram\n");
    SHOWN_EACH(terms, first)
    {
        write_sizes(terms, out);
    }
}
