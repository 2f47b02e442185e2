/* Fuzz target: any bytes as X-Muster-Labels. What is read is again what is read, names are known
 * ones with values, and "other" fits in the place of each. */
#include "gateway/labels.h"

#include "base/memory.h"
#include "spec/kinds.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *labels, const struct text_list *names)
{
    char again[USAGE_LABELS], value[LABEL_VALUE_BYTES + 1], other[USAGE_LABELS];
    size_t found = 0;
    if (!*labels)
        return;
    assert(!labels_read(labels, names, again) && !strcmp(again, labels));
    strcpy(other, labels);
    labels_other(other);
    for (size_t i = 0; i < names->count; i++) {
        if (labels_value(labels, names->items[i], value) < 0)
            continue;
        assert(*value);
        assert(labels_value(other, names->items[i], value) == 0 && !strcmp(value, "other"));
        found++;
    }
    assert(found > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *items[] = {"a", "project", "stage", "x.y-z_0123456789abcdefg"};
    static const struct text_list names = {items, ARRAY_LEN(items)};
    char *text = mem_alloc(size + 1, 1), labels[USAGE_LABELS];
    if (size > 0)
        memcpy(text, data, size);
    if (!labels_read(text, &names, labels))
        check(labels, &names);
    free(text);
    return 0;
}
