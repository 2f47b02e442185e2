/* Any bytes as a reference, a template, a list of devices and a decimal: refused with a reason, or
 * what comes out means the same when it is read again. */
#include "base/memory.h"
#include "base/sockets.h"
#include "spec/decimal.h"
#include "spec/reference.h"
#include "spec/template.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reference(const char *text)
{
    struct reference reference, again;
    struct error err = {0};
    char out[REFERENCE_TEXT];
    if (reference_parse(text, &reference, &err) < 0) {
        assert(err.code == ERR_INVALID && err.text[0]);
        return;
    }
    reference_format(&reference, out);
    assert(strcmp(out, text) == 0);
    int rc = reference_parse(out, &again, NULL);
    assert(rc == 0 && memcmp(&reference, &again, sizeof again) == 0);
}

static void check_template(const char *text)
{
    static const char *const values[PLACEHOLDER_COUNT] = {"m", "n", "3", "s", "8080", "2"};
    struct strbuf out = {0};
    if (template_check(text, TEMPLATE_SERVE, NULL) == 0)
        template_expand(text, values, &out);
    assert(out.length <= 4 * strlen(text));
    strbuf_finish(&out);
}

/* One list is a socket of a node whose devices are just those. */
static void check_sockets(const char *text)
{
    struct sockets sockets;
    uint64_t devices;
    if (!sockets_read_list(text, strlen(text), &devices))
        return;
    int count = __builtin_popcountll(devices);
    bool first = (devices & (devices + 1)) == 0; /* 0 to some device, all of them */
    assert(count > 0 && (sockets_read(&text, 1, count, &sockets, NULL) == 0) == first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_alloc(size + 1, 1);
    memcpy(text, data, size);
    check_reference(text);
    check_template(text);
    check_sockets(text);
    if (decimal_valid(text))
        assert(decimal_compare(text, text) == 0 &&
               (decimal_compare(text, "1e5000") < 0) == (decimal_compare("1e5000", text) > 0));
    free(text);
    return 0;
}
