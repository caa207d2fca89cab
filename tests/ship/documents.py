# SPDX-License-Identifier: MIT
"""The commands in the documents: what stands in blocks that are indented by four, or fenced as sh. Other fenced blocks
have the name of what they are: yaml, json, ini, nginx, haproxy, text."""

import glob
import os
import re
import shlex

TOP = os.path.abspath(os.environ.get("SRCDIR") or
                      os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def documents():
    """Their paths from the top of the tree."""
    return sorted(os.path.relpath(path, TOP) for pattern in ("*.md", "doc/*.md", "packaging/*/*.md")
                  for path in glob.glob(os.path.join(TOP, pattern)))


def blocks(text):
    """(kind, line number, text) of each block."""
    kind, start, lines, fence = None, 0, [], False
    for number, line in enumerate(text.splitlines() + ["end"], 1):
        if kind is not None and (line.startswith("```") if fence else line.strip() and not line.startswith("    ")):
            yield kind, start, "\n".join(lines).rstrip() + "\n"
            kind = None
            if fence:
                continue
        if kind is not None:
            lines.append(line if fence else line[4:])
        elif line.startswith("```"):
            kind, start, lines, fence = line[3:].strip() or "text", number, [], True
        elif line.startswith("    "):
            kind, start, lines, fence = "sh", number, [line[4:]], False


def commands(block):
    """The commands of a block of sh, each on a line, without comments; what is joined by && is taken apart."""
    for line in block.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split, lexer.commenters = True, ""
        command = []
        for word in lexer:
            if word.startswith("#"):
                break
            if word == "&&":
                yield command
                command = []
            else:
                command.append(word)
        if command:
            yield command


def all_commands():
    """(document:line of the block, words) of every command."""
    for path in documents():
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            for kind, number, block in blocks(f.read()):
                if kind == "sh":
                    for words in commands(block):
                        yield "%s:%d" % (path, number), words


def fenced(kind):
    """(document:line, text) of every block of that kind."""
    for path in documents():
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            for its_kind, number, block in blocks(f.read()):
                if its_kind == kind:
                    yield "%s:%d" % (path, number), block


def script_knows(path, option):
    """Whether the script in the tree has that option, by its text."""
    with open(os.path.join(TOP, path), encoding="utf-8") as f:
        return re.search(r"(^|[^a-z-])" + re.escape(option.partition("=")[0]) + r"([^a-z-]|$)", f.read(), re.M)
