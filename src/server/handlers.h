/* The handlers of the routes, by file. What each does stands in the route table (routes.c). */
#pragma once

#include "server/call.h"

/* api_meta.c */
call_handler api_healthz, api_metrics, api_openapi;
/* api_apply.c */
call_handler api_apply;
/* api_objects.c: objects of every kind but Job */
call_handler api_object_list, api_object_get, api_object_delete;
/* rollout_api.c */
call_handler api_rollout_get, api_rollout_pause, api_rollout_resume, api_rollout_promote,
    api_rollout_abort;
/* api_jobs.c */
call_handler api_job_create, api_job_list, api_job_get, api_job_progress;
/* api_explain.c */
call_handler api_job_explain, api_whatif;
/* api_job_changes.c */
call_handler api_job_cancel, api_job_hold, api_job_release, api_job_delete;
/* api_logs.c, api_exec.c */
call_handler api_job_logs, api_job_exec;
/* api_promotions.c */
call_handler api_promotion_create, api_promotion_list, api_promotion_get, api_promotion_approve,
    api_promotion_refuse, api_promotion_withdraw, api_version_archive, api_version_candidate;
/* api_nodes.c */
call_handler api_copy_list;
call_handler api_node_list, api_node_get, api_node_cordon, api_node_uncordon, api_node_drain,
    api_node_reserve;
/* api_cost.c, api_top.c */
call_handler api_cost, api_top;
/* api_watch.c */
call_handler api_watch;
/* api_audit.c */
call_handler api_audit_list, api_audit_verify;
/* api_tokens.c */
call_handler api_token_create, api_token_list, api_token_delete;
/* api_secrets.c */
call_handler api_secret_list, api_secret_put, api_secret_delete;
/* api_files.c */
call_handler api_snapshot_create, api_backup;
/* api_artifacts.c */
call_handler api_artifacts_missing, api_chunk_put, api_chunk_get, api_version_create;
/* api_versions.c, api_version_files.c */
call_handler api_version_list, api_version_get, api_version_delete, api_version_verify,
    api_version_reproduce, api_version_variants, api_version_files, api_version_tree,
    api_version_file, api_artifacts_collect;
/* api_recording.c */
call_handler api_recording, api_verdicts;
/* api_trials.c */
call_handler api_trial_open, api_trial_ask;
/* api_lineage.c */
call_handler api_lineage;
