/* The rule by which services are scaled: figures worked out by hand, Kubernetes' formula, and what
 * holds for any load over seeds. The test plays gateway and clock. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/test.h"
#include "core/autoscale.h"

#include <stdlib.h>

enum { MICRO = 1000000 };

/* ---- a service under a load ------------------------------------------------------------------ */

struct served {
    struct service_autoscale options;
    struct autoscale *scale;
    struct autoscale_load load;
    struct autoscale_now now;
    struct autoscale_decision decision;
};

static struct service_autoscale options_make(int64_t min, int64_t max)
{
    return (struct service_autoscale){.min = min,
        .max = max,
        .in_flight = 10,
        .use_percent = 100,
        .stable_ms = 60000,
        .panic_ms = 6000,
        .panic_percent = 200,
        .idle_ms = 30000};
}

static struct served service_make(struct service_autoscale options, int32_t wanted)
{
    return (struct served){.options = options,
        .scale = autoscale_create(),
        .load = {.source = 7},
        .now = {.now_ms = 1700000000000, .wanted = wanted, .ready = wanted}};
}

/* A second with so many requests under way, of which some wait; each takes a second. */
static void second(struct served *service, int64_t open, int64_t waiting)
{
    struct autoscale_load *load = &service->load;
    service->now.now_ms += 1000;
    load->at_ms = service->now.now_ms;
    load->busy_us += open * MICRO;
    load->arrived += open - waiting;
    load->ended += open - waiting;
    load->open = open;
    load->waiting = waiting;
    autoscale_report(service->scale, &service->options, load);
}

/* And what is decided, which is so at once. */
static int32_t follow(struct served *service)
{
    autoscale_decide(service->scale, &service->options, &service->now, &service->decision);
    service->now.wanted = service->now.ready = service->decision.wanted;
    return service->decision.wanted;
}

