/* Answers as bytes: see cache_value.h. Sealed: a random nonce, then XChaCha20-Poly1305 of the
 * plain form, with the key of the request as what is authenticated beside it. Plain: numbers of
 * fixed widths, little-endian, then texts that end with NUL, then the body, which goes to the end.
 * Whoever reads it takes all of it or nothing. */
#include "gateway/cache_value.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    FORM = 1,
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    TEXT_BYTES_MAX = 16384, /* of a field's value */
};
#define AGE_MS_MAX ((int64_t)400 * 24 * 3600 * 1000)

static_assert(CACHE_SECRET_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the same key");

void cache_secret_make(struct cache_secret *ret, const char *text, size_t length)
{
    assert(length >= CACHE_SECRET_TEXT_MIN);
    crypto_generichash(ret->bytes, sizeof ret->bytes, (const unsigned char *)text, length, NULL, 0);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_number(struct strbuf *out, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(number >> 8 * i);
    strbuf_append(out, bytes, sizeof bytes);
}

static void put_text(struct strbuf *out, const char *text)
{
    strbuf_append(out, text, strlen(text) + 1);
}

bool cache_value_write(
    const struct cache_answer *answer, const struct cache_moment *moment, struct strbuf *out)
{
    const int64_t age = moment->now_ms - answer->made_ms;
    if (answer->bytes > CACHE_VALUE_BYTES_MAX - 1024 ||
        answer->field_count > CACHE_VALUE_FIELDS_MAX)
        return false;
    const uint64_t numbers[] = {FORM, (uint64_t)answer->status,
        (uint64_t)(moment->wall_ms - (age > 0 ? age : 0)), answer->replica,
        (uint64_t)answer->version, answer->took_us, answer->input_tokens, answer->output_tokens,
        answer->field_count};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        put_number(out, numbers[i]);
    put_text(out, answer->etag);
    for (size_t i = 0; i < answer->field_count; i++) {
        put_text(out, answer->fields[i].name);
        put_text(out, answer->fields[i].value);
    }
    strbuf_append(out, answer->body, answer->body_length);
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    const uint8_t *at, *end;
    bool failed;
};

static uint64_t take_number(struct reading *reading)
{
    uint64_t number = 0;
    if (reading->failed || reading->end - reading->at < 8) {
        reading->failed = true;
        return 0;
    }
    for (size_t i = 0; i < 8; i++)
        number |= (uint64_t)reading->at[i] << 8 * i;
    reading->at += 8;
    return number;
}

/* "" where it failed: never NULL. */
static const char *take_text(struct reading *reading, size_t most)
{
    size_t left = (size_t)(reading->end - reading->at);
    const char *text = (const char *)reading->at;
    const char *nul = reading->failed ? NULL : memchr(text, '\0', left < most ? left : most);
    if (!nul) {
        reading->failed = true;
        return "";
    }
    reading->at += (size_t)(nul - text) + 1;
    return text;
}

/* What no answer's head may have: it would end the line. */
static bool is_plain(const char *text)
{
    return !strpbrk(text, "\r\n");
}

/* A clock that is behind another's makes no answer younger than it can be. */
static int64_t age_of(uint64_t made_ms, const struct cache_moment *moment)
{
    const uint64_t now_ms = (uint64_t)moment->wall_ms;
    return made_ms < now_ms && now_ms - made_ms < (uint64_t)AGE_MS_MAX ? (int64_t)(now_ms - made_ms)
                                                                       : 0;
}

struct cache_answer *cache_value_read(
    const uint8_t *bytes, size_t length, const struct cache_moment *moment)
{
    struct reading reading = {bytes, bytes + length, false};
    uint64_t form = take_number(&reading), status = take_number(&reading);
    uint64_t made_ms = take_number(&reading);
    uint64_t replica = take_number(&reading), version = take_number(&reading);
    uint64_t took_us = take_number(&reading);
    uint64_t input_tokens = take_number(&reading), output_tokens = take_number(&reading);
    uint64_t count = take_number(&reading);
    struct cache_field fields[CACHE_VALUE_FIELDS_MAX];
    if (reading.failed || form != FORM || status != 200 || count > ARRAY_LEN(fields))
        return NULL;
    const char *etag = take_text(&reading, CACHE_ETAG_BYTES);
    reading.failed |= !is_plain(etag);
    for (size_t i = 0; i < count; i++) {
        fields[i].name = take_text(&reading, TEXT_BYTES_MAX);
        fields[i].value = take_text(&reading, TEXT_BYTES_MAX);
        reading.failed |= !is_plain(fields[i].name) || !is_plain(fields[i].value);
    }
    if (reading.failed)
        return NULL;
    struct cache_answer *answer =
        cache_answer_create((int)status, fields, (size_t)count, etag, (const char *)reading.at,
            (size_t)(reading.end - reading.at), moment->now_ms - age_of(made_ms, moment));
    answer->replica = replica;
    answer->version = (int64_t)version;
    answer->took_us = took_us;
    answer->input_tokens = input_tokens;
    answer->output_tokens = output_tokens;
    return answer;
}

/* ---- the seal -------------------------------------------------------------------------------- */

bool cache_value_seal(const struct cache_secret *secret, const struct cache_key *key,
    const struct cache_answer *answer, const struct cache_moment *moment, struct strbuf *out)
{
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    uint8_t nonce[NONCE_BYTES];
    if (!cache_value_write(answer, moment, &plain))
        return false;
    unsigned char *sealed = mem_alloc(1, plain.length + TAG_BYTES);
    randombytes_buf(nonce, sizeof nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, (const unsigned char *)plain.text,
        plain.length, key->bytes, sizeof key->bytes, NULL, nonce, secret->bytes);
    strbuf_append(out, nonce, sizeof nonce);
    strbuf_append(out, sealed, plain.length + TAG_BYTES);
    free(sealed);
    return true;
}

struct cache_answer *cache_value_open(const struct cache_secret *secret,
    const struct cache_key *key, const void *bytes, size_t length,
    const struct cache_moment *moment)
{
    const unsigned char *sealed = bytes;
    if (length < NONCE_BYTES + TAG_BYTES || length > CACHE_VALUE_BYTES_MAX)
        return NULL;
    size_t plain_length = length - NONCE_BYTES - TAG_BYTES;
    unsigned char *plain = mem_alloc(1, plain_length + 1);
    struct cache_answer *answer = NULL;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed + NONCE_BYTES,
            length - NONCE_BYTES, key->bytes, sizeof key->bytes, sealed, secret->bytes) == 0)
        answer = cache_value_read(plain, plain_length, moment);
    free(plain);
    return answer;
}
