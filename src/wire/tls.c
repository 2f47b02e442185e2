/* TLS over OpenSSL: see tls.h.
 *
 * Sessions read and write their socket through a BIO of ours, because OpenSSL's own raises
 * SIGPIPE. A session holds a reference to the context it began with, so a reload replaces the
 * context under nobody. OpenSSL's error queue is emptied before each call into a session and
 * after each failure: what one connection left there must not speak for another. */
#include "wire/tls.h"

#include "base/file.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct tls_server {
    SSL_CTX *context;
    char *cert_path;
    char *key_path;
    bool http2; /* offered */
};

struct tls_client {
    SSL_CTX *context;
};

struct tls_session {
    SSL *ssl;
    BIO_METHOD *method;
    bool broken; /* OpenSSL forbids any further call after some errors */
};

static void context_scope(SSL_CTX **context)
{
    SSL_CTX_free(*context);
}

/* Fills err with the formatted text and OpenSSL's reason for its last failure. */
static int fail(struct error *err, enum error_code code, const char *what)
{
    unsigned long number = ERR_get_error();
    const char *reason = ERR_reason_error_string(number);
    if (number && ERR_SYSTEM_ERROR(number))
        reason = strerror(ERR_GET_REASON(number));
    error_set(err, code, "%s: %s", what, reason ? reason : "no reason given");
    ERR_clear_error();
    return -1;
}

/* ------- sockets that raise no signal ------- */

static int socket_fd(BIO *bio)
{
    return (int)(intptr_t)BIO_get_data(bio);
}

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

static int socket_write(BIO *bio, const char *bytes, int length)
{
    BIO_clear_retry_flags(bio);
    ssize_t n = send(socket_fd(bio), bytes, (size_t)length, MSG_NOSIGNAL);
    if (n < 0 && would_block())
        BIO_set_retry_write(bio);
    return (int)n;
}

static int socket_read(BIO *bio, char *out, int room)
{
    BIO_clear_retry_flags(bio);
    ssize_t n = recv(socket_fd(bio), out, (size_t)room, 0);
    if (n < 0 && would_block())
        BIO_set_retry_read(bio);
    if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)n;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static struct tls_session *session_create(SSL_CTX *context, int fd)
{
    struct tls_session *session = mem_alloc(1, sizeof *session);
    session->ssl = SSL_new(context);
    session->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR, "muster socket");
    BIO *bio = session->method ? BIO_new(session->method) : NULL;
    if (!session->ssl || !bio)
        abort(); /* memory is all that can be missing here: see memory.h */
    BIO_meth_set_write(session->method, socket_write);
    BIO_meth_set_read(session->method, socket_read);
    BIO_meth_set_ctrl(session->method, socket_control);
    BIO_set_data(bio, (void *)(intptr_t)fd);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio);
    return session;
}

/* ------- contexts ------- */

/* Never asks for a passphrase on the terminal: an encrypted key is a failure with a message. */
static int no_passphrase(char *out, int room, int writing, void *ctx)
{
    (void)out, (void)room, (void)writing, (void)ctx;
    return 0;
}

static SSL_CTX *context_create(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context)
        abort();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    return context;
}

static const unsigned char alpn_http11[] = "\x08http/1.1";
static const unsigned char alpn_http2[] = "\x02h2\x08http/1.1";

static int alpn_select(SSL *ssl, const unsigned char **out, unsigned char *out_length,
    const unsigned char *offered, unsigned offered_length, void *ctx)
{
    const bool *http2 = ctx;
    (void)ssl;
    unsigned char *chosen;
    int found = SSL_select_next_proto(&chosen, out_length, *http2 ? alpn_http2 : alpn_http11,
        *http2 ? sizeof alpn_http2 - 1 : sizeof alpn_http11 - 1, offered, offered_length);
    if (found != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int key_check_mode(const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        error_set_errno(err, "cannot read the key %s", path);
        if (err && errno == ENOENT)
            err->code = ERR_NOT_FOUND;
        return -1;
    }
    if (st.st_mode & S_IRWXO)
        return error_set(err, ERR_DENIED,
            "the key %s is open to every user of the machine: chmod 600 it first", path);
    return 0;
}

static int server_context_create(
    const char *cert_path, const char *key_path, SSL_CTX **ret_context, struct error *err)
{
    if (key_check_mode(key_path, err) < 0)
        return -1;
    ERR_clear_error();
    SCOPED(context_scope) SSL_CTX *context = context_create(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, cert_path) != 1) {
        fail(err, ERR_INVALID, "cannot use the certificate");
        return error_prefix(err, "%s", cert_path);
    }
    if (SSL_CTX_use_PrivateKey_file(context, key_path, SSL_FILETYPE_PEM) != 1) {
        fail(err, ERR_INVALID, "cannot use the key");
        return error_prefix(err, "%s", key_path);
    }
    *ret_context = context;
    context = NULL;
    return 0;
}

