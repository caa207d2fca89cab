# SPDX-License-Identifier: MIT
"""A service manager's last steps, sd_listen_fds(3): activate.py NAME:NAME... FD,FD,... PROGRAM ARGUMENT..."""

import os
import sys

names, fds, argv = sys.argv[1], [int(n) for n in sys.argv[2].split(",")], sys.argv[3:]
high = [os.dup2(fd, 100 + i, inheritable=False) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(argv[0], argv)
