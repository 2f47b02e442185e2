/* Recordings: what is written of a request, that it is read back, what tears and damages do, and
 * that files rotate and go. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "gateway/guard_body.h"
#include "gateway/record_line.h"
#include "gateway/record_read.h"
#include "gateway/recorder.h"
#include "wire/doc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/muster-test-record-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

/* ---- lines ----------------------------------------------------------------------------------- */

struct seen {
    struct strbuf text;
    size_t count;
};

static int keep(void *context, const char *json, size_t length, struct error *err)
{
    struct seen *seen = context;
    (void)err;
    strbuf_append(&seen->text, json, length);
    strbuf_putc(&seen->text, '\n');
    seen->count++;
    return 0;
}

static void put_file(const char *name, const char *bytes, size_t length)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_write(path, bytes, length, 0600, NULL), 0);
}

static void test_a_line_that_tore_or_was_damaged_is_skipped_and_said(void **state)
{
    struct strbuf lines = {0};
    struct seen seen = {0};
    struct record_page page = {.limit = 100};
    (void)state;
    record_line_write(&lines, "{\"a\":1}", 7);
    size_t second = lines.length;
    record_line_write(&lines, "{\"b\":2}", 7);
    record_line_write(&lines, "{\"c\":3}", 7);
    lines.text[second + 20] ^= 1;
    put_file("000000000000001-00000000000000aa-1000.rec", lines.text, lines.length);
    put_file("000000000000002-00000000000000aa-1000.rec", lines.text, lines.length - 3);
    put_file("no-recording", lines.text, lines.length);
    assert_int_equal(record_page_read(folder, &page, keep, &seen, NULL), 0);
    assert_string_equal(strbuf_text(&seen.text), "{\"a\":1}\n{\"c\":3}\n{\"a\":1}\n");
    assert_int_equal(page.damaged, 2);
    assert_int_equal(page.torn, 1);
    assert_string_equal(page.next, "");
    strbuf_finish(&lines);
    strbuf_finish(&seen.text);
}

static void test_whatever_the_pages_are_the_records_are_the_same(void **state)
{
    struct prng prng = {7};
    struct strbuf lines = {0}, wanted = {0};
    (void)state;
    for (int file = 0; file < 5; file++) {
        char name[64];
        strbuf_clear(&lines);
        for (uint64_t i = prng_below(&prng, 9); i > 0; i--) {
            char json[40];
            snprintf(json, sizeof json, "{\"n\":%llu}", (unsigned long long)prng_next(&prng));
            record_line_write(&lines, json, strlen(json));
            strbuf_printf(&wanted, "%s\n", json);
        }
        snprintf(name, sizeof name, "%015d-00000000000000ab-5.rec", file + 1);
        put_file(name, strbuf_text(&lines), lines.length);
    }
    for (size_t limit = 1; limit < 12; limit++) {
        struct seen seen = {0};
        struct record_page page = {.limit = limit};
        char after[RECORD_CURSOR_BYTES] = "";
        do {
            page.after = after;
            assert_int_equal(record_page_read(folder, &page, keep, &seen, NULL), 0);
            memcpy(after, page.next, sizeof after);
        } while (after[0]);
        assert_string_equal(strbuf_text(&seen.text), strbuf_text(&wanted));
        strbuf_finish(&seen.text);
    }
    strbuf_finish(&lines);
    strbuf_finish(&wanted);
}