static void seconds(struct served *service, int count, int64_t open)
{
    for (int i = 0; i < count; i++) {
        second(service, open, 0);
        follow(service);
    }
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void test_replicas_are_the_load_by_what_one_takes(void **state)
{
    (void)state;
    struct served service = service_make(options_make(1, 100), 1);
    service.options.panic_percent = 1000;
    seconds(&service, 120, 35);
    assert_int_equal(service.decision.wanted, 4);
    assert_int_equal(service.decision.reason, AUTOSCALE_LOAD);
    assert_int_equal(service.decision.signals[SIGNAL_LOAD].value_micro, 35 * MICRO);
    assert_int_equal(service.decision.signals[SIGNAL_LOAD].target_micro, 10 * MICRO);
    service.options.use_percent = 70; /* 35 / 7 */
    seconds(&service, 1, 35);
    assert_int_equal(service.decision.wanted, 5);
    service.options.max = 3;
    seconds(&service, 1, 35);
    assert_int_equal(service.decision.wanted, 3);
    assert_int_equal(service.decision.bound, AUTOSCALE_MAX);
    assert_int_equal(service.decision.asked, 5);
    autoscale_destroy(service.scale);
}

static void test_a_sudden_load_is_believed_and_nothing_goes_down_meanwhile(void **state)
{
    (void)state;
    struct served service = service_make(options_make(1, 100), 1);
    seconds(&service, 70, 8);
    assert_int_equal(service.now.wanted, 1);
    seconds(&service, 6, 60); /* 60 over six seconds; 13.2 over sixty */
    assert_int_equal(service.now.wanted, 6);
    assert_true(service.decision.panic);
    assert_int_equal(service.decision.reason, AUTOSCALE_PANIC);
    seconds(&service, 50, 8);
    assert_int_equal(service.now.wanted, 6);
    assert_true(service.decision.panic);
    seconds(&service, 70, 8);
    assert_int_equal(service.now.wanted, 1);
    assert_false(service.decision.panic);
    autoscale_destroy(service.scale);
}

/* Ten are under way and ten wait: what arrives, ten a second of a second each, takes one replica,
 * and the ten that wait take a sixth of a request at once to be gone within a minute. */
static void test_what_waits_is_worked_off_and_not_taken_for_load(void **state)
{
    (void)state;
    struct served service = service_make(options_make(1, 100), 1);
    for (int i = 0; i < 70; i++)
        second(&service, 20, 10);
    follow(&service);
    int64_t load = service.decision.signals[SIGNAL_LOAD].value_micro;
    assert_in_range(load, 10 * MICRO + 160000, 10 * MICRO + 170000);
    assert_int_equal(service.decision.wanted, 2);
    autoscale_destroy(service.scale);
}

static void test_to_zero_after_idle_and_back_with_the_first_request(void **state)
{
    (void)state;
    struct served service = service_make(options_make(0, 9), 1);
    service.options.idle_ms = 30000;
    second(&service, 1, 0);
    follow(&service);
    seconds(&service, 29, 0);
    assert_int_equal(service.now.wanted, 1);
    seconds(&service, 2, 0);
    assert_int_equal(service.now.wanted, 0);
    assert_int_equal(service.decision.reason, AUTOSCALE_IDLE);
    seconds(&service, 100, 0);
    assert_int_equal(service.now.wanted, 0);
    second(&service, 25, 25);
    assert_int_equal(follow(&service), 3);
    assert_int_equal(service.decision.reason, AUTOSCALE_BACKLOG);
    autoscale_destroy(service.scale);
}

static void test_without_data_nothing_but_bounds_change_it(void **state)
{
    (void)state;
    struct served service = service_make(options_make(0, 9), 5);
    for (int i = 0; i < 600; i++) { /* no gateway ever says anything */
        service.now.now_ms += 1000;
        assert_int_equal(follow(&service), 5);
        assert_int_equal(service.decision.reason, AUTOSCALE_NO_DATA);
    }
    seconds(&service, 59, 1); /* not for a whole window yet */
    assert_int_equal(service.now.wanted, 5);
    seconds(&service, 3, 1);
    assert_int_equal(service.now.wanted, 1);
    service.now.wanted = service.now.ready = 5;
    service.now.now_ms += AUTOSCALE_STALE_MS + 1; /* the gateway went away */
    assert_int_equal(follow(&service), 5);
    service.load.source = 8; /* and is another one, which has counted nothing yet */
    service.load.arrived = service.load.ended = service.load.busy_us = 0;
    seconds(&service, 59, 1);
    assert_int_equal(service.now.wanted, 5);
    service.options.max = 2;
    assert_int_equal(follow(&service), 2);
    autoscale_destroy(service.scale);
}

static void test_a_wish_for_fewer_has_to_last(void **state)
{
    (void)state;
    struct served service = service_make(options_make(1, 100), 4);
    service.options.down_ms = 120000;
    seconds(&service, 100, 40);
    assert_int_equal(service.now.wanted, 4);
    seconds(&service, 130, 5); /* over sixty seconds it is 30 and more for the first of them */
    assert_int_equal(service.now.wanted, 4);
    assert_int_equal(service.decision.bound, AUTOSCALE_STEADY);
    seconds(&service, 80, 5);
    assert_int_equal(service.now.wanted, 1);
    autoscale_destroy(service.scale);
}

/* Replicas hold ten at once by the options, and are too slow with more than five. */
static void test_a_missed_goal_teaches_how_much_a_replica_takes(void **state)
{
    (void)state;
    struct served service = service_make(options_make(1, 100), 4);
    service.options.latency.goal_ms = 1000;
    service.options.latency.percent_milli = 99000;
    for (int i = 0; i < 1800; i++) {
        service.load.timed += 40;
        service.load.late += 40 / service.now.ready > 5 ? 4 : 0;
        second(&service, 40, 0);
        follow(&service);
        assert_true(service.now.wanted <= 40);
        if (service.now.wanted >= 8)
            assert_in_range(service.now.wanted, 8, 12);
    }
    assert_in_range(service.now.wanted, 7, 10); /* more than it takes is tried now and then */
    assert_int_equal(service.decision.reason, AUTOSCALE_LATENCY);
    autoscale_destroy(service.scale);
}

static void test_metrics_and_accelerators_go_by_the_formula(void **state)
{
    (void)state;
    struct autoscale_metric metric = {.name = "depth", .average_micro = 10 * MICRO};
    struct service_autoscale options = {.min = 1,
        .max = 50,
        .accelerator_percent = 60,
        .metrics = {&metric, 1},
        .stable_ms = 60000,
        .panic_ms = 6000,
        .panic_percent = 200};
    struct served service = service_make(options, 4);
    struct autoscale_sample used = {service.now.now_ms, 4 * 90LL * MICRO, 4};
    struct autoscale_sample depth = {service.now.now_ms, 25 * MICRO, 1};
    autoscale_accelerator(service.scale, &used);
    autoscale_metric(service.scale, 0, &depth);
    assert_int_equal(follow(&service), 6);
    assert_int_equal(service.decision.reason, AUTOSCALE_ACCELERATOR);
    depth.sum_micro = 120 * MICRO;
    autoscale_metric(service.scale, 0, &depth);
    assert_int_equal(follow(&service), 12);
    assert_int_equal(service.decision.reason, AUTOSCALE_METRIC);
    depth.sum_micro = 1;
    used.sum_micro = 1;
    service.now.now_ms += AUTOSCALE_STALE_MS + 1;
    used.count = 12;
    used.at_ms = service.now.now_ms; /* the metric is stale: nothing goes down without it */
    autoscale_accelerator(service.scale, &used);
    assert_int_equal(follow(&service), 12);
    depth.at_ms = service.now.now_ms;
    autoscale_metric(service.scale, 0, &depth);
    assert_int_equal(follow(&service), 1);
    autoscale_destroy(service.scale);
}

static void test_hours_raise_the_minimum(void **state)
{
    (void)state;
    enum { HOUR = 3600 * 1000 };
    /* 2026-11-23, a Monday, at midnight UTC. */
    static const int64_t monday = 1795392000000;
    struct autoscale_hours hours[] = {
        {.min = 4, .from_minute = 8 * 60, .to_minute = 18 * 60, .day_bits = 0x1f},
        {.min = 6, .from_minute = 22 * 60, .to_minute = 2 * 60, .day_bits = 1 << 6}};
    struct service_autoscale options = {.min = 1, .max = 5, .hours = {hours, 2}};
    bool by_hours;
    assert_int_equal(autoscale_min(&options, monday + 8 * HOUR - 1, &by_hours), 1);
    assert_false(by_hours);
    assert_int_equal(autoscale_min(&options, monday + 8 * HOUR, &by_hours), 4);
    assert_true(by_hours);
    assert_int_equal(autoscale_min(&options, monday + 18 * HOUR, NULL), 1);
    assert_int_equal(autoscale_min(&options, monday - HOUR, NULL), 5);     /* Sunday, 23:00 */
    assert_int_equal(autoscale_min(&options, monday + HOUR, NULL), 5);     /* of Sunday's hours */
    assert_int_equal(autoscale_min(&options, monday + 2 * HOUR, NULL), 1); /* they are over */
    assert_int_equal(autoscale_min(&options, monday - 16 * HOUR, NULL), 1);
    options.utc_offset_minutes = 120;
    assert_int_equal(autoscale_min(&options, monday + 6 * HOUR, NULL), 4);
    options.utc_offset_minutes = -300;
    assert_int_equal(autoscale_min(&options, monday + 6 * HOUR, NULL), 5);
    assert_int_equal(autoscale_min(&options, monday + 12 * HOUR, NULL), 1);
}

/* ---- over seeds ------------------------------------------------------------------------------ */

static int seed_count(void)
{
    const char *text = getenv("CORE_SEEDS");
    int count = text ? atoi(text) : 0;
    return count > 0 ? count : 60;
}

static struct service_autoscale options_drawn(struct prng *prng)
{
    struct service_autoscale options =
        options_make((int64_t)prng_below(prng, 3), 3 + (int64_t)prng_below(prng, 200));
    options.in_flight = 1 + (int64_t)prng_below(prng, 50);
    options.use_percent = 30 + (int64_t)prng_below(prng, 71);
    options.stable_ms = 6000 + (int64_t)prng_below(prng, 300000);
    options.panic_ms = 1000 + (int64_t)prng_below(prng, 5000);
    options.down_ms = (int64_t)prng_below(prng, 400000);
    options.up_ms = prng_below(prng, 3) ? 0 : (int64_t)prng_below(prng, 60000);
    options.idle_ms = 1000 + (int64_t)prng_below(prng, 100000);
    if (prng_below(prng, 2))
        options.latency.goal_ms = 500;
    options.latency.percent_milli = 99000;
    return options;
}

/* Whatever is reported, lies included. */
static void report_anything(struct served *service, struct prng *prng, int64_t *level)
{
    struct autoscale_load *load = &service->load;
    if (prng_below(prng, 40) == 0)
        *level = (int64_t)prng_below(prng, 2000) * (int64_t)prng_below(prng, 2);
    int64_t open = *level + (int64_t)prng_below(prng, 1 + (uint64_t)*level / 2);
    int64_t waiting = prng_below(prng, 4) ? 0 : (int64_t)prng_below(prng, 1 + (uint64_t)open);
    load->timed += open;
    load->late += (int64_t)prng_below(prng, 1 + (uint64_t)open) / 8;
    second(service, open, waiting);
    if (prng_below(prng, 300) == 0)
        *load = (struct autoscale_load){.source = prng_next(prng), .open = -5, .busy_us = -9};
    if (prng_below(prng, 300) == 0)
        load->busy_us = INT64_MAX / 4;
}

static void test_it_stays_within_bounds_and_panic_never_goes_down(void **state)
{
    (void)state;
    for (int seed = 1; seed <= seed_count(); seed++) {
        struct prng prng = {(uint64_t)seed};
        struct served service = service_make(options_drawn(&prng), 3);
        int64_t level = 0, told_ms = 0;
        for (int i = 0; i < 3000; i++) {
            if (prng_below(&prng, 50) == 0)
                service.now.now_ms += (int64_t)prng_below(&prng, 40000);
            if (prng_below(&prng, 10)) {
                report_anything(&service, &prng, &level);
                told_ms = service.now.now_ms;
            } else {
                service.now.now_ms += 1000;
            }
            int32_t before = service.now.wanted;
            bool silent = service.now.now_ms - told_ms > AUTOSCALE_STALE_MS;
            follow(&service);
            const struct autoscale_decision *decision = &service.decision;
            assert_in_range(decision->wanted, service.options.min, service.options.max);
            if (decision->panic || silent)
                assert_true(decision->wanted >= before || before > service.options.max);
            if (decision->wanted == 0 && before > 0)
                assert_int_equal(decision->reason, AUTOSCALE_IDLE);
            service.now.ready -= (int32_t)prng_below(&prng, 1 + (uint64_t)service.now.ready) / 2;
        }
        autoscale_destroy(service.scale);
    }
}

/* A load that only trembles: no more than a few changes, and no back and forth. */
static void test_a_steady_noisy_load_makes_it_turn_seldom(void **state)
{
    (void)state;
    for (int seed = 1; seed <= seed_count(); seed++) {
        struct prng prng = {(uint64_t)seed};
        struct served service = service_make(options_make(1, 100), 10);
        service.options.use_percent = 70;
        service.options.down_ms = 300000;
        int64_t mean = 20 + (int64_t)prng_below(&prng, 300);
        int turns = 0, direction = 0;
        for (int i = 0; i < 3600; i++) {
            int32_t before = service.now.wanted;
            int64_t noise = (int64_t)prng_below(&prng, (uint64_t)mean) - mean / 2;
            second(&service, mean + noise, 0);
            follow(&service);
            int way = (service.now.wanted > before) - (service.now.wanted < before);
            turns += i > 600 && way != 0 && direction != 0 && way != direction;
            direction = way ? way : direction;
        }
        assert_true(turns <= 4); /* in fifty minutes */
        autoscale_destroy(service.scale);
    }
}

static void test_the_same_reports_give_the_same_decisions(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 10; seed++) {
        struct prng draws[2] = {{(uint64_t)seed}, {(uint64_t)seed}};
        struct served services[2];
        int64_t levels[2] = {0};
        for (int k = 0; k < 2; k++)
            services[k] = service_make(options_drawn(&draws[k]), 3);
        for (int i = 0; i < 1000; i++) {
            for (int k = 0; k < 2; k++) {
                report_anything(&services[k], &draws[k], &levels[k]);
                follow(&services[k]);
            }
            assert_int_equal(services[0].decision.wanted, services[1].decision.wanted);
            assert_int_equal(services[0].decision.reason, services[1].decision.reason);
        }
        autoscale_destroy(services[0].scale);
        autoscale_destroy(services[1].scale);
    }
}

