/* Decoding: documents into structs by field tables. One function a field type; an error is added
 * and the field left at its default, so that one pass finds everything that is wrong. Recursion is
 * bounded by the tables, which do not contain themselves. */
#include "spec/fields_internal.h"
#include "spec/kinds.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct field_reader {
    struct arena *arena;
    struct field_errors *errors;
    const char *base; /* where the whole thing stands; "" at the root */
    bool partial;
    bool known; /* fields that are not known are skipped */
    size_t error_count;
    /* The object whose finish function runs. */
    const struct field_path *path;
    const struct doc *doc;
};

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static void write_path(
    const struct field_reader *reader, const struct field_path *path, struct strbuf *out)
{
    strbuf_puts(out, reader->base);
    path_write(path, out);
}

PRINTF_LIKE(4, 5)
static void report(struct field_reader *reader, const struct field_path *path,
    const struct doc *doc, const char *format, ...)
{
    SCOPED(strbuf_scope) struct strbuf where = {0};
    SCOPED(strbuf_scope) struct strbuf text = {0};
    write_path(reader, path, &where);
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    field_errors_add(reader->errors, reader->arena, strbuf_text(&where), doc ? doc->line : 0, "%s",
        strbuf_text(&text));
    reader->error_count++;
}

void fields_report(struct field_reader *reader, const char *path, const char *format, ...)
{
    SCOPED(strbuf_scope) struct strbuf where = {0};
    SCOPED(strbuf_scope) struct strbuf text = {0};
    write_path(reader, reader->path, &where);
    if (*path)
        strbuf_printf(&where, "%s%s", where.length && *path != '[' ? "." : "", path);
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    const struct doc *at = doc_find(reader->doc, path);
    field_errors_add(reader->errors, reader->arena, strbuf_text(&where), at ? at->line : 0, "%s",
        strbuf_text(&text));
    reader->error_count++;
}

const char *fields_quote(const struct field_reader *reader, const char *text)
{
    SCOPED(strbuf_scope) struct strbuf quoted = {0};
    write_quoted(text, &quoted);
    return arena_strdup(reader->arena, strbuf_text(&quoted));
}

/* "expected .., got ..", and a suggestion where a word was nearly right. */
static void report_type(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc)
{
    SCOPED(strbuf_scope) struct strbuf text = {0};
    strbuf_puts(&text, "expected ");
    field_write_expected(field, &text);
    const struct number_type *number = field_number_type(field->type);
    if (number && !field->multiple && doc->type == DOC_NUMBER && strpbrk(doc->text, ".eE"))
        strbuf_puts(&text, number->limits);
    strbuf_puts(&text, ", got ");
    doc_write_got(doc, &text);
    if (field->words && doc->type == DOC_STRING) {
        const char *names[64] = {0};
        for (size_t i = 0; field->words[i].word && i < ARRAY_LEN(names) - 1; i++)
            names[i] = field->words[i].word;
        const char *name = fields_suggest(doc->text, names);
        if (name)
            strbuf_printf(&text, "; did you mean \"%s\"?", name);
    }
    report(reader, path, doc, "%s", strbuf_text(&text));
}

/* A text that fits the rule, or NULL after an error. */
static const char *decode_text(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc)
{
    const struct text_rule *rule = field_rule(field);
    if (doc->type == DOC_NUMBER || doc->type == DOC_BOOL) {
        const char *word = doc->type == DOC_NUMBER ? doc->text : doc->boolean ? "true" : "false";
        report(reader, path, doc, "expected text, got %.60s; in quotes it is text: \"%.60s\"", word,
            word);
        return NULL;
    }
    if (doc->type != DOC_STRING) {
        SCOPED(strbuf_scope) struct strbuf got = {0};
        doc_write_got(doc, &got);
        report(reader, path, doc, "expected %s, got %s", rule->expected, strbuf_text(&got));
        return NULL;
    }
    if (rule->matches && !rule->matches(doc->text)) {
        SCOPED(strbuf_scope) struct strbuf got = {0};
        doc_write_got(doc, &got);
        report(reader, path, doc, "expected %s, got %s", rule->expected, strbuf_text(&got));
        return NULL;
    }
    if (doc->length > rule->length_max) {
        report(reader, path, doc, "expected at most %zu bytes, got %zu", rule->length_max,
            doc->length);
        return NULL;
    }
    return doc->text;
}

