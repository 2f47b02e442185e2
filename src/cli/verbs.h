/* The verbs' entries, one from each verb_*.c. Only the table in verbs.c needs them. */
#pragma once

#include "cli/verb.h"

extern const struct verb verb_up, verb_server, verb_gateway, verb_planner;
extern const struct verb verb_apply, verb_plan, verb_get, verb_describe, verb_delete;
extern const struct verb verb_run, verb_logs, verb_exec, verb_cancel, verb_hold, verb_release;
extern const struct verb verb_top, verb_cost, verb_node, verb_explain, verb_whatif, verb_simulate;
extern const struct verb verb_collect, verb_dataset, verb_model, verb_lineage, verb_reproduce;
extern const struct verb verb_score, verb_promote, verb_promotions, verb_rollout;
extern const struct verb verb_test, verb_replay;
extern const struct verb verb_approve, verb_refuse, verb_withdraw;
extern const struct verb verb_audit, verb_token, verb_secret, verb_backup, verb_restore;
extern const struct verb verb_schema, verb_completion, verb_version, verb_help;
extern const struct verb verb_shim, verb_init, verb_sim;
