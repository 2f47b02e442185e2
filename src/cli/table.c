/* Tables: see table.h. Cells are one flat list, row after row. */
#include "cli/table.h"

#include "base/memory.h"
#include "base/vec.h"
#include "cli/text.h"

#include <assert.h>

enum { COLUMN_GAP = 2 };

struct column {
    const char *title;
    bool right;
};

struct cell {
    const char *text; /* NULL: none */
    const char *colour;
};

struct table {
    struct arena *arena;
    VEC(struct column) columns;
    VEC(struct cell) cells;
};

struct table *table_create(void)
{
    struct table *table = mem_alloc(1, sizeof *table);
    table->arena = arena_create();
    return table;
}

void table_destroy(struct table *table)
{
    if (!table)
        return;
    vec_free(&table->columns);
    vec_free(&table->cells);
    arena_destroy(table->arena);
    free(table);
}

void table_add_column(struct table *table, const char *title, bool right)
{
    assert(table->cells.count == 0);
    struct column column = {arena_strdup(table->arena, title), right};
    vec_push(&table->columns, column);
}

void table_add_cell(struct table *table, const char *text)
{
    table_add_cell_coloured(table, text, NULL);
}

void table_add_cell_coloured(struct table *table, const char *text, const char *colour)
{
    assert(table->columns.count > 0);
    struct cell cell = {NULL, colour};
    if (text) {
        struct strbuf safe = {0};
        text_append_safe(&safe, text);
        cell.text = arena_strdup(table->arena, strbuf_text(&safe));
        strbuf_finish(&safe);
    }
    vec_push(&table->cells, cell);
}

size_t table_row_count(const struct table *table)
{
    return table->columns.count ? table->cells.count / table->columns.count : 0;
}

static const char *shown(const struct cell *cell)
{
    return cell->text && *cell->text ? cell->text : "-";
}

static size_t column_width(const struct table *table, size_t c)
{
    size_t most = text_width(table->columns.items[c].title);
    for (size_t i = c; i < table->cells.count; i += table->columns.count) {
        size_t width = text_width(shown(&table->cells.items[i]));
        most = width > most ? width : most;
    }
    return most;
}

static void put_spaces(struct strbuf *out, size_t count)
{
    while (count-- > 0)
        strbuf_putc(out, ' ');
}

static void put_cell(const struct table *table, size_t c, size_t width, const char *text,
    const char *colour, struct strbuf *out)
{
    bool last = c + 1 == table->columns.count;
    size_t room = width - text_width(text);
    if (table->columns.items[c].right)
        put_spaces(out, room);
    if (colour)
        strbuf_printf(out, "\033[%sm", colour);
    strbuf_puts(out, text);
    if (colour)
        strbuf_puts(out, "\033[0m");
    /* No spaces at the end of a line: they would wrap a narrow terminal. */
    if (!table->columns.items[c].right && !last)
        put_spaces(out, room);
    if (last)
        strbuf_putc(out, '\n');
    else
        put_spaces(out, COLUMN_GAP);
}

void table_write(const struct table *table, struct strbuf *out)
{
    size_t columns = table->columns.count;
    assert(columns > 0 && table->cells.count % columns == 0);
    SCOPED(mem_scope) size_t *widths = mem_alloc(columns, sizeof *widths);
    for (size_t c = 0; c < columns; c++) {
        widths[c] = column_width(table, c);
    }
    for (size_t c = 0; c < columns; c++)
        put_cell(table, c, widths[c], table->columns.items[c].title, NULL, out);
    for (size_t i = 0; i < table->cells.count; i++) {
        const struct cell *cell = &table->cells.items[i];
        put_cell(table, i % columns, widths[i % columns], shown(cell), cell->colour, out);
    }
}

static void put_csv(struct strbuf *out, const char *text, bool last)
{
    /* A spreadsheet takes a cell that begins like this for a formula. */
    bool formula = text[0] == '=' || text[0] == '@' || text[0] == '+';
    if (formula || strpbrk(text, ",\"\r\n")) {
        strbuf_puts(out, formula ? "\"'" : "\"");
        for (; *text; text++) {
            if (*text == '"')
                strbuf_putc(out, '"');
            strbuf_putc(out, *text);
        }
        strbuf_putc(out, '"');
    } else {
        strbuf_puts(out, text);
    }
    strbuf_puts(out, last ? "\r\n" : ",");
}

void table_write_csv(const struct table *table, struct strbuf *out)
{
    size_t columns = table->columns.count;
    assert(columns > 0 && table->cells.count % columns == 0);
    for (size_t c = 0; c < columns; c++)
        put_csv(out, table->columns.items[c].title, c + 1 == columns);
    for (size_t i = 0; i < table->cells.count; i++) {
        const char *text = table->cells.items[i].text;
        put_csv(out, text ? text : "", (i + 1) % columns == 0);
    }
}
