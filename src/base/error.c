/* Errors: one table says how each code is spoken of over HTTP and by exit status. */
#include "base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_status;
} codes[ERR_COUNT] = {
    [ERR_NONE] = {"none", 200, 0},
    [ERR_INVALID] = {"invalid", 422, 2},
    [ERR_UNAUTHENTICATED] = {"unauthenticated", 401, 3},
    [ERR_DENIED] = {"denied", 403, 3},
    [ERR_NOT_FOUND] = {"not-found", 404, 4},
    [ERR_CONFLICT] = {"conflict", 409, 5},
    [ERR_TOO_LARGE] = {"too-large", 413, 2},
    [ERR_BUSY] = {"busy", 429, 6},
    [ERR_FULL] = {"storage-full", 507, 6},
    [ERR_UNAVAILABLE] = {"unavailable", 503, 6},
    [ERR_UNKNOWN] = {"outcome-unknown", 504, 7},
    [ERR_IO] = {"io", 500, 1},
    [ERR_CORRUPT] = {"corrupt", 500, 1},
    [ERR_INTERNAL] = {"internal", 500, 1},
};

/* A text may quote hostile input; one that breaks lines could forge lines of a log. */
static void blank_control_characters(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
    }
}

int error_set(struct error *err, enum error_code code, const char *format, ...)
{
    assert(code > ERR_NONE && code < ERR_COUNT);
    if (!err)
        return -1;
    va_list args;
    va_start(args, format);
    err->code = code;
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    blank_control_characters(err->text);
    return -1;
}

int error_set_errno(struct error *err, const char *format, ...)
{
    int saved = errno;
    if (!err)
        return -1;
    bool full = saved == ENOSPC || saved == EDQUOT || saved == EFBIG;
    va_list args;
    va_start(args, format);
    err->code = full ? ERR_FULL : ERR_IO;
    int used = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->text)
        snprintf(err->text + used, sizeof err->text - (size_t)used, ": %s", strerror(saved));
    blank_control_characters(err->text);
    errno = saved;
    return -1;
}

int error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return -1;
    char text[sizeof err->text];
    va_list args;
    va_start(args, format);
    int used = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (used < 0 || (size_t)used >= sizeof text)
        return -1;
    snprintf(text + used, sizeof text - (size_t)used, ": %.*s", (int)(sizeof text - (size_t)used),
        err->text);
    memcpy(err->text, text, sizeof text);
    blank_control_characters(err->text);
    return -1;
}

const char *error_name(enum error_code code)
{
    assert(code < ERR_COUNT);
    return codes[code].name;
}

int error_http_status(enum error_code code)
{
    assert(code < ERR_COUNT);
    return codes[code].http_status;
}

int error_exit_status(enum error_code code)
{
    assert(code < ERR_COUNT);
    return codes[code].exit_status;
}
