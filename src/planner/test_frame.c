/* Tests of frames: what is written is read again, and what is no frame is refused. */
#include "base/memory.h"
#include "base/test.h"
#include "core/rows.h"
#include "planner/frame.h"

static struct frame only_frame(const struct strbuf *out)
{
    struct frame frame = {0};
    struct error err;
    assert_true(frame_read(out->text, out->length, &frame, &err) == (int64_t)out->length);
    return frame;
}

static void rows_come_back(void **state)
{
    struct strbuf out = {0};
    struct frame_row row;
    struct error err;
    struct job_row job = {.id = 7, .team = 3, .name_hash = -5, .size = 4, .deadline_ms = 99};
    struct symbol_row symbol = {.id = 9, .pinned = 1, .text = "vision"};
    uint64_t gone = 11;
    (void)state;
    size_t begin = frame_begin(&out, FRAME_ROWS);
    frame_put_u64(&out, 42);
    frame_put_row(&out, &(struct core_change){CHANGE_PUT, ROW_SYMBOL, &symbol});
    frame_put_row(&out, &(struct core_change){CHANGE_RETIRE, ROW_JOB, &job});
    frame_put_row(&out, &(struct core_change){CHANGE_DELETE, ROW_CLAIM, &gone});
    frame_end(&out, begin);
    struct frame frame = only_frame(&out);
    uint64_t tick;
    assert_int_equal(frame.kind, FRAME_ROWS);
    assert_int_equal(frame_get_u64(&frame.body, &tick, &err), 0);
    assert_true(tick == 42);
    assert_int_equal(frame_get_row(&frame.body, &row, &err), 1);
    assert_true(row.change == CHANGE_PUT && row.kind == ROW_SYMBOL);
    assert_true(row.row.symbol.id == 9 && row.row.symbol.pinned == 1);
    assert_string_equal(row.row.symbol.text, "vision");
    assert_int_equal(frame_get_row(&frame.body, &row, &err), 1);
    assert_true(row.change == CHANGE_RETIRE && row.kind == ROW_JOB);
    assert_memory_equal(&row.row.job, &job, sizeof job);
    assert_int_equal(frame_get_row(&frame.body, &row, &err), 1);
    assert_true(row.change == CHANGE_DELETE && row.kind == ROW_CLAIM && row.row.id == 11);
    assert_int_equal(frame_get_row(&frame.body, &row, &err), 0);
    strbuf_finish(&out);
}

/* The largest of each kind, so that a kind that is added is thought of. */
static void every_kind_of_row_has_room(void **state)
{
    (void)state;
    for (enum row_kind kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct row_type *type = row_type(kind);
        if (type->history)
            continue;
        assert_true(type->size <= sizeof(union frame_room));
        SCOPED(strbuf_finish) struct strbuf out = {0};
        union frame_room row = {.id = 1};
        frame_put_row(&out, &(struct core_change){CHANGE_PUT, kind, &row});
        assert_true(out.length > 2);
    }
}

static void a_part_of_a_frame_is_waited_for(void **state)
{
    struct strbuf out = {0};
    struct frame frame;
    struct error err;
    (void)state;
    size_t begin = frame_begin(&out, FRAME_TICK);
    frame_put_u64(&out, 1);
    frame_end(&out, begin);
    for (size_t length = 0; length < out.length; length++)
        assert_true(frame_read(out.text, length, &frame, &err) == 0);
    strbuf_finish(&out);
}

static void what_is_none_is_refused(void **state)
{
    static const unsigned char kind[] = {0, 0, 0, 0, FRAME_KIND_COUNT};
    static const unsigned char nought[] = {0, 0, 0, 0, 0};
    static const unsigned char length[] = {1, 0, 0, 255, FRAME_TICK};
    struct frame frame;
    struct error err;
    (void)state;
    assert_true(frame_read(kind, sizeof kind, &frame, &err) == -1);
    assert_true(frame_read(nought, sizeof nought, &frame, &err) == -1);
    assert_true(frame_read(length, sizeof length, &frame, &err) == -1);
}

