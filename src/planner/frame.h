/* What server and planner say to each other over their socket: frames of a kind and a body. Rows
 * go column by column, as their tables describe them, little-endian; questions and answers are JSON
 * under a number. Both ends are the same program as a rule; FRAME_HELLO says so. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"
#include "core/core.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The socket, below the data directory: mode 0600, and both ends look at the other's uid. */
#define FRAME_SOCKET "planner.sock"

enum frame_kind {
    FRAME_HELLO = 1, /* server: the hash of the tables, what its core was made with */
    FRAME_ROWS,      /* server: tick, 8 bytes; changed rows of it */
    FRAME_TICK,      /* server: tick, 8 bytes: its rows are complete, and durable; the moment of
                      * that on the clock CLOCK_MONOTONIC in nanoseconds, 8 bytes */
    FRAME_SLICE,     /* server: tick, 8 bytes; struct frame_slice of the state after it */
    FRAME_ASK,       /* server: number, 8 bytes; JSON */
    FRAME_ANSWER,    /* planner: number, 8 bytes; JSON */
    FRAME_KIND_COUNT
};

enum {
    FRAME_HEADER = 5,            /* length of the body, 4 bytes; kind */
    FRAME_BODY_MAX = 16 << 20,   /* a longer one is refused */
    FRAME_ROWS_BYTES = 256 << 10 /* rows of a tick go in frames of about this */
};

/* Begins a frame and returns where it begins; frame_end sets its length. */
size_t frame_begin(struct strbuf *out, enum frame_kind kind);
void frame_end(struct strbuf *out, size_t begin);
void frame_put_u64(struct strbuf *out, uint64_t value);
/* Appends one changed row. History rows are not sent. */
void frame_put_row(struct strbuf *out, const struct core_change *change);

/* Appends a whole FRAME_HELLO. Forecasts have to decide as the live core does: of the options,
 * those that a server can be given are told. */
void frame_put_hello(struct strbuf *out, const struct core_options *options);

struct frame_slice {
    enum row_kind kind;
    uint64_t after, last; /* ids above `after` up to `last` */
    uint64_t digest;
};
/* Appends a whole frame. */
void frame_put_slice(struct strbuf *out, int64_t tick, const struct frame_slice *slice);

/* What is read: a position in a body. */
struct frame_cursor {
    const unsigned char *at;
    size_t left;
};
struct frame {
    enum frame_kind kind;
    struct frame_cursor body;
};
/* The first frame of the bytes: its length with its header, 0 when it is not all there yet, -1 with
 * ERR_INVALID for what is none. */
MUST_CHECK int64_t frame_read(
    const void *bytes, size_t length, struct frame *ret, struct error *err);
MUST_CHECK int frame_get_u64(struct frame_cursor *body, uint64_t *ret, struct error *err);
/* Names point to where they are known. ERR_CONFLICT: the other end is another version. */
MUST_CHECK int frame_get_hello(
    struct frame_cursor *body, struct core_options *ret, struct error *err);
MUST_CHECK int frame_get_slice(
    struct frame_cursor *body, struct frame_slice *ret, struct error *err);

/* The largest row of any kind fits. */
union frame_room {
    uint64_t id;
    struct job_row job;
    struct symbol_row symbol;
    struct rollout_row rollout;
    struct evidence_row evidence;
};
struct frame_row {
    enum change_kind change;
    enum row_kind kind;
    union frame_room row; /* CHANGE_DELETE: only its id */
};
/* 1: *ret is the next row; 0: there are no more; -1 with ERR_INVALID. */
MUST_CHECK int frame_get_row(struct frame_cursor *body, struct frame_row *ret, struct error *err);

/* A hash of the names, types and sizes of all columns: two programs with the same one understand
 * each other's rows. */
uint64_t frame_schema(void);
