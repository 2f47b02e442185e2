/* Which server to ask: see endpoint.h. */
#include "cli/endpoint.h"

#include "base/file.h"
#include "wire/doc.h"
#include "wire/url.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TOKEN_BYTES_MAX = 4096, CONFIG_BYTES_MAX = 16384 };

int endpoint_read_token(
    struct arena *arena, const char *path, const char **ret_token, struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        return error_set(err, ERR_DENIED,
            "the token file %s can be read by others: chmod 600 it, and consider the token known",
            path);
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    if (file_read(path, TOKEN_BYTES_MAX, &text, &size, err) < 0)
        return error_prefix(err, "token file");
    while (size > 0 && strchr(" \t\r\n", text[size - 1]))
        text[--size] = '\0';
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return error_set(err, ERR_INVALID, "the token file %s holds more than a token", path);
    }
    if (size == 0)
        return error_set(err, ERR_INVALID, "the token file %s is empty", path);
    *ret_token = arena_strdup(arena, text);
    return 0;
}

/* What the configuration says; a file that is not there says nothing. */
struct config {
    const char *path;
    const char *endpoint;
    const char *ca;
    const char *token_file;
};

static int take_settings(struct config *config, const struct doc *map, struct error *err)
{
    const struct {
        const char *name;
        const char **to;
    } settings[] = {
        {"endpoint", &config->endpoint}, {"ca", &config->ca}, {"tokenFile", &config->token_file}};
    for (const struct doc *item = map->first; item; item = item->next) {
        size_t i = 0;
        while (i < ARRAY_LEN(settings) && strcmp(settings[i].name, item->key) != 0)
            i++;
        if (i == ARRAY_LEN(settings))
            return error_set(err, ERR_INVALID,
                "%s:%d: unknown setting %.40s; there are endpoint, ca and tokenFile", config->path,
                item->line, item->key);
        if (item->type != DOC_STRING)
            return error_set(err, ERR_INVALID, "%s:%d: %s: expected a text", config->path,
                item->line, item->key);
        *settings[i].to = item->text;
    }
    return 0;
}

static int read_config(struct arena *arena, const struct endpoint_sources *sources,
    struct config *config, struct error *err)
{
    const char *home = sources->variable("XDG_CONFIG_HOME");
    if (home && *home)
        config->path = arena_printf(arena, "%s/muster/config.yaml", home);
    else if ((home = sources->variable("HOME")) && *home)
        config->path = arena_printf(arena, "%s/.config/muster/config.yaml", home);
    else
        return 0;
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error trouble = {0};
    if (file_read(config->path, CONFIG_BYTES_MAX, &text, &size, &trouble) < 0) {
        if (trouble.code == ERR_NOT_FOUND)
            return 0;
        return error_set(err, trouble.code, "%s", trouble.text);
    }
    const struct doc *list = doc_parse_yaml(arena, text, size, err);
    if (!list)
        return error_prefix(err, "%s", config->path);
    if (list->count == 0)
        return 0;
    if (list->count > 1 || list->first->type != DOC_MAP)
        return error_set(err, ERR_INVALID, "%s: expected one map of settings", config->path);
    return take_settings(config, list->first, err);
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    return a && *a ? a : b && *b ? b : c;
}

/* The socket of a server on this machine. */
static const char *local_address(struct arena *arena, path_variable *variable)
{
    const char *data = variable("MUSTER_DATA");
    const char *own = path_data_dir(arena, variable);
    const char *socket = own ? path_socket(arena, own) : PATH_SYSTEM_SOCKET;
    bool named = data && *data;
    /* The user's own server is meant only where the system's does not answer to this user. */
    if (!named && (access(PATH_SYSTEM_SOCKET, R_OK | W_OK) == 0 || access(socket, F_OK) != 0))
        socket = PATH_SYSTEM_SOCKET;
    return arena_printf(arena, "unix:%s", socket);
}

static int resolve_token(struct arena *arena, const struct endpoint_sources *sources,
    const struct config *config, const char **ret_token, struct error *err)
{
    const char *path = first_of(sources->token_file, sources->variable("MUSTER_TOKEN_FILE"), NULL);
    const char *token = sources->variable("MUSTER_TOKEN");
    if (!path && token && *token) {
        *ret_token = arena_strdup(arena, token);
        return 0;
    }
    if (!path)
        path = config->token_file;
    return path ? endpoint_read_token(arena, path, ret_token, err) : 0;
}

int endpoint_resolve(struct arena *arena, const struct endpoint_sources *sources,
    struct endpoint *ret, struct error *err)
{
    assert(sources->variable);
    struct config config = {0};
    if (read_config(arena, sources, &config, err) < 0)
        return -1;
    const char *address = first_of(sources->endpoint, sources->variable("MUSTER_ENDPOINT"),
        first_of(config.endpoint, NULL, local_address(arena, sources->variable)));
    struct url_endpoint parsed;
    if (url_endpoint_parse(address, &parsed, err) < 0)
        return error_prefix(err, "endpoint \"%.100s\"", address);
    struct endpoint endpoint = {.address = arena_strdup(arena, address)};
    endpoint.ca =
        arena_strdup(arena, first_of(sources->ca, sources->variable("MUSTER_CA"), config.ca));
    if (resolve_token(arena, sources, &config, &endpoint.token, err) < 0)
        return -1;
    *ret = endpoint;
    return 0;
}
