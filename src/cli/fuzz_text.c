/* Whatever comes, however it is cut: a terminal gets letters, lines and colours, and the two ways
 * to make text safe give valid UTF-8. */
#include "cli/text.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_colour(const char **text)
{
    assert((*text)[1] == '[');
    *text += 2 + strspn(*text + 2, "0123456789;");
    assert(**text == 'm');
}

static void check(const char *text, bool colours)
{
    for (; *text; text++) {
        if (*text == '\033' && colours)
            check_colour(&text);
        else if (!colours || !strchr("\n\r\t", *text))
            assert((unsigned char)*text >= ' ' && *text != 0x7f);
        /* C1 controls are 0xc2 0x80 .. 0x9f. */
        assert((unsigned char)text[0] != 0xc2 || (unsigned char)text[1] >= 0xa0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strbuf out = {0};
    struct text_filter filter = {0};
    size_t cut = size ? data[0] % size : 0;
    text_filter_piece(&filter, (const char *)data, cut, &out);
    text_filter_piece(&filter, (const char *)data + cut, size - cut, &out);
    text_filter_end(&filter, &out);
    check(strbuf_text(&out), true);
    strbuf_clear(&out);
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    text_append_safe(&out, text);
    check(strbuf_text(&out), false);
    assert(text_width(text) <= 2 * strlen(text));
    free(text);
    strbuf_finish(&out);
    return 0;
}
