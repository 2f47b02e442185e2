/* Histograms: see histogram.h. Bucket numbers ascend with their values, so a walk from the first is
 * a walk in order. */
#include "base/histogram.h"

#include "base/strbuf.h"

#include <assert.h>
#include <inttypes.h>

int64_t histogram_bound(size_t bucket)
{
    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket < 2u << HISTOGRAM_FINE_BITS)
        return (int64_t)bucket;
    size_t shift = (bucket >> HISTOGRAM_FINE_BITS) - 1;
    return ((int64_t)(bucket - (shift << HISTOGRAM_FINE_BITS) + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, int64_t value)
{
    histogram->counts[histogram_bucket(value)]++;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        histogram->counts[i] += other->counts[i];
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

int64_t histogram_at(const struct histogram *histogram, int64_t per_million)
{
    assert(per_million >= 0 && per_million <= 1000000);
    uint64_t count = histogram_count(histogram), seen = 0;
    if (count == 0)
        return 0;
    uint64_t rank =
        (uint64_t)(((unsigned __int128)count * (uint64_t)per_million + 999999) / 1000000);
    rank = rank > 0 ? rank : 1;
    size_t bucket = 0;
    while ((seen += histogram->counts[bucket]) < rank)
        bucket++;
    return histogram_bound(bucket);
}

uint64_t histogram_above(const struct histogram *histogram, int64_t value)
{
    uint64_t count = 0;
    for (size_t i = histogram_bucket(value) + 1; i < HISTOGRAM_BUCKETS; i++)
        count += histogram->counts[i];
    return count;
}

/* ---- as text --------------------------------------------------------------------------------- */

void histogram_write(const struct histogram *histogram, struct strbuf *out)
{
    const char *space = "";
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (histogram->counts[i] == 0)
            continue;
        strbuf_printf(out, "%s%zu:%" PRIu64, space, i, histogram->counts[i]);
        space = " ";
    }
}

/* A number up to 18 digits, so that none overflows; NULL when there is none. */
static const char *read_number(const char *text, uint64_t *ret)
{
    const char *at = text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9' && at - text < 18; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    *ret = value;
    return at > text ? at : NULL;
}

int histogram_read(const char *text, struct histogram *ret)
{
    struct histogram histogram = {0};
    uint64_t least = 0;
    for (const char *at = text; *at;) {
        uint64_t bucket, count;
        at = read_number(at, &bucket);
        if (!at || *at != ':' || bucket < least || bucket >= HISTOGRAM_BUCKETS)
            return -1;
        at = read_number(at + 1, &count);
        if (!at || (*at != ' ' && *at != '\0') || (*at == ' ' && at[1] == '\0'))
            return -1;
        histogram.counts[bucket] = count;
        least = bucket + 1;
        at += *at == ' ';
    }
    *ret = histogram;
    return 0;
}
