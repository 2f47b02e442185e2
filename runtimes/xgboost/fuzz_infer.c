/* Any bytes as an inference request. The first two choose the length of the JSON's part. */
#include "infer.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    long long head = data[0] | (long long)data[1] << 8;
    struct infer_request request;
    if (infer_decode(
            (const char *)data + 2, size - 2, head == 0xffff ? -1 : head, 3, &request, NULL) == 0) {
        struct strbuf out = {0};
        infer_encode(&request, "m", "1", request.values, 3, &out);
        strbuf_finish(&out);
        infer_request_finish(&request);
    }
    return 0;
}
