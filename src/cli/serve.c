/* The server in this process: options to configuration. */
#include "cli/serve.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "cli/paths.h"
#include "core/policy.h"
#include "server/server.h"
#include "wire/otlp_export.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name)
{
    return getenv(name);
}

const char *serve_data_dir(struct cli *cli, struct error *err)
{
    const char *data = arguments_text(cli->args, "data");
    data = data ? path_absolute(cli->arena, data) : path_data_dir(cli->arena, variable);
    if (!data)
        error_set(err, ERR_INVALID, "say where to keep data: --data DIR");
    return data;
}

static const char *absolute_option(struct cli *cli, const char *name)
{
    const char *path = arguments_text(cli->args, name);
    return path ? path_absolute(cli->arena, path) : NULL;
}

void serve_log_level(const struct cli *cli)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}};
    const char *name = arguments_text(cli->args, "log");
    for (size_t i = 0; name && i < ARRAY_LEN(levels); i++) {
        if (!strcmp(levels[i].name, name))
            log_set_level(levels[i].level);
    }
}

/* Which policies the core is made with. */
static int policies(const struct cli *cli, struct core_options *options, struct error *err)
{
    for (enum policy_part part = 0; part < POLICY_PARTS; part++) {
        const char *option = policy_option(part), *name = arguments_text(cli->args, option);
        SCOPED(strbuf_finish) struct strbuf names = {0};
        if (policy_set(options, part, name))
            continue;
        policy_names(part, &names);
        return error_set(err, ERR_INVALID, "--%s: expected one of %s, got %.64s", option,
            strbuf_text(&names), name);
    }
    return 0;
}

/* 0 for the core's default; what is given as 0 is at once. */
static int64_t reserve_after_ms(const struct cli *cli)
{
    int64_t after_ms = arguments_number(cli->args, "reserve-after", -1);
    return after_ms < 0 ? 0 : after_ms == 0 ? 1 : after_ms;
}

int serve_traces(struct cli *cli, struct tracer_options *ret, struct error *err)
{
    const char *ratio = arguments_text(cli->args, "traces-ratio");
    const char *address = arguments_text(cli->args, "traces");
    ret->address = address && *address ? address : NULL;
    ret->trust = absolute_option(cli, "trust");
    ret->period_ms = arguments_number(cli->args, "traces-period", 0);
    ret->ratio_million = 1000000;
    if (ratio && quantity_parse_micro(ratio, &ret->ratio_million, err) < 0)
        return error_prefix(err, "--traces-ratio");
    if (ret->ratio_million < 0 || ret->ratio_million > 1000000)
        return error_set(err, ERR_INVALID, "--traces-ratio: expected 0 to 1, got %s", ratio);
    return ret->address ? otlp_address_check(ret->address, err) : 0;
}

int serve(struct cli *cli, bool embedded_defaults, struct error *err)
{
    const char *data = serve_data_dir(cli, err);
    if (!data)
        return -1;
    const char *socket = absolute_option(cli, "socket");
    if (!socket)
        socket = path_socket(cli->arena, data);
    SCOPED(mem_scope) char *folder = mem_strdup(socket);
    if (file_make_dirs(data, 0755, err) < 0 || file_make_dirs(dirname(folder), 0755, err) < 0)
        return -1;
    serve_log_level(cli);
    struct server_config config = {
        .data_dir = data,
        .socket_path = socket,
        .listen = arguments_text(cli->args, "listen"),
        .tls_cert = absolute_option(cli, "cert"),
        .tls_key = absolute_option(cli, "key"),
        .trust = absolute_option(cli, "trust"),
        .embedded_defaults = embedded_defaults,
        .requests_per_s = arguments_number(cli->args, "requests-per-second", 0),
        .retention_ms = arguments_number(cli->args, "retention", 0),
        .core.round_ms = arguments_number(cli->args, "round", 0),
        .core.reserve_after_ms = reserve_after_ms(cli),
        .ready_fd = -1,
    };
    if (policies(cli, &config.core, err) < 0 || serve_traces(cli, &config.traces, err) < 0)
        return -1;
    if (!config.tls_cert != !config.tls_key)
        return error_set(err, ERR_INVALID, "--cert and --key belong together");
    cli_note(cli, "data in %s, socket %s%s%s; Ctrl-C ends the server, jobs go on", data, socket,
        config.listen ? ", https on " : "", config.listen ? config.listen : "");
    return server_run(&config, err);
}
