/* Documents from YAML text: see doc.h. libfyaml gives events, and the tree is built from them here,
 * so that what we refuse (anchors, aliases, tags, repeated keys, depth) is refused as it comes and
 * nothing is ever expanded. Of YAML's many ways to write a value only JSON's are not text: null (or
 * nothing, or ~), true, false (in any of YAML 1.2's three spellings) and numbers in JSON's grammar.
 */
#include "base/memory.h"
#include "wire/doc.h"

#include <assert.h>
#include <libfyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct yaml_frame {
    struct doc *value; /* a list or map that is still open */
    char *key;         /* of a map: read, its value is still to come */
    int key_line;
};

struct yaml_reader {
    struct arena *arena;
    struct error *err;
    struct doc *documents;
    struct yaml_frame frames[DOC_DEPTH_MAX];
    int depth; /* of open frames */
    size_t items;
    int line;   /* of the event at hand */
    bool block; /* it is text of several lines, which begins below its key */
};

static int fail(struct yaml_reader *reader, const char *what)
{
    return error_set(reader->err, ERR_INVALID, "line %d: %s", reader->line, what);
}

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

/* What a plain scalar stands for. */
static struct doc *resolve_plain(struct arena *arena, const char *text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    if (is_word(text, nulls))
        return doc_null(arena);
    if (is_word(text, trues))
        return doc_bool(arena, true);
    if (is_word(text, falses))
        return doc_bool(arena, false);
    return doc_is_number(text) ? doc_number(arena, text) : doc_string(arena, text);
}

static bool utf8_valid(const char *text, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t step = text[i] ? utf8_length(text + i) : 0;
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const struct doc *const *left = a, *const *right = b;
    return strcmp((*left)->key, (*right)->key);
}

/* Sorting finds repeated keys in n log n; a map is checked once, when it is complete. */
static int check_keys(struct yaml_reader *reader, const struct doc *map)
{
    if (map->count < 2)
        return 0;
    SCOPED(mem_scope) const struct doc **items = mem_alloc(map->count, sizeof(void *));
    size_t count = 0;
    for (const struct doc *item = map->first; item; item = item->next)
        items[count++] = item;
    assert(count == map->count);
    qsort(items, count, sizeof *items, compare_keys);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(items[i - 1]->key, items[i]->key) != 0)
            continue;
        const struct doc *later = items[i - 1]->line > items[i]->line ? items[i - 1] : items[i];
        return error_set(reader->err, ERR_INVALID, "line %d: the key \"%.60s\" is there twice",
            later->line, later->key);
    }
    return 0;
}

/* Puts a value where the stream is: into the open list or map, or as a document. */
static int put_value(struct yaml_reader *reader, struct doc *value)
{
    if (++reader->items > DOC_ITEMS_MAX)
        return error_set(reader->err, ERR_TOO_LARGE, "line %d: more than %d values", reader->line,
            DOC_ITEMS_MAX);
    value->line = reader->line;
    if (reader->depth == 0) {
        if (value->type != DOC_NULL)
            doc_append(reader->documents, value);
        return 0;
    }
    struct yaml_frame *frame = &reader->frames[reader->depth - 1];
    if (frame->value->type == DOC_MAP) {
        if (!frame->key)
            return fail(reader, "a key of a map has to be text");
        value->key = frame->key;
        frame->key = NULL;
        /* What goes over several lines stands where its key does. */
        if (value->type == DOC_LIST || value->type == DOC_MAP || reader->block)
            value->line = frame->key_line;
    }
    doc_append(frame->value, value);
    return 0;
}

static int open_value(struct yaml_reader *reader, struct doc *value)
{
    if (reader->depth == DOC_DEPTH_MAX)
        return error_set(reader->err, ERR_INVALID, "line %d: nested more than %d levels deep",
            reader->line, DOC_DEPTH_MAX);
    if (put_value(reader, value) < 0)
        return -1;
    reader->frames[reader->depth++] = (struct yaml_frame){.value = value};
    return 0;
}

static int close_value(struct yaml_reader *reader)
{
    assert(reader->depth > 0);
    struct yaml_frame *frame = &reader->frames[--reader->depth];
    assert(!frame->key);
    return frame->value->type == DOC_MAP ? check_keys(reader, frame->value) : 0;
}

static int read_scalar(struct yaml_reader *reader, struct fy_token *token)
{
    size_t length = 0;
    const char *bytes = token ? fy_token_get_text(token, &length) : "";
    enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
    bool block = style == FYSS_LITERAL || style == FYSS_FOLDED;
    /* At the end of the input libfyaml gives an empty block the NUL behind it. No block holds one
     * of its own: the input has none, and blocks have no escapes. */
    if (block && bytes)
        length = strnlen(bytes, length);
    if (!bytes || !utf8_valid(bytes, length))
        return fail(reader, "text with a NUL or malformed UTF-8");
    char *text = arena_strndup(reader->arena, bytes, length);
    struct yaml_frame *frame = reader->depth ? &reader->frames[reader->depth - 1] : NULL;
    if (frame && frame->value->type == DOC_MAP && !frame->key) {
        frame->key = text;
        frame->key_line = reader->line;
        return 0;
    }
    reader->block = block;
    int result = put_value(reader,
        style == FYSS_PLAIN ? resolve_plain(reader->arena, text) : doc_string(reader->arena, text));
    reader->block = false;
    return result;
}