/* ---- windows --------------------------------------------------------------------------------- */

static void test_windows_lose_nothing_and_forget_in_time(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct prng prng = {seed};
        struct scale_window window = {0};
        struct scale_sums given = {0};
        int64_t at_ms = 1000000;
        for (int i = 0; i < 40; i++) {
            int64_t span_ms = 1 + (int64_t)prng_below(&prng, 1400);
            struct scale_sums sums = {.busy_us = (int64_t)prng_below(&prng, 1000000),
                .arrived = (int64_t)prng_below(&prng, 100)};
            scale_window_add(&window, 1000, at_ms, at_ms + span_ms, &sums);
            at_ms += span_ms;
            given.covered_ms += span_ms;
            given.busy_us += sums.busy_us;
            given.arrived += sums.arrived;
        }
        struct scale_sums all = scale_window_sum(&window, at_ms, 60000);
        assert_int_equal(all.covered_ms, given.covered_ms);
        assert_int_equal(all.busy_us, given.busy_us);
        assert_int_equal(all.arrived, given.arrived);
        all = scale_window_sum(&window, at_ms + 70000, 60000);
        assert_int_equal(all.covered_ms, 0);
    }
}

/* ---- Kubernetes ------------------------------------------------------------------------------ */

static int32_t pods(int32_t replicas, int64_t mean, int64_t target)
{
    struct hpa_pods all = {mean * MICRO * replicas, replicas, 0};
    return hpa_wished(replicas, &all, target * MICRO);
}

