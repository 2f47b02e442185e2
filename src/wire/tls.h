/* TLS over OpenSSL, version 1.2 and above: contexts for servers and clients, and sessions on
 * non-blocking sockets. wire/http.h is the usual way to use it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* SHA-256 of a certificate as 64 lower-case hex digits and NUL. */
enum { TLS_FINGERPRINT_TEXT = 65 };

/* A server's certificate chain and key, from PEM files. */
struct tls_server;

/* ERR_INVALID where a file is no certificate or key or they do not belong together, ERR_DENIED
 * where others than the owner and the group may read the key. */
MUST_CHECK int tls_server_create(
    const char *cert_path, const char *key_path, struct tls_server **ret_tls, struct error *err);
void tls_server_destroy(struct tls_server *tls); /* NULL is fine; sessions may live on */
/* Sessions from now on may choose HTTP/2 (ALPN), and do where the client offers it. */
void tls_server_offer_http2(struct tls_server *tls);
/* Reads both files again. Sessions from now on use them; on failure the old ones stay. */
MUST_CHECK int tls_server_reload(struct tls_server *tls, struct error *err);
/* The fingerprint of the certificate in use. */
void tls_server_fingerprint(const struct tls_server *tls, char out[TLS_FINGERPRINT_TEXT]);

/* What a client trusts: the PEM file ca_path, or the system's CAs when it is NULL. */
struct tls_client;

/* ca_path NULL: the system's CAs. ERR_INVALID, ERR_IO. */
MUST_CHECK int tls_client_create(
    const char *ca_path, struct tls_client **ret_tls, struct error *err);
/* What a client trusts and who it is, as PEM texts. */
struct tls_identity {
    const char *ca;          /* NULL: the system's CAs */
    const char *certificate; /* the client's own chain, and its key: both or neither */
    const char *key;
};

/* As tls_client_create, from texts, which are borrowed for the call. ERR_INVALID. */
MUST_CHECK int tls_client_create_identity(
    const struct tls_identity *identity, struct tls_client **ret_tls, struct error *err);
void tls_client_destroy(struct tls_client *tls); /* NULL is fine; sessions may live on */

/* Makes a P-256 key (mode 0600) and a certificate signed by itself, valid for ten years, for
 * host (a DNS name or a numeric address), localhost, 127.0.0.1 and ::1. Existing files are
 * replaced. */
MUST_CHECK int tls_create_self_signed(
    const char *cert_path, const char *key_path, const char *host, struct error *err);
/* The fingerprint of the first certificate in a PEM file. */
MUST_CHECK int tls_fingerprint(
    const char *cert_path, char out[TLS_FINGERPRINT_TEXT], struct error *err);

/* One connection. The fd is non-blocking and stays the caller's; no call raises SIGPIPE. */
struct tls_session;

/* What stopped a call that moved no bytes. */
enum tls_need { TLS_NEED_NOTHING, TLS_NEED_READ, TLS_NEED_WRITE };

/* A session over fd, which stays the caller's; the handshake is still to be done. */
struct tls_session *tls_session_accept(struct tls_server *tls, int fd);
/* host: the name or numeric address the certificate must be for. */
MUST_CHECK int tls_session_connect(struct tls_client *tls, int fd, const char *host,
    struct tls_session **ret_session, struct error *err);
void tls_session_destroy(struct tls_session *session); /* NULL is fine */
/* 1 when done, 0 when *ret_need has to be waited for, -1 on failure. */
MUST_CHECK int tls_session_handshake(
    struct tls_session *session, enum tls_need *ret_need, struct error *err);
/* Whether the client and the server agreed on HTTP/2; after the handshake. */
bool tls_session_chose_http2(const struct tls_session *session);
/* Bytes moved (> 0), 0 when *ret_need has to be waited for, -1 on failure. A read with
 * *ret_need == TLS_NEED_NOTHING and 0 is the peer's proper end; an end without close_notify is a
 * failure, so that truncation does not pass for completeness. */
MUST_CHECK ssize_t tls_session_read(struct tls_session *session, void *out, size_t room,
    enum tls_need *ret_need, struct error *err);
MUST_CHECK ssize_t tls_session_write(struct tls_session *session, const void *bytes, size_t length,
    enum tls_need *ret_need, struct error *err);
/* Decrypted bytes that wait inside, invisible to poll(). */
bool tls_session_pending(const struct tls_session *session);
/* Sends close_notify if the socket takes it now. */
void tls_session_end(struct tls_session *session);
