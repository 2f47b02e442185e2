/* Fuzz target: a file of measured speeds. What is found is a speed that jobs can run with. */
#include "simulate/throughputs.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err;
    struct throughputs *read = throughputs_parse((const char *)data, size, "v100", &err);
    if (!read)
        return 0;
    double speed = throughputs_find(read, "LM", 10, 1);
    assert(speed >= 0 && speed <= 1e9);
    throughputs_destroy(read);
    return 0;
}