static void test_kubernetes_formula_and_tolerance(void **state)
{
    (void)state;
    assert_int_equal(pods(4, 90, 60), 6);
    assert_int_equal(pods(4, 10, 60), 1);
    assert_int_equal(pods(40, 90, 60), 60);
    assert_int_equal(pods(10, 66, 60), 10); /* a tenth above is no reason */
    assert_int_equal(pods(10, 67, 60), 12);
    assert_int_equal(pods(10, 54, 60), 10);
    assert_int_equal(pods(10, 53, 60), 9);
    assert_int_equal(hpa_wished_value(3, 3, 50 * MICRO, 10 * MICRO), 15);
    assert_int_equal(hpa_wished_value(0, 0, 25 * MICRO, 10 * MICRO), 3);
    assert_int_equal(hpa_wished_average(3, 50 * MICRO, 10 * MICRO), 5);
    assert_int_equal(hpa_wished_average(5, 52 * MICRO, 10 * MICRO), 5);
    assert_int_equal(hpa_wished_average(0, 0, 10 * MICRO), 0);
}

/* Of ten, eight are known. Those that are not count as idle when more are wished for, and as busy
 * when fewer are. */
static void test_kubernetes_missing_metrics_are_guessed_cautiously(void **state)
{
    (void)state;
    struct hpa_pods more = {8 * 90LL * MICRO, 8, 2};
    assert_int_equal(hpa_wished(10, &more, 60 * MICRO), 12); /* 720 / 60, not 15 */
    struct hpa_pods fewer = {8 * 30LL * MICRO, 8, 2};
    assert_int_equal(hpa_wished(10, &fewer, 60 * MICRO), 6); /* (240 + 120) / 60, not 4 */
    struct hpa_pods turned = {8 * 70LL * MICRO, 8, 2};
    assert_int_equal(hpa_wished(10, &turned, 60 * MICRO), 10);
    struct hpa_pods none = {0, 0, 10};
    assert_int_equal(hpa_wished(10, &none, 60 * MICRO), 10);
}