static int read_event(struct yaml_reader *reader, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);
    if (mark)
        reader->line = mark->line + 1;
    if (event->type == FYET_ALIAS || fy_event_get_anchor_token(event))
        return fail(reader, "anchors (&) and aliases (*) are not taken: write the value out");
    if (fy_event_get_tag_token(event))
        return fail(reader, "tags (!) are not taken");
    switch (event->type) {
    case FYET_SCALAR: return read_scalar(reader, event->scalar.value);
    case FYET_SEQUENCE_START: return open_value(reader, doc_list(reader->arena));
    case FYET_MAPPING_START: return open_value(reader, doc_map(reader->arena));
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END: return close_value(reader);
    default: return 0;
    }
}

/* What libfyaml had to say, as an error on one line. */
static int fail_parse(struct yaml_reader *reader, struct fy_diag *diag)
{
    void *iterator = NULL;
    struct fy_diag_error *first = fy_diag_errors_iterate(diag, &iterator);
    if (!first || !first->msg)
        return fail(reader, "not well-formed YAML");
    int line = first->line > 0 ? first->line : reader->line;
    error_set(reader->err, ERR_INVALID, "line %d: %.200s", line, first->msg);
    for (char *s = reader->err ? reader->err->text : ""; *s; s++) {
        if ((unsigned char)*s < 0x20)
            *s = ' ';
    }
    return -1;
}

static int read_stream(struct yaml_reader *reader, struct fy_parser *parser, struct fy_diag *diag)
{
    struct fy_event *event;
    while ((event = fy_parser_parse(parser))) {
        bool end = event->type == FYET_STREAM_END;
        int result = read_event(reader, event);
        fy_parser_event_free(parser, event);
        if (result < 0 || end)
            return result;
    }
    return fail_parse(reader, diag);
}

static void parser_scope(struct fy_parser **parser)
{
    if (*parser)
        fy_parser_destroy(*parser);
}

static void diag_scope(struct fy_diag **diag)
{
    if (*diag)
        fy_diag_destroy(*diag);
}

static struct fy_diag *create_diag(void)
{
    struct fy_diag_cfg config;
    fy_diag_cfg_default(&config);
    config.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&config);
    if (diag)
        fy_diag_set_collect_errors(diag, true);
    return diag;
}

/* Whether a line is a directive. libfyaml takes quadratic time over a long one it does not know. */
static bool is_directive(const char *line)
{
    static const char mark[] = "\xef\xbb\xbf"; /* may stand before anything */
    while (strncmp(line, mark, sizeof mark - 1) == 0)
        line += sizeof mark - 1;
    return *line == '%';
}

/* Refuses what the parser must not see. text ends with NUL, which length does not count. */
static int check_text(const char *text, size_t length, struct error *err)
{
    int line = 1;
    bool at_start = true;
    for (size_t i = 0; i < length;) {
        size_t step = text[i] ? utf8_length(text + i) : 0;
        if (step == 0)
            return error_set(err, ERR_INVALID, "line %d: not UTF-8 text", line);
        if (at_start && is_directive(text + i))
            return error_set(err, ERR_INVALID, "line %d: directives (%%) are not taken", line);
        at_start = text[i] == '\n' || text[i] == '\r';
        line += text[i] == '\n';
        i += step;
    }
    return 0;
}

struct doc *doc_parse_yaml(struct arena *arena, const char *text, size_t length, struct error *err)
{
    assert(arena && (text || length == 0));
    if (length > DOC_BYTES_MAX) {
        error_set(err, ERR_TOO_LARGE, "the text has %zu bytes; at most %d are read", length,
            DOC_BYTES_MAX);
        return NULL;
    }
    /* A copy ends with NUL, so that looking at what follows a character is safe. */
    const char *copy = arena_strndup(arena, length ? text : "", length);
    struct doc *documents = doc_list(arena);
    if (check_text(copy, length, err) < 0)
        return NULL;
    if (length == 0)
        return documents;
    SCOPED(diag_scope) struct fy_diag *diag = create_diag();
    const struct fy_parse_cfg config = {
        .flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE | FYPCF_DISABLE_MMAP_OPT,
        .diag = diag};
    SCOPED(parser_scope) struct fy_parser *parser = diag ? fy_parser_create(&config) : NULL;
    if (!parser || fy_parser_set_string(parser, copy, length) != 0) {
        error_set(err, ERR_INTERNAL, "the YAML parser cannot start");
        return NULL;
    }
    struct error local;
    struct yaml_reader reader = {
        .arena = arena, .err = err ? err : &local, .documents = documents, .line = 1};
    return read_stream(&reader, parser, diag) < 0 ? NULL : documents;
}
