/* What this machine has, and which promises of the sandbox it keeps. */
#include "base/clock.h"
#include "base/file.h"
#include "engine/local.h"
#include "engine/nvml.h"
#include "engine/sockets.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { AMD_RENDER_FIRST = 128, AMD_VENDOR = 0x1002, CARDS_MAX = ENGINE_DEVICES_MAX };

static void add_fact(struct engine_node *node, const char *name, bool enforced, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

static void add_fact(
    struct engine_node *node, const char *name, bool enforced, const char *format, ...)
{
    struct engine_fact *fact = &node->facts[node->fact_count];
    if (node->fact_count == ENGINE_FACTS_MAX)
        return;
    va_list args;
    va_start(args, format);
    fact->name = name;
    fact->enforced = enforced;
    vsnprintf(fact->text, sizeof fact->text, format, args);
    va_end(args);
    node->fact_count++;
}

static const char *version_of(const struct cgroup *group, enum cgroup_kind kind)
{
    return group->unified[kind] ? "control group, version 2" : "control group, version 1";
}

static void add_cgroup_fact(struct local *local, const char *name, enum cgroup_kind kind,
    const char *how, const char *otherwise, const struct error *why)
{
    if (*local->cgroups.folder[kind])
        add_fact(&local->node, name, true, "%s%s", how, version_of(&local->cgroups, kind));
    else
        add_fact(&local->node, name, false, "%s (%.80s)", otherwise,
            *why->text ? why->text : "no such control group");
}

static void find_facts(struct local *local, const struct error *no_cgroups)
{
    struct engine_node *node = &local->node;
    bool root = geteuid() == 0;
    add_fact(node, "uid-per-team", root, "%s",
        root ? "each team's jobs run as its own user"
             : "every job runs as the server's user: run the server as root to part teams");
    add_fact(node, "namespaces", true, "own processes, network, IPC and file system view");
    add_fact(node, "data-hidden", true,
        root ? "the data directory is in no job's view, nor its shim's"
             : "the data directory is in no job's view");
    add_cgroup_fact(local, "memory-limit", CGROUP_MEMORY, "",
        "looked at every second instead, a fast job can pass it", no_cgroups);
    add_cgroup_fact(local, "cpu-share", CGROUP_CPU, "by weight, what is idle is free for all; ",
        "jobs compete as equals", no_cgroups);
    add_cgroup_fact(local, "process-limit", CGROUP_PIDS, "", "bounded by RLIMIT_NPROC", no_cgroups);
    add_fact(
        node, "disk-limit", true, "looked at every second; files deleted while open are not seen");
    bool cpuset = *local->cgroups.folder[CGROUP_CPUSET];
    add_fact(node, "core-pinning", cpuset && local->core_count > 0, "%s",
        local->core_count == 0 ? "the system does not tell which cores there are"
        : cpuset               ? version_of(&local->cgroups, CGROUP_CPUSET)
                               : "jobs start on cores of their own, and can leave them");
    add_fact(node, "device-fractions", false,
        "shares of an accelerator are not enforced: jobs see the whole device");
}

/* ---- AMD --------------------------------------------------------------------------------- */

static uint64_t read_number(const char *card, const char *file, int base)
{
    char path[300];
    char *text;
    size_t size;
    snprintf(path, sizeof path, "/sys/class/drm/%s/device/%s", card, file);
    if (file_read(path, 64, &text, &size, NULL) < 0)
        return 0;
    uint64_t number = strtoull(text, NULL, base);
    free(text);
    return number;
}

/* The render nodes of AMD's cards: renderD128 is device 0. */
static void find_amd(struct engine_node *node)
{
    for (uint32_t i = 0; i < CARDS_MAX && node->device_count < ENGINE_DEVICES_MAX; i++) {
        char card[32], folder[64];
        struct engine_device *device = &node->devices[node->device_count];
        snprintf(card, sizeof card, "renderD%u", AMD_RENDER_FIRST + i);
        snprintf(folder, sizeof folder, "/sys/class/drm/%s/device", card);
        if (read_number(card, "vendor", 16) != AMD_VENDOR)
            continue;
        *device = (struct engine_device){.index = i,
            .memory_bytes = read_number(card, "mem_info_vram_total", 10),
            .socket = socket_of_device(folder)};
        snprintf(device->type, sizeof device->type, "amd");
        snprintf(
            device->model, sizeof device->model, "%04x", (unsigned)read_number(card, "device", 16));
        snprintf(device->uuid, sizeof device->uuid, "%s", card);
        node->device_count++;
    }
}

/* ---- The machine ------------------------------------------------------------------------- */

static uint64_t count_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (uint64_t)CPU_COUNT(&set);
    return (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
}

void node_discover(struct local *local, const char *name, const struct error *no_cgroups)
{
    struct engine_node *node = &local->node;
    struct statvfs disk;
    char host[64] = "localhost";
    gethostname(host, sizeof host - 1);
    *node = (struct engine_node){.cpu_milli = count_cpus() * 1000};
    snprintf(node->name, sizeof node->name, "%s", name ? name : host);
    node->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (statvfs(local->data, &disk) == 0)
        node->disk_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (local->nvml)
        node->device_count = nvml_devices(local->nvml, node->devices, ENGINE_DEVICES_MAX);
    find_amd(node);
    find_facts(local, no_cgroups);
    local->created_ms = clock_wall_ms();
    local->site_node = (struct engine_site_node){.name = node->name,
        .health = ENGINE_NODE_UP,
        .why = "",
        .cpu_milli = node->cpu_milli,
        .memory_bytes = node->memory_bytes,
        .disk_bytes = node->disk_bytes,
        .accelerator = node->device_count ? node->devices[0].type : NULL,
        .accelerators = (uint32_t)node->device_count};
}

void node_site(const struct local *local, struct engine_site *ret_site)
{
    *ret_site = (struct engine_site){.known = true,
        .answers = true,
        .since_ms = local->created_ms,
        .placed = true,
        .nodes = &local->site_node,
        .node_count = 1,
        .facts = local->node.facts,
        .fact_count = local->node.fact_count};
    snprintf(ret_site->text, sizeof ret_site->text, "this machine");
}
