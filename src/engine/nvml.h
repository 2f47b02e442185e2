/* NVIDIA's management library, loaded when it is there: a machine without it needs nothing. */
#pragma once

#include "engine/engine.h"

struct nvml;

/* NULL: no driver, or one that does not answer. */
struct nvml *nvml_open(void);
void nvml_close(struct nvml *nvml); /* NULL is fine */
/* Fills at most `most` devices; gives how many. */
size_t nvml_devices(struct nvml *nvml, struct engine_device *devices, size_t most);
/* The mean utilisation and the memory used by the devices. Leaves the outputs as they are when
 * the driver does not tell. */
void nvml_usage(struct nvml *nvml, const uint32_t *indexes, size_t count, int32_t *ret_milli,
    uint64_t *ret_memory_bytes);
