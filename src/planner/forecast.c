/* Forecasts: see forecast.h. A run changes the core it runs on, so each has a copy: a fork of this
 * process, which shares all memory until it writes. The runs' results lie in memory that is really
 * shared. */
#include "planner/forecast.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/vec.h"
#include "planner/forward.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct run_end {
    int64_t reached_ms, ticks;
    bool cut, done;
};

/* Of a job in a run. */
struct cell {
    int64_t start_ms, end_ms, cost_nano;
};

struct forecast {
    uint64_t *jobs;
    size_t count;
    uint64_t *pools; /* ids ascending; none unless every pool is asked about */
    size_t pool_count;
    int runs; /* that are done; cells of those that failed are not among them */
    int64_t ticks;
    struct run_end ends[FORECAST_RUNS_MAX];
    struct cell *cells[FORECAST_RUNS_MAX];
    int64_t *offers[FORECAST_RUNS_MAX]; /* to the target, by pool */
    void *shared;
    size_t shared_bytes;
};

/* ---- in the child -------------------------------------------------------------------------- */

struct runner {
    struct forecast *forecast;
    const struct forecast_options *options;
    const struct core *core;
    struct cell *cells;
    int64_t *offers;
    int64_t stop_ns;
};

static size_t find_id(const uint64_t *ids, size_t count, uint64_t id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && ids[low] == id ? low : SIZE_MAX;
}

static void on_started(void *context, uint64_t job, int64_t at_ms)
{
    struct runner *runner = context;
    size_t i = forecast_find(runner->forecast, job);
    if (i != SIZE_MAX && !runner->cells[i].start_ms)
        runner->cells[i].start_ms = at_ms;
}

static void on_ended(void *context, uint64_t job, int64_t at_ms, enum end_reason reason)
{
    struct runner *runner = context;
    size_t i = forecast_find(runner->forecast, job);
    (void)reason;
    if (i != SIZE_MAX)
        runner->cells[i].end_ms = at_ms;
}

static void on_held(void *context, uint64_t job, int64_t cost_nano)
{
    struct runner *runner = context;
    size_t i = forecast_find(runner->forecast, job);
    if (i != SIZE_MAX)
        runner->cells[i].cost_nano += cost_nano;
}

static bool on_offer(void *context, uint64_t job, uint64_t pool, int64_t at_ms)
{
    struct runner *runner = context;
    const struct forecast_options *options = runner->options;
    if (options->every_pool && job == options->target) {
        size_t i = find_id(runner->forecast->pools, runner->forecast->pool_count, pool);
        assert(i != SIZE_MAX && !runner->offers[i]);
        runner->offers[i] = at_ms;
        on_started(context, job, at_ms);
        return true;
    }
    return find_id(options->staying, options->staying_count, job) != SIZE_MAX &&
           core_pool(runner->core, pool)->burst_budget_micro > 0;
}

static bool on_enough(void *context)
{
    const struct runner *runner = context;
    return clock_monotonic_ns() >= runner->stop_ns;
}

static void run_one(struct core *core, const struct forecast_options *options, int run,
    struct runner *runner, struct run_end *end)
{
    struct forward_options forward = {.history = options->history,
        .scenario = run,
        .scenarios = options->runs,
        .now_ms = options->now_ms,
        .until_ms = options->now_ms + options->horizon_ms,
        .target = options->target,
        .context = runner,
        .started = on_started,
        .ended = on_ended,
        .held = on_held,
        .declines = on_offer,
        .on_ms = FORECAST_ON_MS,
        .enough = on_enough};
    struct forward_result result;
    forward_run(core, &forward, &result);
    *end = (struct run_end){result.reached_ms, result.ticks, result.cut, true};
}

/* ---- the runs ------------------------------------------------------------------------------ */

static void list_job(void *context, enum row_kind kind, const void *row)
{
    struct forecast *forecast = context;
    (void)kind;
    forecast->jobs[forecast->count++] = *(const uint64_t *)row;
}

static void list_pool(void *context, enum row_kind kind, const void *row)
{
    struct forecast *forecast = context;
    (void)kind;
    forecast->pools =
        mem_resize(forecast->pools, forecast->pool_count + 1, sizeof *forecast->pools);
    forecast->pools[forecast->pool_count++] = *(const uint64_t *)row;
}

/* What a run leaves: its end, a cell for each job, a moment for each pool. */
static size_t run_bytes(const struct forecast *forecast)
{
    return sizeof(struct run_end) + forecast->count * sizeof(struct cell) +
           forecast->pool_count * sizeof(int64_t);
}

