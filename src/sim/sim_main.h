/* The verb `muster sim`: seeded runs of the core with faults. */
#pragma once

/* argv[0] is the verb. The exit status: 0, 1 when a seed failed, 2 for a wrong option. */
int sim_main(int argc, char **argv);
