/* A line of the access log: see docs/gateway.md. Whoever has a line to say writes a record of it,
 * which is little more than copies of its numbers and texts; whoever writes the file makes the
 * line's text of the record, for many in a row. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LOG_LINE_PATH_BYTES = 512, /* of the path; what follows is left out */
    LOG_LINE_TEXT_BYTES = 256, /* of each other text */
    LOG_LINE_BYTES = 6 * (LOG_LINE_PATH_BYTES + 10 * LOG_LINE_TEXT_BYTES) + 1024,
    LOG_RECORD_BYTES = LOG_LINE_PATH_BYTES + 8 * LOG_LINE_TEXT_BYTES + 112,
};

/* Texts of a line that need not outlive its record being written. From LOG_ASKED on: where others
 * were asked in the service's place, see relay_care.h. */
enum log_text_name {
    LOG_ID,
    LOG_KEY,
    LOG_METHOD,
    LOG_PATH,
    LOG_ROUTE,
    LOG_CLIENT,
    LOG_ASKED,
    LOG_TRIED,
    LOG_ANSWERED_BY,
    LOG_TEXTS,
};

struct log_text {
    const char *bytes; /* NULL: the line has none */
    size_t length;
};

struct log_numbers {
    int64_t wall_ms;
    int64_t version, replica;
    int64_t bytes_in, bytes_out;
    int64_t first_ns, total_ns; /* first_ns below 0: there was no first byte */
    int32_t status, retries;
    /* Constants of the program: the record has the pointers. arm, of a rollout that the request was
     * drawn for, may be NULL: the line has none. */
    const char *end, *arm;
};

struct log_line {
    struct log_numbers numbers;
    struct log_text texts[LOG_TEXTS];
};

/* A text that ends with NUL; NULL: none. */
static inline struct log_text log_text(const char *text)
{
    return (struct log_text){text, text ? strlen(text) : 0};
}

/* What the lines of a second have in common; zero at first. */
struct log_moment {
    int64_t second;
    char text[32]; /* up to the seconds */
    size_t length;
};

/* Writes a record of the line to room, which has LOG_RECORD_BYTES and is aligned for 8 bytes; how
 * long it is, a multiple of 8. Never longer than the line. */
size_t log_record_write(const struct log_line *line, void *room);
/* Reads one of log_record_write; how long it is. The line's texts are in the record. */
size_t log_record_read(const void *record, struct log_line *ret);
/* Writes the line and its newline; how long it is. */
size_t log_line_write(
    const struct log_line *line, struct log_moment *moment, char out[LOG_LINE_BYTES]);
