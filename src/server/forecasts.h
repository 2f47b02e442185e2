/* Forecasts for the broker: while a job may come to a pool under its burst policy, the planner is
 * asked now and then how long it would wait elsewhere, and the core is told in a tick. Without a
 * planner the core is told to expect none. */
#pragma once

struct core;
struct forecasts;
struct server;

/* After the planner's link. Never NULL. */
struct forecasts *forecasts_create(struct server *server);
/* In a tick, before the core schedules: says whether forecasts will come. NULL is fine. */
void forecasts_run(const struct forecasts *forecasts, struct core *core);
/* Before the planner's link, whose answers to it are dropped. NULL is fine. */
void forecasts_destroy(struct forecasts *forecasts);
