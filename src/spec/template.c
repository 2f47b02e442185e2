/* Templates: see template.h. */
#include "spec/template.h"

#include <assert.h>
#include <string.h>

static const char *const names[PLACEHOLDER_COUNT] = {
    [PLACEHOLDER_MODEL] = "model",
    [PLACEHOLDER_NAME] = "name",
    [PLACEHOLDER_VERSION] = "version",
    [PLACEHOLDER_SOCKET] = "socket",
    [PLACEHOLDER_PORT] = "port",
    [PLACEHOLDER_CPUS] = "cpus",
    [PLACEHOLDER_RUNTIMES] = "runtimes",
    [PLACEHOLDER_DATA] = "data",
    [PLACEHOLDER_OUTPUT] = "output",
    [PLACEHOLDER_SHARD] = "shard",
    [PLACEHOLDER_SHARDS] = "shards",
};

static bool usable(enum placeholder placeholder, enum template_use use)
{
    if (use == TEMPLATE_SERVE)
        return placeholder < PLACEHOLDER_SERVING;
    return placeholder != PLACEHOLDER_SOCKET && placeholder != PLACEHOLDER_PORT;
}

/* The placeholder that stands at text, which is behind a "{", and the length of its name with the
 * "}"; PLACEHOLDER_COUNT when there is none. */
static enum placeholder find(const char *text, size_t *ret_length)
{
    size_t length = strcspn(text, "{}");
    for (int i = 0; i < PLACEHOLDER_COUNT; i++) {
        if (text[length] == '}' && strlen(names[i]) == length &&
            strncmp(text, names[i], length) == 0) {
            *ret_length = length + 1;
            return (enum placeholder)i;
        }
    }
    *ret_length = length;
    return PLACEHOLDER_COUNT;
}

int template_check(const char *text, enum template_use use, struct error *err)
{
    for (const char *at = strchr(text, '{'); at; at = strchr(at, '{')) {
        at++;
        size_t length;
        if (*at == '{') {
            at++;
            continue;
        }
        enum placeholder placeholder = find(at, &length);
        if (placeholder == PLACEHOLDER_COUNT)
            return error_set(err, ERR_INVALID,
                "there is no placeholder {%.*s}; a \"{\" that stands for itself is written \"{{\"",
                (int)(length < 40 ? length : 40), at);
        if (!usable(placeholder, use))
            return error_set(err, ERR_INVALID, "the placeholder {%s} has no meaning when %s",
                names[placeholder], use == TEMPLATE_SERVE ? "serving" : "scoring");
        at += length;
    }
    return 0;
}

void template_expand(
    const char *text, const char *const values[PLACEHOLDER_COUNT], struct strbuf *out)
{
    for (;;) {
        size_t plain = strcspn(text, "{");
        strbuf_append(out, text, plain);
        text += plain;
        if (*text == '\0')
            return;
        text++;
        if (*text == '{') {
            strbuf_putc(out, '{');
            text++;
            continue;
        }
        size_t length;
        enum placeholder placeholder = find(text, &length);
        assert(placeholder < PLACEHOLDER_COUNT);
        strbuf_puts(out, values[placeholder] ? values[placeholder] : "");
        text += length;
    }
}