/* Sessions may outlive the struct, and do their handshake before that. */
static void offer(SSL_CTX *context, bool http2)
{
    static const bool answers[] = {false, true};
    SSL_CTX_set_alpn_select_cb(context, alpn_select, (void *)&answers[http2]);
}

void tls_server_offer_http2(struct tls_server *tls)
{
    tls->http2 = true;
    offer(tls->context, true);
}

int tls_server_create(
    const char *cert_path, const char *key_path, struct tls_server **ret_tls, struct error *err)
{
    SSL_CTX *context;
    if (server_context_create(cert_path, key_path, &context, err) < 0)
        return -1;
    struct tls_server *tls = mem_alloc(1, sizeof *tls);
    tls->context = context;
    offer(context, false);
    tls->cert_path = mem_strdup(cert_path);
    tls->key_path = mem_strdup(key_path);
    *ret_tls = tls;
    return 0;
}

void tls_server_destroy(struct tls_server *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

int tls_server_reload(struct tls_server *tls, struct error *err)
{
    SSL_CTX *context;
    if (server_context_create(tls->cert_path, tls->key_path, &context, err) < 0)
        return -1;
    SSL_CTX_free(tls->context);
    tls->context = context;
    offer(context, tls->http2);
    return 0;
}

void tls_server_fingerprint(const struct tls_server *tls, char out[TLS_FINGERPRINT_TEXT])
{
    unsigned char *encoded = NULL;
    int length = i2d_X509(SSL_CTX_get0_certificate(tls->context), &encoded);
    assert(length > 0);
    file_sha256_hex(encoded, (size_t)length, out);
    OPENSSL_free(encoded);
}

static SSL_CTX *client_context_create(void)
{
    SSL_CTX *context = context_create(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_set_alpn_protos(context, alpn_http11, sizeof alpn_http11 - 1) != 0)
        abort();
    return context;
}

static struct tls_client *client_of(SSL_CTX **context)
{
    struct tls_client *tls = mem_alloc(1, sizeof *tls);
    tls->context = *context;
    *context = NULL;
    return tls;
}

int tls_client_create(const char *ca_path, struct tls_client **ret_tls, struct error *err)
{
    ERR_clear_error();
    SCOPED(context_scope) SSL_CTX *context = client_context_create();
    int trusted = ca_path ? SSL_CTX_load_verify_file(context, ca_path)
                          : SSL_CTX_set_default_verify_paths(context);
    if (trusted != 1) {
        fail(err, ERR_INVALID, "cannot use these certificates as trusted");
        return error_prefix(err, "%s", ca_path ? ca_path : "the system's CAs");
    }
    *ret_tls = client_of(&context);
    return 0;
}

/* ------- identities from texts ------- */

static void bio_scope(BIO **bio)
{
    BIO_free(*bio);
}

static void certificate_scope(X509 **certificate)
{
    X509_free(*certificate);
}

static void key_scope(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static BIO *bio_of(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    if (!bio)
        abort();
    return bio;
}

static int trust_text(SSL_CTX *context, const char *pem, struct error *err)
{
    SCOPED(bio_scope) BIO *bio = bio_of(pem);
    int count = 0;
    for (;; count++) {
        SCOPED(certificate_scope)
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        if (!certificate)
            break;
        if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) != 1)
            return fail(err, ERR_INVALID, "cannot trust this certificate authority");
    }
    if (count == 0)
        return fail(err, ERR_INVALID, "there is no certificate authority in this text");
    ERR_clear_error();
    return 0;
}

/* The client's own certificate and those that lead from it to an authority. */
static int use_chain_text(SSL_CTX *context, const char *pem, struct error *err)
{
    SCOPED(bio_scope) BIO *bio = bio_of(pem);
    SCOPED(certificate_scope) X509 *own = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
    if (!own || SSL_CTX_use_certificate(context, own) != 1)
        return fail(err, ERR_INVALID, "cannot use the client's certificate");
    X509 *more;
    while ((more = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL))) {
        if (SSL_CTX_add_extra_chain_cert(context, more) == 1)
            continue; /* the context has it now */
        X509_free(more);
        return fail(err, ERR_INVALID, "cannot use the client's chain of certificates");
    }
    ERR_clear_error();
    return 0;
}

static int use_key_text(SSL_CTX *context, const char *pem, struct error *err)
{
    SCOPED(bio_scope) BIO *bio = bio_of(pem);
    SCOPED(key_scope) EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (!key || SSL_CTX_use_PrivateKey(context, key) != 1)
        return fail(err, ERR_INVALID, "cannot use the client's key");
    return 0;
}

