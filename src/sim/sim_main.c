/* The verb `sim`: runs seeds, and says of each that fails how to see it again. */
#include "sim/sim_main.h"

#include "base/clock.h"
#include "base/quantity.h"
#include "sim/sim_bench.h"
#include "sim/sim_run.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FAILURES_SHOWN_MAX = 20 };

struct sim_arguments {
    struct sim_options options;
    uint64_t first, last;
    const char *trace_path;
    bool digest;
    bool keep_going;
    int64_t bench_nodes, bench_jobs;
};

static const char usage[] =
    "usage: muster sim [--seeds FIRST-LAST] [--profile NAME] [--steps N] [--jobs-at-once N]\n"
    "                  [--trace FILE] [--digest] [--keep-going]\n"
    "       muster sim --bench NODES,JOBS\n"
    "\n"
    "Runs the scheduler against simulated engines and a simulated store that fail as the seed\n"
    "says, and checks every invariant at every step. A seed gives the same bytes every time.\n"
    "\n"
    "  --seeds FIRST-LAST  the seeds to run, or one of them; default 1-2000\n"
    "  --profile NAME      the kind of world; default: all, by turns\n"
    "  --steps N           steps of a run before it is drained\n"
    "  --jobs-at-once N    jobs that are live at most\n"
    "  --trace FILE        writes every input, change and decision to FILE (- for the terminal)\n"
    "  --digest            prints one digest for each seed\n"
    "  --keep-going        does not stop at the first seed that fails\n"
    "  --bench NODES,JOBS  measures decisions a second instead\n";

/* One number at the start of text; *ret_end points behind it. */
static int parse_number(const char *text, uint64_t *ret_number, const char **ret_end)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return -1;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return -1;
    *ret_number = number;
    *ret_end = end;
    return 0;
}

/* "7" or "1-2000", with the separator that is wanted. */
static int parse_pair(const char *text, char separator, uint64_t *ret_first, uint64_t *ret_last)
{
    uint64_t first, last;
    const char *end;
    if (parse_number(text, &first, &end) < 0)
        return -1;
    last = first;
    if (*end == separator && parse_number(end + 1, &last, &end) < 0)
        return -1;
    if (*end || last < first)
        return -1;
    *ret_first = first;
    *ret_last = last;
    return 0;
}

static int parse_int(const char *text, int *ret)
{
    uint64_t number;
    const char *end;
    if (parse_number(text, &number, &end) < 0 || *end || number > 10 * 1000 * 1000)
        return -1;
    *ret = (int)number;
    return 0;
}

static int parse_bench(const char *text, struct sim_arguments *arguments)
{
    uint64_t nodes, jobs;
    const char *end;
    if (parse_number(text, &nodes, &end) < 0 || *end != ',' ||
        parse_number(end + 1, &jobs, &end) < 0 || *end || !nodes || nodes > 100000 ||
        jobs > 10 * 1000 * 1000)
        return -1;
    arguments->bench_nodes = (int64_t)nodes;
    arguments->bench_jobs = (int64_t)jobs;
    return 0;
}

static int parse_option(int option, struct sim_arguments *arguments)
{
    switch (option) {
    case 's': return parse_pair(optarg, '-', &arguments->first, &arguments->last);
    case 'n': return parse_int(optarg, &arguments->options.steps);
    case 'j': return parse_int(optarg, &arguments->options.jobs_live_max);
    case 'b': return parse_bench(optarg, arguments);
    case 't': arguments->trace_path = optarg; return 0;
    case 'd': arguments->digest = true; return 0;
    case 'k': arguments->keep_going = true; return 0;
    case 'p':
        arguments->options.profile = sim_profile_find(optarg);
        return arguments->options.profile ? 0 : -1;
    }
    return -1;
}

/* 0, or -1 after saying what is wrong. */
static int parse_arguments(int argc, char **argv, struct sim_arguments *arguments)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
        {"profile", required_argument, NULL, 'p'}, {"steps", required_argument, NULL, 'n'},
        {"jobs-at-once", required_argument, NULL, 'j'}, {"trace", required_argument, NULL, 't'},
        {"digest", no_argument, NULL, 'd'}, {"keep-going", no_argument, NULL, 'k'},
        {"bench", required_argument, NULL, 'b'}, {0}};
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != '?' && parse_option(option, arguments) == 0)
            continue;
        if (option != '?')
            fprintf(stderr, "muster sim: \"%s\" does not fit\n", optarg);
        fputs(usage, stderr);
        return -1;
    }
    if (optind < argc) {
        fprintf(stderr, "muster sim: \"%s\" is not an option\n%s", argv[optind], usage);
        return -1;
    }
    return 0;
}

