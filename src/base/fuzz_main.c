/* The main of a fuzz target in a build without libFuzzer: it runs the target once on each file of
 * its corpus, so that what fuzzing found stays a test, with every compiler and sanitizer. Writes
 * TAP, as the unit tests do. The build says in FUZZ_CORPUS which folder. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INPUT_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* In memory of exactly its size, so that AddressSanitizer sees a read beyond it. */
static void run_file(const char *name)
{
    char path[4096];
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error err;
    snprintf(path, sizeof path, "%s/%s", FUZZ_CORPUS, name);
    if (file_read(path, INPUT_BYTES_MAX, &text, &size, &err) < 0) {
        printf("Bail out! %s\n", err.text);
        exit(1);
    }
    SCOPED(mem_scope) uint8_t *data = mem_alloc(size ? size : 1, 1);
    if (size)
        memcpy(data, text, size);
    LLVMFuzzerTestOneInput(data, size);
}

int main(void)
{
    struct dirent **entries = NULL;
    int count = scandir(FUZZ_CORPUS, &entries, is_input, alphasort);
    if (count <= 0) {
        fprintf(stderr, "%s: no input is there\n", FUZZ_CORPUS);
        return 1;
    }
    printf("1..%d\n", count);
    for (int i = 0; i < count; i++) {
        /* Said before, because a finding ends the process. */
        printf("# %s/%s\n", FUZZ_CORPUS, entries[i]->d_name);
        fflush(stdout);
        run_file(entries[i]->d_name);
        printf("ok %d - %s\n", i + 1, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}