static void test_cursors_and_names_that_are_none_are_refused(void **state)
{
    static const char *const cursors[] = {"x", "000000000000001-00000000000000aa-1.rec",
        "../../etc/passwd:0",
        "000000000000001-00000000000000aa-1.rec:", "000000000000001-00000000000000aa-1.rec:-1",
        "000000000000001-00000000000000aa-1.rec:9x"};
    static const char *const services[] = {
        "team", "/name", "team/", "../name", "team/..", "team/a/b", "te am/x", "team/.x"};
    char out[256];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cursors); i++) {
        struct record_page page = {.after = cursors[i], .limit = 1};
        struct error err;
        assert_int_equal(record_page_read(folder, &page, keep, NULL, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        assert_false(record_folder(folder, services[i], out, sizeof out));
    assert_true(record_folder("/r", "vision/digits", out, sizeof out));
    assert_string_equal(out, "/r/vision/digits");
}

/* ---- entries --------------------------------------------------------------------------------- */

static void fill_entry(struct record_entry *entry, const char *request, const char *answer)
{
    entry->shelf = RECORD_REQUESTS;
    snprintf(entry->service, sizeof entry->service, "vision/digits");
    snprintf(entry->id, sizeof entry->id, "id-1");
    snprintf(entry->path, sizeof entry->path, "/v1/chat/completions");
    snprintf(entry->type, sizeof entry->type, "application/json");
    entry->wall_ms = 1000;
    entry->version = 3;
    entry->status = 200;
    entry->bytes_max = 1 << 20;
    entry->keep_ms = 60000;
    strbuf_puts(&entry->request, request);
    strbuf_puts(&entry->answer, answer);
}

static void entry_finish(struct record_entry *entry)
{
    strbuf_finish(&entry->request);
    strbuf_finish(&entry->answer);
}

/* With the plain search, which is there without Hyperscan. */
static bool written(struct record_entry *entry, struct strbuf *out)
{
    struct guard_rules rules = {0};
    record_rules_set(&rules);
    return record_entry_write(entry, &rules, out);
}

static void test_secrets_and_personal_data_are_taken_out(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct record_entry entry = {0};
    struct strbuf out = {0};
    (void)state;
    fill_entry(&entry, "{\"messages\":[{\"content\":\"I am ann@mail.example \\u0041\"}]}",
        "{\"text\":\"write to bob@mail.example\",\n \"n\": 1}");
    snprintf(entry.id, sizeof entry.id, "carl@mail.example");
    assert_true(written(&entry, &out));
    assert_null(strchr(out.text, '\n'));
    assert_null(strstr(out.text, "mail.example"));
    const struct doc *doc = doc_parse_json(arena, out.text, out.length, 1 << 20, NULL);
    assert_non_null(doc);
    assert_string_equal(doc_get_string(doc, "request"),
        "{\"messages\":[{\"content\":\"I am [REDACTED:email] A\"}]}");
    assert_string_equal(
        doc_get_string(doc, "answer"), "{\"text\":\"write to [REDACTED:email]\",\n \"n\": 1}");
    assert_string_equal(doc_get_string(doc, "id"), "[REDACTED:email]");
    strbuf_finish(&out);
    entry_finish(&entry);
}

static void test_what_cannot_be_looked_at_is_not_written(void **state)
{
    static const char *const requests[] = {"", "text", "{\"a\":1},\"b\":{}", "{\"a\":1} x"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct record_entry entry = {0};
        struct strbuf out = {0};
        fill_entry(&entry, requests[i], "{}");
        assert_false(written(&entry, &out));
        assert_int_equal(out.length, 0);
        entry_finish(&entry);
    }
    struct record_entry entry = {0};
    struct strbuf out = {0};
    fill_entry(&entry, "{}", "ann@mail.example");
    assert_true(written(&entry, &out));
    assert_null(strstr(out.text, "mail"));
    assert_non_null(strstr(out.text, "\"without\":\"unreadable\""));
    strbuf_finish(&out);
    entry_finish(&entry);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int64_t folder_bytes(const char *path, size_t *ret_files)
{
    int64_t bytes = 0;
    DIR *dir = opendir(path);
    *ret_files = 0;
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char file[512];
        struct stat st;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        bytes += st.st_size;
        ++*ret_files;
    }
    closedir(dir);
    return bytes;
}

static void record_one(struct recorder *recorder, const char *request, int64_t bytes_max)
{
    struct record_entry *entry = recorder_begin(recorder, 1 << 16);
    assert_non_null(entry);
    fill_entry(entry, request, "{\"is\":true}");
    entry->bytes_max = bytes_max;
    recorder_take(recorder, entry);
}

static void test_a_recording_is_written_bounded_and_read_back(void **state)
{
    struct recorder *recorder;
    struct recorder_counts counts;
    char path[256], request[4096];
    size_t files;
    (void)state;
    memset(request, ' ', sizeof request);
    memcpy(request, "{\"a\":1}", 7);
    request[sizeof request - 1] = '\0';
    assert_int_equal(recorder_open(folder, "00000000000000ac", &recorder, NULL), 0);
    for (int i = 0; i < 200; i++)
        record_one(recorder, request, 256 << 10);
    recorder_close(recorder);
    snprintf(path, sizeof path, "%s/recordings/vision/digits", folder);
    if (access(path, F_OK) < 0)
        skip(); /* Hyperscan is not there: nothing is recorded */
    assert_true(folder_bytes(path, &files) <= 256 << 10);
    assert_true(files > 1);
    struct seen seen = {0};
    struct record_page page = {.limit = 1000};
    assert_int_equal(record_page_read(path, &page, keep, &seen, NULL), 0);
    /* What is kept is all but at most two of eight parts, however quickly they were written. */
    assert_true(seen.count > 30 && seen.count < 200);
    assert_true(files >= 6);
    assert_int_equal(page.torn + page.damaged, 0);
    strbuf_finish(&seen.text);
    assert_int_equal(recorder_open(folder, "00000000000000ad", &recorder, NULL), 0);
    recorder_give_up(recorder, recorder_begin(recorder, 5), true);
    assert_null(recorder_begin(recorder, RECORDER_BYTES_MAX + 1));
    recorder_count(recorder, &counts);
    assert_int_equal(counts.unfit, 1);
    assert_int_equal(counts.dropped, 1);
    recorder_close(recorder);
}

static void test_what_is_over_goes_whoever_wrote_it(void **state)
{
    struct recorder *recorder;
    char path[256], old[512], new[512];
    struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    (void)state;
    snprintf(path, sizeof path, "%s/verdicts/gone/service", folder);
    assert_int_equal(file_make_dirs(path, 0700, NULL), 0);
    snprintf(old, sizeof old, "%s/000000000000001-00000000000000aa-60000.rec", path);
    snprintf(new, sizeof new, "%s/000000000000002-00000000000000aa-60000.rec", path);
    assert_int_equal(file_write(old, "x", 1, 0600, NULL), 0);
    assert_int_equal(file_write(new, "x", 1, 0600, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, old, past, 0), 0);
    assert_int_equal(recorder_open(folder, "00000000000000ae", &recorder, NULL), 0);
    recorder_close(recorder);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(new, F_OK), 0);
}

/* ---- tensors and streams ----------------------------------------------------------------------
 */

#define TEXTS(size)                                                                                \
    "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"BYTES\",\"shape\":[1],"                           \
    "\"parameters\":{\"binary_data_size\":" size "}}]}"

static bool tensors_written(const char *head, const char *bytes, size_t length, struct strbuf *out)
{
    struct record_entry entry = {0};
    fill_entry(&entry, head, "{}");
    entry.request_head = (int64_t)strlen(head);
    strbuf_append(&entry.request, bytes, length);
    bool found = written(&entry, out);
    entry_finish(&entry);
    return found;
}

static void test_tensors_are_kept_to_the_byte_unless_they_say_something(void **state)
{
    static const struct {
        const char *head, *bytes;
        size_t length;
        bool kept;
    } rows[] = {
        {TEXTS("9"), "\5\0\0\0plain", 9, true},
        {TEXTS("20"), "\20\0\0\0I am a@mail.test", 20, false},
        /* A length that looks as if the number went on does not hide it. */
        {TEXTS("77"),
            "\20\0\0\0"
            "4111111111111111"
            "5\0\0\0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            77, false},
        {TEXTS("9"), "\6\0\0\0plain", 9, false},
        {TEXTS("9"), "\5\0\0\0plain and more", 18, false},
        {TEXTS("-1"), "\5\0\0\0plain", 9, false},
        {TEXTS("3"), "\5\0\0", 3, false},
        {"{\"inputs\":[{\"datatype\":\"FP32\",\"parameters\":{\"binary_data_size\":8}}]}",
            "\0\0\200\177\377\377\377\377", 8, true},
        {"{\"inputs\":[{\"datatype\":\"UINT8\",\"parameters\":{\"binary_data_size\":16}}]}",
            "I am a@mail.test", 16, false},
        {"[]", "", 0, false},
        {"{\"inputs\":[7]}", "", 0, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        SCOPED(strbuf_finish) struct strbuf out = {0};
        if (tensors_written(rows[i].head, rows[i].bytes, rows[i].length, &out) != rows[i].kept)
            fail_msg("row %zu", i);
        if (!rows[i].kept)
            continue;
        const struct doc *doc = doc_parse_json(arena, out.text, out.length, out.length, NULL);
        assert_string_equal(doc_get_string(doc, "request"), rows[i].head);
        assert_non_null(doc_get_string(doc, "requestTensors"));
    }
}

static void test_streams_are_what_their_events_say_wherever_they_were_cut(void **state)
{
    static const struct {
        const char *stream, *text; /* NULL: only the request is kept */
    } rows[] = {
        {"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a@ma\"}}]}\n\n"
         "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"il.test\"}}]}\n\n"
         "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
            "{\"text\":\"[REDACTED:email]\\u000astop\"}"},
        {"data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n", NULL},
        {"no events", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        SCOPED(strbuf_finish) struct strbuf out = {0};
        struct record_entry entry = {.stream = true};
        fill_entry(&entry, "{}", rows[i].stream);
        assert_true(written(&entry, &out));
        entry_finish(&entry);
        const struct doc *doc = doc_parse_json(arena, out.text, out.length, out.length, NULL);
        const char *answer = doc_get_string(doc, "answer");
        assert_int_equal(answer != NULL, rows[i].text != NULL);
        if (answer)
            assert_string_equal(answer, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_a_line_that_tore_or_was_damaged_is_skipped_and_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_whatever_the_pages_are_the_records_are_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_cursors_and_names_that_are_none_are_refused, set_up, tear_down),
        cmocka_unit_test(test_tensors_are_kept_to_the_byte_unless_they_say_something),
        cmocka_unit_test(test_streams_are_what_their_events_say_wherever_they_were_cut),
        cmocka_unit_test(test_secrets_and_personal_data_are_taken_out),
        cmocka_unit_test(test_what_cannot_be_looked_at_is_not_written),
        cmocka_unit_test_setup_teardown(
            test_a_recording_is_written_bounded_and_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_over_goes_whoever_wrote_it, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
