"""The examples of the docs: every manifest is one that the server takes, and every command is one that there is."""
import glob
import os
import re
import shlex
import subprocess

import pytest
import yaml

from manifests import model, team
from muster import BINARY, ROOT

DOCS = sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")) + [os.path.join(ROOT, "README.md")])
COMMAND = re.compile(r"(?:^|[|;&(]|\$ )\s*(?:[A-Z_]+=\S+ )*(?:build/)?muster ((?:[^|;&\\\n#`]|\\\n)+)", re.M)


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def services_of(path):
    """Whole Services in the blocks of a document: as they are written, and as they are read."""
    for block in re.findall(r"^```yaml\n(.*?)^```", text_of(path), re.M | re.S):
        for text in re.split(r"^---$", block, flags=re.M):
            read = yaml.safe_load(text)
            if isinstance(read, dict) and (read.get("apiVersion"), read.get("kind")) == ("muster/v1", "Service"):
                yield text, read


def models_of(manifest):
    """The models that a Service names, each with its team."""
    name = manifest["spec"].get("model", "").partition("@")[0].partition(":")[0]
    whose, _, name = name.rpartition("/")
    return {(whose or manifest["metadata"]["team"], name)} - {("", "")}


@pytest.mark.parametrize("path", [path for path in DOCS if any(services_of(path))], ids=os.path.basename)
def test_services_in_docs_are_taken(muster, path):
    found = list(services_of(path))
    muster.apply(*[team(name) for name in sorted({read["metadata"]["team"] for _, read in found})])
    muster.apply(*[model(name, team=whose, runtime="xgboost")
                   for whose, name in sorted(set().union(*[models_of(read) for _, read in found]))])
    for text, _ in found:
        muster.cli("apply", "-f", "-", stdin=text)


def commands_of(path):
    """The words of each command in an indented block or one in a fence, up to what pipes or ends it."""
    lines = [line for line in text_of(path).splitlines() if line.startswith("    ")]
    for words in COMMAND.findall("\n".join(lines)):
        try:
            yield shlex.split(words.replace("\\\n", " "))
        except ValueError:
            continue


def help_of(verb):
    done = subprocess.run([BINARY, *verb, "--help"], capture_output=True, text=True, timeout=30)
    text = done.stdout + done.stderr
    return text if done.returncode == 0 or f"usage: muster {verb[0]}" in text else None


def verb_of(words):
    """A verb may have a second word (`rollout status`)."""
    plain = [word for word in words if not word.startswith("-")]
    for count in (2, 1):
        verb = plain[:count]
        if len(verb) == count and all(re.fullmatch("[a-z]+", word) for word in verb):
            text = help_of(verb)
            if text is not None:
                return verb, text
    return None, None


@pytest.mark.parametrize("path", [path for path in DOCS if not path.endswith("cli.md")], ids=os.path.basename)
def test_commands_in_docs_name_verbs_and_options_that_exist(path):
    for words in commands_of(path):
        if not re.fullmatch("[a-z]+", words[0] if words else ""):
            continue
        verb, text = verb_of(words)
        assert verb, words
        own = words[:words.index("--")] if "--" in words else words
        for option in [word.partition("=")[0] for word in own if re.match("--[a-z]", word)]:
            assert option in text, (words, option)