int tls_client_create_identity(
    const struct tls_identity *identity, struct tls_client **ret_tls, struct error *err)
{
    ERR_clear_error();
    SCOPED(context_scope) SSL_CTX *context = client_context_create();
    if (!identity->certificate != !identity->key)
        return error_set(err, ERR_INVALID, "a client's certificate and its key are given together");
    if (!identity->ca && SSL_CTX_set_default_verify_paths(context) != 1)
        return fail(err, ERR_INVALID, "cannot use the system's CAs");
    if (identity->ca && trust_text(context, identity->ca, err) < 0)
        return -1;
    if (identity->certificate && (use_chain_text(context, identity->certificate, err) < 0 ||
                                     use_key_text(context, identity->key, err) < 0))
        return -1;
    *ret_tls = client_of(&context);
    return 0;
}

void tls_client_destroy(struct tls_client *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

/* ------- sessions ------- */

struct tls_session *tls_session_accept(struct tls_server *tls, int fd)
{
    assert(fd >= 0);
    struct tls_session *session = session_create(tls->context, fd);
    SSL_set_accept_state(session->ssl);
    return session;
}

int tls_session_connect(struct tls_client *tls, int fd, const char *host,
    struct tls_session **ret_session, struct error *err)
{
    assert(fd >= 0);
    unsigned char address[sizeof(struct in6_addr)];
    struct tls_session *session = session_create(tls->context, fd);
    SSL_set_connect_state(session->ssl);
    bool numeric =
        inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    int done = numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session->ssl), host)
                       : SSL_set1_host(session->ssl, host) == 1 &&
                             SSL_set_tlsext_host_name(session->ssl, host) == 1;
    if (done != 1) {
        tls_session_destroy(session);
        return fail(err, ERR_INVALID, "the host's name cannot be verified");
    }
    *ret_session = session;
    return 0;
}

void tls_session_destroy(struct tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    BIO_meth_free(session->method);
    free(session);
}

/* Turns a call's result that is not success into what to wait for, the end, or a failure. */
static int judge(struct tls_session *session, int result, enum tls_need *ret_need, const char *what,
    struct error *err)
{
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ: *ret_need = TLS_NEED_READ; return 0;
    case SSL_ERROR_WANT_WRITE: *ret_need = TLS_NEED_WRITE; return 0;
    case SSL_ERROR_ZERO_RETURN: *ret_need = TLS_NEED_NOTHING; return 0;
    case SSL_ERROR_SYSCALL:
        session->broken = true;
        return errno ? error_set_errno(err, "%s", what)
                     : error_set(err, ERR_IO, "%s: the connection broke", what);
    default: session->broken = true; return fail(err, ERR_IO, what);
    }
}

static int refuse_broken(struct error *err)
{
    return error_set(err, ERR_IO, "the TLS session broke before");
}

int tls_session_handshake(struct tls_session *session, enum tls_need *ret_need, struct error *err)
{
    if (session->broken)
        return refuse_broken(err);
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(session->ssl);
    if (result == 1)
        return 1;
    if (judge(session, result, ret_need, "TLS handshake", err) == 0)
        return *ret_need == TLS_NEED_NOTHING ? refuse_broken(err) : 0;
    long verdict = SSL_get_verify_result(session->ssl);
    if (verdict != X509_V_OK)
        return error_set(err, ERR_DENIED, "the server's certificate is not trusted: %s",
            X509_verify_cert_error_string(verdict));
    return -1;
}

bool tls_session_chose_http2(const struct tls_session *session)
{
    const unsigned char *name;
    unsigned length;
    SSL_get0_alpn_selected(session->ssl, &name, &length);
    return length == 2 && memcmp(name, "h2", 2) == 0;
}

static int int_size(size_t size)
{
    return size > INT_MAX ? INT_MAX : (int)size;
}

ssize_t tls_session_read(
    struct tls_session *session, void *out, size_t room, enum tls_need *ret_need, struct error *err)
{
    assert(room > 0);
    if (session->broken)
        return refuse_broken(err);
    ERR_clear_error();
    errno = 0;
    int n = SSL_read(session->ssl, out, int_size(room));
    return n > 0 ? n : judge(session, n, ret_need, "TLS read", err);
}

ssize_t tls_session_write(struct tls_session *session, const void *bytes, size_t length,
    enum tls_need *ret_need, struct error *err)
{
    assert(length > 0);
    if (session->broken)
        return refuse_broken(err);
    ERR_clear_error();
    errno = 0;
    int n = SSL_write(session->ssl, bytes, int_size(length));
    if (n > 0)
        return n;
    int verdict = judge(session, n, ret_need, "TLS write", err);
    if (verdict == 0 && *ret_need == TLS_NEED_NOTHING)
        return error_set(err, ERR_IO, "TLS write: the session has ended");
    return verdict;
}

bool tls_session_pending(const struct tls_session *session)
{
    return SSL_has_pending(session->ssl) == 1;
}

void tls_session_end(struct tls_session *session)
{
    if (session->broken || !SSL_is_init_finished(session->ssl))
        return;
    ERR_clear_error();
    (void)SSL_shutdown(session->ssl);
    ERR_clear_error();
}
