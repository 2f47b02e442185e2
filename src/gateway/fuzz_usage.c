/* Fuzz target: any bytes as a usage file are read or refused, and what is visited is text. */
#include "base/memory.h"
#include "gateway/usage.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    (void)context, (void)err, (void)counts;
    assert(!strcmp(file, "file"));
    assert(memchr(series->service, '\0', USAGE_NAME) && memchr(series->key, '\0', USAGE_NAME));
    assert(memchr(series->team, '\0', USAGE_TEAM) && memchr(series->labels, '\0', USAGE_LABELS));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[64], path[80];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s", "/tmp/muster-fuzz-usage-XXXXXX");
        if (!mkdtemp(folder))
            abort();
        snprintf(path, sizeof path, "%s/file", folder);
    }
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    struct error err = {0};
    char *dead = NULL;
    int rc = usage_read_all(folder, look, NULL, &dead, &err);
    assert(rc == 0 || (rc == -1 && err.code == ERR_CORRUPT));
    free(dead);
    return 0;
}
