/* What the gateway looks at in requests of the Open Inference Protocol v2. The body is the
 * replica's to read; where its JSON ends is said in a field of the head, and a field that can be no
 * such place is refused here: behind the gateway it would be read as another request than was sent.
 */
#include "gateway/relay.h"

#include "wire/http.h"

#include <string.h>
#include <strings.h>

#define HEAD_LENGTH "Inference-Header-Content-Length"

/* -1: it is no number of bytes. */
static int64_t read_length(const char *text)
{
    int64_t length = 0;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits])
        return -1;
    for (; *text; text++)
        length = length * 10 + (*text - '0');
    return length;
}

/* The field's value; how many there are. */
static size_t find_field(const struct http_request *request, const char **ret)
{
    struct http_field field;
    size_t count = 0;
    if (!http_request_known(request, HTTP_NAME_INFERENCE_HEADER_CONTENT_LENGTH))
        return 0;
    for (size_t i = 0; http_request_header_at(request, i, &field); i++) {
        /* Most begin with another letter. */
        if ((field.name[0] | 0x20) != 'i' || strcasecmp(field.name, HEAD_LENGTH) != 0)
            continue;
        *ret = field.value;
        count++;
    }
    return count;
}

/* -1: not known yet. */
static int64_t body_length(const struct relay *relay)
{
    if (relay->body.ended)
        return relay->body.received;
    return http_request_body_length(relay->request);
}

static enum stage_result refuse(struct relay *relay, const char *value, int64_t body)
{
    if (body < 0)
        relay_refuse(relay, 400, "invalid_head_length",
            HEAD_LENGTH " has to be one whole number of bytes, got \"%.40s\"", value);
    else
        relay_refuse(relay, 400, "invalid_head_length",
            HEAD_LENGTH " is %s, but the body has %lld bytes", value, (long long)body);
    return STAGE_ENDED;
}

enum stage_result relay_stage_oip(struct relay *relay)
{
    const char *value = NULL;
    if (relay->target.protocol != PROTOCOL_OIP || !relay->target.has_body)
        return STAGE_DONE;
    size_t count = find_field(relay->request, &value);
    if (count == 0)
        return STAGE_DONE;
    int64_t length = read_length(value), body = body_length(relay);
    if (count > 1 || length < 0)
        return refuse(relay, value, -1);
    if (body >= 0 && length > body)
        return refuse(relay, value, body);
    return STAGE_DONE;
}
