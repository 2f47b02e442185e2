/* Cutting a folder into chunks and making its tree: what taking a folder in, and a client that
 * sends one, have in common. */
#pragma once

#include "registry/tree.h"

/* A chunk on its way, with room for the longest. */
struct piece {
    size_t index; /* among the tree's chunks */
    int64_t offset;
    const char *path; /* valid as long as the cut goes on */
    size_t size;
    struct digest digest;
    bool digest_known; /* it is the whole file, whose digest was needed anyway */
    unsigned char raw[CHUNK_MAX];
};

/* Where chunks go. Pieces are taken empty and given full, in order; one that was taken is always
 * given, with size 0 when it was not needed. */
struct cut_sink {
    /* An empty piece, or NULL when nothing more is to be cut: an earlier piece failed. */
    struct piece *(*take)(void *context, struct error *err);
    /* The piece belongs to the sink again, which (sooner or later) finds its digest. */
    int (*give)(void *context, struct piece *piece, struct error *err);
    /* Waits until the digests of all pieces given are in the tree's chunks. */
    int (*settle)(void *context, struct tree *tree, struct error *err);
    void *context;
};

/* Cuts every file below the folder. The tree, to be finished by the caller, is set on success only.
 * Errors as registry_ingest, and those of the sink. */
MUST_CHECK int cut_folder(int folder_fd, int64_t bytes_max, const struct cut_sink *sink,
    struct tree *ret, struct error *err);