static void decode_text_field(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    const char *text = decode_text(reader, path, field, doc);
    if (text && (int64_t)doc->length < field->min)
        report_type(reader, path, field, doc);
    else if (text)
        *(const char **)field_at(field, object) = text;
}

static void decode_quantity(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    bool fits = (doc->type == DOC_STRING || doc->type == DOC_NUMBER) && doc->length > 0 &&
                doc->length < QUANTITY_TEXT;
    if (fits)
        *(const char **)field_at(field, object) = doc->text;
    else
        report_type(reader, path, field, doc);
}

static bool parse_number(const struct field *field, const struct doc *doc, int64_t *ret_value)
{
    const struct number_type *number = field_number_type(field->type);
    const struct field_word *word =
        doc->type == DOC_STRING ? word_find(field->words, doc->text) : NULL;
    if (word) {
        *ret_value = word->value;
        return true;
    }
    if (!number->parse)
        return doc_as_int(doc, ret_value) && field_in_bounds(field, *ret_value);
    bool zero = doc->type == DOC_NUMBER && strcmp(doc->text, "0") == 0;
    if (doc->type != DOC_STRING && !(doc->type == DOC_NUMBER && (number->as_number || zero)))
        return false;
    return number->parse(doc->text, ret_value, NULL) == 0 && field_in_bounds(field, *ret_value);
}

static void decode_number(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    int64_t value;
    if (parse_number(field, doc, &value))
        field_store(field, object, value);
    else
        report_type(reader, path, field, doc);
}

static void decode_bool(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (doc->type == DOC_BOOL)
        field_store(field, object, doc->boolean);
    else
        report_type(reader, path, field, doc);
}

static void decode_enum(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    const struct field_word *word =
        doc->type == DOC_STRING ? word_find(field->words, doc->text) : NULL;
    if (word)
        field_store(field, object, word->value);
    else
        report_type(reader, path, field, doc);
}

static void decode_constant(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    (void)object;
    if (doc->type != DOC_STRING || strcmp(doc->text, field->fallback_text) != 0)
        report_type(reader, path, field, doc);
}

/* Whether doc is of the type and holds a number of items that the field may have. */
static bool check_items(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, enum doc_type type)
{
    if (doc->type != type) {
        report_type(reader, path, field, doc);
        return false;
    }
    size_t most = field_items_max(field), least = (size_t)field->min;
    if (doc->count >= least && doc->count <= most)
        return true;
    report(reader, path, doc, "expected at %s %zu item%s, got %zu",
        doc->count < least ? "least" : "most", doc->count < least ? least : most,
        (doc->count < least ? least : most) == 1 ? "" : "s", doc->count);
    return false;
}

static void decode_texts(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (!check_items(reader, path, field, doc, DOC_LIST))
        return;
    const char **items = arena_alloc(reader->arena, doc->count, sizeof *items);
    size_t count = 0;
    for (const struct doc *item = doc->first; item; item = item->next, count++) {
        struct field_path at = {.up = path, .index = count};
        const char *text = decode_text(reader, &at, field, item);
        items[count] = text ? text : "";
    }
    *(struct text_list *)field_at(field, object) = (struct text_list){items, count};
}

static void decode_object(struct field_reader *reader, const struct field_path *path,
    const struct field_table *table, size_t from, const struct doc *doc, void *object);

static void finish_object(struct field_reader *reader, const struct field_path *path,
    const struct field_table *table, const struct doc *doc, void *object, size_t errors_before)
{
    if (!table->finish || reader->partial || reader->error_count != errors_before)
        return;
    reader->path = path;
    reader->doc = doc;
    table->finish(reader, object);
}

static void decode_object_field(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (doc->type == DOC_MAP)
        decode_object(reader, path, field->table, 0, doc, field_at(field, object));
    else
        report_type(reader, path, field, doc);
}

static void decode_field(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object);

/* An item of a list: a map of fields, or the one field that may stand for it. */
static void decode_item(struct field_reader *reader, const struct field_path *path,
    const struct field_table *table, const struct doc *doc, void *item)
{
    size_t errors_before = reader->error_count;
    fields_default(table, item);
    if (doc->type == DOC_MAP) {
        decode_object(reader, path, table, 0, doc, item);
    } else if (table->shorthand && doc->type == DOC_STRING) {
        decode_field(reader, path, field_table_find(table, table->shorthand), doc, item);
        finish_object(reader, path, table, doc, item, errors_before);
    } else {
        SCOPED(strbuf_scope) struct strbuf got = {0};
        doc_write_got(doc, &got);
        report(reader, path, doc, "expected a map%s, got %s", table->shorthand ? " or text" : "",
            strbuf_text(&got));
    }
}

