/* NVML: see nvml.h. Only the entry points used are declared, as the library's published
 * interface has them; none is called before all were found. */
#include "engine/nvml.h"

#include "base/memory.h"
#include "engine/sockets.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct nvml_device *nvml_handle;

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_utilization {
    unsigned gpu, memory; /* percent */
};

/* What the library fills in: the last text is the address as the kernel has it, but for a longer
 * domain ("00000000:3B:00.0"). */
struct nvml_pci {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char address[32];
};

struct nvml {
    void *library;
    int (*init)(void);
    int (*shutdown)(void);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, nvml_handle *);
    int (*name)(nvml_handle, char *, unsigned);
    int (*uuid)(nvml_handle, char *, unsigned);
    int (*memory)(nvml_handle, struct nvml_memory *);
    int (*utilization)(nvml_handle, struct nvml_utilization *);
    int (*pci)(nvml_handle, struct nvml_pci *);
};

#define ENTRY(member, symbol)                                                                      \
    {                                                                                              \
        offsetof(struct nvml, member), symbol                                                      \
    }
static const struct {
    size_t offset;
    const char *symbol;
} entries[] = {
    ENTRY(init, "nvmlInit_v2"),
    ENTRY(shutdown, "nvmlShutdown"),
    ENTRY(count, "nvmlDeviceGetCount_v2"),
    ENTRY(by_index, "nvmlDeviceGetHandleByIndex_v2"),
    ENTRY(name, "nvmlDeviceGetName"),
    ENTRY(uuid, "nvmlDeviceGetUUID"),
    ENTRY(memory, "nvmlDeviceGetMemoryInfo"),
    ENTRY(utilization, "nvmlDeviceGetUtilizationRates"),
    ENTRY(pci, "nvmlDeviceGetPciInfo_v3"),
};

static bool load_entries(struct nvml *nvml)
{
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        void *symbol = dlsym(nvml->library, entries[i].symbol);
        if (!symbol)
            return false;
        memcpy((char *)nvml + entries[i].offset, &symbol, sizeof symbol);
    }
    return true;
}

struct nvml *nvml_open(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    struct nvml *nvml = mem_alloc(1, sizeof *nvml);
    nvml->library = library;
    if (load_entries(nvml) && nvml->init() == 0)
        return nvml;
    dlclose(library);
    free(nvml);
    return NULL;
}

void nvml_close(struct nvml *nvml)
{
    if (!nvml)
        return;
    nvml->shutdown();
    dlclose(nvml->library);
    free(nvml);
}

static int32_t socket_of(const struct nvml *nvml, nvml_handle handle)
{
    struct nvml_pci pci = {0};
    char folder[64];
    if (nvml->pci(handle, &pci) != 0)
        return -1;
    snprintf(folder, sizeof folder, "/sys/bus/pci/devices/%04x:%02x:%02x.0", pci.domain, pci.bus,
        pci.device);
    return socket_of_device(folder);
}

size_t nvml_devices(struct nvml *nvml, struct engine_device *devices, size_t most)
{
    unsigned count = 0;
    size_t found = 0;
    if (nvml->count(&count) != 0)
        return 0;
    for (unsigned i = 0; i < count && found < most; i++) {
        nvml_handle handle;
        struct nvml_memory memory = {0};
        struct engine_device device = {.index = i};
        if (nvml->by_index(i, &handle) != 0)
            continue;
        snprintf(device.type, sizeof device.type, "nvidia");
        nvml->name(handle, device.model, sizeof device.model);
        nvml->uuid(handle, device.uuid, sizeof device.uuid);
        nvml->memory(handle, &memory);
        device.memory_bytes = memory.total;
        device.socket = socket_of(nvml, handle);
        devices[found++] = device;
    }
    return found;
}

void nvml_usage(struct nvml *nvml, const uint32_t *indexes, size_t count, int32_t *ret_milli,
    uint64_t *ret_memory_bytes)
{
    uint64_t percent = 0, memory_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        nvml_handle handle;
        struct nvml_utilization utilization;
        struct nvml_memory memory;
        if (nvml->by_index(indexes[i], &handle) != 0 ||
            nvml->utilization(handle, &utilization) != 0 || nvml->memory(handle, &memory) != 0)
            return;
        percent += utilization.gpu;
        memory_bytes += memory.used;
    }
    if (count == 0)
        return;
    *ret_milli = (int32_t)(percent * 10 / count);
    *ret_memory_bytes = memory_bytes;
}
