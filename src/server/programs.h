/* The programs that come with muster and run inside sandboxes. */
#pragma once

struct arena;

/* How the input is called that shows them inside a sandbox. */
#define PROGRAMS_INPUT "runtimes"

/* The folder of the runtimes' programs, in the arena: beside the program in the build tree, in
 * lib/muster below its prefix when it is installed. Whoever is to see it inside a sandbox is shown
 * it as an input, since the folders above it may be closed to other users. */
const char *programs_runtimes(struct arena *arena);
