/* muster gateway: the inference data plane, as a service manager or `muster up` runs it. */
#include "cli/serve.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "base/memory.h"
#include "cli/paths.h"
#include "gateway/gateway.h"

#include <string.h>
#include <sys/stat.h>

enum { SECRET_BYTES_MAX = 4096, CACHE_WAIT_MS_MAX = 10000 };

static const struct option_spec options[] = {
    {"data", 'D', OPTION_TEXT, "DIR", "the server's data directory", NULL, "MUSTER_DATA"},
    {"listen", 'L', OPTION_TEXT, "HOST:PORT",
        "where requests come in; 127.0.0.1:8080 by default, other machines only with TLS"},
    {"cert", 0, OPTION_TEXT, "FILE", "the certificate chain for TLS (PEM)"},
    {"key", 0, OPTION_TEXT, "FILE", "its private key (PEM)"},
    {"workers", 0, OPTION_NUMBER, "COUNT",
        "threads; one for each CPU it may use by default, at most 16"},
    {"requests-per-second", 0, OPTION_NUMBER, "COUNT",
        "of one address at one worker; no limit by default"},
    {"cache-bytes", 0, OPTION_NUMBER, "BYTES",
        "of all answers that are kept to be given again; 268435456 by default"},
    {"cache-redis", 0, OPTION_TEXT, "ADDRESS",
        "keep answers of services with `cache.shared` for other gateways too, in Redis or Valkey: "
        "unix:/PATH or redis://ADDRESS:PORT"},
    {"cache-secret", 0, OPTION_TEXT, "FILE",
        "what those gateways have in common, 32 bytes or more that nobody else may read: answers "
        "are sealed with it"},
    {"cache-wait", 0, OPTION_DURATION, "DURATION",
        "how long a request waits for such an answer; 20ms by default"},
    {"access-log-bytes", 0, OPTION_NUMBER, "BYTES",
        "of the access log before it becomes the older one; 67108864 by default"},
    {"drain", 0, OPTION_DURATION, "DURATION",
        "how long requests under way may go on at the end; 30s by default"},
    {"event-keep-alive", 0, OPTION_DURATION, "DURATION",
        "silence in a stream of events before a comment is sent; 15s by default"},
    {"replace", 0, OPTION_FLAG, NULL,
        "take over from the gateway that runs on the data directory: no connection is refused"},
    {"limits-redis", 0, OPTION_TEXT, "ADDRESS",
        "share the counters of limits with other gateways through Redis or Valkey: unix:/PATH or "
        "redis://ADDRESS:PORT"},
    {"limits-away", 0, OPTION_CHOICE, "WHAT",
        "while that is away: each gateway admits the whole limit (local), its share of it (share), "
        "or refuses what is limited; share by default",
        "local|share|refuse"},
    {"limits-gateways", 0, OPTION_NUMBER, "COUNT",
        "how many gateways share the counters; 2 by default"},
    {"limits-wait", 0, OPTION_DURATION, "DURATION",
        "how long an answer is waited for; 100ms by default"},
    {"traces", 0, OPTION_TEXT, "ADDRESS",
        "export spans by OTLP to the collector at http://HOST:PORT, https://HOST:PORT or "
        "unix:/PATH",
        NULL, "MUSTER_COLLECTOR"},
    {"traces-ratio", 0, OPTION_TEXT, "PART",
        "of traces that begin here, from 0 to 1: those that come with a context do as it says; 1 "
        "by "
        "default",
        NULL, "MUSTER_COLLECTOR_RATIO"},
    {"traces-period", 0, OPTION_DURATION, "DURATION", "how often spans are sent; 1s by default"},
    {"trust", 0, OPTION_TEXT, "FILE",
        "certificates to trust (PEM) at a collector, hooks and classifiers over https; the "
        "system's "
        "by default",
        NULL, "MUSTER_TRUST"},
    {"log", 0, OPTION_CHOICE, "LEVEL", "the least that is logged", "debug|info|warn|error"},
    {NULL},
};

static enum limit_away away_of(const char *word)
{
    if (word && !strcmp(word, "local"))
        return LIMIT_AWAY_LOCAL;
    return word && !strcmp(word, "refuse") ? LIMIT_AWAY_REFUSE : LIMIT_AWAY_SHARE;
}

