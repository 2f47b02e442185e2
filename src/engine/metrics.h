/* The lines a job appends to its MUSTER_METRICS file. The job owns the file and may do anything
 * to it: what is read is bounded by line, by turn and by rate, and is always valid UTF-8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { METRICS_LINE_MAX = 4096, METRICS_TURN_BYTES = 64 * 1024 };

struct metrics_reader {
    uint64_t offset; /* in the file, of what was not given yet */
    bool passing;    /* the offset is inside a line that is too long */
};

/* line is not terminated; offset is the position after it. */
typedef void metrics_line_fn(void *context, const char *line, size_t length, uint64_t offset);

/* Gives the whole lines that are new, at most METRICS_TURN_BYTES of them. A line that is longer
 * than METRICS_LINE_MAX, empty or has a NUL is passed over. A file that became shorter is read
 * from its start. With `last` a line without newline at the end counts too. True: there may be
 * more. */
bool metrics_read(struct metrics_reader *reader, const char *path, bool last,
    metrics_line_fn *on_line, void *context);

/* Copies text with everything that is not UTF-8 replaced by U+FFFD, cut to fit at a character.
 * Gives the length. */
size_t metrics_clean(const char *text, size_t size, char *out, size_t out_size);
