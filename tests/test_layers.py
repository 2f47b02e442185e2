"""The rules of the source tree: the order of the layers, what the core may use, documentation."""
import glob
import json
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")
RUNTIMES = os.path.join(ROOT, "runtimes")  # programs of their own, which use the lowest layers

# What the core may not include: clocks, files, threads, the event loop, floating point.
CORE_FORBIDDEN_INCLUDES = re.compile(
    r"base/(clock|file|log|thread)\.h|time\.h|sys/|pthread\.h|threads\.h|unistd\.h|fcntl\.h|event|math\.h"
    r"|tgmath\.h|float\.h|signal\.h|sodium|sqlite|openssl|locale\.h|poll\.h")

# What its objects may not call. qsort is not stable, so equal keys would have no stated order.
CORE_FORBIDDEN_SYMBOLS = re.compile(
    r"^(_*(time|clock\w*|gettimeofday|localtime\w*|gmtime\w*|mktime|nanosleep|usleep|sleep"
    r"|rand\w*|s?random\w*|srand\w*|[djlmnes]rand48\w*|getrandom|getentropy|arc4random\w*"
    r"|(secure_)?getenv|setlocale|localeconv|qsort(_r)?"
    r"|open(at)?(64)?|creat|read|write|pread\w*|pwrite\w*|close|fsync|unlink|rename|stat|fstat"
    r"|f(open|close|read|write|puts|putc|gets|getc|flush|seek\w*|printf|scanf|dopen)|f?puts|putchar"
    r"|printf|vprintf|vfprintf|dprintf|scanf|perror|fprintf_chk|printf_chk|vfprintf_chk"
    r"|fork|exec\w*|kill|socket|connect|send\w*|recv\w*|poll|epoll\w*|select|mmap\w*"
    r"|pthread_\w+|thrd_\w+|mtx_\w+|event_\w+|evbuffer_\w+|sqlite3_\w+|sodium_\w+|randombytes\w*"
    r"|a?(sin|cos|tan)h?f?|exp[2f]?|expm1|logf?|log(2|10|1p)f?|pow[f]?|sqrtf?|cbrtf?|l?l?roundf?"
    r"|l?l?rintf?|floorf?|ceilf?|truncf?|fabsf?|fmodf?|hypotf?|ldexpf?|frexpf?|strto(d|f|ld)|atof"
    r"|file_\w+|log_\w+))$")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def read_layers():
    with open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8") as text:
        block = re.search(r"<!-- layers:begin -->\s*```\w*\n(.*?)```\s*<!-- layers:end -->",
                          text.read(), re.DOTALL)
    assert block, "ARCHITECTURE.md has no list of layers between its markers"
    return [line.split()[0] for line in block.group(1).splitlines() if line.strip()]


LAYERS = read_layers()
BUILD = os.environ.get("MUSTER_BUILD", os.path.join(ROOT, "build"))
MOST_LINES = 800


def sources(folder=SRC, endings=(".c", ".h")):
    found = []
    for path, _, names in os.walk(folder):
        found += [os.path.join(path, name) for name in names if name.endswith(endings)]
    return sorted(found)


def all_sources(endings=(".c", ".h")):
    return sources(SRC, endings) + sources(RUNTIMES, endings)


def read(path):
    with open(path, encoding="utf-8") as text:
        return text.read()


def relative(path):
    return os.path.relpath(path, ROOT)


def without_comments_and_strings(text):
    """Blanks them out and keeps the line breaks, so that line numbers still hold."""
    return COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def is_product(path):
    """Whether a source becomes part of the program: tests may use more than what they test."""
    return not os.path.basename(path).startswith(("test_", "fuzz_"))


def include_faults(layer, text, product=True):
    """What is wrong with the includes of a file of a layer, as a list of sentences."""
    faults = []
    for form, name in INCLUDE.findall(text):
        if layer == "core" and product and CORE_FORBIDDEN_INCLUDES.match(name):
            faults.append(f"the core must not include {name}")
        if form == "<":
            continue
        target = name.split("/")[0]
        if "/" not in name or target not in LAYERS:
            faults.append(f'"{name}" does not begin with a layer')
        elif LAYERS.index(target) > LAYERS.index(layer):
            faults.append(f"{layer} must not include {name}: {target} comes after it")
        elif not os.path.exists(os.path.join(SRC, name)):
            faults.append(f"{name} does not exist")
    return faults


def undocumented(header):
    """Prototypes without a comment above, behind, or above the group they continue."""
    faults, documented, in_comment, open_prototype, in_type = [], False, False, False, False
    for line in header.splitlines():
        text = line.strip()
        if in_comment or text.startswith("/*"):
            in_comment = "*/" not in text
            documented = True
        elif open_prototype:
            open_prototype = ";" not in text
        elif re.match(r"(typedef |struct \w+ \{|union \w+ \{|enum )", line):
            in_type = "}" not in text and ";" not in text  # its comment speaks for what follows
        elif in_type:
            in_type = not line.startswith("}")
        elif re.match(r"[a-zA-Z_][\w\s*]*\b\w+\(", line) and not line.startswith(
                ("static", "typedef", "struct error;", "_Static_assert", "static_assert")):
            documented = documented or "/*" in text
            if not documented:
                faults.append(text)
            open_prototype = ";" not in text
        else:
            documented = False
    return faults


