/* A line of the access log: see docs/gateway.md. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    LOG_LINE_PATH_BYTES = 512, /* of the path; what follows is left out */
    LOG_LINE_TEXT_BYTES = 256, /* of each other text */
    LOG_LINE_BYTES = 6 * (LOG_LINE_PATH_BYTES + 10 * LOG_LINE_TEXT_BYTES) + 1024,
};

/* Texts from arm on may be NULL: the line has none. */
struct log_line {
    int64_t wall_ms;
    const char *id, *key, *method, *path, *route;
    int64_t version, replica;
    int status;
    const char *end;
    int64_t bytes_in, bytes_out, retries;
    int64_t first_ns, total_ns; /* first_ns below 0: there was no first byte */
    const char *client;
    const char *arm; /* of a rollout, that the request was drawn for */
    /* Where others were asked in the service's place: see relay_care.h. */
    const char *asked, *tried, *answered_by;
};

/* What the lines of a second have in common; zero at first. */
struct log_moment {
    int64_t second;
    char text[32]; /* up to the seconds */
    size_t length;
};

/* Writes the line and its newline; how long it is. */
size_t log_line_write(
    const struct log_line *line, struct log_moment *moment, char out[LOG_LINE_BYTES]);