static void print_failure(
    const struct sim_arguments *arguments, uint64_t seed, const struct error *err)
{
    const struct sim_profile *profile = arguments->options.profile;
    fprintf(stderr, "seed %" PRIu64 ": %s\n", seed, err->text);
    fprintf(stderr, "  again: muster sim --seeds %" PRIu64 "%s%s --trace -\n", seed,
        profile ? " --profile " : "", profile ? profile->name : "");
}

static void totals_add(struct sim_result *total, const struct sim_result *result)
{
    total->steps += result->steps;
    total->loads += result->loads;
    total->counts.jobs_accepted += result->counts.jobs_accepted;
    total->counts.jobs_succeeded += result->counts.jobs_succeeded;
    total->counts.jobs_failed += result->counts.jobs_failed;
    total->counts.jobs_cancelled += result->counts.jobs_cancelled;
    total->counts.attempts += result->counts.attempts;
    total->counts.preemptions += result->counts.preemptions;
    total->counts.charges += result->counts.charges;
}

static void print_totals(uint64_t seeds, uint64_t failed, const struct sim_result *total)
{
    const struct invariants_counts *counts = &total->counts;
    printf("%" PRIu64 " seeds, %" PRIu64 " failed: %" PRId64 " steps, %" PRId64 " reloads, %" PRIu64
           " jobs (%" PRIu64 " succeeded, %" PRIu64 " failed, %" PRIu64 " cancelled), %" PRIu64
           " attempts, %" PRIu64 " preemptions, %" PRIu64 " charges\n",
        seeds, failed, total->steps, total->loads, counts->jobs_accepted, counts->jobs_succeeded,
        counts->jobs_failed, counts->jobs_cancelled, counts->attempts, counts->preemptions,
        counts->charges);
}

static int run_seeds(const struct sim_arguments *arguments, FILE *trace)
{
    struct sim_result total = {0};
    uint64_t failed = 0, seeds = 0;
    for (uint64_t seed = arguments->first; seed <= arguments->last; seed++) {
        struct sim_options options = arguments->options;
        struct sim_result result;
        struct error err = {0};
        options.seed = seed;
        options.trace = trace;
        seeds++;
        if (sim_run(&options, &result, &err) < 0) {
            failed++;
            print_failure(arguments, seed, &err);
        }
        if (arguments->digest)
            printf("%" PRIu64 " %016" PRIx64 "\n", seed, result.digest);
        totals_add(&total, &result);
        if (seed == UINT64_MAX || failed == FAILURES_SHOWN_MAX ||
            (failed && !arguments->keep_going))
            break;
    }
    if (!arguments->digest)
        print_totals(seeds, failed, &total);
    return failed ? 1 : 0;
}

static int run_bench(const struct sim_arguments *arguments)
{
    struct sim_bench_result result;
    struct error err;
    if (sim_bench(
            arguments->bench_nodes, arguments->bench_jobs, clock_monotonic_ns, &result, &err) < 0) {
        fprintf(stderr, "muster sim: %s\n", err.text);
        return 1;
    }
    printf("%" PRId64 " placements in %" PRId64 " ns, %" PRId64 " bytes a live job\n",
        result.placed, result.schedule_ns, result.jobs_live ? result.bytes / result.jobs_live : 0);
    return 0;
}

int sim_main(int argc, char **argv)
{
    struct sim_arguments arguments = {.first = 1, .last = 2000};
    FILE *trace = NULL;
    if (parse_arguments(argc, argv, &arguments) < 0)
        return 2;
    if (arguments.bench_nodes)
        return run_bench(&arguments);
    if (arguments.trace_path && strcmp(arguments.trace_path, "-") == 0)
        trace = stdout;
    else if (arguments.trace_path)
        trace = fopen(arguments.trace_path, "we");
    if (arguments.trace_path && !trace) {
        fprintf(stderr, "muster sim: %s: %s\n", arguments.trace_path, strerror(errno));
        return 1;
    }
    int status = run_seeds(&arguments, trace);
    if (trace && trace != stdout && fclose(trace) != 0)
        status = 1;
    return status;
}