static int share(struct forecast *forecast, int runs, struct error *err)
{
    forecast->shared_bytes = run_bytes(forecast) * (size_t)runs;
    forecast->shared = mmap(
        NULL, forecast->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (forecast->shared == MAP_FAILED) {
        forecast->shared = NULL;
        return error_set_errno(err, "no memory for a forecast");
    }
    return 0;
}

static void *shared_run(const struct forecast *forecast, int run)
{
    return (char *)forecast->shared + run_bytes(forecast) * (size_t)run;
}

/* Runs one in a child and waits for it. */
static int fork_run(struct core *core, const struct forecast_options *options, int run,
    struct forecast *forecast, int64_t stop_ns, struct error *err)
{
    struct run_end *end = shared_run(forecast, run);
    struct cell *cells = (struct cell *)(void *)(end + 1);
    int64_t *offers = (int64_t *)(void *)(cells + forecast->count);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return error_set_errno(err, "no process for a forecast");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        struct runner runner = {forecast, options, core, cells, offers, stop_ns};
        run_one(core, options, run, &runner, end);
        _exit(0);
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    if (!end->done)
        return 0;
    forecast->ends[forecast->runs] = *end;
    forecast->offers[forecast->runs] = offers;
    forecast->cells[forecast->runs++] = cells;
    forecast->ticks += end->ticks;
    return 0;
}

static bool ascend(const uint64_t *ids, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (ids[i - 1] >= ids[i])
            return false;
    }
    return true;
}

struct forecast *forecast_make(
    struct core *core, const struct forecast_options *options, struct error *err)
{
    assert(options->runs >= 1 && options->runs <= FORECAST_RUNS_MAX);
    assert(ascend(options->staying, options->staying_count));
    struct core_counts counts;
    core_count(core, &counts);
    struct forecast *forecast = mem_alloc(1, sizeof *forecast);
    forecast->jobs = mem_alloc((size_t)counts.jobs_live + 1, sizeof *forecast->jobs);
    core_row_each(core, ROW_JOB, list_job, forecast);
    assert(forecast->count == (size_t)counts.jobs_live);
    if (options->every_pool)
        core_row_each(core, ROW_POOL, list_pool, forecast);
    if (share(forecast, options->runs, err) < 0) {
        forecast_free(forecast);
        return NULL;
    }
    int64_t begin_ns = clock_monotonic_ns(), budget_ns = options->budget_ms * 1000000;
    for (int run = 0; run < options->runs; run++) {
        int64_t left_ns = begin_ns + budget_ns - clock_monotonic_ns();
        if (run > 0 && left_ns <= 0)
            break;
        int64_t stop_ns = clock_monotonic_ns() + left_ns / (options->runs - run);
        if (fork_run(core, options, run, forecast, stop_ns, err) < 0 && forecast->runs == 0) {
            forecast_free(forecast);
            return NULL;
        }
    }
    return forecast;
}

void forecast_free(struct forecast *forecast)
{
    if (!forecast)
        return;
    if (forecast->shared)
        munmap(forecast->shared, forecast->shared_bytes);
    free(forecast->jobs);
    free(forecast->pools);
    free(forecast);
}

/* ---- reading ------------------------------------------------------------------------------- */

size_t forecast_count(const struct forecast *forecast)
{
    return forecast->count;
}

uint64_t forecast_job(const struct forecast *forecast, size_t i)
{
    assert(i < forecast->count);
    return forecast->jobs[i];
}

size_t forecast_find(const struct forecast *forecast, uint64_t job)
{
    return find_id(forecast->jobs, forecast->count, job);
}

int forecast_runs(const struct forecast *forecast)
{
    return forecast->runs;
}

static const struct cell *cell_of(const struct forecast *forecast, int run, size_t i)
{
    assert(run >= 0 && run < forecast->runs && i < forecast->count);
    return &forecast->cells[run][i];
}

int64_t forecast_start(const struct forecast *forecast, int run, size_t i)
{
    return cell_of(forecast, run, i)->start_ms;
}

int64_t forecast_end(const struct forecast *forecast, int run, size_t i)
{
    return cell_of(forecast, run, i)->end_ms;
}

int64_t forecast_cost(const struct forecast *forecast, int run, size_t i)
{
    return cell_of(forecast, run, i)->cost_nano;
}

int64_t forecast_offer(const struct forecast *forecast, int run, uint64_t pool)
{
    size_t i = find_id(forecast->pools, forecast->pool_count, pool);
    assert(run >= 0 && run < forecast->runs);
    return i != SIZE_MAX ? forecast->offers[run][i] : 0;
}

bool forecast_cut(const struct forecast *forecast, int run, int64_t *ret_reached_ms)
{
    assert(run >= 0 && run < forecast->runs);
    *ret_reached_ms = forecast->ends[run].reached_ms;
    return forecast->ends[run].cut;
}

int64_t forecast_ticks(const struct forecast *forecast)
{
    return forecast->ticks;
}

void spread_of(const int64_t *moments, int count, struct spread *ret)
{
    int64_t sorted[FORECAST_RUNS_MAX];
    assert(count >= 0 && count <= FORECAST_RUNS_MAX);
    *ret = (struct spread){.of = count, .low = INT64_MAX, .median = INT64_MAX, .high = INT64_MAX};
    for (int i = 0; i < count; i++) {
        int64_t value = moments[i] ? moments[i] : INT64_MAX;
        int at = i;
        for (; at > 0 && sorted[at - 1] > value; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = value;
        ret->known += moments[i] != 0;
    }
    if (count == 0)
        return;
    ret->low = sorted[0];
    ret->median = sorted[(count - 1) / 2];
    ret->high = sorted[count - 1];
}
