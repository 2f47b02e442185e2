/* Documents as YAML text that people like to read and that every parser, also of YAML 1.1, reads
 * back to the same tree: block style; text without quotes only where it cannot be mistaken for
 * anything else; scripts as literal blocks; everything else in double quotes. */
#include "wire/doc.h"
#include "wire/doc_yaml.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

enum { KEY_BYTES_MAX = 500 }; /* longer ones have to be written with a question mark */

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Amounts such as 16Gi, 250m and 1h30m: digits, then a letter of a unit at the end. Everything else
 * that begins with a digit is quoted: some parser somewhere takes it for a number or a date. */
static bool is_amount(const char *text)
{
    size_t length = strspn(text, "0123456789.kKMGTPimshdw");
    return text[length] == '\0' && length > 1 && is_alpha(text[length - 1]);
}

static bool is_special_word(const char *text)
{
    static const char *const words[] = {
        "true", "false", "yes", "no", "on", "off", "y", "n", "null"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static bool is_plain(const char *text)
{
    if (text[0] >= '0' && text[0] <= '9')
        return is_amount(text);
    if (!is_alpha(text[0]) && text[0] != '_' && text[0] != '/')
        return false;
    for (const char *s = text; *s; s++) {
        bool fine = is_alpha(*s) || strchr("0123456789_-./@+=", *s) ||
                    (*s == ' ' && s[1] && s[1] != ' ') || (*s == ':' && s[1] && s[1] != ' ');
        if (!fine)
            return false;
    }
    return !is_special_word(text);
}

static void write_quoted(const char *text, struct strbuf *out)
{
    strbuf_putc(out, '"');
    while (*text) {
        size_t length = utf8_length(text);
        assert(length > 0);
        unsigned point = yaml_decode(text, length);
        if (point == '\n')
            strbuf_puts(out, "\\n");
        else if (point == '\t')
            strbuf_puts(out, "\\t");
        else if (point == '\r' || yaml_needs_escape(point))
            strbuf_printf(out, "\\u%04x", point);
        else if (point == '"' || point == '\\')
            strbuf_printf(out, "\\%c", (int)point);
        else
            strbuf_append(out, text, length);
        text += length;
    }
    strbuf_putc(out, '"');
}

/* Several lines, none of which holds what a literal block cannot carry. */
static bool is_block(const char *text)
{
    size_t length = strlen(text);
    if (!strchr(text, '\n') || text[0] == '\n' || text[0] == ' ')
        return false;
    if (length >= 2 && text[length - 1] == '\n' && text[length - 2] == '\n')
        return false;
    for (const char *s = text; *s;) {
        size_t step = utf8_length(s);
        assert(step > 0);
        if (*s == '\t' || *s == '\r' || yaml_needs_escape(yaml_decode(s, step)))
            return false;
        if (*s == ' ' && (s[1] == '\n' || s[1] == '\0'))
            return false;
        s += step;
    }
    return true;
}

static void write_block_text(const char *text, int indent, struct strbuf *out)
{
    size_t length = strlen(text);
    strbuf_puts(out, text[length - 1] == '\n' ? "|" : "|-");
    while (*text) {
        size_t line = strcspn(text, "\n");
        strbuf_putc(out, '\n');
        if (line)
            strbuf_printf(out, "%*s", indent, "");
        strbuf_append(out, text, line);
        text += line + (text[line] == '\n');
    }
}

static void write_scalar(const struct doc *value, int indent, struct strbuf *out)
{
    switch (value->type) {
    case DOC_NULL: strbuf_puts(out, "null"); break;
    case DOC_BOOL: strbuf_puts(out, value->boolean ? "true" : "false"); break;
    case DOC_NUMBER: strbuf_puts(out, value->text); break;
    case DOC_LIST: strbuf_puts(out, "[]"); break;
    case DOC_MAP: strbuf_puts(out, "{}"); break;
    case DOC_STRING:
        if (is_plain(value->text))
            strbuf_puts(out, value->text);
        else if (indent > 0 && is_block(value->text))
            write_block_text(value->text, indent, out);
        else
            write_quoted(value->text, out);
        break;
    }
}

static void write_key(const char *key, int indent, struct strbuf *out)
{
    bool long_key = strlen(key) > KEY_BYTES_MAX;
    if (long_key)
        strbuf_puts(out, "? ");
    if (is_plain(key))
        strbuf_puts(out, key);
    else
        write_quoted(key, out);
    if (long_key)
        strbuf_printf(out, "\n%*s", indent, "");
    strbuf_putc(out, ':');
}

/* Writes the value from the column `indent`, where the output stands already; ends the line. */
static void write_value(const struct doc *value, int indent, struct strbuf *out)
{
    if (!value->first) {
        write_scalar(value, indent, out);
        strbuf_putc(out, '\n');
        return;
    }
    for (const struct doc *item = value->first; item; item = item->next) {
        if (item != value->first)
            strbuf_printf(out, "%*s", indent, "");
        if (value->type == DOC_LIST) {
            strbuf_puts(out, "- ");
            write_value(item, indent + 2, out);
            continue;
        }
        write_key(item->key, indent, out);
        if (item->first) {
            /* A list stands below its key without more indent, as people write it. */
            int below = indent + (item->type == DOC_MAP ? 2 : 0);
            strbuf_printf(out, "\n%*s", below, "");
            write_value(item, below, out);
        } else {
            strbuf_putc(out, ' ');
            write_value(item, indent + 2, out);
        }
    }
}

void doc_write_yaml(const struct doc *value, struct strbuf *out)
{
    assert(value);
    write_value(value, 0, out);
}
