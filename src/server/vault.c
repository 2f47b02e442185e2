/* Secrets: see vault.h. */
#include "server/vault.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "server/ticker.h"
#include "wire/doc.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
};

const char vault_collection[] = "secret";

struct vault {
    unsigned char key[KEY_BYTES];
};

static int read_key(const char *path, unsigned char key[KEY_BYTES], struct error *err)
{
    char *text;
    size_t size;
    if (file_read(path, KEY_BYTES, &text, &size, err) < 0)
        return -1;
    if (size == KEY_BYTES)
        memcpy(key, text, KEY_BYTES);
    sodium_memzero(text, size);
    free(text);
    if (size != KEY_BYTES)
        return error_set(err, ERR_CORRUPT, "%s is not a key of %d bytes", path, KEY_BYTES);
    return 0;
}

struct vault *vault_open(const char *data_dir, struct error *err)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/secret.key", data_dir);
    struct vault *vault = mem_alloc(1, sizeof *vault);
    struct error why;
    int rc = read_key(strbuf_text(&path), vault->key, &why);
    if (rc < 0 && why.code == ERR_NOT_FOUND) {
        crypto_aead_xchacha20poly1305_ietf_keygen(vault->key);
        rc = file_write(strbuf_text(&path), vault->key, KEY_BYTES, 0600, &why);
    }
    strbuf_finish(&path);
    if (rc == 0)
        return vault;
    error_set(err, why.code, "%s", why.text);
    vault_close(vault);
    return NULL;
}

void vault_close(struct vault *vault)
{
    if (!vault)
        return;
    sodium_memzero(vault->key, sizeof vault->key);
    free(vault);
}

void vault_key(const char *team, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", team, name);
}

void vault_put(struct vault *vault, struct tick *tick, const char *team, const char *name,
    const void *value, size_t size)
{
    assert(size <= SECRET_BYTES_MAX);
    char key[160];
    vault_key(team, name, key, sizeof key);
    size_t sealed_size = NONCE_BYTES + size + TAG_BYTES;
    SCOPED(mem_scope) unsigned char *sealed = mem_alloc(sealed_size, 1);
    randombytes_buf(sealed, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, value, size,
        (const unsigned char *)key, strlen(key), NULL, sealed, vault->key);
    size_t text_size = sodium_base64_encoded_len(sealed_size, sodium_base64_VARIANT_ORIGINAL);
    SCOPED(mem_scope) char *text = mem_alloc(text_size, 1);
    sodium_bin2base64(text, text_size, sealed, sealed_size, sodium_base64_VARIANT_ORIGINAL);
    struct strbuf json = {0};
    strbuf_printf(&json, "{\"sealed\":\"%s\"}", text);
    store_txn_put_document(
        tick_txn(tick), vault_collection, key, team, strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
    tick_audit(tick, "secret-put", "secret", name, team, NULL);
}

void vault_delete(struct tick *tick, const char *team, const char *name)
{
    char key[160];
    vault_key(team, name, key, sizeof key);
    store_txn_delete_document(tick_txn(tick), vault_collection, key);
    tick_audit(tick, "secret-delete", "secret", name, team, NULL);
}

static int open_sealed(const struct vault *vault, const char *key, const char *json,
    char **ret_value, size_t *ret_size)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), 4 * SECRET_BYTES_MAX, NULL);
    const char *text = doc_get_string(doc, "sealed");
    if (!text)
        return -1;
    unsigned char *sealed = arena_alloc(arena, strlen(text) + 1, 1);
    size_t size;
    if (sodium_base642bin(sealed, strlen(text), text, strlen(text), NULL, &size, NULL,
            sodium_base64_VARIANT_ORIGINAL) < 0 ||
        size < NONCE_BYTES + TAG_BYTES)
        return -1;
    size_t value_size = size - NONCE_BYTES - TAG_BYTES;
    char *value = mem_alloc(value_size + 1, 1);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *)value, NULL, NULL,
            sealed + NONCE_BYTES, size - NONCE_BYTES, (const unsigned char *)key, strlen(key),
            sealed, vault->key) < 0) {
        free(value);
        return -1;
    }
    *ret_value = value;
    *ret_size = value_size;
    return 0;
}

int vault_get(const struct vault *vault, struct store_reader *reader, const char *team,
    const char *name, char **ret_value, size_t *ret_size, struct error *err)
{
    char key[160];
    vault_key(team, name, key, sizeof key);
    SCOPED(mem_scope) char *json = NULL;
    struct error why = {0};
    if (reader_document(reader, vault_collection, key, &json, NULL, &why) < 0) {
        if (why.code == ERR_NOT_FOUND)
            return error_set(err, ERR_NOT_FOUND, "the team %s has no secret %s", team, name);
        return error_set(err, why.code, "%s", why.text);
    }
    if (open_sealed(vault, key, json, ret_value, ret_size) < 0)
        return error_set(err, ERR_CORRUPT, "the secret %s cannot be opened with this key", key);
    return 0;
}

void vault_free(char *value, size_t size)
{
    if (value)
        sodium_memzero(value, size);
    free(value);
}
