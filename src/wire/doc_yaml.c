/* Documents from YAML text: see doc.h. libyaml gives events, and the tree is built from them here,
 * so that what we refuse (directives, anchors, aliases, tags, repeated keys, depth) is refused as
 * it comes and nothing is ever expanded. Of YAML's many ways to write a value only JSON's are not
 * text: null (or nothing, or ~), true, false (in any of YAML 1.2's three spellings) and numbers in
 * JSON's grammar.
 *
 * libyaml's grammar is that of YAML 1.1, which most parsers have; where 1.2 reads the same text
 * otherwise, the text is refused (yaml_needs_escape) or read as JSON (parse_as_json). */
#include "wire/doc_yaml.h"
#include "base/memory.h"
#include "wire/doc.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

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

static int read_scalar(struct yaml_reader *reader, const yaml_event_t *event)
{
    const char *bytes = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    yaml_scalar_style_t style = event->data.scalar.style;
    if (memchr(bytes, '\0', length)) /* by an escape */
        return fail(reader, "text with a NUL");
    char *text = arena_strndup(reader->arena, bytes, length);
    struct yaml_frame *frame = reader->depth ? &reader->frames[reader->depth - 1] : NULL;
    if (frame && frame->value->type == DOC_MAP && !frame->key) {
        frame->key = text;
        frame->key_line = reader->line;
        return 0;
    }
    bool plain = style == YAML_PLAIN_SCALAR_STYLE;
    reader->block = style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    int result = put_value(
        reader, plain ? resolve_plain(reader->arena, text) : doc_string(reader->arena, text));
    reader->block = false;
    return result;
}

/* Refuses what a value may carry in front of it. */
static int check_properties(
    struct yaml_reader *reader, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return fail(reader, "anchors (&) and aliases (*) are not taken: write the value out");
    return tag ? fail(reader, "tags (!) are not taken") : 0;
}

static int read_document_start(struct yaml_reader *reader, const yaml_event_t *event)
{
    if (event->data.document_start.version_directive ||
        event->data.document_start.tag_directives.start !=
            event->data.document_start.tag_directives.end)
        return fail(reader, "directives (%) are not taken");
    return 0;
}

static int read_event(struct yaml_reader *reader, const yaml_event_t *event)
{
    reader->line = (int)event->start_mark.line + 1;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT: return read_document_start(reader, event);
    case YAML_ALIAS_EVENT: return check_properties(reader, event->data.alias.anchor, NULL);
    case YAML_SCALAR_EVENT:
        if (check_properties(reader, event->data.scalar.anchor, event->data.scalar.tag) < 0)
            return -1;
        return read_scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT:
        if (check_properties(
                reader, event->data.sequence_start.anchor, event->data.sequence_start.tag) < 0)
            return -1;
        return open_value(reader, doc_list(reader->arena));
    case YAML_MAPPING_START_EVENT:
        if (check_properties(
                reader, event->data.mapping_start.anchor, event->data.mapping_start.tag) < 0)
            return -1;
        return open_value(reader, doc_map(reader->arena));
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return close_value(reader);
    default: return 0;
    }
}

/* What stands at a mark, which counts characters. */
static char char_at(const char *text, const yaml_mark_t *mark)
{
    for (size_t i = 0; i < mark->index && *text; i++)
        text += utf8_length(text);
    return *text;
}

/* What libyaml had to say, as an error. Its reader cannot fail: check_text was there before it. */
static int fail_parse(struct yaml_reader *reader, const yaml_parser_t *parser, const char *text)
{
    if (parser->error == YAML_MEMORY_ERROR)
        return error_set(reader->err, ERR_INTERNAL, "the YAML parser has no memory");
    reader->line = (int)parser->problem_mark.line + 1;
    const char *context = parser->context;
    if (context && strstr(context, "directive"))
        return fail(reader, "directives (%) are not taken");
    if (parser->error == YAML_SCANNER_ERROR && char_at(text, &parser->problem_mark) == '\t')
        return fail(reader, "a tab cannot indent: use spaces");
    if (!context || strcmp(context, "while scanning for the next token") == 0)
        return fail(reader, parser->problem);
    return error_set(reader->err, ERR_INVALID, "line %d: %s, %s that began in line %d",
        reader->line, parser->problem, context, (int)parser->context_mark.line + 1);
}

static void parser_scope(yaml_parser_t *parser)
{
    yaml_parser_delete(parser);
}

static int read_stream(struct yaml_reader *reader, const char *text, size_t length)
{
    SCOPED(parser_scope) yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return error_set(reader->err, ERR_INTERNAL, "the YAML parser has no memory");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    while (true) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event))
            return fail_parse(reader, &parser, text);
        bool end = event.type == YAML_STREAM_END_EVENT;
        int result = read_event(reader, &event);
        yaml_event_delete(&event);
        if (result < 0 || end)
            return result;
    }
}

unsigned yaml_decode(const char *text, size_t length)
{
    assert(length >= 1 && length <= 4);
    const unsigned char *s = (const unsigned char *)text;
    if (length == 1)
        return s[0];
    unsigned point = s[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3fu);
    return point;
}

bool yaml_needs_escape(unsigned point)
{
    bool space = point == '\t' || point == '\n' || point == '\r';
    return (point < 0x20 && !space) || (point >= 0x7f && point < 0xa0) || point == 0x2028 ||
           point == 0x2029 || point == 0xfeff || point == 0xfffe || point == 0xffff;
}

/* Refuses what the parser must not see. text ends with NUL, which length does not count. */
static int check_text(const char *text, size_t length, struct error *err)
{
    int line = 1;
    for (size_t i = 0; i < length;) {
        size_t step = text[i] ? utf8_length(text + i) : 0;
        if (step == 0)
            return error_set(err, ERR_INVALID, "line %d: not UTF-8 text", line);
        unsigned point = yaml_decode(text + i, step);
        if (yaml_needs_escape(point))
            return error_set(err, ERR_INVALID,
                "line %d: the character U+%04X: write \"\\u%04x\", in double quotes", line, point,
                point);
        line += text[i] == '\n';
        i += step;
    }
    return 0;
}

/* JSON is YAML, but not all of it to libyaml: escapes in pairs of surrogates, keys above 1024
 * bytes, some line breaks. So what it refuses may still be JSON, then without lines. NULL if not.
 */
static struct doc *parse_as_json(struct arena *arena, const char *text, size_t length)
{
    size_t blank = strspn(text, " \t\r\n");
    if (text[blank] != '{' && text[blank] != '[')
        return NULL;
    return doc_parse_json(arena, text, length, DOC_BYTES_MAX, NULL);
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
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as some editors begin a file */
    size_t skipped = strncmp(copy, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
    copy += skipped;
    length -= skipped;
    struct yaml_reader reader = {
        .arena = arena, .err = err, .documents = doc_list(arena), .line = 1};
    if (check_text(copy, length, err) == 0 && read_stream(&reader, copy, length) == 0)
        return reader.documents;
    struct doc *json = parse_as_json(arena, copy, length);
    if (!json)
        return NULL;
    struct doc *documents = doc_list(arena);
    doc_append(documents, json);
    return documents;
}