/* Whoever has it can make answers that every gateway believes. */
static int read_secret(const char *path, struct cache_secret *ret, struct error *err)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t length;
    struct stat info;
    if (file_read(path, SECRET_BYTES_MAX, &text, &length, err) < 0)
        return error_prefix(err, "--cache-secret");
    if (stat(path, &info) < 0)
        return error_set_errno(err, "--cache-secret: %s", path);
    if (info.st_mode & 077)
        return error_set(err, ERR_INVALID,
            "--cache-secret: %s can be read by others than its owner: chmod 600 it", path);
    if (length < CACHE_SECRET_TEXT_MIN)
        return error_set(err, ERR_INVALID,
            "--cache-secret: %s has %zu bytes, expected at least %d, such as of `openssl rand -hex "
            "32`",
            path, length, (int)CACHE_SECRET_TEXT_MIN);
    cache_secret_make(ret, text, length);
    return 0;
}

static int read_cache(const struct cli *cli, struct cache_shared_options *ret, struct error *err)
{
    const char *secret = arguments_text(cli->args, "cache-secret");
    ret->address = arguments_text(cli->args, "cache-redis");
    ret->wait_ms = arguments_number(cli->args, "cache-wait", 20);
    if (!ret->address != !secret)
        return error_set(err, ERR_INVALID, "--cache-redis and --cache-secret belong together");
    if (ret->wait_ms < 1 || ret->wait_ms > CACHE_WAIT_MS_MAX)
        return error_set(err, ERR_INVALID, "--cache-wait: expected 1ms to 10s");
    return secret ? read_secret(path_absolute(cli->arena, secret), &ret->secret, err) : 0;
}

static int run(struct cli *cli, struct error *err)
{
    const char *data = serve_data_dir(cli, err);
    if (!data)
        return -1;
    const char *cert = arguments_text(cli->args, "cert"), *key = arguments_text(cli->args, "key");
    struct gateway_config config = {
        .data_dir = data,
        .listen = arguments_text(cli->args, "listen"),
        .tls_cert = cert ? path_absolute(cli->arena, cert) : NULL,
        .tls_key = key ? path_absolute(cli->arena, key) : NULL,
        .workers = (int)arguments_number(cli->args, "workers", 0),
        .requests_per_s = arguments_number(cli->args, "requests-per-second", 0),
        .access_log_bytes = arguments_number(cli->args, "access-log-bytes", 0),
        .cache_bytes = arguments_number(cli->args, "cache-bytes", 0),
        .drain_ms = arguments_number(cli->args, "drain", 0),
        .keep_alive_ms = arguments_number(cli->args, "event-keep-alive", 0),
        .replace = arguments_flag(cli->args, "replace"),
        .limits = {.address = arguments_text(cli->args, "limits-redis"),
            .away = away_of(arguments_text(cli->args, "limits-away")),
            .gateways = arguments_number(cli->args, "limits-gateways", 2),
            .wait_ms = arguments_number(cli->args, "limits-wait", 100)},
        .ready_fd = -1,
    };
    if (!config.tls_cert != !config.tls_key)
        return error_set(err, ERR_INVALID, "--cert and --key belong together");
    if (config.workers < 0 || config.workers > 16)
        return error_set(err, ERR_INVALID, "--workers: expected 1 to 16");
    if (config.limits.gateways < 1 || config.limits.wait_ms < 1)
        return error_set(
            err, ERR_INVALID, "--limits-gateways and --limits-wait: expected at least 1");
    if (config.requests_per_s > UINT32_MAX)
        return error_set(err, ERR_INVALID, "--requests-per-second: expected less");
    if (read_cache(cli, &config.cache, err) < 0 || serve_traces(cli, &config.traces, err) < 0)
        return -1;
    config.trust = config.traces.trust;
    serve_log_level(cli);
    return gateway_run(&config, err);
}

const struct verb verb_gateway = {
    .name = "gateway",
    .operands = "",
    .summary = "run the gateway, which passes requests on to the replicas of services",
    .description =
        "It speaks the Open Inference Protocol v2 and the OpenAI API, checks keys, chooses among "
        "replicas and counts usage. It gets its routes from the server on the same data directory, "
        "keeps them on disk, and goes on without the server. SIGHUP reads the certificates again "
        "and opens the access log anew; SIGTERM lets requests under way end first.",
    .examples = "muster gateway --data /srv/muster\n"
                "muster gateway --listen :8443 --cert chain.pem --key key.pem",
    .options = options,
    .scope = VERB_ALONE,
    .run = run,
};
