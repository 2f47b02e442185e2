/* What running attempts use: see usage.h. The ids are listed beside the map, which cannot be
 * walked. */
#include "server/usage.h"

#include "base/map.h"
#include "base/quantity.h"
#include "base/vec.h"

struct usage {
    struct idmap samples;
    VEC(uint64_t) attempts;
};

struct usage *usage_create(void)
{
    return mem_alloc(1, sizeof(struct usage));
}

void usage_destroy(struct usage *usage)
{
    if (!usage)
        return;
    for (size_t i = 0; i < usage->attempts.count; i++)
        free(idmap_get(&usage->samples, usage->attempts.items[i]));
    vec_free(&usage->attempts);
    idmap_finish(&usage->samples);
    free(usage);
}

void usage_put(struct usage *usage, uint64_t attempt, const struct attempt_usage *sample)
{
    struct attempt_usage *kept = idmap_get(&usage->samples, attempt);
    if (!kept) {
        kept = mem_alloc(1, sizeof *kept);
        idmap_put(&usage->samples, attempt, kept);
        vec_push(&usage->attempts, attempt);
    }
    *kept = *sample;
}

const struct attempt_usage *usage_get(const struct usage *usage, uint64_t attempt)
{
    return idmap_get(&usage->samples, attempt);
}

void usage_remove(struct usage *usage, uint64_t attempt)
{
    free(idmap_remove(&usage->samples, attempt));
    for (size_t i = 0; i < usage->attempts.count; i++) {
        if (usage->attempts.items[i] == attempt) {
            vec_remove(&usage->attempts, i);
            return;
        }
    }
}

struct doc *usage_doc(const struct usage *usage, struct arena *arena, uint64_t attempt)
{
    const struct attempt_usage *sample = usage_get(usage, attempt);
    if (!sample)
        return NULL;
    char text[QUANTITY_TEXT];
    struct doc *map = doc_map(arena);
    doc_set(arena, map, "cpuSeconds",
        doc_number(arena, quantity_milli((int64_t)(sample->cpu_ns / 1000000), text)));
    doc_set_int(arena, map, "memoryBytes", (int64_t)sample->memory_bytes);
    doc_set_int(arena, map, "memoryPeakBytes", (int64_t)sample->memory_peak_bytes);
    doc_set_int(arena, map, "readBytes", (int64_t)sample->read_bytes);
    doc_set_int(arena, map, "writtenBytes", (int64_t)sample->written_bytes);
    doc_set_int(arena, map, "diskBytes", (int64_t)sample->disk_bytes);
    if (sample->accelerator_milli >= 0)
        doc_set(arena, map, "acceleratorUse",
            doc_number(arena, quantity_milli(sample->accelerator_milli, text)));
    return map;
}
