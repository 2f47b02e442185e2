/* Reading a log whose file has any bytes: by line, by tail, and back to each position. */
#include "base/file.h"
#include "base/memory.h"
#include "engine/joblog.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void read_all(struct joblog_reader *reader, size_t size)
{
    struct joblog_line line;
    uint64_t before = 0;
    size_t total = 0;
    while (joblog_next(reader, &line, NULL) == 1) {
        if (line.position <= before || line.position > size ||
            (line.kind != 'o' && line.kind != 'e'))
            abort();
        before = line.position;
        total += line.size;
    }
    if (total > size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char folder[] = "/dev/shm/muster-fuzz-XXXXXX", path[100];
    struct joblog_line line = {0};
    joblog_parse((const char *)bytes, size, &line);
    if (!mkdtemp(folder))
        abort();
    snprintf(path, sizeof path, "%s/%020d", folder, 0);
    if (file_write(path, bytes, size, 0600, NULL) < 0)
        abort();
    struct joblog_reader *reader = joblog_open(folder);
    read_all(reader, size);
    if (joblog_seek_tail(reader, size ? bytes[0] : 0, NULL) < 0)
        abort();
    read_all(reader, size);
    joblog_close(reader);
    return file_remove_tree(folder, NULL);
}
