/* Tables: alignment, colours, CSV. */
#include "cli/table.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct table *example(void)
{
    struct table *table = table_create();
    table_add_column(table, "NAME", false);
    table_add_column(table, "COST", true);
    table_add_column(table, "STATE", false);
    return table;
}

static void expect(const struct table *table, const char *expected)
{
    struct strbuf out = {0};
    table_write(table, &out);
    assert_string_equal(strbuf_text(&out), expected);
    strbuf_finish(&out);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    SCOPED(table_scope) struct table *table = example();
    const char *const cells[] = {"a", "1.5", "queued", "longer-name", "120.25", NULL};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        table_add_cell(table, cells[i]);
    assert_int_equal(table_row_count(table), 2);
    expect(table, "NAME           COST  STATE\n"
                  "a               1.5  queued\n"
                  "longer-name  120.25  -\n");
}

static void wide_letters_and_colours_do_not_shift_columns(void **state)
{
    (void)state;
    SCOPED(table_scope) struct table *table = example();
    table_add_cell(table, "\xe6\x97\xa5\xe6\x9c\xac");
    table_add_cell(table, "1");
    table_add_cell_coloured(table, "up", "32");
    table_add_cell_coloured(table, "K\xc3\xb6ln", "31");
    table_add_cell(table, "22");
    table_add_cell(table, "up");
    expect(table, "NAME  COST  STATE\n"
                  "\xe6\x97\xa5\xe6\x9c\xac     1  \033[32mup\033[0m\n"
                  "\033[31mK\xc3\xb6ln\033[0m    22  up\n");
}

static void cells_cannot_steer_the_terminal(void **state)
{
    (void)state;
    SCOPED(table_scope) struct table *table = table_create();
    table_add_column(table, "NAME", false);
    table_add_cell(table, "evil\033[2J\n");
    expect(table, "NAME\nevil\xef\xbf\xbd[2J \n");
}

static void csv_quotes_what_has_to_be(void **state)
{
    (void)state;
    SCOPED(table_scope) struct table *table = example();
    const char *const cells[] = {"a,b", "say \"no\"", NULL, "=1+1", "-2.5", "plain"};
    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        table_add_cell(table, cells[i]);
    struct strbuf out = {0};
    table_write_csv(table, &out);
    assert_string_equal(strbuf_text(&out), "NAME,COST,STATE\r\n"
                                           "\"a,b\",\"say \"\"no\"\"\",\r\n"
                                           "\"'=1+1\",-2.5,plain\r\n");
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(wide_letters_and_colours_do_not_shift_columns),
        cmocka_unit_test(cells_cannot_steer_the_terminal),
        cmocka_unit_test(csv_quotes_what_has_to_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