/* The manifest of the issue, with replicas at a mean utilisation. */
static int32_t utilised(int32_t replicas, int64_t mean, struct autoscale_decision *ret)
{
    struct hpa_metric metric = {
        .kind = HPA_PODS, .name = "gpu_utilization", .target_micro = 60 * MICRO};
    struct hpa hpa = {.min = 2,
        .max = 50,
        .metrics = {&metric, 1},
        .up = {.stabilization_s = -1},
        .down = {.stabilization_s = -1}};
    struct hpa_state memory = {0};
    struct hpa_reading reading = {.known = true, .pods = {mean * MICRO * replicas, replicas, 0}};
    struct autoscale_now now = {1700000000000, replicas, replicas};
    for (int i = 0; i < 30; i++, now.now_ms += HPA_TICK_MS) {
        assert_true(hpa_decide(&memory, &hpa, &now, &reading, ret));
        assert_false(hpa_decide(&memory, &hpa, &now, &reading, ret));
    }
    return ret->wanted;
}

static void test_a_horizontal_pod_autoscaler_between_2_and_50(void **state)
{
    (void)state;
    struct autoscale_decision decision;
    assert_int_equal(utilised(4, 90, &decision), 6);
    assert_int_equal(decision.reason, AUTOSCALE_METRIC);
    assert_int_equal(utilised(4, 10, &decision), 2);
    assert_int_equal(decision.bound, AUTOSCALE_MIN);
    assert_int_equal(utilised(40, 90, &decision), 50);
    assert_int_equal(decision.bound, AUTOSCALE_MAX);
    assert_int_equal(utilised(4, 63, &decision), 4);
    assert_int_equal(decision.reason, AUTOSCALE_TOLERANCE);
}

