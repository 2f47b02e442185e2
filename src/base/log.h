/* The log of a long-running process: one line an event, `time level text key=value...`, on
 * standard error. Only the edges (the daemon's loop, the shim) log; libraries return errors. */
#pragma once

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Events below least are dropped; LOG_INFO at first. Called before the first thread starts. */
void log_set_level(enum log_level least);
/* Writes one line, cut at 2 KiB, with control characters made visible. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
