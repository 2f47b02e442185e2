/* The planner: a process of one thread that follows what the server commits and answers questions
 * about it: why a job waits, when it starts, what if. It changes nothing anywhere; the server does
 * without it, but for the forecasts. */
#pragma once

#include "base/error.h"

struct planner_config {
    const char *data_dir; /* the server's, absolute */
};

/* Runs until SIGTERM or SIGINT; connects to the server again and again. 0 on an orderly end. -1
 * with err: ERR_CONFLICT, the server is another version of the program. */
MUST_CHECK int planner_run(const struct planner_config *config, struct error *err);
