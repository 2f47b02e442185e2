/* What requests took: see measure.h.
 *
 * 1. A block is written by its worker alone, with relaxed stores; a reader may see a request in one
 *    counter and not yet in the next.
 * 2. A block that changes hands has an odd turn meanwhile; a reader that saw it change takes
 *    nothing of it. */
#include "gateway/measure.h"

#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { READ_TRIES = 8 };

struct block {
    atomic_uint_fast64_t turn; /* odd: it changes hands */
    atomic_int_fast64_t version;
    uint64_t used; /* the worker's: when it was used last, in requests */
    atomic_uint_fast64_t outcomes[MEASURE_OUTCOMES];
    atomic_uint_fast64_t sums[MEASURES];
    atomic_uint_fast64_t counts[MEASURES][HISTOGRAM_BUCKETS];
};

struct worker_measures {
    _Atomic(struct block *) blocks[MEASURE_VERSIONS];
    uint64_t used;
    char apart[64]; /* workers share no cache line */
};

void measures_finish(struct measures *measures)
{
    for (size_t i = 0; i < ARRAY_LEN(measures->of); i++) {
        struct worker_measures *worker = atomic_load(&measures->of[i]);
        for (size_t n = 0; worker && n < ARRAY_LEN(worker->blocks); n++)
            free(atomic_load(&worker->blocks[n]));
        free(worker);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void add(atomic_uint_fast64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
        memory_order_relaxed);
}

static void clear(atomic_uint_fast64_t *counters, size_t count)
{
    for (size_t i = 0; i < count; i++)
        atomic_store_explicit(&counters[i], 0, memory_order_relaxed);
}

static void give_to(struct block *block, int64_t version)
{
    /* Acquired: nothing of what follows is seen before the odd turn. */
    uint64_t turn = atomic_fetch_add_explicit(&block->turn, 1, memory_order_acq_rel);
    clear(block->outcomes, MEASURE_OUTCOMES);
    clear(block->sums, MEASURES);
    for (size_t i = 0; i < MEASURES; i++)
        clear(block->counts[i], HISTOGRAM_BUCKETS);
    atomic_store_explicit(&block->version, version, memory_order_relaxed);
    atomic_store_explicit(&block->turn, turn + 2, memory_order_release);
}

/* A place that is free, or that of the one used least recently. */
static struct block *make_room(struct worker_measures *worker, int64_t version)
{
    struct block *oldest = NULL;
    for (size_t i = 0; i < ARRAY_LEN(worker->blocks); i++) {
        struct block *block = atomic_load_explicit(&worker->blocks[i], memory_order_relaxed);
        if (!block) {
            block = mem_alloc(1, sizeof *block);
            atomic_store_explicit(&block->version, version, memory_order_relaxed);
            atomic_store_explicit(&worker->blocks[i], block, memory_order_release);
            return block;
        }
        if (!oldest || block->used < oldest->used)
            oldest = block;
    }
    give_to(oldest, version);
    return oldest;
}

static struct block *block_of(struct measures *measures, int number, int64_t version)
{
    struct worker_measures *worker =
        atomic_load_explicit(&measures->of[number], memory_order_relaxed);
    if (!worker) {
        worker = mem_alloc(1, sizeof *worker);
        atomic_store_explicit(&measures->of[number], worker, memory_order_release);
    }
    worker->used++;
    struct block *block;
    for (size_t i = 0; i < ARRAY_LEN(worker->blocks); i++) {
        block = atomic_load_explicit(&worker->blocks[i], memory_order_relaxed);
        if (!block)
            break;
        if (atomic_load_explicit(&block->version, memory_order_relaxed) == version) {
            block->used = worker->used;
            return block;
        }
    }
    block = make_room(worker, version);
    block->used = worker->used;
    return block;
}

void measures_note(
    struct measures *measures, int worker, int64_t version, const struct measurement *measurement)
{
    assert(worker >= 0 && worker < MEASURE_WORKERS_MAX);
    struct block *block = block_of(measures, worker, version);
    add(&block->outcomes[measurement->outcome], 1);
    for (size_t i = 0; i < MEASURES; i++) {
        int64_t value = measurement->values[i];
        if (value < 0)
            continue;
        add(&block->sums[i], (uint64_t)value);
        add(&block->counts[i][histogram_bucket(value)], 1);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static void insert(int64_t *versions, size_t *count, size_t most, int64_t version)
{
    size_t at = 0;
    while (at < *count && versions[at] < version)
        at++;
    if ((at < *count && versions[at] == version) || *count == most)
        return;
    memmove(versions + at + 1, versions + at, (*count - at) * sizeof *versions);
    versions[at] = version;
    (*count)++;
}

static const struct block *block_at(const struct measures *measures, size_t worker, size_t i)
{
    struct worker_measures *of = atomic_load_explicit(&measures->of[worker], memory_order_acquire);
    return of ? atomic_load_explicit(&of->blocks[i], memory_order_acquire) : NULL;
}

size_t measures_versions(const struct measures *measures, int64_t *ret, size_t most)
{
    size_t count = 0;
    for (size_t worker = 0; worker < MEASURE_WORKERS_MAX; worker++) {
        for (size_t i = 0; i < MEASURE_VERSIONS; i++) {
            const struct block *block = block_at(measures, worker, i);
            if (block)
                insert(
                    ret, &count, most, atomic_load_explicit(&block->version, memory_order_relaxed));
        }
    }
    return count;
}

/* Acquired, so that the turn is looked at again after it. */
static uint64_t value_of(const atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

static void copy_block(const struct block *block, struct measured *ret)
{
    for (size_t i = 0; i < MEASURE_OUTCOMES; i++)
        ret->outcomes[i] = value_of(&block->outcomes[i]);
    for (size_t i = 0; i < MEASURES; i++) {
        ret->sums[i] = value_of(&block->sums[i]);
        for (size_t n = 0; n < HISTOGRAM_BUCKETS; n++)
            ret->of[i].counts[n] = value_of(&block->counts[i][n]);
    }
}

/* False: it is of another version, or changed while it was read. */
static bool read_block(const struct block *block, int64_t version, struct measured *ret)
{
    for (int tries = 0; tries < READ_TRIES; tries++) {
        uint64_t turn = atomic_load_explicit(&block->turn, memory_order_acquire);
        if (atomic_load_explicit(&block->version, memory_order_relaxed) != version || turn % 2)
            return false;
        copy_block(block, ret);
        if (atomic_load_explicit(&block->turn, memory_order_relaxed) == turn)
            return true;
    }
    return false;
}

void measures_read(const struct measures *measures, int64_t version, struct measured *ret)
{
    SCOPED(mem_scope) struct measured *one = mem_alloc(1, sizeof *one);
    memset(ret, 0, sizeof *ret);
    for (size_t worker = 0; worker < MEASURE_WORKERS_MAX; worker++) {
        for (size_t i = 0; i < MEASURE_VERSIONS; i++) {
            const struct block *block = block_at(measures, worker, i);
            if (!block || !read_block(block, version, one))
                continue;
            for (size_t n = 0; n < MEASURE_OUTCOMES; n++)
                ret->outcomes[n] += one->outcomes[n];
            for (size_t n = 0; n < MEASURES; n++) {
                ret->sums[n] += one->sums[n];
                histogram_merge(&ret->of[n], &one->of[n]);
            }
        }
    }
}

/* A version that made room and came back has less than before: it is taken as it is. */
static uint64_t grown(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

void measured_since(const struct measured *before, const struct measured *now, struct measured *ret)
{
    for (size_t i = 0; i < MEASURE_OUTCOMES; i++)
        ret->outcomes[i] = grown(before->outcomes[i], now->outcomes[i]);
    for (size_t i = 0; i < MEASURES; i++) {
        ret->sums[i] = grown(before->sums[i], now->sums[i]);
        for (size_t n = 0; n < HISTOGRAM_BUCKETS; n++)
            ret->of[i].counts[n] = grown(before->of[i].counts[n], now->of[i].counts[n]);
    }
}
