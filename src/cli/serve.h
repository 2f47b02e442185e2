/* What up and server share: the server in this process. */
#pragma once

#include "cli/cli.h"

struct tracer_options;

#define SERVE_OPTIONS                                                                              \
    {"data", 'D', OPTION_TEXT, "DIR", "where everything is kept", NULL, "MUSTER_DATA"},            \
        {"socket", 0, OPTION_TEXT, "FILE", "the Unix socket of the machine's administrator"},      \
        {"listen", 'L', OPTION_TEXT, "HOST:PORT", "listen there too, with TLS and bearer tokens"}, \
        {"cert", 0, OPTION_TEXT, "FILE",                                                           \
            "the certificate chain for TLS (PEM); made when not given"},                           \
        {"key", 0, OPTION_TEXT, "FILE", "its private key (PEM)"},                                  \
        {"trust", 0, OPTION_TEXT, "FILE",                                                          \
            "certificates to trust (PEM) at endpoints over https, such as of metrics, "            \
            "collectors, hooks and classifiers; the system's by default",                          \
            NULL, "MUSTER_TRUST"},                                                                 \
        {"traces", 0, OPTION_TEXT, "ADDRESS",                                                      \
            "export spans of jobs by OTLP to the collector at http://HOST:PORT, "                  \
            "https://HOST:PORT or unix:/PATH",                                                     \
            NULL, "MUSTER_COLLECTOR"},                                                             \
        {"traces-ratio", 0, OPTION_TEXT, "PART", "of jobs, from 0 to 1; 1 by default", NULL,       \
            "MUSTER_COLLECTOR_RATIO"},                                                             \
        {"traces-period", 0, OPTION_DURATION, "DURATION",                                          \
            "how often spans are sent; 1s by default"},                                            \
        {"requests-per-second", 0, OPTION_NUMBER, "COUNT", "of one address; 200 by default"},      \
        {"retention", 0, OPTION_DURATION, "DURATION",                                              \
            "forget ended jobs and audit events after so long; never by default"},                 \
        {"placement", 0, OPTION_TEXT, "NAME",                                                      \
            "which node a job gets: default where nothing is said; docs/scheduling.md has "        \
            "others"},                                                                             \
        {"victims", 0, OPTION_TEXT, "NAME",                                                        \
            "who gives way to a job that goes before: least-loss by default"},                     \
        {"spot", 0, OPTION_TEXT, "NAME",                                                           \
            "when jobs with a deadline use spot capacity: slack by default"},                      \
        {"allotment", 0, OPTION_TEXT, "NAME",                                                      \
            "who runs with how many ranks: fair by default; docs/scheduling.md has the others"},   \
        {"round", 0, OPTION_DURATION, "DURATION",                                                  \
            "how often allotments that have rounds decide; 1m by default"},                        \
        {"reserve-after", 0, OPTION_DURATION, "DURATION",                                          \
            "waiting this long without room, a job is promised a place; 5m by default"},           \
    {                                                                                              \
        "log", 0, OPTION_CHOICE, "LEVEL", "the least that is logged", "debug|info|warn|error"      \
    }

/* Runs until SIGTERM or SIGINT. */
MUST_CHECK int serve(struct cli *cli, bool embedded_defaults, struct error *err);
/* What is said of traces, and of whom to trust at the collector; address NULL: there are none. */
MUST_CHECK int serve_traces(struct cli *cli, struct tracer_options *ret, struct error *err);
/* Sets the least that is logged from --log. */
void serve_log_level(const struct cli *cli);
/* --data, else where the data is unless told; NULL with err. In the arena. */
MUST_CHECK const char *serve_data_dir(struct cli *cli, struct error *err);
