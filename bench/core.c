/* The core alone, no I/O: `core NODES JOBS` fills that many nodes with jobs of ten shapes and
 * prints one line of JSON: decisions a second, and the memory a live job takes. */
#include "base/clock.h"
#include "sim/sim_bench.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct sim_bench_result result;
    struct error err;
    int64_t nodes = argc == 3 ? atoll(argv[1]) : 0, jobs = argc == 3 ? atoll(argv[2]) : 0;
    if (nodes < 1 || jobs < 1) {
        fprintf(stderr, "usage: core NODES JOBS\n");
        return 2;
    }
    if (sim_bench(nodes, jobs, clock_monotonic_ns, &result, &err) < 0) {
        fprintf(stderr, "core: %s\n", err.text);
        return 1;
    }
    printf("{\"placed\": %lld, \"placed_per_s\": %.1f, \"submitted_per_s\": %.1f, "
           "\"jobs_live\": %lld, \"bytes_per_job\": %.1f}\n",
        (long long)result.placed, (double)result.placed / ((double)result.schedule_ns / 1e9),
        (double)jobs / ((double)result.submit_ns / 1e9), (long long)result.jobs_live,
        (double)result.bytes / (double)result.jobs_live);
    return 0;
}