static void rows_that_are_none_are_refused(void **state)
{
    static const unsigned char change[] = {3, ROW_JOB, 1};
    static const unsigned char history[] = {CHANGE_PUT, ROW_CHARGE, 1};
    static const unsigned char beyond[] = {CHANGE_DELETE, ROW_KIND_COUNT, 1, 0, 0, 0, 0, 0, 0, 0};
    static const unsigned char short_id[] = {CHANGE_DELETE, ROW_JOB, 1, 0};
    static const unsigned char no_id[] = {CHANGE_DELETE, ROW_JOB, 0, 0, 0, 0, 0, 0, 0, 0};
    /* A symbol of 256 bytes: one more than fits with its end. */
    unsigned char text[11 + 2 + 256] = {CHANGE_PUT, ROW_SYMBOL, 1};
    text[12] = 1;
    const struct {
        const unsigned char *bytes;
        size_t length;
    } rows[] = {{change, sizeof change}, {history, sizeof history}, {beyond, sizeof beyond},
        {short_id, sizeof short_id}, {no_id, sizeof no_id}, {text, sizeof text}};
    struct frame_row row;
    struct error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct frame_cursor body = {rows[i].bytes, rows[i].length};
        assert_int_equal(frame_get_row(&body, &row, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static void a_hello_tells_what_the_core_was_made_with(void **state)
{
    struct strbuf out = {0};
    struct core_options said = {.allotment = "elastic",
        .placement = "best-fit",
        .spot = "greedy",
        .round_ms = 5000,
        .reserve_after_ms = -1};
    struct core_options read = {0};
    struct error err;
    (void)state;
    frame_put_hello(&out, &said);
    struct frame frame = only_frame(&out);
    assert_int_equal(frame_get_hello(&frame.body, &read, &err), 0);
    assert_string_equal(read.allotment, "elastic");
    assert_string_equal(read.placement, "best-fit");
    assert_string_equal(read.spot, "greedy");
    assert_null(read.victims);
    assert_true(read.round_ms == 5000 && read.reserve_after_ms == -1);
    strbuf_clear(&out);
    frame_put_hello(&out, &(struct core_options){0});
    frame = only_frame(&out);
    assert_int_equal(frame_get_hello(&frame.body, &read, &err), 0);
    assert_true(!read.allotment && read.round_ms == 0 && read.reserve_after_ms == 0);
    strbuf_clear(&out);
    said.allotment = "by lot";
    frame_put_hello(&out, &said);
    frame = only_frame(&out);
    assert_int_equal(frame_get_hello(&frame.body, &read, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    for (size_t cut = 1; cut < 20; cut++) {
        said.allotment = NULL;
        strbuf_clear(&out);
        frame_put_hello(&out, &said);
        frame = only_frame(&out);
        frame.body.left -= cut;
        assert_int_equal(frame_get_hello(&frame.body, &read, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    strbuf_finish(&out);
}

static void slices_come_back(void **state)
{
    struct strbuf out = {0};
    struct frame_slice slice = {ROW_NODE, 5, UINT64_MAX, 0x1234}, read;
    struct error err;
    uint64_t tick;
    (void)state;
    frame_put_slice(&out, 8, &slice);
    struct frame frame = only_frame(&out);
    assert_int_equal(frame_get_u64(&frame.body, &tick, &err), 0);
    assert_int_equal(frame_get_slice(&frame.body, &read, &err), 0);
    assert_true(tick == 8 && read.kind == ROW_NODE && read.after == 5);
    assert_true(read.last == UINT64_MAX && read.digest == 0x1234);
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(every_kind_of_row_has_room),
        cmocka_unit_test(a_part_of_a_frame_is_waited_for),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(rows_that_are_none_are_refused),
        cmocka_unit_test(a_hello_tells_what_the_core_was_made_with),
        cmocka_unit_test(slices_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
