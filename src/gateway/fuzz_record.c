/* Fuzz target: any bytes as a file of a recording are read to the same records however small the
 * pages are, and what is written is read back. */
#include "base/memory.h"
#include "gateway/record_line.h"
#include "gateway/record_read.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char name[] = "000000000000001-0000000000000001-1.rec";

static int look(void *context, const char *json, size_t length, struct error *err)
{
    struct strbuf *out = context;
    (void)err;
    assert(!memchr(json, '\n', length));
    strbuf_append(out, json, length);
    strbuf_putc(out, '\n');
    return 0;
}

static int64_t read_pages(const char *folder, size_t limit, struct strbuf *out)
{
    struct record_page page = {.limit = limit};
    char after[RECORD_CURSOR_BYTES] = "";
    int64_t skipped = 0;
    struct error err;
    do {
        page.after = after;
        if (record_page_read(folder, &page, look, out, &err) < 0)
            abort();
        skipped += page.torn + page.damaged;
        memcpy(after, page.next, sizeof after);
    } while (after[0]);
    return skipped;
}

/* The bytes between line ends as records: what was written is read back whole. */
static void check_written(const uint8_t *data, size_t size)
{
    struct strbuf lines = {0};
    const char *json = NULL;
    size_t at = 0, length = 0, count = 0, from = 0;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && data[i] != '\n')
            continue;
        if (i > from) {
            record_line_write(&lines, (const char *)data + from, i - from);
            count++;
        }
        from = i + 1;
    }
    while (record_line_read(strbuf_text(&lines), lines.length, &at, &json, &length) == RECORD_WHOLE)
        count--;
    assert(count == 0 && at == lines.length);
    strbuf_finish(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[64], path[160];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s", "/tmp/muster-fuzz-record-XXXXXX");
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/%s", folder, name);
    }
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    struct strbuf whole = {0}, pieces = {0};
    int64_t skipped = read_pages(folder, SIZE_MAX, &whole);
    assert(read_pages(folder, 1, &pieces) == skipped);
    assert(whole.length == pieces.length &&
           !memcmp(strbuf_text(&whole), strbuf_text(&pieces), whole.length));
    strbuf_finish(&whole);
    strbuf_finish(&pieces);
    check_written(data, size);
    return 0;
}
