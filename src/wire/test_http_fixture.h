/* A server and its clients for tests. They share the test's one thread: the loop is turned between
 * looks at the client's socket, so the server's state can be looked at directly, and nothing waits
 * longer than it has to. The routes are in the .c file. */
#pragma once

#include "wire/http.h"

#include "base/strbuf.h"

enum { TURNS_MAX = 20000, STREAM_TOTAL = 16 * 1024 * 1024, PIECE = 16 * 1024 };

#define HOST  "Host: a\r\n"
#define CLOSE "Connection: close\r\n"
#define HELLO "GET /hello HTTP/1.1\r\n" HOST "\r\n"

struct fixture {
    struct event_base *base;
    struct http_server *server;
    uint16_t port;
    int handled;
    int cancelled;
    int drained;
    int closed;
    struct http_request *pending;
    struct http_stream *stream;
    size_t streamed;
    size_t received;
    size_t most_output;
    bool ended;
    struct strbuf seen; /* what handlers note */
};

/* A server on a port of its own; handler and ctx of the options are replaced. */
struct fixture *fixture_create(const struct http_server_options *extra);
void fixture_destroy(struct fixture *fix);
/* Lets the server do what it can now. */
void turn(struct fixture *fix);
/* Lets it work until the counter has the value. */
void turn_until(struct fixture *fix, const int *counter, int value);
int dial(const struct fixture *fix);
void send_bytes(struct fixture *fix, int fd, const char *bytes, size_t length);
void send_text(struct fixture *fix, int fd, const char *text);
/* Turns once and takes what came, if anything did within a millisecond. False at the end. */
bool look(struct fixture *fix, int fd, struct strbuf *got);
/* Receives into got until it holds needle (NULL: until the end). False when the end came. */
bool receive(struct fixture *fix, int fd, struct strbuf *got, const char *needle);
/* What is answered to text on a connection of its own, which the server closes in the end. */
char *ask_to_end(struct fixture *fix, const char *text);
/* That answer begins with the status and ends with `end` (may be NULL). */
void assert_answer(struct fixture *fix, const char *text, const char *status, const char *end);
int count_of(const char *text, const char *needle);
/* A plain answer, for a request that is pending. */
void answer_text(struct http_request *request, int status, const char *text, size_t length);
/* Notices that count: closed and cancelled. ctx is the fixture. */
void note_closed(void *ctx);