static void decode_objects(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (!check_items(reader, path, field, doc, DOC_LIST))
        return;
    const struct field_table *table = field->table;
    char *items = arena_alloc(reader->arena, doc->count, table->size);
    size_t count = 0;
    for (const struct doc *item = doc->first; item; item = item->next, count++) {
        struct field_path at = {.up = path, .index = count};
        decode_item(reader, &at, table, item, items + count * table->size);
    }
    *(struct field_list *)field_at(field, object) = (struct field_list){items, count};
}

static void decode_key(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *item, void *object)
{
    const struct text_rule *rule = field_rule(field);
    *(const char **)field_at(field, object) = item->key;
    if (strlen(item->key) <= rule->length_max && (!rule->matches || rule->matches(item->key)))
        return;
    SCOPED(strbuf_scope) struct strbuf got = {0};
    write_quoted(item->key, &got);
    report(
        reader, path, item, "expected the key to be %s, got %s", rule->expected, strbuf_text(&got));
}

/* One entry of a FIELD_MAP: the key is the table's first field. */
static void decode_entry(struct field_reader *reader, const struct field_path *path,
    const struct field_table *table, const struct doc *doc, void *item)
{
    size_t errors_before = reader->error_count;
    fields_default(table, item);
    decode_key(reader, path, &table->fields[0], doc, item);
    if (table->pair) {
        decode_field(reader, path, &table->fields[1], doc, item);
        if (reader->error_count == errors_before)
            finish_object(reader, path, table, doc, item, errors_before);
    } else if (doc->type == DOC_MAP) {
        decode_object(reader, path, table, 1, doc, item);
    } else {
        report_type(reader, path, &(struct field){.type = FIELD_OBJECT}, doc);
    }
}

static void decode_map(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (!check_items(reader, path, field, doc, DOC_MAP))
        return;
    const struct field_table *table = field->table;
    assert(table->count >= 2 && table->fields[0].type == FIELD_TEXT);
    char *items = arena_alloc(reader->arena, doc->count, table->size);
    size_t count = 0;
    for (const struct doc *item = doc->first; item; item = item->next, count++) {
        struct field_path at = {.up = path, .name = item->key};
        decode_entry(reader, &at, table, item, items + count * table->size);
    }
    *(struct field_list *)field_at(field, object) = (struct field_list){items, count};
}

static void decode_doc(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (doc->type != DOC_MAP) {
        report_type(reader, path, field, doc);
        return;
    }
    bool partial = reader->partial;
    reader->partial = true;
    void *unused = arena_alloc(reader->arena, 1, field->table->size);
    decode_object(reader, path, field->table, 0, doc, unused);
    reader->partial = partial;
    *(const struct doc **)field_at(field, object) = doc;
}

typedef void decode_fn(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object);

static decode_fn *const decoders[FIELD_TYPE_COUNT] = {
    [FIELD_TEXT] = decode_text_field,
    [FIELD_QUANTITY] = decode_quantity,
    [FIELD_BOOL] = decode_bool,
    [FIELD_INT] = decode_number,
    [FIELD_BYTES] = decode_number,
    [FIELD_MILLI] = decode_number,
    [FIELD_MICRO] = decode_number,
    [FIELD_DURATION] = decode_number,
    [FIELD_TIME] = decode_number,
    [FIELD_ENUM] = decode_enum,
    [FIELD_TEXTS] = decode_texts,
    [FIELD_OBJECT] = decode_object_field,
    [FIELD_OBJECTS] = decode_objects,
    [FIELD_MAP] = decode_map,
    [FIELD_DOC] = decode_doc,
    [FIELD_CONSTANT] = decode_constant,
    [FIELD_IGNORED] = NULL,
};

static void decode_field(struct field_reader *reader, const struct field_path *path,
    const struct field *field, const struct doc *doc, void *object)
{
    if (decoders[field->type])
        decoders[field->type](reader, path, field, doc, object);
}

