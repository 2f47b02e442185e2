/* Connecting a blocking client to an endpoint. */
#pragma once

#include "wire/http_socket.h"
#include "wire/url.h"

/* Waits until the socket is ready for what is needed: 1, 0 when timeout_ms (-1: for ever) passed,
 * -1 on error. */
MUST_CHECK int http_wait(int fd, short events, int64_t timeout_ms, struct error *err);
/* Connects, trying each address of the host, and does the TLS handshake for https (tls is then
 * not NULL). timeout_ms bounds each wait. ERR_UNAVAILABLE when nobody answers, ERR_DENIED when
 * the certificate is not trusted. */
MUST_CHECK int http_dial(const struct url_endpoint *endpoint, struct tls_client *tls,
    int64_t timeout_ms, struct http_socket *ret_socket, struct error *err);
