/* The version of the program; meson.build gives it. */
#pragma once

#ifndef MUSTER_VERSION
#error "MUSTER_VERSION is defined by the build"
#endif