def test_every_folder_of_src_is_a_layer():
    folders = sorted(entry.name for entry in os.scandir(SRC) if entry.is_dir())
    assert set(folders) <= set(LAYERS)


def test_each_layer_includes_only_itself_and_layers_above_it():
    faults = []
    for path in sources():
        layer = os.path.relpath(path, SRC).split(os.sep)[0]
        faults += [f"{relative(path)}: {fault}"
                   for fault in include_faults(layer, read(path), is_product(path))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("layer, line, fault", [
    ("wire", '#include "core/state.h"', "comes after it"),
    ("base", '#include "error.h"', "does not begin with a layer"),
    ("server", '#include "base/no_such_file.h"', "does not exist"),
    ("core", "#include <time.h>", "the core must not include"),
    ("core", "#include <pthread.h>", "the core must not include"),
    ("core", '#include "base/clock.h"', "the core must not include"),
])
def test_a_wrong_include_is_noticed(layer, line, fault):
    assert fault in "".join(include_faults(layer, line))


def test_the_core_has_no_floating_point():
    faults = []
    for path in filter(is_product, sources(os.path.join(SRC, "core"))):
        code = without_comments_and_strings(read(path))
        for number, line in enumerate(code.splitlines(), 1):
            if re.search(r"\b(double|float|_Float\w+|long double)\b|\b\d+\.\d", line):
                faults.append(f"{relative(path)}:{number}: {line.strip()}")
    assert not faults, "\n".join(faults)


def symbols(path, which):
    """The names nm lists for an object: which is --undefined-only or --defined-only."""
    done = subprocess.run(["nm", which, path], check=True, capture_output=True, text=True,
                          timeout=60)
    return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if line.strip()}


def test_the_core_calls_nothing_that_is_not_deterministic():
    objects = sorted(glob.glob(os.path.join(BUILD, "src/core/libcore.a.p/*.o")))
    if not objects:
        assert not sources(os.path.join(SRC, "core"), (".c",)), "the core has no objects in " + BUILD
        pytest.skip("the core has no sources yet")
    own = set().union(*(symbols(path, "--defined-only") for path in objects))
    faults = [f"{os.path.basename(path)} uses {name}" for path in objects
              for name in sorted(symbols(path, "--undefined-only") - own)
              if CORE_FORBIDDEN_SYMBOLS.match(name)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", ["time", "clock_gettime", "rand", "getenv", "qsort", "fopen",
                                  "__fprintf_chk", "pthread_mutex_lock", "pow", "clock_wall_ms"])
def test_a_forbidden_symbol_is_noticed(name):
    assert CORE_FORBIDDEN_SYMBOLS.match(name)


@pytest.mark.parametrize("name", ["memcpy", "strcmp", "snprintf", "error_set", "idmap_get",
                                  "vec_time", "__assert_fail", "quantity_time", "arena_alloc"])
def test_an_innocent_symbol_is_let_through(name):
    assert not CORE_FORBIDDEN_SYMBOLS.match(name)


def test_sources_are_plain_ascii_and_name_no_machine():
    faults = []
    for path in sources(endings=(".c", ".h", ".build", ".md", ".py")):
        with open(path, "rb") as content:
            for number, line in enumerate(content, 1):
                place = f"{relative(path)}:{number}"
                if any(byte > 0x7e or (byte < 0x20 and byte not in (9, 10)) for byte in line):
                    faults.append(f"{place}: a byte that is not printable ASCII")
                if re.search(rb"/(work|home|Users)/\w|/root/\w", line):
                    faults.append(f"{place}: a path of one machine")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS
                                   if sources(os.path.join(SRC, layer), (".c",))])
def test_each_layer_has_a_readme(layer):
    assert os.path.exists(os.path.join(SRC, layer, "README.md"))


def test_each_prototype_is_documented():
    faults = []
    for path in sources(endings=(".h",)):
        if is_product(path):
            faults += [f"{relative(path)}: {line}" for line in undocumented(read(path))]
    assert not faults, "\n".join(faults)


def test_an_undocumented_prototype_is_noticed():
    header = "#pragma once\n\n/* Fine. */\nint one(void);\nint two(\n    int a);\n\nint three(void);\n"
    assert undocumented(header) == ["int three(void);"]


def test_each_source_file_opens_with_its_role():
    faults = [relative(path) for path in sources() if not read(path).startswith("/*")]
    assert not faults, "\n".join(faults)


def test_every_source_is_built_and_every_unit_test_is_run():
    commands = json.loads(read(os.path.join(BUILD, "compile_commands.json")))
    built = {os.path.normpath(os.path.join(entry["directory"], entry["file"]))
             for entry in commands}
    units = [path for path in all_sources((".c",))
             if not os.path.basename(path).startswith("fuzz_")]
    assert [relative(path) for path in units if path not in built] == []
    registered = read(os.path.join(BUILD, "unit-tests.txt")).split("\n")
    tests = [path for path in units if os.path.basename(path).startswith("test_")
             and re.search(r"^int main\(", read(path), re.M)]
    targets = [path for path in all_sources((".c",))
               if os.path.basename(path).startswith("fuzz_")
               and "LLVMFuzzerTestOneInput(const uint8_t" in read(path)
               and not re.search(r"^int main\(", read(path), re.M)]
    assert len([line for line in registered if line]) == len(tests) + len(targets)


def test_no_file_is_too_long_to_read():
    lengths = {relative(path): read(path).count("\n") for path in sources()
               if not os.path.basename(path).startswith("test_")}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}
