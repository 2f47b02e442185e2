/* Fuzz target: a line of the access log of any texts, by way of its record, is one line of JSON
 * strings, the same as strbuf_json makes of each. */
#include "gateway/log_line.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *line, const char *member, const char *text, size_t longest)
{
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    SCOPED(mem_scope) char *cut = mem_alloc(longest + 1, 1);
    strncpy(cut, text, longest);
    strbuf_puts(&plain, member);
    strbuf_json(&plain, cut);
    assert(strstr(line, plain.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_moment moment = {0};
    SCOPED(mem_scope) char *text = mem_alloc(size + 1, 1), *out = mem_alloc(LOG_LINE_BYTES + 1, 1);
    SCOPED(mem_scope) char *record = mem_alloc(LOG_RECORD_BYTES, 1);
    memcpy(text, data, size);
    size_t half = strlen(text) / 2;
    struct log_line line = {.numbers.end = "",
        .texts = {[LOG_ID] = log_text(text),
            [LOG_KEY] = log_text(""),
            [LOG_METHOD] = log_text(text + half),
            [LOG_PATH] = log_text(text),
            [LOG_ROUTE] = log_text(""),
            [LOG_CLIENT] = log_text(""),
            [LOG_TRIED] = log_text(half > 9 ? text + half : NULL)}};
    size_t record_size = log_record_write(&line, record);
    assert(record_size <= LOG_RECORD_BYTES);
    memset(&line, 0, sizeof line);
    assert(log_record_read(record, &line) == record_size);
    size_t length = log_line_write(&line, &moment, out);
    assert(record_size <= length);
    out[length] = '\0';
    assert(strlen(out) == length && strchr(out, '\n') == out + length - 1);
    check_text(out, "\"id\":", text, LOG_LINE_TEXT_BYTES);
    check_text(out, "\"method\":", text + half, LOG_LINE_TEXT_BYTES);
    check_text(out, "\"path\":", text, LOG_LINE_PATH_BYTES);
    if (half > 9)
        check_text(out, "\"tried\":", text + half, LOG_LINE_TEXT_BYTES);
    return 0;
}