static void test_policies_bound_how_fast_it_goes(void **state)
{
    (void)state;
    struct hpa_policy up[] = {{HPA_POLICY_PODS, 2, 60}, {HPA_POLICY_PERCENT, 10, 60}};
    struct hpa_metric metric = {
        .kind = HPA_EXTERNAL, .name = "depth", .target = HPA_AVERAGE_VALUE, .target_micro = MICRO};
    struct hpa hpa = {.min = 1,
        .max = 100,
        .metrics = {&metric, 1},
        .up = {.stabilization_s = 0, .policies = {up, 2}},
        .down = {.stabilization_s = 60, .select = HPA_SELECT_DISABLED}};
    struct hpa_state memory = {0};
    struct hpa_reading reading = {.known = true, .value_micro = 90 * MICRO};
    struct autoscale_now now = {1700000000000, 10, 10};
    struct autoscale_decision decision;
    static const int32_t expected[] = {12, 12, 12, 12, 14};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++, now.now_ms += HPA_TICK_MS) {
        assert_true(hpa_decide(&memory, &hpa, &now, &reading, &decision));
        assert_int_equal(decision.wanted, expected[i]);
        assert_int_equal(decision.bound, AUTOSCALE_RATE);
        now.wanted = now.ready = decision.wanted;
    }
    hpa.up.select = HPA_SELECT_MIN; /* ten per cent of 14, rounded up */
    now.now_ms += 120000;
    assert_true(hpa_decide(&memory, &hpa, &now, &reading, &decision));
    assert_int_equal(decision.wanted, 16);
    reading.value_micro = MICRO;
    for (int i = 0; i < 10; i++) {
        now.now_ms += HPA_TICK_MS;
        assert_true(hpa_decide(&memory, &hpa, &now, &reading, &decision));
        assert_int_equal(decision.wanted, 14); /* disabled downwards */
    }
    reading.known = false;
    now.now_ms += HPA_TICK_MS;
    assert_true(hpa_decide(&memory, &hpa, &now, &reading, &decision));
    assert_int_equal(decision.reason, AUTOSCALE_NO_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replicas_are_the_load_by_what_one_takes),
        cmocka_unit_test(test_a_sudden_load_is_believed_and_nothing_goes_down_meanwhile),
        cmocka_unit_test(test_what_waits_is_worked_off_and_not_taken_for_load),
        cmocka_unit_test(test_to_zero_after_idle_and_back_with_the_first_request),
        cmocka_unit_test(test_without_data_nothing_but_bounds_change_it),
        cmocka_unit_test(test_a_wish_for_fewer_has_to_last),
        cmocka_unit_test(test_a_missed_goal_teaches_how_much_a_replica_takes),
        cmocka_unit_test(test_metrics_and_accelerators_go_by_the_formula),
        cmocka_unit_test(test_hours_raise_the_minimum),
        cmocka_unit_test(test_it_stays_within_bounds_and_panic_never_goes_down),
        cmocka_unit_test(test_a_steady_noisy_load_makes_it_turn_seldom),
        cmocka_unit_test(test_the_same_reports_give_the_same_decisions),
        cmocka_unit_test(test_windows_lose_nothing_and_forget_in_time),
        cmocka_unit_test(test_kubernetes_formula_and_tolerance),
        cmocka_unit_test(test_kubernetes_missing_metrics_are_guessed_cautiously),
        cmocka_unit_test(test_a_horizontal_pod_autoscaler_between_2_and_50),
        cmocka_unit_test(test_policies_bound_how_fast_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
