/* The machine that a job ran on, as far as it can change what the job gives: recorded with every
 * version that a job made. */
#pragma once

struct arena;
struct doc;

/* {"os", "kernel", "architecture", "muster", "packages": "sha256:.."}; the last is the digest of
 * the sorted list "name:architecture version" of installed Debian packages and left out where there
 * is no dpkg. Reads files: not for the loop. */
struct doc *environment_doc(struct arena *arena);
