/* The core alone, no I/O. Each measure prints one line of JSON; core_world.h has them. */
#include "core_world.h"

#include <string.h>

static const char usage[] =
    "usage: core place MIX NODES [CHECKED]     which node, device and accounting; MIX: ten openb "
    "drawn\n"
    "       core pass MIX NODES JOBS           whole passes\n"
    "       core life MIX NODES LIVES BATCH    whole lives, BATCH a tick\n"
    "       core queue MIX NODES WAITING       an end while so many wait\n"
    "       core gang NODES RANKS [LEVEL]      one gang, in few domains of block, rack or nvlink\n"
    "       core whole NODES RANKS             a gang of which each rank takes a node\n"
    "       core backfill NODES WAITING        an end while a promise is in force\n"
    "       core promise NODES RANKS           a place for a gang where every device is taken\n"
    "       core reclaim NODES RANKS           all devices, by gangs of that size\n"
    "       core kueue COHORTS QUEUES          workloads of Kueue's tests, QUEUES in each cohort\n"
    "       core never MIX NODES               jobs that no node could hold\n";

static int64_t number(int argc, char **argv, int at, int64_t otherwise)
{
    return at < argc ? atoll(argv[at]) : otherwise;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "", *mix = argc > 2 ? argv[2] : "";
    int64_t first = number(argc, argv, 2, 0), second = number(argc, argv, 3, 0);
    int64_t third = number(argc, argv, 4, 0), fourth = number(argc, argv, 5, 1);
    if (strcmp(what, "place") == 0 && second > 0)
        return bench_place(mix, second, third);
    if (strcmp(what, "pass") == 0 && second > 0 && third > 0)
        return bench_pass(mix, second, third);
    if (strcmp(what, "life") == 0 && second > 0 && third > 0 && fourth > 0)
        return bench_life(mix, second, third, fourth);
    if (strcmp(what, "queue") == 0 && second > 0)
        return bench_queue(mix, second, third);
    if (strcmp(what, "never") == 0 && second > 0)
        return bench_never(mix, second);
    if (strcmp(what, "gang") == 0 && first > 0 && second > 0)
        return bench_gang(first, second, argc > 4 ? argv[4] : NULL);
    if (strcmp(what, "whole") == 0 && first > 0 && second > 0)
        return bench_whole(first, second);
    if (strcmp(what, "backfill") == 0 && first > 0 && second > 0)
        return bench_backfill(first, second);
    if (strcmp(what, "promise") == 0 && first > 0 && second > 0)
        return bench_promise(first, second);
    if (strcmp(what, "kueue") == 0 && first > 0 && second > 0)
        return bench_kueue(first, second);
    if (strcmp(what, "reclaim") == 0 && first > 0 && second > 0)
        return bench_reclaim(first, second);
    fputs(usage, stderr);
    return 2;
}
