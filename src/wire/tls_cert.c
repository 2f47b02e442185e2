/* Certificates for the first start: a key and a certificate signed with it, and fingerprints.
 * See tls.h. Every failure of OpenSSL here is one of memory or randomness, so one text does. */
#include "wire/tls.h"

#include "base/file.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

enum { VALID_DAYS = 3650, SKEW_S = 3600, CERT_BYTES_MAX = 1 << 20, COMMON_NAME_MAX = 64 };

static void key_scope(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void cert_scope(X509 **cert)
{
    X509_free(*cert);
}

static void bio_scope(BIO **bio)
{
    BIO_free(*bio);
}

static int fail(struct error *err)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    error_set(err, ERR_INTERNAL, "cannot make a certificate: %s", reason ? reason : "no reason");
    ERR_clear_error();
    return -1;
}

/* DNS names and addresses only: what goes into the extension's text must not be able to add
 * another name to it. */
static bool host_valid(const char *host)
{
    size_t length = strlen(host);
    return length > 0 && length <= 253 &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:") ==
               length;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

static bool add_names(X509 *cert, const char *host)
{
    unsigned char address[16];
    char names[400];
    bool numeric =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    snprintf(names, sizeof names, "%s:%s,DNS:localhost,IP:127.0.0.1,IP:::1", numeric ? "IP" : "DNS",
        host);
    X509_NAME *subject = X509_get_subject_name(cert);
    const char *common = strlen(host) <= COMMON_NAME_MAX ? host : "muster";
    return X509_NAME_add_entry_by_txt(
               subject, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 &&
           add_extension(cert, NID_subject_alt_name, names) &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth");
}

/* 127 random bits: positive, and never two alike. */
static bool set_serial(X509 *cert)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40);
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return set;
}

static X509 *cert_create(EVP_PKEY *key, const char *host)
{
    SCOPED(cert_scope) X509 *cert = X509_new();
    if (!cert || X509_set_version(cert, X509_VERSION_3) != 1 || !set_serial(cert) ||
        !X509_gmtime_adj(X509_getm_notBefore(cert), -SKEW_S) ||
        !X509_time_adj_ex(X509_getm_notAfter(cert), VALID_DAYS, 0, NULL) ||
        X509_set_pubkey(cert, key) != 1 || !add_names(cert, host) ||
        X509_sign(cert, key, EVP_sha256()) == 0)
        return NULL;
    X509 *made = cert;
    cert = NULL;
    return made;
}

static int write_bio(BIO *bio, const char *path, mode_t mode, struct error *err)
{
    char *text;
    long length = BIO_get_mem_data(bio, &text);
    return length > 0 ? file_write(path, text, (size_t)length, mode, err) : fail(err);
}

int tls_create_self_signed(
    const char *cert_path, const char *key_path, const char *host, struct error *err)
{
    if (!host_valid(host))
        return error_set(
            err, ERR_INVALID, "expected a DNS name or an address, got \"%.80s\"", host);
    ERR_clear_error();
    SCOPED(key_scope) EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key)
        return fail(err);
    SCOPED(cert_scope) X509 *cert = cert_create(key, host);
    SCOPED(bio_scope) BIO *key_text = BIO_new(BIO_s_secmem());
    SCOPED(bio_scope) BIO *cert_text = BIO_new(BIO_s_mem());
    if (!cert || !key_text || !cert_text ||
        PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(cert_text, cert) != 1)
        return fail(err);
    if (write_bio(key_text, key_path, 0600, err) < 0)
        return -1;
    return write_bio(cert_text, cert_path, 0644, err);
}

int tls_fingerprint(const char *cert_path, char out[TLS_FINGERPRINT_TEXT], struct error *err)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    if (file_read(cert_path, CERT_BYTES_MAX, &text, &size, err) < 0)
        return -1;
    SCOPED(bio_scope) BIO *bio = BIO_new_mem_buf(text, (int)size);
    SCOPED(cert_scope) X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    ERR_clear_error();
    if (!cert)
        return error_set(err, ERR_INVALID, "%s holds no certificate", cert_path);
    unsigned char *encoded = NULL;
    int length = i2d_X509(cert, &encoded);
    if (length <= 0)
        return fail(err);
    file_sha256_hex(encoded, (size_t)length, out);
    OPENSSL_free(encoded);
    return 0;
}
