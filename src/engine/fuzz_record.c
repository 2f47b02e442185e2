/* Parsing what another process wrote: records, launches and statuses. What is accepted means the
 * same after being written again. */
#include "base/memory.h"
#include "engine/launch.h"
#include "engine/record.h"
#include "engine/status.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_record(struct arena *arena, const struct record *record)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct record again;
    for (size_t i = 0; i < record->count; i++)
        record_put_bytes(
            &text, record->fields[i].name, record->fields[i].value, record->fields[i].size);
    if (record_parse(arena, strbuf_text(&text), text.length, &again, NULL) < 0 ||
        again.count != record->count)
        abort();
    for (size_t i = 0; i < record->count; i++) {
        if (again.fields[i].size != record->fields[i].size ||
            memcmp(again.fields[i].value, record->fields[i].value, again.fields[i].size) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf text = {0};
    const char *input = (const char *)bytes;
    struct record record;
    struct launch launch, launch_again;
    struct status status, status_again;
    if (record_parse(arena, input, size, &record, NULL) == 0)
        check_record(arena, &record);
    if (launch_decode(arena, input, size, &launch, NULL) == 0) {
        launch_encode(&text, &launch);
        if (launch_decode(arena, text.text, text.length, &launch_again, NULL) < 0)
            abort();
    }
    strbuf_clear(&text);
    if (status_decode(input, size, &status, NULL) == 0) {
        status_encode(&text, &status);
        if (status_decode(text.text, text.length, &status_again, NULL) < 0)
            abort();
    }
    return 0;
}
