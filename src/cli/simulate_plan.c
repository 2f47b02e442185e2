/* Options of muster simulate. Each has its habit, most of them the trace format's. */
#include "cli/simulate_plan.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "core/allot.h"
#include "core/policy.h"
#include "trace/readers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SEEDS_MAX = 10000, HOUR_MS = 3600 * 1000, SCALE_MAX = 1000000000, REPEAT_MAX = 1000000 };

const struct option_spec simulate_options[] = {
    {"format", 'f', OPTION_TEXT, "NAME",
        "what the trace is written in: csv, openb, philly, pollux, shockwave, elasticflow, gaia, "
        "gaia-week; or synthetic, for jobs that are drawn"},
    {"jobs", 'j', OPTION_TEXT, "FILE",
        "the jobs, compressed with gzip or not; with synthetic, how many"},
    {"pods", 0, OPTION_TEXT, "FILE", "the same, as openb calls them"},
    {"nodes", 'n', OPTION_TEXT, "FILE", "the machines (csv and openb)"},
    {"cluster", 'c', OPTION_TEXT, "NODESxDEVICES[:TYPE][/CPUS]",
        "equal machines instead: 16x4 are 16 nodes of 4 accelerators; by default those that the "
        "trace's paper has"},
    {"policy", 'p', OPTION_TEXT, "NAME[+NAME]",
        "how a node is chosen, who runs with how many ranks, who gives way, who uses spot "
        "capacity when: of each one name; by default as the live scheduler does"},
    {"seeds", 's', OPTION_TEXT, "FIRST[-LAST]", "a run for each; 42 where nothing is said"},
    {"tune", 0, OPTION_TEXT, "SHARE",
        "openb: jobs arrive until they ask for this share of the accelerators; 1.3"},
    {"steady", 0, OPTION_FLAG, NULL,
        "openb: jobs come and go at the trace's own times instead of only arriving"},
    {"scale-arrivals", 0, OPTION_TEXT, "FACTOR", "jobs come so many times as fast"},
    {"repeat", 0, OPTION_NUMBER, "TIMES", "the trace comes so many times, one after the other"},
    {"model", 'm', OPTION_TEXT, "NAME", "how fast jobs run; by default the format's own"},
    {"speeds", 0, OPTION_TEXT, "PATH", "the measured speeds that the model needs"},
    {"restart", 0, OPTION_DURATION, "TIME", "what starting again costs a job"},
    {"checkpoint", 0, OPTION_DURATION, "TIME",
        "how often jobs save their work where the trace does not say"},
    {"checkpoint-max", 0, OPTION_DURATION, "TIME",
        "the same, each job at an interval of its own, drawn between --checkpoint and this"},
    {"urgent", 0, OPTION_TEXT, "SHARE",
        "so many of the jobs, drawn, have priority urgent; 0.05 are 5%"},
    {"low", 0, OPTION_TEXT, "SHARE", "the same with priority low"},
    {"grace", 0, OPTION_DURATION, "TIME", "how long a job that is stopped goes on; 0s"},
    {"round", 0, OPTION_DURATION, "TIME", "how often policies that have rounds decide"},
    {"step", 0, OPTION_DURATION, "TIME",
        "the scheduler sees what happened only at multiples of this"},
    {"deadlines", 0, OPTION_FLAG, NULL,
        "jobs that pass their deadline are ended; without it that is measured and no more"},
    {"node-mtbf", 0, OPTION_DURATION, "TIME", "each node fails, after so long on average"},
    {"node-mttr", 0, OPTION_DURATION, "TIME", "and is repaired after so long; 1h"},
    {"spot-events", 0, OPTION_TEXT, "FILE",
        "machines that are added and removed: lines of milliseconds,add|remove,name"},
    {"spot-node", 0, OPTION_TEXT, "DEVICES[:TYPE][/CPUS]", "what each of them has; 1"},
    {"spot-price", 0, OPTION_TEXT, "PRICE", "of each of them, for an hour; free"},
    {"until", 0, OPTION_DURATION, "TIME", "ends the run at this moment of the trace"},
    {"jobs-max", 0, OPTION_NUMBER, "COUNT", "takes the first jobs of the trace only"},
    {"html", 0, OPTION_TEXT, "FILE", "also writes a page with plots"},
    {"csv", 0, OPTION_TEXT, "FILE", "also writes a line for each job that ended"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|csv"},
    {NULL},
};

static int seeds_parse(const char *text, uint64_t *ret_first, uint64_t *ret_last, struct error *err)
{
    char *end;
    errno = 0;
    uint64_t first = strtoull(text, &end, 10), last = first;
    bool fine = *text >= '0' && *text <= '9';
    if (fine && *end == '-') {
        const char *second = end + 1;
        fine = *second >= '0' && *second <= '9';
        last = strtoull(second, &end, 10);
    }
    if (!fine || errno || *end || last < first || last - first >= SEEDS_MAX)
        return error_set(err, ERR_INVALID,
            "--seeds: expected a number or FIRST-LAST of at most %d seeds, got \"%.60s\"",
            SEEDS_MAX, text);
    *ret_first = first;
    *ret_last = last;
    return 0;
}

/* ---- names ----------------------------------------------------------------------------- */

static const char *format_name(size_t i)
{
    const struct trace_format *format = trace_format_at(i);
    return format ? format->name : NULL;
}

static const char *model_name(size_t i)
{
    return model_types[i] ? model_types[i]->name : NULL;
}

typedef const char *names_fn(size_t i);

static void names_print(names_fn *names, struct strbuf *list)
{
    for (size_t i = 0; names(i); i++)
        strbuf_printf(list, "%s%s", list->length ? ", " : "", names(i));
}

/* "--format: there is no NAME; there are a, b, c". */
static int unknown(const char *option, const char *name, names_fn *names, struct error *err)
{
    struct strbuf list = {0};
    names_print(names, &list);
    error_set(err, name ? ERR_NOT_FOUND : ERR_INVALID, "--%s: %s%.60s; there are %s", option,
        name ? "there is no " : "one is needed", name ? name : "", strbuf_text(&list));
    strbuf_finish(&list);
    return -1;
}

/* ---- parts ----------------------------------------------------------------------------- */

static int policy_parse(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    plan->policy = arguments_text(cli->args, "policy");
    if (!plan->policy)
        plan->policy = policy_name(POLICY_PLACEMENT, 0);
    if (policy_choose(&plan->run.core, plan->policy, err) < 0)
        return error_prefix(err, "--policy");
    const struct allotment_policy *rounds = allot_find(plan->run.core.allotment);
    plan->run.deadlines = plan->run.deadlines || rounds->late_goes_on;
    plan->run.core.round_anchor_ms = RUN_EPOCH_MS;
    plan->run.core.round_ms = arguments_number(cli->args, "round", 0);
    plan->run.progress_ms =
        rounds->round_ms && plan->run.core.round_ms ? plan->run.core.round_ms : rounds->round_ms;
    return 0;
}

static int milli_option(
    struct cli *cli, const char *name, const char *habit, int64_t *ret, struct error *err)
{
    const char *text = arguments_text(cli->args, name);
    text = text ? text : habit;
    if (quantity_parse_milli(text, ret, err) < 0)
        return error_prefix(err, "--%s", name);
    if (*ret < 1 || *ret > SCALE_MAX)
        return error_set(err, ERR_INVALID, "--%s: expected 0.001 to %d, got %.60s", name,
            SCALE_MAX / 1000, text);
    return 0;
}

static int share_option(struct cli *cli, const char *name, int64_t *ret, struct error *err)
{
    const char *text = arguments_text(cli->args, name);
    int64_t milli = 0;
    if (text && quantity_parse_milli(text, &milli, err) < 0)
        return error_prefix(err, "--%s", name);
    if (milli > 1000)
        return error_set(
            err, ERR_INVALID, "--%s: expected a share from 0 to 1, got %.60s", name, text);
    *ret = milli;
    return 0;
}

static int mark_parse(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    if (share_option(cli, "urgent", &plan->mark.urgent_milli, err) < 0 ||
        share_option(cli, "low", &plan->mark.low_milli, err) < 0)
        return -1;
    if (plan->mark.urgent_milli + plan->mark.low_milli > 1000)
        return error_set(err, ERR_INVALID, "--urgent and --low: together more than all jobs");
    plan->mark.interval_ms = arguments_number(cli->args, "checkpoint", 0);
    plan->mark.interval_max_ms =
        arguments_number(cli->args, "checkpoint-max", plan->mark.interval_ms);
    if (plan->mark.interval_max_ms < plan->mark.interval_ms)
        return error_set(err, ERR_INVALID, "--checkpoint-max: expected at least --checkpoint");
    return 0;
}

/* What would be passed over without a word: an option that only means something with another one,
 * and one that only means something to openb. (A flag is whether an option was given.) */
static int idle_options_refuse(
    const struct arguments *args, const struct trace_format *format, struct error *err)
{
    static const struct {
        const char *option, *needs;
    } pairs[] = {{"spot-node", "spot-events"}, {"spot-price", "spot-events"},
        {"node-mttr", "node-mtbf"}, {"checkpoint-max", "checkpoint"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (arguments_flag(args, pairs[i].option) && !arguments_flag(args, pairs[i].needs))
            return error_set(err, ERR_INVALID, "--%s: says nothing without --%s", pairs[i].option,
                pairs[i].needs);
    }
    if (arguments_flag(args, "jobs") && arguments_flag(args, "pods"))
        return error_set(err, ERR_INVALID, "--jobs and --pods: one of them, they say the same");
    static const char *const of_openb[] = {"tune", "steady"};
    for (size_t i = 0; i < ARRAY_LEN(of_openb) && !format->arrivals; i++) {
        if (arguments_flag(args, of_openb[i]))
            return error_set(err, ERR_INVALID, "--%s: %s has no arrivals without ends, openb has",
                of_openb[i], format->name);
    }
    return 0;
}

static int trace_parse(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    const char *format = arguments_text(cli->args, "format");
    const char *model = arguments_text(cli->args, "model");
    plan->format = format ? trace_format_find(format) : NULL;
    if (!plan->format)
        return unknown("format", format, format_name, err);
    if (idle_options_refuse(cli->args, plan->format, err) < 0)
        return -1;
    plan->jobs = arguments_text(cli->args, "jobs");
    if (!plan->jobs)
        plan->jobs = arguments_text(cli->args, "pods");
    if (!plan->jobs)
        return error_set(err, ERR_INVALID, "--jobs: the trace's file of jobs is needed");
    plan->model = model ? model_find(model) : model_of_format(plan->format->name);
    if (!plan->model)
        return unknown("model", model, model_name, err);
    plan->repeat = arguments_number(cli->args, "repeat", 1);
    if (plan->repeat < 1 || plan->repeat > REPEAT_MAX)
        return error_set(err, ERR_INVALID, "--repeat: expected 1 to %d", REPEAT_MAX);
    plan->steady = arguments_flag(cli->args, "steady");
    plan->run.mode = plan->format->arrivals && !plan->steady ? RUN_ARRIVALS : RUN_EVENTS;
    return 0;
}

static void times_take(struct cli *cli, struct simulate_plan *plan)
{
    const struct arguments *args = cli->args;
    struct run_options *run = &plan->run;
    plan->speeds.restart_ms = arguments_number(args, "restart", -1);
    plan->speeds.checkpoint_ms = arguments_number(args, "checkpoint", 0);
    plan->speeds.speeds = arguments_text(args, "speeds");
    run->restart_ms = plan->speeds.restart_ms > 0 ? plan->speeds.restart_ms : 0;
    run->grace_ms = arguments_number(args, "grace", 0);
    run->step_ms = arguments_number(args, "step", 0);
    run->deadlines = arguments_flag(args, "deadlines");
    run->node_mtbf_ms = arguments_number(args, "node-mtbf", 0);
    run->node_mttr_ms = arguments_number(args, "node-mttr", HOUR_MS);
    run->until_ms = arguments_number(args, "until", 0);
    run->jobs_max = arguments_number(args, "jobs-max", 0);
    run->sample_ms = HOUR_MS;
    run->curve = arguments_text(args, "html") != NULL;
}

/* ---- machines -------------------------------------------------------------------------- */

/* Each machine that the events name, down until they add it. */
static int spot_add(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    const char *each = arguments_text(cli->args, "spot-node");
    struct trace_cluster like;
    trace_cluster_init(&like);
    int failed =
        trace_cluster_parse(&like, arena_printf(cli->arena, "1x%s", each ? each : "1"), err);
    int64_t price_milli = 0;
    if (failed == 0 && arguments_text(cli->args, "spot-price"))
        failed = milli_option(cli, "spot-price", NULL, &price_milli, err);
    struct strmap seen = {0};
    for (size_t i = 0; failed == 0 && i < plan->events.items.count; i++) {
        const char *name = plan->events.items.items[i].node;
        if (strmap_get(&seen, name))
            continue;
        strmap_put(&seen, name, plan);
        struct trace_node node = like.nodes.items[0];
        node.spot = true;
        node.absent = true;
        node.type = price_milli ? "spot" : node.type;
        node.hour_micro = price_milli * 1000;
        trace_cluster_add(&plan->cluster, &node, 1, name);
    }
    strmap_finish(&seen);
    trace_cluster_finish(&like);
    return failed < 0 ? error_prefix(err, "--spot-node") : 0;
}

static int spot_read(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    const char *path = arguments_text(cli->args, "spot-events");
    if (!path)
        return 0;
    if (trace_events_read(&plan->events, path, err) < 0)
        return -1;
    plan->run.events = &plan->events;
    return spot_add(cli, plan, err);
}

static int cluster_read(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    const char *nodes = arguments_text(cli->args, "nodes");
    const char *text = arguments_text(cli->args, "cluster");
    if (nodes && !plan->format->nodes)
        return error_set(err, ERR_INVALID,
            "--nodes: %s has no file of machines: say --cluster instead", plan->format->name);
    if (nodes)
        return plan->format->nodes(&plan->cluster, nodes, err);
    text = text ? text : plan->format->cluster;
    if (!text)
        return error_set(err, ERR_INVALID,
            "--nodes or --cluster: %s does not say which machines there are", plan->format->name);
    return trace_cluster_parse(&plan->cluster, text, err) < 0 ? error_prefix(err, "--cluster") : 0;
}

/* What can be said only when all machines are known. */
static int cluster_check(const struct simulate_plan *plan, struct error *err)
{
    const struct trace_cluster *cluster = &plan->cluster;
    const char *twice = NULL;
    struct strmap seen = {0};
    for (size_t i = 0; i < cluster->nodes.count && !twice; i++) {
        const char *name = cluster->nodes.items[i].name;
        if (strmap_get(&seen, name))
            twice = name;
        else
            strmap_put(&seen, name, (void *)name);
    }
    strmap_finish(&seen);
    if (twice)
        return error_set(
            err, ERR_INVALID, "there are two machines %.60s: names are each one's own", twice);
    if (cluster->nodes.count == 0)
        return error_set(err, ERR_INVALID, "--nodes: the file names no machine");
    if (plan->run.mode == RUN_ARRIVALS && trace_cluster_accelerator_milli(cluster) == 0)
        return error_set(err, ERR_INVALID,
            "--nodes: none of the machines has an accelerator, and arrivals are counted by them: "
            "say --steady");
    return 0;
}

/* A pipe can be read once; openb and several seeds need the file again. */
static int jobs_check(const struct simulate_plan *plan, struct error *err)
{
    struct stat file;
    bool again = plan->format->arrivals || plan->last_seed > plan->first_seed;
    if (!again || stat(plan->jobs, &file) < 0 || S_ISREG(file.st_mode) || S_ISDIR(file.st_mode))
        return 0;
    return error_set(err, ERR_INVALID,
        "--jobs: %s is no file that can be read more than once, as it has to be here: write it to "
        "one",
        plan->jobs);
}

/* Typical shapes are those of the whole list, whatever the seed draws from it. */
static int mix_read(struct simulate_plan *plan, struct error *err)
{
    if (!plan->format->arrivals)
        return 0;
    struct trace_list *list = openb_pods_read(plan->jobs, err);
    if (!list)
        return -1;
    plan->mix = fragment_mix_create(list);
    plan->run.mix = plan->mix;
    /* FGD's authors count the trace's shapes before the first job comes. */
    if (plan->run.core.placement && strcmp(plan->run.core.placement, "fgd") == 0) {
        plan->known = list;
        plan->run.known = list;
        plan->run.core.mix_once = true;
        return 0;
    }
    trace_list_destroy(list);
    return 0;
}

int simulate_plan_make(struct cli *cli, struct simulate_plan *plan, struct error *err)
{
    const char *seeds = arguments_text(cli->args, "seeds");
    *plan = (struct simulate_plan){0};
    trace_cluster_init(&plan->cluster);
    times_take(cli, plan);
    if (trace_parse(cli, plan, err) < 0 || policy_parse(cli, plan, err) < 0 ||
        seeds_parse(seeds ? seeds : "42", &plan->first_seed, &plan->last_seed, err) < 0 ||
        milli_option(cli, "tune", "1.3", &plan->tune_milli, err) < 0 ||
        milli_option(cli, "scale-arrivals", "1", &plan->run.scale_arrivals_milli, err) < 0 ||
        mark_parse(cli, plan, err) < 0)
        return -1;
    if (jobs_check(plan, err) < 0 || cluster_read(cli, plan, err) < 0 ||
        spot_read(cli, plan, err) < 0 || cluster_check(plan, err) < 0)
        return -1;
    plan->run.cluster = &plan->cluster;
    plan->speeds.cluster = &plan->cluster;
    return mix_read(plan, err);
}

void simulate_plan_finish(struct simulate_plan *plan)
{
    fragment_mix_destroy(plan->mix);
    trace_list_destroy(plan->known);
    trace_events_finish(&plan->events);
    trace_cluster_finish(&plan->cluster);
}

int simulate_plan_run(const struct simulate_plan *plan, uint64_t seed,
    const struct run_observer *observer, struct metrics *ret_metrics, struct error *err)
{
    const struct trace_options trace = {.jobs = plan->jobs,
        .seed = seed,
        .tune_milli = plan->tune_milli,
        .cluster_milli = trace_cluster_accelerator_milli(&plan->cluster),
        .steady = plan->steady};
    struct run_options run = plan->run;
    SCOPED(trace_cluster_finish) struct trace_cluster shuffled = {0};
    if (run.mode == RUN_ARRIVALS) { /* what ties leave open goes by the order of nodes */
        trace_cluster_shuffle(&plan->cluster, seed, &shuffled);
        run.cluster = &shuffled;
    }
    run.seed = seed;
    run.observer = *observer;
    run.model = plan->model->create(&plan->speeds, err);
    run.source = run.model ? plan->format->open(&trace, err) : NULL;
    if (run.source && plan->repeat > 1)
        run.source = trace_repeat(run.source, plan->repeat, err);
    if (run.source &&
        (plan->mark.urgent_milli || plan->mark.low_milli || plan->mark.interval_max_ms))
        run.source = trace_mark(run.source, &plan->mark, seed);
    int failed = run.source ? run_simulate(&run, ret_metrics, err) : -1;
    trace_close(run.source);
    if (run.model)
        run.model->type->destroy(run.model);
    return failed;
}
