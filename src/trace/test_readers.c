/* Readers of traces: what each makes of a line, and what it says of a wrong one. */
#include "base/file.h"
#include "trace/line.h"
#include "trace/readers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/test.h"

static char path[64];

static const char *file_of(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

static struct trace_list *jobs_of(const char *format, const char *text, struct error *err)
{
    const struct trace_options options = {.jobs = file_of(text),
        .seed = 7,
        .tune_milli = 1300,
        .cluster_milli = 2000,
        .steady = true};
    struct trace_source *source = trace_format_find(format)->open(&options, err);
    return source ? trace_list_read(source, err) : NULL;
}

/* The whole error is "FILE" and this. */
static void assert_wrong(const char *format, const char *text, const char *error)
{
    struct error err = {0};
    struct trace_list *list = jobs_of(format, text, &err);
    trace_list_destroy(list);
    assert_null(list);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    assert_string_equal(err.text + strlen(path), error);
}

static void our_own_format_has_every_column(void **state)
{
    (void)state;
    struct error err;
    struct trace_list *list = jobs_of("csv",
        "submit,name,duration,ranks,ranks_min,ranks_max,team,model,cpus,memory_gib,accelerators,"
        "accelerator_types,priority,preemptible,deadline,checkpoint,work,batch\n"
        "1.5,\"a, \"\"b\"\"\",100,4,2,8,red,bert,2.5,0.5,1,a100|h100,800,false,200,30,1000,64\n"
        "\r\n"
        "2,b,0.001,,,,,,,,0.25,,,,,-1,,\r\n",
        &err);
    assert_non_null(list);
    assert_int_equal(trace_list_count(list), 2);
    const struct trace_job *job = trace_list_at(list, 0);
    assert_string_equal(job->name, "a, \"b\"");
    assert_string_equal(job->team, "red");
    assert_string_equal(job->model, "bert");
    assert_string_equal(job->accelerators, "a100|h100");
    assert_int_equal(job->submit_ms, 1500);
    assert_int_equal(job->duration_ms, 100000);
    assert_int_equal(job->ranks, 4);
    assert_int_equal(job->ranks_min, 2);
    assert_int_equal(job->ranks_max, 8);
    assert_int_equal(job->cpu_milli, 2500);
    assert_int_equal(job->memory_bytes, 512 * 1024 * 1024);
    assert_int_equal(job->accelerator_milli, 1000);
    assert_int_equal(job->priority, 800);
    assert_false(job->preemptible);
    assert_int_equal(job->deadline_ms, 200000);
    assert_int_equal(job->checkpoint_ms, 30000);
    assert_int_equal(job->work, 1000);
    assert_int_equal(job->batch, 64);
    job = trace_list_at(list, 1);
    assert_int_equal(job->duration_ms, 1);
    assert_int_equal(job->ranks_max, 1);
    assert_int_equal(job->accelerator_milli, 250);
    assert_int_equal(job->checkpoint_ms, -1);
    assert_int_equal(job->priority, 500);
    assert_true(job->preemptible);
    trace_list_destroy(list);
}

static void our_own_format_is_strict(void **state)
{
    (void)state;
    const char *const head = "name,submit,duration\n";
    char text[256];
    assert_wrong("csv", "name,submit\na,1\n", ":1: the header has no column duration");
    assert_wrong(
        "csv", "name,submit,duration,sise\n", ":1: there is no column sise, or it is there twice");
    assert_wrong("csv", "", ": the file is empty");
    snprintf(text, sizeof text, "%sa,2,1\nb,1,1\n", head);
    assert_wrong("csv", text, ":3: the job comes before the one of the line above");
    snprintf(text, sizeof text, "%sa,x,1\n", head);
    assert_wrong("csv", text, ":2: submit: expected a decimal number, got \"x\"");
    snprintf(text, sizeof text, "%sa,1,0\n", head);
    assert_wrong(
        "csv", text, ":2: duration: expected a number from 0.001 to 1099511627, got \"0\"");
    snprintf(text, sizeof text, "%sa,1\n", head);
    assert_wrong("csv", text, ":2: the line has no field duration");
    snprintf(text, sizeof text, "%s\"a,1,1\n", head);
    assert_wrong("csv", text, ":2: a quoted field does not end where it should");
    snprintf(text, sizeof text, "%s,1,1\n", head);
    assert_wrong("csv", text, ":2: name: expected a text of 1 to 200 bytes, got \"\"");
    assert_wrong("csv", "name,submit,duration,ranks,ranks_min\na,1,1,2,3\n",
        ":2: ranks_min: expected a number from 1 to 2, got \"3\"");
    assert_wrong("csv", "name,submit,duration,accelerators\na,1,1,1.5\n",
        ":2: accelerators: expected whole accelerators or a share of one, got \"1.5\"");
}

static void philly_is_put_in_order_of_time(void **state)
{
    (void)state;
    struct error err;
    struct trace_list *list = jobs_of("philly",
        "timestamp,duration,num_gpus,gpu_time,cluster\n"
        "2017-03-01 00:00:01,66.5,1,66.0,b\n"
        "2017-02-28 07:00:00,10,8,80,a\n",
        &err);
    assert_non_null(list);
    const struct trace_job *first = trace_list_at(list, 0), *second = trace_list_at(list, 1);
    assert_string_equal(first->team, "a");
    assert_int_equal(first->submit_ms, 7 * 3600 * 1000);
    assert_int_equal(first->ranks, 8);
    assert_int_equal(second->submit_ms, 24 * 3600 * 1000 + 1000);
    assert_int_equal(second->duration_ms, 66500);
    trace_list_destroy(list);
    assert_wrong("philly", "timestamp,duration,num_gpus,cluster\n2017-13-01 00:00:00,1,1,a\n",
        ":2: timestamp: expected a moment after 2014 such as 2017-10-09 07:01:55, got "
        "\"2017-13-01 00:00:00\"");
}

static void papers_have_their_columns(void **state)
{
    (void)state;
    struct error err;
    struct trace_list *list = jobs_of("shockwave",
        "ResNet-18 (batch size 32)\tpython3\tcifar10\t-n\t1\t143450\t2\tgns\t1\t-1.000000\t3338\t55"
        "\n",
        &err);
    assert_non_null(list);
    assert_int_equal(trace_list_at(list, 0)->batch, 32);
    assert_int_equal(trace_list_at(list, 0)->ranks, 2);
    assert_int_equal(trace_list_at(list, 0)->work, 143450);
    assert_int_equal(trace_list_at(list, 0)->submit_ms, 55000);
    assert_int_equal(trace_list_at(list, 0)->deadline_ms, 0);
    assert_string_equal(trace_list_at(list, 0)->mode, "gns");
    trace_list_destroy(list);
    list = jobs_of("gaia", "arrival_time,length,cpus\n0.5769444444444503,0.25,4\n", &err);
    assert_non_null(list);
    assert_int_equal(trace_list_at(list, 0)->submit_ms, 2077000);
    assert_int_equal(trace_list_at(list, 0)->duration_ms, 900000);
    assert_int_equal(trace_list_at(list, 0)->cpu_milli, 1000);
    assert_int_equal(trace_list_at(list, 0)->accelerator_milli, 0);
    trace_list_destroy(list);
    list = jobs_of("pollux",
        "name,time,application,num_replicas,batch_size\ncifar10-0,107,cifar10,6,2048\n", &err);
    assert_non_null(list);
    assert_int_equal(trace_list_at(list, 0)->submit_ms, 107000);
    assert_string_equal(trace_list_at(list, 0)->model, "cifar10");
    trace_list_destroy(list);
}

static void openb_arrivals_stay_within_their_share(void **state)
{
    (void)state;
    struct error err;
    const struct trace_options options = {.jobs = file_of("name,cpu_milli,memory_mib,num_gpu,gpu_"
                                                          "milli\na,1000,1,1,500\nb,1000,1,0,0\n"),
        .seed = 3,
        .tune_milli = 1300,
        .cluster_milli = 2000};
    struct trace_source *source = openb_open(&options, &err);
    assert_non_null(source);
    struct trace_list *list = trace_list_read(source, &err);
    int64_t asked_milli = 0;
    for (size_t i = 0; i < trace_list_count(list); i++)
        asked_milli += trace_list_at(list, i)->accelerator_milli;
    assert_int_equal(asked_milli, 2500); /* one more would be 3000 of 2600 */
    trace_list_destroy(list);
    assert_wrong("openb",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\na,1,1,2,500,0,"
        "1\n",
        ":2: gpu_milli: expected thousandths of a GPU, 1000 for more than one GPU, got \"500\"");
}

static void gzip_is_read_and_damage_is_seen(void **state)
{
    (void)state;
    struct error err = {0};
    char text[] = "arrival_time,length,cpus\n0,1,1\n0,1,2\n";
    char *packed;
    size_t size;
    gzFile file = gzopen(path, "w");
    gzwrite(file, text, sizeof text - 1);
    gzclose(file);
    const struct trace_options options = {.jobs = path};
    struct trace_source *source = gaia_open(&options, &err);
    assert_non_null(source);
    assert_int_equal(source->expected, 2);
    trace_close(source);
    assert_int_equal(file_read(path, 1000, &packed, &size, &err), 0);
    assert_int_equal(truncate(path, (off_t)size - 10), 0);
    free(packed);
    assert_null(gaia_open(&options, &err));
    assert_non_null(strstr(err.text, "the compressed data is damaged or cut off"));
}

/* As a spreadsheet saves it, plain and compressed. */
static void the_mark_of_utf8_is_no_part_of_a_name(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "arrival_time,length,cpus\r\n0,1,1\r\n";
    struct error err;
    struct trace_list *list = jobs_of("gaia", text, &err);
    assert_non_null(list);
    assert_int_equal(trace_list_count(list), 1);
    trace_list_destroy(list);
    gzFile file = gzopen(path, "w");
    gzwrite(file, text, sizeof text - 1);
    gzclose(file);
    const struct trace_options options = {.jobs = path};
    struct trace_source *source = gaia_open(&options, &err);
    assert_non_null(source);
    trace_close(source);
    assert_wrong("gaia",
        "arrival_time,length,cpus\n\xef\xbb\xbf"
        "0,1,1\n",
        ":2: arrival_time: expected a decimal number, got \"\xef\xbb\xbf"
        "0\"");
}

static void long_lines_and_nul_bytes_are_refused(void **state)
{
    (void)state;
    struct error err = {0};
    char *text = mem_alloc(LINE_BYTES_MAX + 100, 1);
    strcpy(text, "name,submit,duration\n");
    memset(text + strlen(text), 'a', LINE_BYTES_MAX + 10);
    assert_wrong("csv", text, ":2: the line is longer than 64 KiB");
    free(text);
    assert_int_equal(file_write(path, "name,submit,duration\na\0,1,1\n", 28, 0600, &err), 0);
    const struct trace_options options = {.jobs = path};
    struct trace_source *source = csv_open(&options, &err);
    struct trace_job job;
    assert_non_null(source);
    assert_int_equal(trace_next(source, &job, &err), -1);
    assert_non_null(strstr(err.text, ":2: the line has a NUL byte"));
    trace_close(source);
}

static void machines_are_read_or_said(void **state)
{
    (void)state;
    struct error err = {0};
    struct trace_cluster cluster;
    trace_cluster_init(&cluster);
    assert_int_equal(csv_nodes(&cluster,
                         file_of("name,cpus,memory_gib,count,accelerators,accelerator,type,price_"
                                 "hour,spot\ngpu,64,512,2,8,a100,big,12.5,true\ncpu,32,1,,,,,,\n"),
                         &err),
        0);
    assert_int_equal(cluster.nodes.count, 3);
    assert_string_equal(cluster.nodes.items[1].name, "gpu-00001");
    assert_int_equal(cluster.nodes.items[1].hour_micro, 12500000);
    assert_true(cluster.nodes.items[1].spot);
    assert_null(cluster.nodes.items[2].accelerator);
    assert_int_equal(trace_cluster_accelerator_milli(&cluster), 16000);
    trace_cluster_finish(&cluster);
    trace_cluster_init(&cluster);
    assert_int_equal(trace_cluster_parse(&cluster, "3x4:a100/32", &err), 0);
    assert_int_equal(cluster.nodes.count, 3);
    assert_int_equal(cluster.nodes.items[0].cpu_milli, 32000);
    assert_string_equal(cluster.nodes.items[0].accelerator, "a100");
    static const char *const wrong[] = {
        "", "3", "3x", "x4", "0x4", "3x65", "3x4:", "3x4/", "3x4:a/0", "3x4 ", "-3x4"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(trace_cluster_parse(&cluster, wrong[i], &err), -1);
    assert_int_equal(cluster.nodes.count, 3);
    trace_cluster_finish(&cluster);
}

/* The same machines, each once; the seed decides their order and nothing else does. */
static void machines_are_shuffled_by_the_seed(void **state)
{
    (void)state;
    enum { NODES = 50, SEEDS = 20 };
    struct error err = {0};
    struct trace_cluster cluster;
    trace_cluster_init(&cluster);
    assert_int_equal(trace_cluster_parse(&cluster, "50x4", &err), 0);
    int first_stays = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct trace_cluster shuffled = {0}, again = {0};
        uint64_t seen = 0;
        trace_cluster_shuffle(&cluster, seed, &shuffled);
        trace_cluster_shuffle(&cluster, seed, &again);
        assert_int_equal(shuffled.nodes.count, NODES);
        for (size_t i = 0; i < NODES; i++) {
            const char *name = shuffled.nodes.items[i].name;
            assert_string_equal(name, again.nodes.items[i].name);
            seen |= (uint64_t)1 << atoi(name + strlen("node-"));
        }
        assert_int_equal(seen, ((uint64_t)1 << NODES) - 1);
        first_stays += shuffled.nodes.items[0].name == cluster.nodes.items[0].name;
        trace_cluster_finish(&shuffled);
        trace_cluster_finish(&again);
    }
    assert_in_range(first_stays, 0, SEEDS / 4);
    trace_cluster_finish(&cluster);
}

static void events_have_an_order(void **state)
{
    (void)state;
    struct error err = {0};
    struct trace_events events = {0};
    assert_int_equal(
        trace_events_read(&events, file_of("0,add,n1\n5,remove,n1\n5,add,n2\n"), &err), 0);
    assert_int_equal(events.items.count, 3);
    assert_false(events.items.items[1].up);
    assert_string_equal(events.items.items[2].node, "n2");
    trace_events_finish(&events);
    assert_int_equal(trace_events_read(&events, file_of("5,add,n1\n4,add,n2\n"), &err), -1);
    assert_int_equal(trace_events_read(&events, file_of("5,plus,n1\n"), &err), -1);
}

/* 1 s and 3 s: two seconds after the last the first comes again. */
static void a_trace_may_come_again(void **state)
{
    (void)state;
    struct error err;
    static const int64_t expected[][2] = {{1000, 9000}, {3000, 0}, {5000, 13000}, {7000, 0}};
    const struct trace_options options = {
        .jobs = file_of("name,submit,duration,deadline\na,1,1,9\nb,3,1,\n")};
    struct trace_source *source = csv_open(&options, &err);
    assert_non_null(source);
    source = trace_repeat(source, 2, &err);
    assert_non_null(source);
    assert_int_equal(source->expected, 4);
    struct trace_job job;
    for (uint64_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_int_equal(trace_next(source, &job, &err), 1);
        assert_int_equal(job.number, i);
        assert_int_equal(job.submit_ms, expected[i][0]);
        assert_int_equal(job.deadline_ms, expected[i][1]);
    }
    assert_int_equal(trace_next(source, &job, &err), 0);
    trace_close(source);
}

static int seed_digest(uint64_t seed)
{
    const struct trace_options options = {.jobs = "1000", .seed = seed, .cluster_milli = 8000};
    struct error err;
    struct trace_source *source = synthetic_open(&options, &err);
    struct trace_job job;
    uint32_t digest = 0;
    while (trace_next(source, &job, &err) > 0)
        digest = digest * 31 + (uint32_t)(job.submit_ms + job.duration_ms * 7 + job.ranks);
    trace_close(source);
    return (int)(digest >> 1);
}

static void drawn_jobs_are_the_same_everywhere(void **state)
{
    (void)state;
    struct error err;
    const struct trace_options wrong = {.jobs = "many"};
    assert_int_equal(seed_digest(1), seed_digest(1));
    assert_int_not_equal(seed_digest(1), seed_digest(2));
    assert_null(synthetic_open(&wrong, &err));
}

static int make_path(void **state)
{
    (void)state;
    strcpy(path, "/tmp/muster-trace-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_format_has_every_column),
        cmocka_unit_test(our_own_format_is_strict),
        cmocka_unit_test(philly_is_put_in_order_of_time),
        cmocka_unit_test(papers_have_their_columns),
        cmocka_unit_test(openb_arrivals_stay_within_their_share),
        cmocka_unit_test(gzip_is_read_and_damage_is_seen),
        cmocka_unit_test(the_mark_of_utf8_is_no_part_of_a_name),
        cmocka_unit_test(long_lines_and_nul_bytes_are_refused),
        cmocka_unit_test(machines_are_read_or_said),
        cmocka_unit_test(machines_are_shuffled_by_the_seed),
        cmocka_unit_test(events_have_an_order),
        cmocka_unit_test(a_trace_may_come_again),
        cmocka_unit_test(drawn_jobs_are_the_same_everywhere),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
