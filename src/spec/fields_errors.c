/* Errors of field tables: the bounded list, and the words for what was expected and what came.
 * Input that is shown is quoted, cut and free of control characters. */
#include "spec/fields_internal.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_BYTES = 60, ERROR_BYTES = 500, SUGGEST_BYTES = 48 };

void field_errors_add(struct field_errors *errors, struct arena *arena, const char *path, int line,
    const char *format, ...)
{
    assert(errors->count <= FIELD_ERRORS_MAX);
    if (errors->count == FIELD_ERRORS_MAX) {
        errors->left_out++;
        return;
    }
    char text[ERROR_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    errors->items[errors->count++] = (struct field_error){
        .path = arena_strdup(arena, path), .line = line, .text = arena_strdup(arena, text)};
}

void field_errors_write(const struct field_errors *errors, const char *file, struct strbuf *out)
{
    for (size_t i = 0; i < errors->count; i++) {
        const struct field_error *item = &errors->items[i];
        if (file)
            strbuf_puts(out, file);
        if (item->line)
            strbuf_printf(out, file ? ":%d" : "line %d", item->line);
        if (file || item->line)
            strbuf_puts(out, ": ");
        strbuf_printf(out, "%s%s%s\n", item->path, *item->path ? ": " : "", item->text);
    }
    if (errors->left_out)
        strbuf_printf(out, "and %zu more errors\n", errors->left_out);
}

struct doc *field_errors_doc(const struct field_errors *errors, struct arena *arena)
{
    struct doc *list = doc_list(arena);
    for (size_t i = 0; i < errors->count; i++) {
        struct doc *item = doc_append(list, doc_map(arena));
        doc_set_string(arena, item, "path", errors->items[i].path);
        if (errors->items[i].line)
            doc_set_int(arena, item, "line", errors->items[i].line);
        doc_set_string(arena, item, "detail", errors->items[i].text);
    }
    return list;
}

int field_errors_summary(const struct field_errors *errors, struct error *err)
{
    assert(errors->count > 0);
    const struct field_error *first = &errors->items[0];
    size_t more = errors->count - 1 + errors->left_out;
    char rest[48] = "";
    if (more)
        snprintf(rest, sizeof rest, " (and %zu more error%s)", more, more == 1 ? "" : "s");
    return error_set(
        err, ERR_INVALID, "%s%s%s%s", first->path, *first->path ? ": " : "", first->text, rest);
}

void write_quoted(const char *text, struct strbuf *out)
{
    char shown[SHOWN_BYTES + 4];
    size_t length = 0;
    while (text[length] && length < SHOWN_BYTES) {
        size_t step = utf8_length(text + length);
        length += step ? step : 1;
    }
    bool cut = text[length] != '\0';
    assert(length < sizeof shown);
    memcpy(shown, text, length);
    shown[length] = '\0';
    strbuf_json(out, shown);
    if (cut)
        strbuf_puts(out, "...");
}

void doc_write_got(const struct doc *doc, struct strbuf *out)
{
    switch (doc->type) {
    case DOC_NULL: strbuf_puts(out, "nothing"); break;
    case DOC_BOOL: strbuf_puts(out, doc->boolean ? "true" : "false"); break;
    case DOC_NUMBER: strbuf_printf(out, "%.60s", doc->text); break;
    case DOC_STRING: write_quoted(doc->text, out); break;
    case DOC_LIST: strbuf_puts(out, "a list"); break;
    case DOC_MAP: strbuf_puts(out, "a map"); break;
    }
}

static void write_words(const struct field_word *words, struct strbuf *out)
{
    for (const struct field_word *word = words; word->word; word++)
        strbuf_printf(out, "%s%s", word == words ? "" : ", ", word->word);
}

static void write_number_expected(
    const struct field *field, const struct number_type *number, struct strbuf *out)
{
    bool whole = field->type == FIELD_MILLI && field->multiple == 1000;
    strbuf_puts(out, whole ? "a whole number" : number->noun);
    if (field->max) {
        strbuf_puts(out, " from ");
        field_write_value(&(struct field){.type = field->type}, field->min, out);
        strbuf_puts(out, " to ");
        field_write_value(&(struct field){.type = field->type}, field->max, out);
    } else if (field->type != FIELD_TIME) {
        /* A lower bound of one unit says no more than that there is none below. */
        bool positive = field->min == 1 && field->type != FIELD_INT;
        strbuf_puts(out, positive ? " > " : " >= ");
        field_write_value(&(struct field){.type = field->type}, positive ? 0 : field->min, out);
    }
    strbuf_puts(out, number->examples);
    if (field->words) {
        strbuf_puts(out, ", or one of ");
        write_words(field->words, out);
    }
}

void field_write_expected(const struct field *field, struct strbuf *out)
{
    const struct number_type *number = field_number_type(field->type);
    if (number) {
        write_number_expected(field, number, out);
        return;
    }
    switch (field->type) {
    case FIELD_TEXT: strbuf_puts(out, field_rule(field)->expected); break;
    case FIELD_QUANTITY: strbuf_puts(out, "an amount such as 4, 0.5 or 16Gi"); break;
    case FIELD_BOOL: strbuf_puts(out, "true or false"); break;
    case FIELD_ENUM:
        strbuf_puts(out, "one of ");
        write_words(field->words, out);
        break;
    case FIELD_CONSTANT: strbuf_puts(out, field->fallback_text); break;
    case FIELD_TEXTS: strbuf_puts(out, "a list of texts"); break;
    case FIELD_OBJECTS: strbuf_puts(out, "a list"); break;
    default: strbuf_puts(out, "a map"); break;
    }
}

static bool is_plain_name(const char *name)
{
    size_t length =
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    return length > 0 && name[length] == '\0' && length <= 64;
}

void path_append_name(struct strbuf *path, const char *name)
{
    if (is_plain_name(name)) {
        strbuf_printf(path, "%s%s", path->length ? "." : "", name);
        return;
    }
    strbuf_putc(path, '[');
    write_quoted(name, path);
    strbuf_putc(path, ']');
}

void path_append_index(struct strbuf *path, size_t index)
{
    strbuf_printf(path, "[%zu]", index);
}

void path_write(const struct field_path *path, struct strbuf *out)
{
    if (!path)
        return;
    path_write(path->up, out);
    if (path->name)
        path_append_name(out, path->name);
    else
        path_append_index(out, path->index);
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Insertions, deletions, replacements and swaps of neighbours between two short texts (optimal
 * string alignment), whatever the case of letters. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    assert(la <= SUGGEST_BYTES && lb <= SUGGEST_BYTES);
    size_t rows[3][SUGGEST_BYTES + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= lb; j++)
        above[j] = j;
    for (size_t i = 1; i <= la; i++) {
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = above[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool swap = i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) &&
                        same_letter(a[i - 2], b[j - 1]);
            if (swap && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[lb];
}

const char *fields_suggest(const char *text, const char *const *names)
{
    size_t length = strlen(text);
    if (length == 0 || length > SUGGEST_BYTES)
        return NULL;
    const char *best = NULL;
    size_t best_distance = length / 3 + 1 < 3 ? length / 3 + 1 : 3;
    for (; *names; names++) {
        if (strlen(*names) > SUGGEST_BYTES)
            continue;
        size_t distance = edit_distance(text, *names);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = *names;
            best_distance = distance;
        }
    }
    return best;
}
