/* A client of HTTP/2 for tests, which sends whatever frames it is told to, right or wrong, and
 * reads what comes. It shares the thread of the server: see test_http_fixture.h. */
#pragma once

#include "wire/test_http_fixture.h"

#include <nghttp2/nghttp2.h>

struct http2_client {
    struct fixture *fix;
    int fd;
    struct strbuf got;    /* what came */
    size_t at;            /* bytes of it that were looked at */
    struct strbuf block;  /* a head being made */
    struct strbuf fields; /* the last head that came, as lines of "name: value" */
    struct strbuf body;   /* of DATA on the stream that is waited for */
    nghttp2_hd_inflater *inflater;
    bool ended; /* the connection */
};

struct frame {
    uint8_t type, flags;
    int32_t stream;
    const uint8_t *payload; /* until the next call */
    size_t length;
};

/* Connected, SETTINGS exchanged: the windows are what the server said. */
struct http2_client *client_create(struct fixture *fix);
void client_destroy(struct http2_client *client);
void client_frame(struct http2_client *client, uint8_t type, uint8_t flags, int32_t stream,
    const void *payload, size_t length);
/* Adds a field to the head being made. */
void client_field(struct http2_client *client, const char *name, const char *value);
/* The four fields that each request has. */
void client_start(struct http2_client *client, const char *method, const char *path);
/* Sends the head that was made, in one frame. */
void client_head(struct http2_client *client, int32_t stream, bool ends);
/* A whole request without a body. */
void client_get(struct http2_client *client, int32_t stream, const char *path);
/* A whole request with a body. */
void client_post(struct http2_client *client, int32_t stream, const char *path, const char *body);
/* Takes the next frame, whatever it is; false at the end of the connection. Heads are read into
 * fields, and SETTINGS are not answered. */
bool client_next(struct http2_client *client, struct frame *ret);
/* Takes frames until one of the type comes on the stream; the test fails when none does. */
void client_until(struct http2_client *client, uint8_t type, int32_t stream, struct frame *ret);
/* Takes frames until the stream's answer is complete: its status. The body is in client->body. */
int client_answer(struct http2_client *client, int32_t stream);
/* The code with which the stream was reset. */
uint32_t client_reset(struct http2_client *client, int32_t stream);
/* The code of the GOAWAY that comes, and then the end of the connection. */
uint32_t client_goaway(struct http2_client *client);
/* Opens the stream's window (0: the connection's). */
void client_window(struct http2_client *client, int32_t stream, uint32_t bytes);
uint32_t number_at(const uint8_t *bytes);
