# The front door. meson and ninja do the work; each target installs the Debian packages it lacks.
#
#   make            build build/muster
#   make test       every unit test and scenario, one closing line
#   make demo       from data to the price of an answer, in minutes (KEEP=1 leaves it running)
#   make bench      measure, write bench-report.json
#   make soak       kill the daemon under load, again and again (KILLS=200); Slurm and Kubernetes away for ten minutes
#   make published  our results on public traces beside what was published (MUSTER_TRACES=FOLDER)
#   make fuzz       each fuzz target for SECONDS=60
#   make format     clang-format on the tree
#   make install    binary, man pages, completions, systemd unit (PREFIX, DESTDIR)

BUILD  ?= build
PREFIX ?= /usr/local
PYTHON := /usr/bin/python3

.PHONY: all test demo bench soak published fuzz format install clean
.NOTPARALLEL:

all:
	@scripts/deps build
	@scripts/build $(BUILD)

test:
	@scripts/deps build test
	@scripts/build $(BUILD)
	@MUSTER_BUILD=$(BUILD) scripts/run-tests

demo:
	@scripts/deps build demo
	@scripts/build $(BUILD)
	@MUSTER_BUILD=$(BUILD) KEEP=$(KEEP) $(PYTHON) demo/demo.py $(DEMO)

bench:
	@scripts/deps build test bench
	@scripts/build build-release --buildtype=release
	@MUSTER_BUILD=build-release $(PYTHON) bench/run

soak:
	@scripts/deps build test soak
	@scripts/build $(BUILD)
	@MUSTER_BUILD=$(BUILD) MUSTER_SOAK_KILLS=$(or $(KILLS),200) scripts/run-tests --soak
	@scripts/deps kube
	@MUSTER_BUILD=$(BUILD) MUSTER_KUBE_OUTAGE_S=$(or $(OUTAGE),600) scripts/kube-tests outage

published:
	@scripts/deps build test
	@scripts/build build-release --buildtype=release
	@MUSTER_BUILD=build-release scripts/run-tests --published
	@bench/pollux.py build-release/muster

fuzz:
	@scripts/deps build fuzz
	@scripts/fuzz $(or $(SECONDS),60)

format:
	@scripts/deps format
	@scripts/format

install:
	@scripts/deps build
	@scripts/build build-release --buildtype=release --prefix=$(PREFIX)
	@meson install -C build-release --no-rebuild --quiet
	@echo "installed under $(DESTDIR)$(PREFIX)"

clean:
	rm -rf build build-release build-fuzz build-gcc build-clang build-asan build-tsan demo-work
