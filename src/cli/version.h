/* The version of the program; the build may set another. */
#pragma once

#ifndef MUSTER_VERSION
#define MUSTER_VERSION "0.1.0"
#endif
