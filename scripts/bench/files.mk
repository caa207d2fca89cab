# The comparison tool's part of Makefile.am: what is installed and what is distributed.

# The installed command is the one in scripts/ with the place of its package and its interpreter filled in.
bin_SCRIPTS = bivalve-bench
dist_noinst_SCRIPTS = scripts/bivalve-bench scripts/bench-bare scripts/bench-memory scripts/bench-peers scripts/bench-scale scripts/bench-selftest
CLEANFILES += bivalve-bench

bivalve-bench: $(srcdir)/scripts/bivalve-bench Makefile
	$(AM_V_GEN)rm -f $@ && $(SED) -e '1s|.*|#!$(BENCH_PYTHON)|' \
		-e 's|^PKGDATADIR = .*|PKGDATADIR = "$(pkgdatadir)"|' \
		$(srcdir)/scripts/bivalve-bench >$@.tmp && chmod +x $@.tmp && mv $@.tmp $@

benchdir = $(pkgdatadir)/bench
dist_bench_DATA = \
	scripts/bench/__init__.py \
	scripts/bench/agree.py \
	scripts/bench/apart.py \
	scripts/bench/assets.py \
	scripts/bench/cgroup.py \
	scripts/bench/children.py \
	scripts/bench/cli.py \
	scripts/bench/compare.py \
	scripts/bench/contenders.py \
	scripts/bench/counters.py \
	scripts/bench/counts.py \
	scripts/bench/errors.py \
	scripts/bench/export.py \
	scripts/bench/far.py \
	scripts/bench/figures.py \
	scripts/bench/gen_bivalve_load.py \
	scripts/bench/gen_gcannon.py \
	scripts/bench/gen_h2load.py \
	scripts/bench/gen_wrk.py \
	scripts/bench/generators.py \
	scripts/bench/httpclient.py \
	scripts/bench/idle.py \
	scripts/bench/intervals.py \
	scripts/bench/lab.py \
	scripts/bench/load.py \
	scripts/bench/machine.py \
	scripts/bench/metrics.py \
	scripts/bench/options.py \
	scripts/bench/perfevents.py \
	scripts/bench/plots.py \
	scripts/bench/procfs.py \
	scripts/bench/profiles.py \
	scripts/bench/progress.py \
	scripts/bench/report.py \
	scripts/bench/results.py \
	scripts/bench/sampler.py \
	scripts/bench/saved.py \
	scripts/bench/saved_cli.py \
	scripts/bench/score.py \
	scripts/bench/servers.py \
	scripts/bench/side.py \
	scripts/bench/single.py \
	scripts/bench/slicerun.py \
	scripts/bench/tables.py \
	scripts/bench/text.py \
	scripts/bench/wrk-driver.lua

benchprofilesdir = $(benchdir)/profiles
dist_benchprofiles_DATA = \
	scripts/bench/profiles/baseline.ini \
	scripts/bench/profiles/delay.ini \
	scripts/bench/profiles/echo.ini \
	scripts/bench/profiles/echo-10k.ini \
	scripts/bench/profiles/echo-tls.ini \
	scripts/bench/profiles/idle-crowd.ini \
	scripts/bench/profiles/json.ini \
	scripts/bench/profiles/json-br.ini \
	scripts/bench/profiles/json-gzip.ini \
	scripts/bench/profiles/json-tls.ini \
	scripts/bench/profiles/latency-10k.ini \
	scripts/bench/profiles/latency-1m.ini \
	scripts/bench/profiles/limited-conn.ini \
	scripts/bench/profiles/pipelined.ini \
	scripts/bench/profiles/static-10m.ini \
	scripts/bench/profiles/static-1k.ini \
	scripts/bench/profiles/static-64k.ini \
	scripts/bench/profiles/storm.ini \
	scripts/bench/profiles/tls-connect.ini \
	scripts/bench/profiles/upload.ini

dist_man_MANS += man/bivalve-bench.1
dist_doc_DATA += doc/bench-results.md doc/bench-selftest.md
