/* A runtime for models of XGBoost, an executable of its own:
 *
 *     muster-xgboost serve --model DIR --name NAME [--version N] (--socket PATH | --port N)
 *     muster-xgboost score --model DIR --data DIR --output DIR [--shard I --shards N]
 *
 * How it ends says what is wrong, so that whoever runs it can tell without reading a log: 64 wrong
 * arguments, 65 the model or the data is not of its format, 66 a file is missing, 73 the socket or
 * port cannot be had, 74 any other error. The statuses are those of sysexits.h. */
#include "base/memory.h"
#include "booster.h"
#include "score.h"
#include "serve.h"

#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct arguments {
    const char *model, *name, *version, *socket, *data, *output;
    int64_t port, threads, shard, shards;
};

/* Options by number in the table of main: where each goes, as text or as a number. */
struct option_place {
    const char **text;
    int64_t *number;
    int64_t most;
};

static int fail(int status, const struct error *err)
{
    fprintf(stderr, "xgboost: %s\n", err->text);
    return status;
}

static int load_status(const struct error *err)
{
    return err->code == ERR_NOT_FOUND ? EX_NOINPUT
           : err->code == ERR_INVALID ? EX_DATAERR
                                      : EX_IOERR;
}

static int run_serve(const struct arguments *arguments)
{
    struct error err;
    struct booster *booster;
    if (booster_open(arguments->model, (int)arguments->threads, &booster, &err) < 0) {
        error_prefix(&err, err.code == ERR_INVALID ? "wrong format" : "cannot load the model");
        return fail(load_status(&err), &err);
    }
    const struct serve_options options = {.name = arguments->name,
        .version = arguments->version,
        .socket = arguments->port ? NULL : arguments->socket,
        .port = (uint16_t)arguments->port};
    int result = serve(booster, &options, &err);
    booster_close(booster);
    if (result < 0) {
        error_prefix(&err, "bad port");
        return fail(EX_CANTCREAT, &err);
    }
    return 0;
}

static int run_score(const struct arguments *arguments)
{
    struct error err;
    struct booster *booster;
    int64_t rows;
    if (booster_open(arguments->model, (int)arguments->threads, &booster, &err) < 0)
        return fail(load_status(&err), &err);
    const struct score_options options = {.data = arguments->data,
        .output = arguments->output,
        .shard = arguments->shard,
        .shards = arguments->shards};
    int result = score(booster, &options, &rows, &err);
    booster_close(booster);
    if (result < 0)
        return fail(load_status(&err), &err);
    printf("xgboost: %lld rows scored\n", (long long)rows);
    return 0;
}

/* false: an option is unknown or its value is no number in its range. */
static bool parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"model", required_argument, NULL, 0},
        {"name", required_argument, NULL, 1}, {"version", required_argument, NULL, 2},
        {"socket", required_argument, NULL, 3}, {"data", required_argument, NULL, 4},
        {"output", required_argument, NULL, 5}, {"port", required_argument, NULL, 6},
        {"threads", required_argument, NULL, 7}, {"shard", required_argument, NULL, 8},
        {"shards", required_argument, NULL, 9}, {NULL}};
    const struct option_place places[] = {{.text = &arguments->model}, {.text = &arguments->name},
        {.text = &arguments->version}, {.text = &arguments->socket}, {.text = &arguments->data},
        {.text = &arguments->output}, {.number = &arguments->port, .most = 65535},
        {.number = &arguments->threads, .most = 1024},
        {.number = &arguments->shard, .most = INT_MAX},
        {.number = &arguments->shards, .most = INT_MAX}};
    int found;
    while ((found = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (found == '?')
            return false;
        const struct option_place *place = &places[found];
        if (place->text) {
            *place->text = optarg;
            continue;
        }
        char *end;
        *place->number = strtoll(optarg, &end, 10);
        if (*end || end == optarg || *place->number < 0 || *place->number > place->most) {
            fprintf(stderr, "xgboost: --%s: expected a number from 0 to %lld, got \"%s\"\n",
                options[found].name, (long long)place->most, optarg);
            return false;
        }
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.name = "model",
        .version = "1",
        .socket = getenv("MUSTER_SOCKET"),
        .data = getenv("MUSTER_INPUT_DATA"),
        .output = getenv("MUSTER_OUTPUT_SCORES"),
        .threads = 1,
        .shards = 1};
    bool serving = argc > 1 && strcmp(argv[1], "serve") == 0;
    bool scoring = argc > 1 && strcmp(argv[1], "score") == 0;
    bool right = (serving || scoring) && parse(argc - 1, argv + 1, &arguments) && arguments.model;
    if (serving)
        right = right && (arguments.socket || arguments.port);
    if (scoring)
        right = right && arguments.data && arguments.output && arguments.shard < arguments.shards;
    if (!right) {
        fprintf(stderr, "usage: muster-xgboost serve --model DIR --name NAME [--version N] "
                        "(--socket PATH | --port N) [--threads N]\n"
                        "       muster-xgboost score --model DIR --data DIR --output DIR "
                        "[--shard I --shards N] [--threads N]\n");
        return EX_USAGE;
    }
    arguments.threads = arguments.threads ? arguments.threads : 1;
    return serving ? run_serve(&arguments) : run_score(&arguments);
}
