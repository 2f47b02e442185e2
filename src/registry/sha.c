/* SHA-256: see sha.h. The context is kept between hashes, since OpenSSL 3 looks the algorithm up by
 * name each time it is asked for. */
#include "registry/sha.h"

#include "base/memory.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sha {
    EVP_MD_CTX *context;
};

/* OpenSSL's calls fail when memory is out or SHA-256 was configured away. Neither can be an answer
 * to a request, and a wrong digest must never be one. */
static void require(bool fine)
{
    if (fine)
        return;
    fputs("OpenSSL cannot compute SHA-256\n", stderr);
    abort();
}

struct sha *sha_create(void)
{
    struct sha *sha = mem_alloc(1, sizeof *sha);
    sha->context = EVP_MD_CTX_new();
    require(sha->context && EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) == 1);
    return sha;
}

void sha_destroy(struct sha *sha)
{
    if (!sha)
        return;
    EVP_MD_CTX_free(sha->context);
    free(sha);
}

void sha_start(struct sha *sha)
{
    require(EVP_DigestInit_ex(sha->context, NULL, NULL) == 1);
}

void sha_add(struct sha *sha, const void *bytes, size_t size)
{
    require(EVP_DigestUpdate(sha->context, bytes, size) == 1);
}

struct digest sha_end(struct sha *sha)
{
    struct digest digest;
    require(EVP_DigestFinal_ex(sha->context, digest.bytes, NULL) == 1);
    return digest;
}

struct digest sha_of(struct sha *sha, const void *bytes, size_t size)
{
    sha_start(sha);
    sha_add(sha, bytes, size);
    return sha_end(sha);
}

void digest_hex(const struct digest *digest, char out[DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[digest->bytes[i] >> 4];
        out[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    out[DIGEST_HEX] = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool digest_parse(const char *hex, struct digest *ret)
{
    struct digest digest;
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        /* In this order: a text that ends early is not read past its end. */
        int high = nibble(hex[2 * i]);
        int low = high < 0 ? -1 : nibble(hex[2 * i + 1]);
        if (low < 0)
            return false;
        digest.bytes[i] = (unsigned char)(high << 4 | low);
    }
    *ret = digest;
    return true;
}

bool digest_parse_text(const char *text, struct digest *ret)
{
    return text && digest_parse(text, ret) && text[DIGEST_HEX] == '\0';
}

int digest_compare(const void *a, const void *b)
{
    return memcmp(a, b, DIGEST_BYTES);
}
