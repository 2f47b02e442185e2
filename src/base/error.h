/* The one error idiom of muster.
 *
 * A function that can fail returns 0 or -1 (or a pointer, or NULL) and takes a `struct error *`
 * as its last parameter, which may be NULL. On failure it fills the error and leaves every other
 * output untouched. Libraries never log an error: they return it, and the edges (the daemon's
 * loop, the command line) decide what to say.
 *
 * An error's text is for people: what is wrong, where, and what to do. It carries no newline or
 * other control character: those of quoted input become '?'. */
#pragma once

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
/* Of functions that are for what seldom happens: the compiler keeps them, and the ways to them, out
 * of the way of the rest. */
#define COLD __attribute__((cold))

enum error_code {
    ERR_NONE = 0,
    ERR_INVALID,         /* the input is wrong: the caller has to change it */
    ERR_UNAUTHENTICATED, /* who asks is not known */
    ERR_DENIED,          /* who asks is known and may not */
    ERR_NOT_FOUND,
    ERR_CONFLICT,    /* the state of the thing forbids it now */
    ERR_TOO_LARGE,   /* a stated bound was passed */
    ERR_BUSY,        /* a queue is full or a rate is passed: try again later */
    ERR_FULL,        /* no space on the device: nothing was stored */
    ERR_UNAVAILABLE, /* not now: nothing was done */
    ERR_UNKNOWN,     /* the outcome is not known: it may or may not have been done */
    ERR_IO,          /* the system refused an operation */
    ERR_CORRUPT,     /* stored data fails its check */
    ERR_INTERNAL,    /* a defect of muster */
    ERR_COUNT
};

struct error {
    enum error_code code;
    char text[500];
};

/* Fills err (when not NULL) with code and the formatted text, cut to fit. Always returns -1, so
 * that a failure is one line: `return error_set(err, ERR_INVALID, "...")`. */
int error_set(struct error *err, enum error_code code, const char *format, ...) COLD
    PRINTF_LIKE(3, 4);

/* As error_set with ERR_IO (ERR_FULL for ENOSPC, EDQUOT and EFBIG), and appends ": " and the
 * text of errno, which it leaves as it was. Always returns -1. */
int error_set_errno(struct error *err, const char *format, ...) COLD PRINTF_LIKE(2, 3);

/* Puts the formatted text and ": " before the text err already has, cutting its end to fit; a
 * prefix that leaves no room is dropped. Always returns -1. */
int error_prefix(struct error *err, const char *format, ...) COLD PRINTF_LIKE(2, 3);

/* The stable lower-case name of a code, as in problem documents: "not-found". Never NULL. */
const char *error_name(enum error_code code);

/* The HTTP status that stands for a code: 404 for ERR_NOT_FOUND. */
int error_http_status(enum error_code code);

/* The command line's exit status for a code, stable over versions; docs/cli.md lists them. */
int error_exit_status(enum error_code code);
