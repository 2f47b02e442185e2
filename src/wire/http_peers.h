/* What a server remembers of its peers, by address: how many connections each has, and how fast
 * it may ask. Bounded: peers without a connection are forgotten, the longest unseen first. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_peers;
struct http_peer_entry;

/* requests_per_s 0: no limit on rate. */
struct http_peers *http_peers_create(
    size_t connections_max, uint32_t requests_per_s, uint32_t requests_burst);
void http_peers_destroy(struct http_peers *peers); /* NULL is fine */
/* Counts a connection of the peer in. NULL when it has as many as it may. */
struct http_peer_entry *http_peers_connect(struct http_peers *peers, const char *key);
/* Counts it out. The entry is invalid for the caller after it. */
void http_peers_disconnect(struct http_peers *peers, struct http_peer_entry *entry);
/* Takes a token. 0, or the seconds (>= 1) after which there will be one. */
uint32_t http_peers_take(struct http_peers *peers, struct http_peer_entry *entry, int64_t now_ms);
