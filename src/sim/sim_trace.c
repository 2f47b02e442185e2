/* The trace: lines for people, a digest for machines, of the same facts in the same order. */
#include "sim/sim_trace.h"

#include "sim/sim_hash.h"

typedef unsigned long long ull;

void sim_trace_init(struct sim_trace *trace, FILE *out)
{
    *trace = (struct sim_trace){.out = out, .digest = SIM_HASH_START};
}

void sim_trace_finish(struct sim_trace *trace)
{
    strbuf_finish(&trace->line);
}

static void trace_line(struct sim_trace *trace)
{
    if (trace->out)
        fprintf(trace->out, "%s\n", strbuf_text(&trace->line));
    strbuf_clear(&trace->line);
}

static void trace_text(struct sim_trace *trace)
{
    trace->digest = sim_hash_text(trace->digest, strbuf_text(&trace->line));
    trace_line(trace);
}

void sim_trace_input(struct sim_trace *trace, int64_t now_ms, const struct sim_input *input,
    const struct sim_answer *answer)
{
    strbuf_printf(&trace->line, "%lld input ", (long long)now_ms);
    sim_input_print(input, answer, &trace->line);
    trace_text(trace);
}

void sim_trace_note(struct sim_trace *trace, int64_t now_ms, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    strbuf_printf(&trace->line, "%lld ", (long long)now_ms);
    strbuf_vprintf(&trace->line, format, args);
    va_end(args);
    trace_text(trace);
}

/* ---- rows ------------------------------------------------------------------------------ */

static const char *symbol_text(
    const struct sim_store *store, const struct sim_txn *txn, uint64_t symbol)
{
    for (size_t i = 0; i < txn->changes.count; i++) {
        const struct core_change *change = &txn->changes.items[i];
        if (change->kind == ROW_SYMBOL && sim_row_id(change->row) == symbol)
            return ((const struct symbol_row *)change->row)->text;
    }
    return sim_store_symbol(store, (uint32_t)symbol);
}

static void print_column(struct sim_trace *trace, const struct sim_store *store,
    const struct sim_txn *txn, const struct column *column, const void *row)
{
    struct strbuf *line = &trace->line;
    uint64_t value = sim_column_value(column, row);
    if (column->type == COLUMN_TEXT)
        strbuf_printf(line, " %s=%s", column->name, (const char *)row + column->offset);
    else if (!value)
        return; /* most columns are 0: a line is for what is not */
    else if (column->type == COLUMN_SYMBOL)
        strbuf_printf(line, " %s=%s", column->name, symbol_text(store, txn, value));
    else if (column->type == COLUMN_ENUM && column->names)
        strbuf_printf(line, " %s=%s", column->name, column->names[value]);
    else
        strbuf_printf(line, " %s=%lld", column->name, (long long)value);
}

static void trace_change(struct sim_trace *trace, const struct sim_store *store,
    const struct sim_txn *txn, const struct core_change *change)
{
    static const char *const names[] = {"put", "retire", "delete"};
    const struct row_type *type = row_type(change->kind);
    trace->digest = sim_hash_number(trace->digest, change->change * 64u + change->kind);
    size_t count = change->change == CHANGE_DELETE ? 1 : type->column_count;
    for (size_t i = 0; i < count; i++)
        trace->digest =
            sim_hash_number(trace->digest, sim_column_value(&type->columns[i], change->row));
    if (!trace->out)
        return;
    strbuf_printf(&trace->line, "  %s %s", names[change->change], type->name);
    for (size_t i = 0; i < count; i++)
        print_column(trace, store, txn, &type->columns[i], change->row);
    trace_line(trace);
}

uint64_t sim_trace_decision(uint64_t digest, const struct core_decision *decision)
{
    const uint64_t values[] = {(uint64_t)decision->kind, (uint64_t)decision->at_ms, decision->job,
        decision->attempt, decision->node, decision->pool, decision->team, decision->service,
        decision->for_job, (uint64_t)(int64_t)decision->reason,
        (uint64_t)(int64_t)decision->exit_status, (uint64_t)decision->lost_ms};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        digest = sim_hash_number(digest, values[i]);
    return digest;
}

static void print_decision(struct strbuf *line, const struct core_decision *decision)
{
    const struct {
        const char *name;
        uint64_t id;
    } ids[] = {{"job", decision->job}, {"attempt", decision->attempt}, {"node", decision->node},
        {"pool", decision->pool}, {"team", decision->team}, {"service", decision->service},
        {"for_job", decision->for_job}};
    strbuf_printf(line, "  decision %s", decision_names[decision->kind]);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (ids[i].id)
            strbuf_printf(line, " %s=%llu", ids[i].name, (ull)ids[i].id);
    if (decision->reason)
        strbuf_printf(line, " reason=%s", end_reason_names[decision->reason]);
    if (decision->exit_status)
        strbuf_printf(line, " status=%d", decision->exit_status);
    if (decision->lost_ms)
        strbuf_printf(line, " lost_ms=%lld", (long long)decision->lost_ms);
}

static void trace_decision(struct sim_trace *trace, const struct core_decision *decision)
{
    trace->digest = sim_trace_decision(trace->digest, decision);
    if (!trace->out)
        return;
    print_decision(&trace->line, decision);
    trace_line(trace);
}

void sim_trace_txn(
    struct sim_trace *trace, const struct sim_store *store, const struct sim_txn *txn)
{
    for (size_t i = 0; i < txn->changes.count; i++)
        trace_change(trace, store, txn, &txn->changes.items[i]);
    for (size_t i = 0; i < txn->decisions.count; i++)
        trace_decision(trace, &txn->decisions.items[i]);
}
