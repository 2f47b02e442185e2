/* Resources as one short vector: CPU, memory, disk, accelerators of all types, then each type.
 * The index of a type depends on which came first and must not decide anything: sums, minima and
 * maxima over the vector are all that is ever taken. */
#include "core/resource.h"
#include "core/core.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/shape.h"
#include "core/state.h"

#include <assert.h>
#include <string.h>

static_assert(RESOURCE_TYPES < RESOURCE_MAX, "room for types");

int resource_find_type(const struct core *core, uint32_t type)
{
    for (size_t i = 0; i < core->accelerator_types.count; i++) {
        if (core->accelerator_types.items[i] == type)
            return RESOURCE_TYPES + (int)i;
    }
    return -1;
}

int resource_of_type(struct core *core, uint32_t type)
{
    assert(type != 0);
    int found = resource_find_type(core, type);
    if (found >= 0)
        return found;
    if (core->accelerator_types.count + RESOURCE_TYPES >= RESOURCE_MAX)
        return -1;
    vec_push(&core->accelerator_types, type);
    return RESOURCE_TYPES + (int)core->accelerator_types.count - 1;
}

static const char *const plain[] = {"cpu", "memory", "disk", "accelerators"};
static_assert(ARRAY_LEN(plain) == RESOURCE_TYPES, "a name for each");

const char *resource_name(const struct core *core, int resource)
{
    assert(resource >= 0 && resource < RESOURCE_TYPES + (int)core->accelerator_types.count);
    if (resource < RESOURCE_TYPES)
        return plain[resource];
    return core_symbol(core, core->accelerator_types.items[resource - RESOURCE_TYPES]);
}

int resource_of_quota(struct core *core, uint32_t name)
{
    const char *text = core_symbol(core, name);
    for (int i = 0; i < RESOURCE_TYPES; i++) {
        if (strcmp(text, plain[i]) == 0)
            return i;
    }
    return resource_of_type(core, name);
}

struct bundle bundle_of_shape(const struct shape_row *shape, int64_t ranks)
{
    return (struct bundle){
        shape->cpu_milli * ranks, shape->memory_bytes * ranks, shape->disk_bytes * ranks};
}

int64_t amount_of_shape(const struct live_shape *shape, int of, int resource)
{
    switch (of) {
    case RESOURCE_CPU: return shape->row.cpu_milli;
    case RESOURCE_MEMORY: return shape->row.memory_bytes;
    case RESOURCE_DISK: return shape->row.disk_bytes;
    case RESOURCE_ACCELERATORS: return shape->row.accelerator_milli;
    default: return of == resource ? shape->row.accelerator_milli : 0;
    }
}

void amounts_of_shape(
    const struct live_shape *shape, int64_t ranks, int resource, struct amounts *ret)
{
    assert(ranks >= 0 && resource < RESOURCE_MAX);
    *ret = (struct amounts){0};
    ret->of[RESOURCE_CPU] = shape->row.cpu_milli * ranks;
    ret->of[RESOURCE_MEMORY] = shape->row.memory_bytes * ranks;
    ret->of[RESOURCE_DISK] = shape->row.disk_bytes * ranks;
    ret->of[RESOURCE_ACCELERATORS] = shape->row.accelerator_milli * ranks;
    if (resource >= 0)
        ret->of[resource] = shape->row.accelerator_milli * ranks;
}

uint32_t amounts_bits(const struct amounts *amounts)
{
    uint32_t bits = 0;
    for (int i = 0; i < RESOURCE_MAX; i++)
        bits |= (uint32_t)(amounts->of[i] != 0) << i;
    return bits;
}

void amounts_possible(const struct live_shape *shape, int64_t ranks, struct amounts *ret)
{
    amounts_of_shape(shape, ranks, shape->resource, ret);
    if (shape->resource >= 0)
        return;
    for (int i = RESOURCE_TYPES; i < RESOURCE_MAX; i++)
        ret->of[i] = shape->row.accelerator_milli * ranks;
}

void amounts_of_node(const struct live_node *node, struct amounts *ret)
{
    *ret = (struct amounts){0};
    ret->of[RESOURCE_CPU] = node->row.cpu_milli;
    ret->of[RESOURCE_MEMORY] = node->row.memory_bytes;
    ret->of[RESOURCE_DISK] = node->row.disk_bytes;
    ret->of[RESOURCE_ACCELERATORS] = (int64_t)node->row.devices * DEVICE_MILLI;
    if (node->resource >= 0)
        ret->of[node->resource] = (int64_t)node->row.devices * DEVICE_MILLI;
}

void capacity_count(struct core *core, const struct live_node *node, int sign)
{
    assert(sign == 1 || sign == -1);
    struct amounts has;
    amounts_of_node(node, &has);
    for (int i = 0; i < RESOURCE_MAX; i++) {
        core->capacity[i] += sign * has.of[i];
        assert(core->capacity[i] >= 0);
    }
    core->nodes_up += sign;
    core->capacity_version++;
}

int64_t scale_round(int64_t value, int64_t numerator, int64_t denominator)
{
    assert(denominator > 0 && value >= 0 && numerator >= 0);
    __int128 scaled = ((__int128)value * numerator * 2 + denominator) / ((__int128)denominator * 2);
    return scaled > INT64_MAX ? INT64_MAX : (int64_t)scaled;
}

const char *amount_text(const char *what, int64_t amount, char out[QUANTITY_TEXT])
{
    bool bytes = strcmp(what, "memory") == 0 || strcmp(what, "disk") == 0;
    return bytes ? quantity_bytes(amount, out) : quantity_milli(amount, out);
}
