/* Fuzz target: the measured curves of Pollux's workloads. The input is each of a model's files;
 * what they say is a time and a goodput that jobs can run with. */
#include "simulate/pollux.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_input(const char *folder, const char *name, const uint8_t *data, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file)
        abort();
    fwrite(data, 1, size, file);
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"placements.csv", "scalability.csv", "validation-12.csv",
        "validation-24.csv", "validation-48.csv", "validation-96.csv", "validation-192.csv",
        "validation-384.csv"};
    static char folder[64] = "";
    struct pollux_app app = {0};
    struct error err;
    if (!*folder) {
        snprintf(folder, sizeof folder, "/tmp/fuzz_pollux_XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        write_input(folder, names[i], data, size);
    if (pollux_app_load(&app, folder, "bert", &err) == 0) {
        for (int32_t ranks = 1; ranks <= POLLUX_RANKS_MAX; ranks += 7) {
            struct pollux_place place;
            struct pollux_point point;
            pollux_place_packed(&place, ranks);
            pollux_time(&app, &place, app.local_max, &point);
            assert(point.step_s == point.step_s && pollux_goodput_best(&app, &place, 0) >= 0);
        }
    }
    pollux_app_unload(&app);
    return 0;
}
