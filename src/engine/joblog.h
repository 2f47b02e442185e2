/* The log of an attempt: what its ranks wrote to standard output and error, with a bound on the
 * space it takes.
 *
 * A log is a folder of files. Each line is `UNIX_MS RANK o|e TEXT\n`; TEXT is the job's own bytes
 * up to its newline, cut after 16 KiB. A file is named by the position of its first byte in the
 * whole log, in 20 digits, so a position stays valid while old files are removed, and the name of
 * the oldest file says how many bytes are gone. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct joblog_writer;
struct joblog_reader;
struct joblog_follower;

enum { JOBLOG_TEXT_MAX = 16384, JOBLOG_LINE_MAX = JOBLOG_TEXT_MAX + 64 };

/* ---- Writing ----------------------------------------------------------------------------- */

/* Writes into the folder, after what is there: positions go on. folder_fd stays the caller's and
 * outlives the writer. At most `files` (2 or more) of file_bytes each are kept. */
struct joblog_writer *joblog_writer_create(int folder_fd, uint64_t file_bytes, uint32_t files);
void joblog_writer_destroy(struct joblog_writer *writer); /* NULL is fine */

/* The unfinished line of one stream of one rank; starts zeroed. */
struct joblog_stream {
    uint32_t rank;
    char kind; /* 'o' or 'e' */
    size_t held;
    char text[JOBLOG_TEXT_MAX];
};

/* Takes what the stream wrote at at_ms. Never fails: what the disk refuses is left out. */
void joblog_write(struct joblog_writer *writer, struct joblog_stream *stream, int64_t at_ms,
    const char *bytes, size_t size);
/* The stream ended: writes its last line if it had no newline. */
void joblog_finish_stream(
    struct joblog_writer *writer, struct joblog_stream *stream, int64_t at_ms);

/* ---- Reading ----------------------------------------------------------------------------- */

struct joblog_line {
    int64_t at_ms;
    uint32_t rank;
    char kind;        /* 'o' or 'e' */
    const char *text; /* not terminated; valid until the next call on the reader */
    size_t size;
    uint64_t position; /* after this line */
};

/* Reads a line without its newline. False: it is not one. */
bool joblog_parse(const char *line, size_t size, struct joblog_line *ret);

/* Reads the name of a file of a log: the position of its first byte. False: it is none. */
bool joblog_parse_name(const char *name, uint64_t *ret_start);

/* A reader at the oldest line. A folder that is missing reads as an empty log. Never NULL. */
struct joblog_reader *joblog_open(const char *folder);
void joblog_close(struct joblog_reader *reader); /* NULL is fine */
/* Goes to a position that a line had, or to the oldest line there is when that one is gone. */
void joblog_seek(struct joblog_reader *reader, uint64_t position);
/* Goes back `lines` lines from the end, or to the oldest there is. */
MUST_CHECK int joblog_seek_tail(struct joblog_reader *reader, uint64_t lines, struct error *err);
/* 1: a line; 0: none for now; -1: the log cannot be read. Lines that are not valid are passed. */
MUST_CHECK int joblog_next(
    struct joblog_reader *reader, struct joblog_line *ret, struct error *err);
/* Bytes that were gone already where the reader came to them, since it was opened. */
uint64_t joblog_missed_bytes(const struct joblog_reader *reader);

/* Called on the loop with each line; with NULL when the reading failed, and then never again.
 * False stops the follower until joblog_follower_resume (back-pressure). */
typedef bool joblog_line_fn(void *context, const struct joblog_line *line);

/* Follows a log: gives its lines as they come. Takes the reader over. */
struct joblog_follower *joblog_follow(
    struct event_base *base, struct joblog_reader *reader, joblog_line_fn *on_line, void *context);
void joblog_follower_resume(struct joblog_follower *follower);
void joblog_follower_destroy(struct joblog_follower *follower); /* NULL is fine */