/* Whether word is one of the words that a text lists, separated by spaces. */
static bool lists_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    while (list && *list) {
        size_t step = strcspn(list, " ");
        if (step == length && strncasecmp(list, word, length) == 0)
            return true;
        list += step + strspn(list + step, " ");
    }
    return false;
}

static const char *find_also(const struct field_table *table, size_t from, const char *key)
{
    for (size_t i = from; i < table->count; i++) {
        if (lists_word(table->fields[i].also, key))
            return table->fields[i].name;
    }
    return NULL;
}

static void report_unknown(struct field_reader *reader, const struct field_path *up,
    const struct field_table *table, size_t from, const struct doc *item)
{
    struct field_path path = {.up = up, .name = item->key};
    const char *names[64] = {0};
    assert(table->count < ARRAY_LEN(names));
    for (size_t i = from; i < table->count; i++)
        names[i - from] = table->fields[i].name;
    const char *name = find_also(table, from, item->key);
    if (!name)
        name = fields_suggest(item->key, names);
    if (name)
        report(reader, &path, item, "unknown field; did you mean \"%s\"?", name);
    else
        report(reader, &path, item, "unknown field");
}

static const struct doc *given(const struct doc *doc, const struct field *field)
{
    const struct doc *value = doc_get(doc, field->name);
    return value && value->type != DOC_NULL ? value : NULL;
}

/* Whether the field that a required one may be left out for is there. */
static bool excused(const struct doc *doc, const struct field *field)
{
    const struct doc *other = field->unless ? doc_get(doc, field->unless) : NULL;
    return other && other->type != DOC_NULL;
}

/* Fills the fields of a table from number `from` on; the object has its defaults already, except
 * those that follow from other fields. */
static void decode_object(struct field_reader *reader, const struct field_path *path,
    const struct field_table *table, size_t from, const struct doc *doc, void *object)
{
    assert(doc->type == DOC_MAP);
    size_t errors_before = reader->error_count;
    for (const struct doc *item = doc->first; item; item = item->next) {
        const struct field *field = field_table_find(table, item->key);
        if ((!field || field < table->fields + from) && !reader->known)
            report_unknown(reader, path, table, from, item);
    }
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        const struct doc *value = given(doc, field);
        struct field_path at = {.up = path, .name = field->name};
        if (value)
            decode_field(reader, &at, field, value, object);
        else if ((field->flags & FIELD_REQUIRED) && !reader->partial && !excused(doc, field))
            report(reader, &at, doc, "required, but not given");
    }
    for (size_t i = from; i < table->count; i++) {
        const struct field *field = &table->fields[i];
        if (field->fallback_of && !given(doc, field))
            field_store(field, object, field->fallback_of(object));
    }
    finish_object(reader, path, table, doc, object, errors_before);
}

/* Puts the errors from number `from` on into the order of their lines; those without a line come
 * last. Stable: errors of one line stay in the order of the tables. */
static void sort_errors(struct field_errors *errors, size_t from)
{
    for (size_t i = from + 1; i < errors->count; i++) {
        struct field_error error = errors->items[i];
        size_t at = i;
        for (; at > from && error.line; at--) {
            int line = errors->items[at - 1].line;
            if (line && line <= error.line)
                break;
            errors->items[at] = errors->items[at - 1];
        }
        errors->items[at] = error;
    }
}

static size_t decode_root(struct field_reader *reader, const struct field_table *table,
    const struct doc *doc, void *object)
{
    size_t errors_before = reader->errors->count;
    fields_default(table, object);
    if (doc->type == DOC_MAP)
        decode_object(reader, NULL, table, 0, doc, object);
    else
        report_type(reader, NULL, &(struct field){.type = FIELD_OBJECT}, doc);
    sort_errors(reader->errors, errors_before);
    return reader->error_count;
}

size_t fields_decode(const struct field_table *table, struct arena *arena, const struct doc *doc,
    const char *path, bool partial, void *object, struct field_errors *errors)
{
    assert(table && arena && doc && object && errors);
    struct field_reader reader = {
        .arena = arena, .errors = errors, .base = path ? path : "", .partial = partial};
    return decode_root(&reader, table, doc, object);
}

size_t fields_decode_known(const struct field_table *table, struct arena *arena,
    const struct doc *doc, void *object, struct field_errors *errors)
{
    assert(table && arena && doc && object && errors);
    struct field_reader reader = {.arena = arena, .errors = errors, .base = "", .known = true};
    return decode_root(&reader, table, doc, object);
}
