/* References to versions of datasets and models: see reference.h. One pass over the text, so that
 * an error can say which part of it is wrong. */
#include "spec/reference.h"

#include "spec/spec.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const stages[] = {"candidate", "staging", "production", "archived"};

/* Takes a name of `length` bytes into out; false when it is none. */
static bool take_name(const char *text, size_t length, char out[64])
{
    if (length >= 64)
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return name_valid(out);
}

static int parse_version(const char *text, struct reference *reference, struct error *err)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > REFERENCE_VERSION_DIGITS || text[digits] || text[0] == '0')
        return error_set(err, ERR_INVALID,
            "expected a version from 1 to 99999999 after the ':', got \"%.40s\"", text);
    reference->which = REFERENCE_VERSION;
    for (; *text; text++)
        reference->version = reference->version * 10 + (*text - '0');
    return 0;
}

static int parse_stage(const char *text, struct reference *reference, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        if (strcmp(text, stages[i]) != 0)
            continue;
        reference->which = REFERENCE_STAGE;
        snprintf(reference->stage, sizeof reference->stage, "%s", text);
        return 0;
    }
    return error_set(err, ERR_INVALID,
        "expected candidate, staging, production or archived after the '@', got \"%.40s\"", text);
}

int reference_parse(const char *text, struct reference *ret, struct error *err)
{
    struct reference reference = {0};
    const char *slash = strchr(text, '/');
    if (slash && !take_name(text, (size_t)(slash - text), reference.team))
        return error_set(
            err, ERR_INVALID, "expected a team's name before the '/' of \"%.160s\"", text);
    const char *name = slash ? slash + 1 : text;
    size_t length = strcspn(name, ":@");
    if (!take_name(name, length, reference.name))
        return error_set(err, ERR_INVALID,
            "expected [TEAM/]NAME, and then nothing, :VERSION or @STAGE, got \"%.160s\"", text);
    const char *rest = name + length;
    if (rest[0] == ':' && parse_version(rest + 1, &reference, err) < 0)
        return -1;
    if (rest[0] == '@' && parse_stage(rest + 1, &reference, err) < 0)
        return -1;
    *ret = reference;
    return 0;
}

void reference_format(const struct reference *reference, char out[REFERENCE_TEXT])
{
    int length = snprintf(out, REFERENCE_TEXT, "%s%s%s", reference->team,
        reference->team[0] ? "/" : "", reference->name);
    char *rest = out + length;
    size_t room = REFERENCE_TEXT - (size_t)length;
    if (reference->which == REFERENCE_VERSION)
        snprintf(rest, room, ":%" PRId64, reference->version);
    else if (reference->which == REFERENCE_STAGE)
        snprintf(rest, room, "@%s", reference->stage);
}
