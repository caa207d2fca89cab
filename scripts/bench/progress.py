# SPDX-License-Identifier: MIT
"""What the tool says while it works: one line that is rewritten on a terminal, plain lines when
piped."""
import shutil
import sys
import time


def time_text(seconds):
    seconds = max(0, round(seconds))
    return f"{seconds // 60}:{seconds % 60:02d}"


class Progress:
    """`expect` is the time left as far as it is known: the caller keeps it true."""

    def __init__(self, stream=None, quiet=False):
        self.stream = stream or sys.stderr
        self.tty = self.stream.isatty()
        self.quiet = quiet
        self.shown = False
        self.end = None

    def expect(self, seconds):
        self.end = time.monotonic() + seconds

    def forget(self):
        """The time left is not known."""
        self.end = None

    def left_text(self):
        return "" if self.end is None else f"  {time_text(self.end - time.monotonic())} left"

    def step(self, text):
        """What is running now: only shown on a terminal."""
        if not self.tty or self.quiet:
            return
        line = (text + self.left_text())[: shutil.get_terminal_size().columns - 1]
        self.stream.write("\r\x1b[K" + line)
        self.stream.flush()
        self.shown = True

    def line(self, text):
        """A line that stays."""
        if self.quiet:
            return
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def stage(self, text):
        """A stage begins: a line that stays when piped, the progress line on a terminal."""
        if self.tty:
            self.step(text)
        else:
            self.line(text + self.left_text())

    def clear(self):
        if self.shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.shown = False
