/* The machine that a job ran on: see environment.h. */
#include "server/environment.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "base/version.h"
#include "wire/doc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { RELEASE_BYTES_MAX = 64 << 10, STATUS_BYTES_MAX = 64 << 20 };

typedef VEC(char *) text_list_;

/* The value of "PRETTY_NAME=..", without its quotes. */
static const char *os_name(struct arena *arena)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error ignored;
    if (file_read("/etc/os-release", RELEASE_BYTES_MAX, &text, &size, &ignored) < 0)
        return NULL;
    const char *line =
        strncmp(text, "PRETTY_NAME=", 12) == 0 ? text : strstr(text, "\nPRETTY_NAME=");
    if (!line)
        return NULL;
    line = strchr(line, '=') + 1;
    line += *line == '"';
    return arena_strndup(arena, line, strcspn(line, "\"\n"));
}

/* The value of a field of a paragraph, as long as *ret_length; NULL when it has none. */
static const char *field_of(
    const char *paragraph, size_t length, const char *name, size_t *ret_length)
{
    size_t name_length = strlen(name);
    for (const char *line = paragraph, *end = paragraph + length; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t line_length = (size_t)((newline ? newline : end) - line);
        if (line_length > name_length && strncmp(line, name, name_length) == 0) {
            *ret_length = line_length - name_length;
            return line + name_length;
        }
        line += line_length + 1;
    }
    return NULL;
}

static void take_package(const char *paragraph, size_t length, text_list_ *list)
{
    static const char installed[] = " installed";
    size_t name_length = 0, version_length = 0, architecture_length = 0, status_length = 0;
    const char *status = field_of(paragraph, length, "Status: ", &status_length);
    const char *name = field_of(paragraph, length, "Package: ", &name_length);
    const char *version = field_of(paragraph, length, "Version: ", &version_length);
    const char *architecture = field_of(paragraph, length, "Architecture: ", &architecture_length);
    size_t tail = sizeof installed - 1;
    if (!status || !name || !version || !architecture || status_length < tail ||
        strncmp(status + status_length - tail, installed, tail) != 0)
        return;
    struct strbuf line = {0};
    strbuf_printf(&line, "%.*s:%.*s %.*s\n", (int)name_length, name, (int)architecture_length,
        architecture, (int)version_length, version);
    vec_push(list, strbuf_steal(&line));
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *packages_digest(struct arena *arena)
{
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error ignored;
    text_list_ list = {0};
    struct strbuf all = {0};
    char hex[65];
    if (file_read("/var/lib/dpkg/status", STATUS_BYTES_MAX, &text, &size, &ignored) < 0)
        return NULL;
    for (const char *paragraph = text; *paragraph;) {
        const char *end = strstr(paragraph, "\n\n");
        size_t length = end ? (size_t)(end - paragraph) + 1 : strlen(paragraph);
        take_package(paragraph, length, &list);
        paragraph += length;
        paragraph += *paragraph == '\n';
    }
    if (list.count)
        qsort(list.items, list.count, sizeof *list.items, compare_texts);
    for (size_t i = 0; i < list.count; i++) {
        strbuf_puts(&all, list.items[i]);
        free(list.items[i]);
    }
    file_sha256_hex(strbuf_text(&all), all.length, hex);
    strbuf_finish(&all);
    vec_free(&list);
    return arena_printf(arena, "sha256:%s", hex);
}

struct doc *environment_doc(struct arena *arena)
{
    struct doc *doc = doc_map(arena);
    struct utsname name;
    doc_set_string(arena, doc, "os", os_name(arena));
    if (uname(&name) == 0) {
        doc_set_string(arena, doc, "kernel", name.release);
        doc_set_string(arena, doc, "architecture", name.machine);
    }
    doc_set_string(arena, doc, "muster", MUSTER_VERSION);
    doc_set_string(arena, doc, "packages", packages_digest(arena));
    return doc;
}
