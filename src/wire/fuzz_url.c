/* Fuzz target: endpoints parse and build to the same, accepted paths are safe, and decoding undoes
 * encoding. */
#include "wire/url.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_endpoint(const char *text)
{
    struct url_endpoint endpoint, again;
    struct strbuf built = {0};
    if (url_endpoint_parse(text, &endpoint, NULL) < 0)
        return;
    url_endpoint_build(&endpoint, &built);
    int parsed = url_endpoint_parse(strbuf_text(&built), &again, NULL);
    assert(parsed == 0);
    assert(endpoint.scheme == again.scheme && endpoint.port == again.port);
    assert(strcmp(endpoint.host, again.host) == 0 && strcmp(endpoint.path, again.path) == 0);
    strbuf_clear(&built);
    url_endpoint_authority(&endpoint, &built);
    assert(url_authority_valid(built.text, built.length));
    strbuf_finish(&built);
}

static void check_path(const char *text, size_t size)
{
    char *out = malloc(size + 1);
    size_t length;
    if (url_decode_path(text, size, out, &length, NULL) == 0) {
        assert(out[0] == '/' && strlen(out) == length && !strstr(out, "//"));
        assert(!strstr(out, "/../") && !strstr(out, "/./") && !strchr(out, '\\'));
        assert(length < 3 || strcmp(out + length - 3, "/..") != 0);
    }
    free(out);
}

static void check_encoding(const char *text)
{
    struct strbuf encoded = {0};
    size_t length;
    url_encode_segment(&encoded, text);
    char *out = malloc(encoded.length + 1);
    if (url_decode_query(strbuf_text(&encoded), encoded.length, out, &length, NULL) == 0)
        assert(strcmp(out, text) == 0);
    free(out);
    strbuf_finish(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    check_endpoint(text);
    check_path(text, size);
    check_encoding(text);
    free(text);
    return 0;
}
