# The comparison tool's part of Makefile.am: what is installed and what is distributed.
