/* Downloading what a push is to send: see artifact.h. The user's own machine asks, with the user's
 * own rights; the server is never made to fetch anything. */
#include "base/file.h"
#include "base/memory.h"
#include "cli/artifact.h"
#include "wire/http.h"
#include "wire/url.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { REDIRECTS_MAX = 5, IO_MS = 120000 };

struct download {
    struct cli *cli;
    int fd;
    bool https; /* once https, always https */
    struct error err;
};

/* A URL in its two parts. */
struct parts {
    const char *endpoint; /* "https://host:port" */
    const char *target;   /* "/path?query" */
};

bool artifact_is_url(const char *text)
{
    size_t length =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
    return length > 1 && strncmp(text + length, "://", 3) == 0;
}

static int split(struct cli *cli, const char *url, struct parts *ret, struct error *err)
{
    bool plain = strncmp(url, "http://", 7) == 0, tls = strncmp(url, "https://", 8) == 0;
    if (!plain && !tls)
        return error_set(err, ERR_INVALID,
            "%.100s: only http and https URLs are downloaded; name a folder for files that are "
            "here",
            url);
    const char *host = url + (plain ? 7 : 8);
    size_t length = strcspn(host, "/?#");
    const char *rest = host + length;
    if (memchr(host, '@', length))
        return error_set(err, ERR_INVALID, "a URL with a name or password in it is not taken");
    ret->endpoint = arena_strndup(cli->arena, url, (size_t)(rest - url));
    const char *path = arena_strndup(cli->arena, rest, strcspn(rest, "#"));
    ret->target = path[0] == '/' ? path : arena_printf(cli->arena, "/%s", path);
    return 0;
}

static int write_piece(const void *bytes, size_t length, void *ctx)
{
    struct download *download = ctx;
    return file_write_all(download->fd, bytes, length, &download->err);
}

/* One request. *ret_next: where it sends us, or NULL when it is done. */
static int fetch(
    struct download *download, const char *url, const char **ret_next, struct error *err)
{
    struct parts parts;
    struct http_client *client;
    struct http_client_response response = {0};
    if (split(download->cli, url, &parts, err) < 0)
        return -1;
    struct http_client_options options = {.endpoint = parts.endpoint, .io_ms = IO_MS};
    struct http_client_request request = {
        .method = "GET", .target = parts.target, .sink = write_piece, .sink_ctx = download};
    if (ftruncate(download->fd, 0) < 0 || lseek(download->fd, 0, SEEK_SET) < 0)
        return error_set_errno(err, "cannot write the download");
    if (http_client_create(&options, &client, err) < 0)
        return -1;
    int rc = http_client_exchange(client, &request, &response, err);
    *ret_next = NULL;
    if (rc == 0 && response.stopped)
        rc = error_set(err, download->err.code, "%s", download->err.text);
    else if (rc == 0 && response.status >= 300 && response.status < 400 &&
             http_client_response_header(&response, "Location"))
        *ret_next =
            arena_strdup(download->cli->arena, http_client_response_header(&response, "Location"));
    else if (rc == 0 && response.status != 200)
        rc = error_set(err, response.status == 404 ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
            "it answered %d %s", response.status, http_status_phrase(response.status));
    if (*ret_next && (*ret_next)[0] == '/')
        *ret_next = arena_printf(download->cli->arena, "%s%s", parts.endpoint, *ret_next);
    http_client_response_finish(&response);
    http_client_destroy(client);
    return rc;
}

static int follow(struct download *download, const char *url, struct error *err)
{
    for (int i = 0; i <= REDIRECTS_MAX; i++) {
        const char *next;
        bool https = strncmp(url, "https://", 8) == 0;
        if (download->https && !https)
            return error_set(err, ERR_DENIED, "it redirects from https to something else");
        download->https = https;
        if (fetch(download, url, &next, err) < 0)
            return -1;
        if (!next)
            return 0;
        url = next;
    }
    return error_set(err, ERR_UNAVAILABLE, "it redirects more than %d times", REDIRECTS_MAX);
}

/* The last part of the path, made harmless. */
static const char *file_name(struct cli *cli, const char *target)
{
    const char *path = arena_strndup(cli->arena, target, strcspn(target, "?"));
    const char *last = strrchr(path, '/') + 1;
    char *name = arena_strdup(cli->arena, *last ? last : "download");
    for (char *c = name; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == '%' || (unsigned char)*c >= 127)
            *c = '_';
    }
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? "download" : name;
}

int artifact_download(struct cli *cli, const char *url, int folder_fd, struct error *err)
{
    struct parts parts;
    if (split(cli, url, &parts, err) < 0)
        return -1;
    const char *name = file_name(cli, parts.target);
    SCOPED(fd_scope) int fd = openat(folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, "cannot make a file for the download");
    struct download download = {.cli = cli, .fd = fd};
    if (follow(&download, url, err) < 0)
        return error_prefix(err, "%.100s", url);
    return 0;
}
